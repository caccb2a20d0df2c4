//! Which routes fail mostly? Judged by what clients got in the last minute.

use super::{Sight, ill, item};
use crate::windows::ROUTE_SECONDS;
use gatehouse_common::health::{HealthItem, Severity};

/// Fewer requests than this in a minute say nothing.
const ENOUGH: u64 = 5;

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let window = sight.windows.newest(ROUTE_SECONDS);
    let bad = window.routes.iter().filter(|route| {
        route.traffic.requests >= ENOUGH && route.traffic.errors * 2 >= route.traffic.requests
    });
    let items: Vec<HealthItem> = bad
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
    if !items.is_empty() {
        return items;
    }
    let said = format!("{} routes with traffic in the last minute, none failing", window.routes.len());
    vec![item("UPSTREAMS", Severity::Ok, said)]
}
