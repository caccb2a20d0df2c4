//! Whether a snapshot would load whole.

use super::who::Who;
use super::{changed, compile_routing};
use crate::policies::addresses::Addresses;
use crate::policies::forwarded::Proxies;
use crate::policies::rules::Rules;
use crate::policies::shed::Shares;
use crate::prepare::route::Route;
use crate::upstream::peer::Peers;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::snapshot::Snapshot;
use std::sync::Arc;

/// All problems of what `before` does not share, each naming its API and field.
pub(crate) fn check(before: &Snapshot, snapshot: &Snapshot) -> Vec<Problem> {
    let mut problems = Vec::new();
    let peers = Peers::default();
    let mut found =
        |field: &str, detail: String| problems.push(Problem::new(Code::BadInput, detail).at(field));
    for (key, api) in changed(&before.apis, &snapshot.apis) {
        if *key != api.path() {
            found("api_name", format!("{}: it lies under the key {key:?}", api.path()));
        }
        if let Err(wrong) = Route::compile(api, &snapshot.limits, Arc::default(), &peers, None) {
            found(wrong.field, format!("{key}: {}", wrong.detail));
        }
    }
    for (name, consumer) in changed(&before.consumers, &snapshot.consumers) {
        if let Err(wrong) = Who::compile(consumer, None) {
            found(wrong.field, format!("{name}: {}", wrong.detail));
        }
    }
    for (key, routing) in changed(&before.routings, &snapshot.routings) {
        if let Err(detail) = compile_routing(routing, &peers) {
            found("routing_servers", format!("{key}: {detail}"));
        }
    }
    for api in changed(&before.apis, &snapshot.apis).map(|(_, api)| api) {
        if let Err(detail) = Shares::compile(snapshot.limits.in_flight, [api.priority]) {
            found("api_priority", format!("{}: {detail}", api.path()));
        }
    }
    if !Arc::ptr_eq(&before.security, &snapshot.security) {
        if let Err(detail) = Addresses::platform(&snapshot.security) {
            found("ip_whitelist", detail);
        }
        if let Err(detail) = Proxies::compile(&snapshot.security.trusted_proxies) {
            found("xff_trusted_proxies", detail);
        }
    }
    if !Arc::ptr_eq(&before.rules, &snapshot.rules)
        && let Err(detail) = Rules::compile(&snapshot.rules, None)
    {
        found("rate_limit_rule", detail);
    }
    problems
}
