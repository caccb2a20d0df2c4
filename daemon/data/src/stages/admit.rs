//! Admit: the gateway's own bounds, before anything that costs.

use crate::call::{Admitted, Call, Routed};
use crate::failure::Failure;
use crate::stages::record::Record;
use actix_web::http::header::CONTENT_LENGTH;
use std::sync::atomic::Ordering;

pub(crate) fn admit<'a>(
    call: Call<'a, Routed<'a>>,
    record: &mut Record,
) -> Result<Call<'a, Admitted<'a>>, Failure> {
    let limits = &call.prepared.limits;
    // The record holds the permit, so it is given back with the body's last byte.
    if record.permit(&call.lane.telemetry).load(Ordering::Relaxed) > limits.in_flight {
        return Err(Failure::Overloaded);
    }
    let length = call.request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > limits.body_bytes) {
        return Err(Failure::BodyTooLarge);
    }
    Ok(call.on(Admitted))
}
