//! Pay: takes the call's credit and finds the key that pays upstream (spec/doorman.md 5.2, 7.; 5.5; 8.5). What was taken
//! is never given back. What limits and rules refuse was refused before; what an upstream answers is paid.

use crate::call::{Allowed, Call};
use crate::failure::Failure;
use crate::policies::credits::{self, Payment};
use crate::prepare::route::Access;
use gatehouse_common::secret::Secret;
use std::sync::atomic::Ordering;

/// Header and key.
pub(crate) type Key<'a> = (&'a str, &'a Secret<String>);

pub(crate) async fn pay<'a>(call: &'a Call<'_, Allowed<'_>>) -> Result<Option<Key<'a>>, Failure> {
    let known = &call.stage.0;
    let api = &known.routed.route.api;
    let Some(who) = known.who else { return anonymous(call) };
    let Some(name) = &api.credit_group else { return Ok(None) };
    let account = credits::account(&who.consumer.credits, name).ok_or(Failure::Credits)?;
    let ring = || call.lane.bell.ring(&who.consumer.id, account);
    let payment = match credits::take(&account.credit, ring) {
        Some(payment) => payment,
        None => credits::wait(&account.credit, ring).await,
    };
    match payment {
        Payment::Paid => {}
        Payment::Exhausted => return Err(Failure::Credits),
        Payment::Late => return Err(Failure::CreditsLate),
    }
    call.lane.telemetry.credits.fetch_add(1, Ordering::Relaxed);
    Ok(call.prepared.credit_groups.get(name).map(|group| credits::key(group, Some(account))))
}

/// Nobody's call: of its address's allowance, where the API says so; else it costs nothing, and the group's key goes
/// upstream all the same.
fn anonymous<'a>(call: &'a Call<'_, Allowed<'_>>) -> Result<Option<Key<'a>>, Failure> {
    let routed = &call.stage.0.routed;
    let api = &routed.route.api;
    let own =
        (routed.route.access == Access::Anonymous).then_some(api.anonymous_credit_group.as_ref()).flatten();
    let Some(name) = own.or(api.credit_group.as_ref()) else { return Ok(None) };
    if own.is_some() {
        // A group that is not there allows nothing.
        let allowance = call.prepared.allowances.get(name.as_str()).ok_or(Failure::Credits)?;
        allowance.take(routed.client, call.now_ms).map_err(|_| Failure::Credits)?;
        call.lane.telemetry.credits.fetch_add(1, Ordering::Relaxed);
    }
    Ok(call.prepared.credit_groups.get(name).map(|group| credits::key(group, None)))
}
