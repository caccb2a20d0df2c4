//! The audit of what was refused: failed logins, and changes that somebody may not make. Records are few for each source
//! and few in all, and what is left out is counted, so that an attacker is seen and cannot fill the disk.

use crate::Inner;
use crate::change::{Draft, terms};
use crate::session::{caller, source};
use actix_web::HttpRequest;
use gatehouse_common::ids::Revision;
use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::actor::Actor;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// Records of one source: at once, and milliseconds until there is room for another.
const OF_SOURCE: Rate = Rate { burst: 10, each_ms: 10_000 };
/// Records of all sources: some 14 MB a day if somebody tries for a whole day.
const OF_ALL: Rate = Rate { burst: 200, each_ms: 3_000 };
/// Sources remembered; of further ones only the number is known.
const SOURCES: usize = 4_096;
/// Between two records of what was left out.
const SUMMARY: Duration = Duration::from_secs(60);
/// Sources that are named in them.
const NAMED: usize = 5;
/// Longest path in a record, characters.
const PATH_CHARS: usize = 200;
/// Records that may wait to be written; more count as left out.
const WAITING: usize = 256;

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: i64,
    each_ms: i64,
}

/// How full a bucket is: the time at which it would be full again (GCRA), milliseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(i64);

impl Bucket {
    fn room(self, rate: Rate, now_ms: i64) -> bool {
        self.0.max(now_ms) - now_ms <= (rate.burst - 1) * rate.each_ms
    }

    fn take(&mut self, rate: Rate, now_ms: i64) {
        self.0 = self.0.max(now_ms) + rate.each_ms;
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    bucket: Bucket,
    left_out: u64,
}

/// Who was refused how often.
#[derive(Debug, Default)]
struct Limiter {
    all: Bucket,
    sources: HashMap<String, Seen>,
    /// Left out of sources that are not remembered.
    others: u64,
}

impl Limiter {
    /// Whether there is room for a record; else it is counted.
    fn admit(&mut self, source: &str, now_ms: i64) -> bool {
        if !self.sources.contains_key(source) && self.sources.len() >= SOURCES {
            // Those whose bucket is full again say nothing any more.
            self.sources.retain(|_, seen| seen.left_out > 0 || seen.bucket.0 > now_ms);
        }
        if !self.sources.contains_key(source) && self.sources.len() >= SOURCES {
            self.others += 1;
            return false;
        }
        let seen = self.sources.entry(source.to_owned()).or_default();
        if seen.bucket.room(OF_SOURCE, now_ms) && self.all.room(OF_ALL, now_ms) {
            seen.bucket.take(OF_SOURCE, now_ms);
            self.all.take(OF_ALL, now_ms);
            return true;
        }
        seen.left_out += 1;
        false
    }

    fn left_out(&mut self, source: &str) {
        match self.sources.get_mut(source) {
            Some(seen) => seen.left_out += 1,
            None => self.others += 1,
        }
    }

    /// What was left out since the last time: of the worst sources each, and of the rest together.
    fn summary(&mut self) -> Vec<(Option<String>, u64)> {
        let mut all: Vec<(String, u64)> = Vec::new();
        for (source, seen) in &mut self.sources {
            let count = std::mem::take(&mut seen.left_out);
            if count > 0 {
                all.push((source.clone(), count));
            }
        }
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let rest =
            all.iter().skip(NAMED).map(|(_, count)| count).sum::<u64>() + std::mem::take(&mut self.others);
        let named = all.into_iter().take(NAMED).map(|(source, count)| (Some(source), count));
        named.chain((rest > 0).then_some((None, rest))).collect()
    }
}

/// The records of what was refused.
pub(crate) struct Refusals {
    limiter: RwLock<Limiter>,
    records: mpsc::Sender<AuditEntry>,
    waiting: RwLock<Option<mpsc::Receiver<AuditEntry>>>,
}

impl Default for Refusals {
    fn default() -> Self {
        // Full: the record counts as left out.
        let (records, waiting) = mpsc::channel(WAITING);
        Self { limiter: RwLock::default(), records, waiting: RwLock::new(Some(waiting)) }
    }
}

/// Addresses that count as one source: an IPv6 client has a whole /64.
fn network(source: &str) -> String {
    match source.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
            let high = u128::from(address) >> 64 << 64;
            format!("{}/64", Ipv6Addr::from(high))
        }
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => source.to_owned(),
    }
}

fn entry(
    now_ms: i64,
    (actor, source): (&str, &str),
    (action, object): (&str, String),
    detail: Value,
) -> AuditEntry {
    AuditEntry {
        at_unix_ms: now_ms,
        actor: actor.to_owned(),
        source: source.to_owned(),
        action: action.to_owned(),
        object,
        outcome: "refused".to_owned(),
        detail,
        revision: Revision(0),
    }
}

