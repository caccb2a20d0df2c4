//! Numbers for charts and tables out of the windows kept.

use crate::world::World;
use gatehouse_common::ids::RouteId;
use gatehouse_common::ops::metrics::{Traffic, Window};
use std::collections::BTreeMap;

/// Windows the tables look back over.
pub(crate) const LOOK_BACK: usize = 60;

/// A value a second for each window, oldest first; holes stay holes.
pub(crate) fn series(world: &World, value: impl Fn(&Window) -> f64) -> Vec<Option<f64>> {
    world.windows.iter().map(|window| window.as_ref().map(&value)).collect()
}

/// A count as a rate.
pub(crate) fn per_second(count: u64, window: &Window) -> f64 {
    count as f64 * 1_000.0 / window.length_ms.max(1) as f64
}

/// The windows of the table's look back.
fn recent(world: &World) -> impl Iterator<Item = &Window> {
    let skip = world.windows.len().saturating_sub(LOOK_BACK);
    world.windows.iter().skip(skip).flatten()
}

fn add(sum: &mut Traffic, more: &Traffic) {
    // Percentiles do not add up; the worst second is what an operator looks for.
    let worst = |a: Option<u64>, b: Option<u64>| a.max(b);
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.errors = sum.errors.saturating_add(more.errors);
    sum.refused = sum.refused.saturating_add(more.refused);
    sum.bytes_in = sum.bytes_in.saturating_add(more.bytes_in);
    sum.bytes_out = sum.bytes_out.saturating_add(more.bytes_out);
    sum.p50_us = worst(sum.p50_us, more.p50_us);
    sum.p90_us = worst(sum.p90_us, more.p90_us);
    sum.p99_us = worst(sum.p99_us, more.p99_us);
    sum.max_us = worst(sum.max_us, more.max_us);
}

/// All traffic of the look back and its length in milliseconds.
pub(crate) fn total(world: &World) -> (Traffic, u64) {
    let mut sum = Traffic::default();
    let mut length = 0_u64;
    for window in recent(world) {
        add(&mut sum, &window.total);
        length = length.saturating_add(window.length_ms);
    }
    (sum, length)
}

/// Each route's traffic in the look back, with its name.
pub(crate) fn by_route(world: &World) -> BTreeMap<RouteId, (String, Traffic)> {
    let mut sums: BTreeMap<RouteId, (String, Traffic)> = BTreeMap::new();
    for route in recent(world).flat_map(|window| &window.routes) {
        let (_, sum) =
            sums.entry(route.route.clone()).or_insert_with(|| (route.name.clone(), Traffic::default()));
        add(sum, &route.traffic);
    }
    sums
}

/// Upper bounds of the newest histogram, highest first, each with its share of every window.
pub(crate) fn heat(world: &World, rows: usize) -> Vec<(u64, Vec<Option<f64>>)> {
    let bounds: Vec<u64> =
        world.window().map(|w| w.heat.iter().map(|(bound, _)| *bound).collect()).unwrap_or_default();
    // Neighbours are joined until the rows suffice.
    let group = bounds.len().div_ceil(rows.max(1)).max(1);
    let share = |window: &Window, buckets: &[u64]| {
        let all: u64 = window.heat.iter().map(|(_, count)| count).sum();
        let here: u64 =
            window.heat.iter().filter(|(bound, _)| buckets.contains(bound)).map(|(_, count)| count).sum();
        if all == 0 { 0.0 } else { here as f64 / all as f64 }
    };
    let row = |buckets: &[u64]| {
        (buckets.last().copied().unwrap_or(0), series(world, |window| share(window, buckets)))
    };
    bounds.chunks(group).rev().map(row).collect()
}
