//! Authorize: subscription, group, limits, role, in the order older clients know (spec/doorman.md 5.2, 6a to 6f).
//! Some calls wait here for their turn.

use crate::call::{Allowed, Call, Known};
use crate::client::head::{Body, Head};
use crate::client::stream::Client;
use crate::failure::Failure;
use crate::lane::Lane;
use crate::policies::rules::Caller;
use crate::policies::tier::{self, Limits};
use crate::policies::{anonymous, bandwidth, throttle};
use crate::prepare::route::Access;
use crate::prepare::who::Who;
use crate::stages::record::Record;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

pub(crate) async fn authorize<'a>(
    call: Call<'a, Known<'a>>,
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<Call<'a, Allowed<'a>>, Failure> {
    let Some(who) = call.stage.who else {
        rules(&call, call.now_ms)?;
        if call.stage.routed.route.access == Access::Anonymous {
            record.access.consumer = anonymous::name(call.stage.routed.client);
        }
        return Ok(call.on(Allowed));
    };
    record.known(who);
    let mut now_ms = call.now_ms;
    let route = call.stage.routed.route;
    if let Some(limits) = who.tier.as_ref().filter(|_| !call.prepared.limits.skip_tiers) {
        // What is behind it is judged by the time at which it was let through.
        now_ms = tier(&call, (who, limits), client, record).await?;
    }
    if !who.subscribed(&route.name) {
        return Err(Failure::NotSubscribed);
    }
    if !route.api.allowed_groups.iter().any(|group| who.consumer.groups.contains(group)) {
        return Err(Failure::WrongGroup);
    }
    if let Some(limiter) = &who.limiter {
        limiter.admit(now_ms).map_err(Failure::RateLimited)?;
    }
    rules(&call, now_ms)?;
    if let Some(rules) = &who.consumer.throttle {
        match throttle::decide(rules, &who.consumer.usage.throttle, now_ms) {
            throttle::Verdict::Pass => {}
            throttle::Verdict::Wait(millis) => {
                wait(call.lane, client, millis).await?;
                now_ms = call.lane.clock.unix_ms();
            }
            throttle::Verdict::Refuse => return Err(Failure::Throttled),
        }
    }
    if !route.api.allowed_roles.is_empty() && !route.api.allowed_roles.contains(&who.consumer.role) {
        return Err(Failure::WrongRole);
    }
    if let Some(rate) = who.consumer.bandwidth {
        bandwidth::admit(rate, &who.consumer.usage.bandwidth, length(call.head), now_ms)
            .map_err(Failure::Bandwidth)?;
    }
    Ok(call.on(Allowed))
}

fn rules<'a>(call: &Call<'a, Known<'a>>, now_ms: i64) -> Result<(), Failure> {
    let Known { routed, who } = &call.stage;
    let caller = Caller {
        user: who.map(|who| who.consumer.id.as_str()),
        api: &routed.route.name,
        endpoint: &routed.endpoint.name,
        address: routed.client,
    };
    call.prepared.rules.decide(&caller, now_ms).map_err(|refused| Failure::Rule(refused.standing))
}

/// Unix milliseconds at which the tier let the call through.
async fn tier<'a>(
    call: &Call<'a, Known<'a>>,
    (who, limits): (&Who, &Limits),
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<i64, Failure> {
    let (mut now_ms, mut waited) = (call.now_ms, 0);
    loop {
        match limits.decide(&who.consumer.usage, length(call.head), now_ms, waited) {
            tier::Verdict::Pass(standing) => {
                record.standing = standing;
                return Ok(now_ms);
            }
            tier::Verdict::Wait(millis) => {
                wait(call.lane, client, millis).await?;
                waited += millis;
                now_ms = call.lane.clock.unix_ms();
            }
            tier::Verdict::Refuse(standing) => return Err(Failure::Tier(standing)),
        }
    }
}

/// What a body is said to have, bytes.
fn length(head: &Head) -> u64 {
    if let Body::Length(length) = head.framing { length } else { 0 }
}

/// Waits, unless the client leaves.
pub(crate) async fn wait(lane: &Lane, client: &mut Client, millis: u64) -> Result<(), Failure> {
    let mut deadline = lane.deadlines.at(Instant::now() + Duration::from_millis(millis));
    poll_fn(|context| match deadline.passed(context) {
        true => Poll::Ready(Ok(())),
        false if client.gone(context) => Poll::Ready(Err(Failure::ClientGone)),
        false => Poll::Pending,
    })
    .await
}
