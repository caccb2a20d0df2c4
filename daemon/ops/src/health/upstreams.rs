//! Which routes fail mostly, and which servers do probes take out? Routes are judged by what clients got in the last
//! minute.

use super::{Sight, ill, item};
use crate::windows::ROUTE_SECONDS;
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_corridor::telemetry::Servers;
use std::collections::BTreeMap;

/// Fewer requests than this in a minute say nothing.
const ENOUGH: u64 = 5;
/// Servers named in one item.
const SHOWN: usize = 5;

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let window = sight.windows.newest(ROUTE_SECONDS);
    let bad = window.routes.iter().filter(|route| {
        route.traffic.requests >= ENOUGH && route.traffic.errors * 2 >= route.traffic.requests
    });
    let mut items: Vec<HealthItem> = bad
        .map(|route| {
            let said = format!(
                "{}: {} of {} requests failed in the last minute",
                route.name, route.traffic.errors, route.traffic.requests
            );
            ill(
                "ROUTE-FAILING",
                Severity::Critical,
                said,
                "Look at the log of this route and at its upstreams.",
            )
        })
        .collect();
    items.extend(out(&sight.telemetry.servers()));
    if !items.is_empty() {
        return items;
    }
    let said = format!("{} routes with traffic in the last minute, none failing", window.routes.len());
    vec![item("UPSTREAMS", Severity::Ok, said)]
}

/// An item for each API that has servers which are out.
fn out(servers: &Servers) -> Vec<HealthItem> {
    let mut routes: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for ((route, server), out) in servers {
        let (all, those) = routes.entry(route).or_default();
        *all += 1;
        if *out {
            those.push(server);
        }
    }
    let bad = routes.into_iter().filter(|(_, (_, those))| !those.is_empty());
    bad.map(|(route, (all, those))| {
        let severity = if those.len() == all { Severity::Critical } else { Severity::Warning };
        let shown = those.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        let more = if those.len() > SHOWN { ", and more" } else { "" };
        let said = format!("{route}: probes took out {} of {all} servers: {shown}{more}", those.len());
        ill(
            "UPSTREAM-OUT",
            severity,
            said,
            "Look at these servers, and at the log of target `probe` for the reason.",
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_with_servers_that_are_out_are_told() {
        let servers: Servers = [
            ("a/v1", "http://one", false),
            ("a/v1", "http://two", true),
            ("b/v1", "http://one", true),
            ("c/v1", "http://one", false),
        ]
        .into_iter()
        .map(|(route, server, out)| ((route.into(), server.into()), out))
        .collect();
        let items = out(&servers);
        let told: Vec<_> = items.iter().map(|item| (item.severity, &*item.summary)).collect();
        assert_eq!(
            told,
            [
                (Severity::Warning, "a/v1: probes took out 1 of 2 servers: http://two"),
                (Severity::Critical, "b/v1: probes took out 1 of 1 servers: http://one"),
            ]
        );
    }
}
