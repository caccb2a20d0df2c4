//! Admit: the gateway's and the API's own bounds, before anything that costs.

use crate::call::{Admitted, Call, Routed};
use crate::client::head::Body;
use crate::failure::Failure;
use crate::policies::addresses::Access;
use crate::policies::shed::Gate;
use crate::prepare::Prepared;
use crate::prepare::route::Route;
use crate::stages::record::Record;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) fn admit<'a>(
    call: Call<'a, Routed<'a>>,
    exempt: bool,
    record: &mut Record<'a>,
) -> Result<Call<'a, Admitted<'a>>, Failure> {
    let Routed { client, route, .. } = call.stage;
    in_flight(call.prepared.shares.of(route.api.priority), record)?;
    if let Some(most) = route.api.in_flight {
        record.gate = Some(Gate::enter(Arc::clone(&route.gate), most).ok_or(Failure::ApiOverloaded)?);
    }
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

/// The gateway's bound, or the share of it that calls of a priority may fill.
pub(crate) fn in_flight(most: u64, record: &mut Record<'_>) -> Result<(), Failure> {
    // The record holds the permit, so it is given back with the body's last byte.
    let under_way = record.permit().load(Ordering::Relaxed);
    if under_way > most { Err(Failure::Overloaded) } else { Ok(()) }
}
