//! Telemetry to windows: one sampler takes the differences of the counters once a second; a reader joins as many
//! seconds as it wants. Histograms are kept sparse, so a quiet route costs nothing.

use gatehouse_common::ids::{Revision, RouteId};
use gatehouse_common::limits::WINDOWS_KEPT;
use gatehouse_common::ops::metrics::{RouteTraffic, Traffic, Window};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::command::{Command, ControlHandle};
use gatehouse_corridor::permission::grant;
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::{BUCKETS, RouteStats, Telemetry, bucket_top, quantile};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Seconds of which the routes are kept: the longest window a reader may ask for.
pub(crate) const ROUTE_SECONDS: usize = 60;

/// Counters at one moment.
#[derive(Clone)]
struct Counts {
    numbers: [u64; 5],
    buckets: Box<[u64; BUCKETS]>,
}

/// What came to the counters within a second.
#[derive(Debug, Clone, Default)]
struct Delta {
    numbers: [u64; 5],
    max: u64,
    buckets: BTreeMap<usize, u64>,
}

#[derive(Debug, Clone, Default)]
struct Second {
    at_unix_ms: i64,
    length_ms: u64,
    revision: Revision,
    total: Delta,
    routes: Vec<(RouteId, Arc<str>, Delta)>,
    in_flight: u64,
    connections: u64,
    dropped: u64,
}

/// The seconds; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Windows {
    seconds: Arc<RwLock<VecDeque<Arc<Second>>>>,
    /// Seconds sampled since the start.
    count: watch::Sender<u64>,
}

fn counts(stats: &RouteStats) -> Counts {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let numbers =
        [&stats.requests, &stats.errors, &stats.refused, &stats.bytes_in, &stats.bytes_out].map(read);
    Counts { numbers, buckets: Box::new(stats.latency.counts()) }
}

fn delta(stats: &RouteStats, before: Option<&Counts>, now: &Counts) -> Delta {
    let mut delta = Delta { max: stats.latency.take_max(), numbers: now.numbers, ..Delta::default() };
    for (number, old) in delta.numbers.iter_mut().zip(before.map(|before| before.numbers).unwrap_or_default())
    {
        *number = number.saturating_sub(old);
    }
    for (index, count) in now.buckets.iter().enumerate() {
        let old = before.and_then(|before| before.buckets.get(index)).copied().unwrap_or(0);
        if *count > old {
            delta.buckets.insert(index, count - old);
        }
    }
    delta
}

impl Delta {
    fn add(&mut self, other: &Self) {
        for (number, more) in self.numbers.iter_mut().zip(other.numbers) {
            *number += more;
        }
        self.max = self.max.max(other.max);
        for (index, count) in &other.buckets {
            *self.buckets.entry(*index).or_default() += count;
        }
    }

    fn traffic(&self) -> Traffic {
        let mut counts = [0; BUCKETS];
        for (index, count) in &self.buckets {
            if let Some(slot) = counts.get_mut(*index) {
                *slot = *count;
            }
        }
        let [requests, errors, refused, bytes_in, bytes_out] = self.numbers;
        let max = (!self.buckets.is_empty()).then_some(self.max);
        // A bucket's upper bound may lie above what was really seen.
        let at = |share| quantile(&counts, share).map(|value| max.map_or(value, |max| value.min(max)));
        Traffic {
            requests,
            errors,
            refused,
            bytes_in,
            bytes_out,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            max_us: max,
        }
    }
}

/// The sampler's memory of the last sample.
#[derive(Default)]
struct Sampler {
    total: Option<Counts>,
    routes: HashMap<RouteId, Counts>,
}

impl Sampler {
    fn sample(&mut self, telemetry: &Telemetry) -> Second {
        let now = counts(&telemetry.total);
        let total = delta(&telemetry.total, self.total.as_ref(), &now);
        self.total = Some(now);
        let mut routes = Vec::new();
        let known = telemetry.routes();
        for (id, route) in &known {
            let (name, stats) = (&route.name, &route.stats);
            let before = self.routes.get(id);
            let requests = stats.requests.load(Ordering::Relaxed);
            if requests == before.map_or(0, |before| before.numbers[0]) {
                continue;
            }
            let now = counts(stats);
            routes.push((id.clone(), Arc::clone(name), delta(stats, before, &now)));
            self.routes.insert(id.clone(), now);
        }
        if self.routes.len() > known.len() {
            self.routes.retain(|id, _| known.contains_key(id));
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Second {
            total,
            routes,
            in_flight: read(&telemetry.in_flight),
            connections: read(&telemetry.connections),
            dropped: read(&telemetry.dropped_records) + read(&telemetry.dropped_lines),
            ..Second::default()
        }
    }
}

impl Windows {
    /// Starts the sampler.
    pub(crate) fn start(
        &self,
        telemetry: Arc<Telemetry>,
        control: ControlHandle,
        clock: Clock,
        tasks: &TaskGroup,
    ) {
        let windows = self.clone();
        tasks.spawn(async move {
            let mut sampler = Sampler::default();
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut last = clock.unix_ms();
            let read = grant(&Actor::System).read;
            loop {
                tick.tick().await;
                let mut second = sampler.sample(&telemetry);
                second.at_unix_ms = clock.unix_ms();
                second.length_ms = u64::try_from(second.at_unix_ms - last).unwrap_or(0).max(1);
                last = second.at_unix_ms;
                second.revision =
                    control.ask(|reply| Command::Revision(read, reply)).await.unwrap_or_default();
                windows.push(second);
            }
        });
    }

