//! Authorize: subscription, group, rate, role, in the order older clients know (spec/doorman.md 5.2, 6a to 6e).

use crate::call::{Allowed, Call, Known};
use crate::failure::Failure;
use crate::stages::record::Record;

pub(crate) fn authorize<'a>(
    call: Call<'a, Known<'a>>,
    record: &mut Record,
) -> Result<Call<'a, Allowed<'a>>, Failure> {
    if let Some(who) = &call.stage.who {
        record.access.consumer = who.consumer.id.as_str().into();
        let route = call.stage.routed.route;
        if !who.consumer.subscription_exempt && !who.subscriptions.contains(&route.name) {
            return Err(Failure::NotSubscribed);
        }
        if !route.api.allowed_groups.iter().any(|group| who.consumer.groups.contains(group)) {
            return Err(Failure::WrongGroup);
        }
        if let Some(limiter) = &who.limiter {
            limiter.admit(call.now_ms).map_err(Failure::RateLimited)?;
        }
        if !route.api.allowed_roles.is_empty() && !route.api.allowed_roles.contains(&who.consumer.role) {
            return Err(Failure::WrongRole);
        }
    }
    Ok(call.on(Allowed))
}
