//! Admit: the gateway's own bounds, before anything that costs.

use crate::call::{Admitted, Call, Routed};
use crate::client::head::Body;
use crate::failure::Failure;
use crate::prepare::Prepared;
use crate::stages::record::Record;
use std::sync::atomic::Ordering;

pub(crate) fn admit<'a>(
    call: Call<'a, Routed<'a>>,
    record: &mut Record,
) -> Result<Call<'a, Admitted<'a>>, Failure> {
    in_flight(call.prepared, record)?;
    match call.head.framing {
        Body::Length(length) if length > call.prepared.limits.body_bytes => Err(Failure::BodyTooLarge),
        _ => Ok(call.on(Admitted)),
    }
}

/// The bound that calls of the appliance's own surface keep too.
pub(crate) fn in_flight(prepared: &Prepared, record: &mut Record) -> Result<(), Failure> {
    // The record holds the permit, so it is given back with the body's last byte.
    let under_way = record.permit().load(Ordering::Relaxed);
    if under_way > prepared.limits.in_flight { Err(Failure::Overloaded) } else { Ok(()) }
}