impl Refusals {
    fn note(&self, entry: AuditEntry) {
        let network = network(&entry.source);
        let mut limiter = self.limiter.write().unwrap_or_else(PoisonError::into_inner);
        if limiter.admit(&network, entry.at_unix_ms) && self.records.try_send(entry).is_err() {
            limiter.left_out(&network);
        }
    }

    fn summary(&self, now_ms: i64) -> Vec<AuditEntry> {
        let left_out = self.limiter.write().unwrap_or_else(PoisonError::into_inner).summary();
        let told = |(source, count): (Option<String>, u64)| {
            let from = source.unwrap_or_else(|| "other sources".to_owned());
            let detail =
                json!({"message": format!("{count} more suppressed from {from}"), "suppressed": count});
            entry(now_ms, ("gatehoused", &from), ("refusals.suppressed", "appliance".to_owned()), detail)
        };
        left_out.into_iter().map(told).collect()
    }
}

/// What is told of a refusal.
fn why(problem: &Problem) -> Value {
    json!({"status": problem.status, "code": problem.code, "message": problem.detail})
}

/// Notes that a change was refused because of who asked for it.
pub(crate) fn refused(control: &Inner, request: &HttpRequest, problem: &Problem) {
    let dry = terms::current().is_some_and(|terms| terms.dry);
    if request.method().is_safe() || !matches!(problem.status, 401 | 403) || dry {
        return;
    }
    let actor = caller(control, request).map_or_else(|_| "anonymous".to_owned(), |caller| caller.name);
    let path: String = request.path().chars().take(PATH_CHARS).collect();
    let object = format!("{} {path}", request.method());
    let who = (actor.as_str(), &*source(control, request));
    control.refusals.note(entry(control.clock.unix_ms(), who, ("request.refused", object), why(problem)));
}

/// Notes that a login failed. A name that nobody has may be a password typed in the wrong field: only its keyed hash is
/// kept, which tells whether it was the same one.
pub(crate) fn login(control: &Inner, request: &HttpRequest, name: &str, problem: &Problem) {
    let state = control.changes.state();
    let known = crate::api::authorization::find(&state, name);
    let user = match &known {
        Some(user) => crate::state::Fields::text(&**user, "username").to_owned(),
        None => format!("unknown:{}", control.sealer.fingerprint("login", name)),
    };
    let who = (user.as_str(), &*source(control, request));
    let object = format!("user/{user}");
    control.refusals.note(entry(control.clock.unix_ms(), who, ("login.refused", object), why(problem)));
}

/// Writes what was noted, until its task is ended.
pub(crate) async fn follow(control: Arc<Inner>) {
    let waiting = control.refusals.waiting.write().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut waiting) = waiting else { return };
    let mut summary = tokio::time::interval(SUMMARY);
    summary.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let entries = tokio::select! {
            Some(entry) = waiting.recv() => vec![entry],
            _ = summary.tick() => control.refusals.summary(control.clock.unix_ms()),
        };
        for entry in entries {
            let written = control.changes.submit(Actor::System, move |_| Ok(Draft::record(entry))).await;
            if let Err(problem) = written {
                tracing::warn!(target: "audit", code = problem.code, "a refusal has no record: {problem}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sources_are_networks() {
        for (source, counted) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("", ""),
        ] {
            assert_eq!(network(source), counted);
        }
    }

    #[test]
    fn the_worst_are_named_and_the_rest_counted() {
        let mut limiter = Limiter::default();
        for source in 0..8 {
            for _ in 0..=(10 + source) {
                limiter.admit(&source.to_string(), 0);
            }
        }
        let summary = limiter.summary();
        assert_eq!(summary.len(), NAMED + 1);
        assert_eq!((summary[0].clone(), summary[5].clone()), ((Some("7".into()), 8), (None, 1 + 2 + 3)));
        assert!(limiter.summary().is_empty(), "told once");
    }

    proptest! {
        #[test]
        fn nobody_fills_the_disk_and_nothing_is_lost(steps in proptest::collection::vec((0_u16..6_000, 0_i64..400), 1..4_000)) {
            let (mut limiter, mut now_ms, mut admitted) = (Limiter::default(), 0, 0_u64);
            let mut of_first = 0_i64;
            for (source, step) in &steps {
                now_ms += step;
                // Half of all is of one source.
                let source = if source % 2 == 0 { 0 } else { *source };
                if limiter.admit(&source.to_string(), now_ms) {
                    admitted += 1;
                    of_first += i64::from(source == 0);
                }
            }
            let most = |rate: Rate| rate.burst + now_ms / rate.each_ms;
            prop_assert!(i64::try_from(admitted).unwrap() <= most(OF_ALL) && of_first <= most(OF_SOURCE));
            prop_assert!(limiter.sources.len() <= SOURCES);
            let left_out: u64 = limiter.summary().iter().map(|(_, count)| count).sum();
            prop_assert_eq!(admitted + left_out, steps.len() as u64);
        }
    }
}
