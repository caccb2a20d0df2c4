//! Exit codes, from sysexits.h: 0 clean, 64 usage, 70 internal, 75 try again, 78 configuration.

use gatehouse_common::problem::{Code, Problem};
use gatehouse_store::StoreError;
use std::io::ErrorKind;

pub(crate) const USAGE: u8 = 64;
pub(crate) const INTERNAL: u8 = 70;
pub(crate) const TRY_AGAIN: u8 = 75;
pub(crate) const CONFIG: u8 = 78;

/// What another process holds may be free in a moment; everything else needs somebody to look at it.
pub(crate) fn of(error: &anyhow::Error) -> u8 {
    let held = error.chain().any(|cause| {
        let busy = |error: &std::io::Error| error.kind() == ErrorKind::AddrInUse;
        cause.downcast_ref::<std::io::Error>().is_some_and(busy)
            || matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::Held(_)))
            || cause
                .downcast_ref::<Problem>()
                .is_some_and(|problem| problem.code == Code::Conflict.entry().code)
    });
    if held { TRY_AGAIN } else { INTERNAL }
}
