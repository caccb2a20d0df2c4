//! Admit: the gateway's and the API's own bounds, before anything that costs.

use crate::call::{Admitted, Call, Routed};
use crate::client::head::Body;
use crate::failure::Failure;
use crate::policies::addresses::Access;
use crate::prepare::Prepared;
use crate::prepare::route::Route;
use crate::stages::record::Record;
use std::sync::atomic::Ordering;

pub(crate) fn admit<'a>(
    call: Call<'a, Routed<'a>>,
    exempt: bool,
    record: &mut Record<'a>,
) -> Result<Call<'a, Admitted<'a>>, Failure> {
    in_flight(call.prepared, record)?;
    let Routed { client, route, .. } = call.stage;
    let most = body_bytes(call.prepared, route);
    if matches!(call.head.framing, Body::Length(length) if length > most) {
        return Err(Failure::BodyTooLarge);
    }
    match if exempt { Access::Granted } else { route.addresses.decide(client) } {
        Access::Granted => Ok(call.on(Admitted)),
        Access::NotAllowed => Err(Failure::ApiNotAllowed),
        Access::Denied => Err(Failure::ApiDenied),
    }
}

/// The longest body an API takes.
pub(crate) fn body_bytes(prepared: &Prepared, route: &Route) -> u64 {
    route.api.body_bytes.unwrap_or(prepared.limits.body_bytes)
}

/// The bound that calls of the appliance's own surface keep too.
pub(crate) fn in_flight(prepared: &Prepared, record: &mut Record<'_>) -> Result<(), Failure> {
    // The record holds the permit, so it is given back with the body's last byte.
    let under_way = record.permit().load(Ordering::Relaxed);
    if under_way > prepared.limits.in_flight { Err(Failure::Overloaded) } else { Ok(()) }
}
