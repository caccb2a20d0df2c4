//! Admit: the gateway's and the API's own bounds, before anything that costs.

use crate::call::{Admitted, Call, Routed};
use crate::client::head::Body;
use crate::failure::Failure;
use crate::policies::addresses::Access;
use crate::policies::shed::Gate;
use crate::prepare::Prepared;
use crate::prepare::route::Route;
use crate::stages::record::Record;

pub(crate) fn admit<'a>(
    call: Call<'a, Routed<'a>>,
    exempt: bool,
    record: &mut Record<'a>,
) -> Result<Call<'a, Admitted<'a>>, Failure> {
    let Routed { client, route, .. } = call.stage;
    enter(call.prepared.shares.of(route.api.priority), record)?;
    if let Some(most) = route.api.in_flight {
        record.gate = Gate::enter(&*route.gate, most);
        if record.gate.is_none() {
            // The refusals of a full API must not fill the gateway.
            record.leave();
            return Err(Failure::ApiOverloaded);
        }
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
pub(crate) fn enter(most: u64, record: &mut Record<'_>) -> Result<(), Failure> {
    // The record holds the place, so it is given back with the body's last byte.
    if record.enter(most) { Ok(()) } else { Err(Failure::Overloaded) }
}
