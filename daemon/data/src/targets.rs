//! Where a call may end that is not an upstream.

pub(crate) mod local;