    fn push(&self, second: Second) {
        let mut seconds = self.seconds.write().unwrap_or_else(PoisonError::into_inner);
        seconds.push_back(Arc::new(second));
        if seconds.len() > WINDOWS_KEPT {
            seconds.pop_front();
        }
        let old = seconds.len().checked_sub(ROUTE_SECONDS + 1);
        if let Some(old) = old.and_then(|index| seconds.get_mut(index)) {
            *old = Arc::new(Second { routes: Vec::new(), ..Second::clone(old) });
        }
        drop(seconds);
        self.count.send_modify(|count| *count += 1);
    }

    /// Seconds sampled since the start.
    pub(crate) fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Waits until this many seconds have been sampled.
    pub(crate) async fn reached(&self, count: u64) {
        let mut counted = self.count.subscribe();
        // The sender lives in self, so this cannot fail while we wait.
        drop(counted.wait_for(|now| *now >= count).await);
    }

    /// The newest seconds as one window.
    pub(crate) fn newest(&self, seconds: usize) -> Window {
        let kept = self.seconds.read().unwrap_or_else(PoisonError::into_inner);
        let joined: Vec<Arc<Second>> = kept.iter().rev().take(seconds.max(1)).cloned().collect();
        drop(kept);
        window(&joined)
    }

    /// The newest seconds as windows of a second each, oldest first; without the newest one.
    pub(crate) fn history(&self, seconds: usize) -> Vec<Window> {
        let kept = self.seconds.read().unwrap_or_else(PoisonError::into_inner);
        let older: Vec<Arc<Second>> = kept.iter().rev().skip(1).take(seconds).cloned().collect();
        drop(kept);
        older.iter().rev().map(|second| window(std::slice::from_ref(second))).collect()
    }
}

/// Joins seconds, newest first.
fn window(seconds: &[Arc<Second>]) -> Window {
    let Some(newest) = seconds.first() else { return Window::default() };
    let mut total = Delta::default();
    let mut routes: BTreeMap<&RouteId, (&str, Delta)> = BTreeMap::new();
    for second in seconds {
        total.add(&second.total);
        for (id, name, delta) in &second.routes {
            routes.entry(id).or_insert_with(|| (name, Delta::default())).1.add(delta);
        }
    }
    let mut routes: Vec<RouteTraffic> = routes
        .into_iter()
        .map(|(id, (name, delta))| RouteTraffic {
            route: id.clone(),
            name: name.to_owned(),
            traffic: delta.traffic(),
        })
        .collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.traffic.requests));
    Window {
        at_unix_ms: newest.at_unix_ms,
        length_ms: seconds.iter().map(|second| second.length_ms).sum(),
        revision: newest.revision,
        heat: total.buckets.iter().map(|(index, count)| (bucket_top(*index), *count)).collect(),
        total: total.traffic(),
        in_flight: newest.in_flight,
        connections: newest.connections,
        routes,
        dropped: newest.dropped,
        ..Window::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_what_came_within_it() {
        let telemetry = Telemetry::new(1);
        let stats = [telemetry.route_stats(&RouteId::from("r"), "shop/v1")];
        let windows = Windows::default();
        let mut sampler = Sampler::default();
        for (requests, micros) in [(3, 100), (0, 0), (5, 9_000)] {
            for _ in 0..requests {
                for stats in [&telemetry.total, &*stats[0]] {
                    stats.requests.fetch_add(1, Ordering::Relaxed);
                    stats.latency.record(micros);
                }
            }
            windows.push(Second { length_ms: 1_000, ..sampler.sample(&telemetry) });
        }
        let counts: Vec<u64> = windows.history(9).iter().map(|window| window.total.requests).collect();
        assert_eq!(counts, [3, 0]);
        let newest = windows.newest(1);
        assert_eq!(
            (newest.total.requests, newest.total.max_us, newest.total.p50_us),
            (5, Some(9_000), Some(9_000))
        );
        let joined = windows.newest(3);
        assert_eq!((joined.total.requests, joined.length_ms, joined.routes.len()), (8, 3_000, 1));
        assert_eq!(joined.routes[0].traffic.requests, 8);
        assert_eq!(windows.newest(1).routes[0].name, "shop/v1");
        assert_eq!(windows.count(), 3);
    }

    #[test]
    fn old_seconds_forget_their_routes_and_the_oldest_go() {
        let windows = Windows::default();
        for number in 0..WINDOWS_KEPT as i64 + 5 {
            let routes = vec![(RouteId::from("r"), "r".into(), Delta::default())];
            windows.push(Second { at_unix_ms: number, routes, ..Second::default() });
        }
        let all = windows.history(10_000);
        assert_eq!(all.len(), WINDOWS_KEPT - 1);
        assert_eq!(all[0].at_unix_ms, 5);
        assert_eq!(all.iter().filter(|window| !window.routes.is_empty()).count(), ROUTE_SECONDS - 1);
    }
}
