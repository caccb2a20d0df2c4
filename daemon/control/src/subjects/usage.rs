//! What each user has used: the cells that the data plane counts in, kept over restarts. A crash loses what was counted
//! since the last beat, half a minute at most. Also the past days and months, as far as they are kept.

use super::key_uses::KeyUses;
use super::times;
use crate::state::State;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::meter::{Usage, calendar};
use gatehouse_store::{Batch, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// Table of the store; not part of an archive, since it speaks of the present.
const TABLE: &str = "usage";
/// Past months and days kept.
const MONTHS: usize = 13;
const DAYS: usize = 62;
/// Rows of one commit.
const ROWS: usize = 2_000;

/// What one period has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Period {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

/// What is written down of a user's cells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    bandwidth: u64,
    throttle: u64,
    tier: [u64; 5],
    day_requests: u64,
    month_requests: u64,
    month_bytes: u64,
    /// By `YYYY-MM`.
    months: BTreeMap<String, Period>,
    /// Requests by `YYYY-MM-DD`.
    days: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Entry {
    usage: Arc<Usage>,
    kept: Kept,
}

/// Every user's usage.
#[derive(Debug, Default)]
pub(crate) struct Usages {
    users: RwLock<HashMap<String, Entry>>,
    /// When each API key was used last.
    pub(crate) keys: KeyUses,
}

fn newest<V>(map: &mut BTreeMap<String, V>, most: usize) {
    while map.len() > most {
        map.pop_first();
    }
}

impl Entry {
    /// The cells as they are to be written down now.
    fn seen(&self, now_ms: i64) -> Kept {
        let usage = &self.usage;
        let mut kept = Kept {
            bandwidth: usage.bandwidth.raw(),
            throttle: usage.throttle.raw(),
            tier: std::array::from_fn(|index| usage.tier.get(index).map_or(0, |meter| meter.raw())),
            day_requests: usage.day_requests.raw(),
            month_requests: usage.month_requests.raw(),
            month_bytes: usage.month_bytes.raw(),
            months: self.kept.months.clone(),
            days: self.kept.days.clone(),
        };
        let (day, month) = calendar(now_ms);
        let period =
            Period { requests: usage.month_requests.used(month, 1), bytes: usage.month_bytes.used(month, 1) };
        if period != Period::default() {
            kept.months.insert(times::month(now_ms), period);
        }
        let requests = usage.day_requests.used(day, 1);
        if requests > 0 {
            kept.days.insert(times::day(now_ms), requests);
        }
        newest(&mut kept.months, MONTHS);
        newest(&mut kept.days, DAYS);
        kept
    }

    fn of(kept: Kept) -> Self {
        let usage = Usage::default();
        usage.bandwidth.restore(kept.bandwidth);
        usage.throttle.restore(kept.throttle);
        usage.tier.iter().zip(kept.tier).for_each(|(meter, raw)| meter.restore(raw));
        usage.day_requests.restore(kept.day_requests);
        usage.month_requests.restore(kept.month_requests);
        usage.month_bytes.restore(kept.month_bytes);
        Self { usage: Arc::new(usage), kept }
    }
}

impl Usages {
    /// As they stood when they were written down last.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut entries = HashMap::new();
        for (user, bytes) in store.scan(TABLE)? {
            match serde_json::from_slice(&bytes) {
                Ok(kept) => drop(entries.insert(user, Entry::of(kept))),
                // Counters are no reason not to start.
                Err(error) => tracing::warn!(target: "usage", user, %error, "a user's counters begin anew"),
            }
        }
        Ok(Self { users: RwLock::new(entries), keys: KeyUses::load(store)? })
    }

    /// A user's cells: the same ones for as long as the user lives. Cheap.
    pub(crate) fn of(&self, user: &str) -> Arc<Usage> {
        if let Some(entry) = self.users.read().unwrap_or_else(PoisonError::into_inner).get(user) {
            return Arc::clone(&entry.usage);
        }
        let mut entries = self.users.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&entries.entry(user.to_owned()).or_default().usage)
    }

    /// Lets limits begin anew for everybody; quotas and bandwidth stay.
    pub(crate) fn clear_limits(&self) {
        let entries = self.users.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().for_each(|entry| entry.usage.clear_limits());
    }

    /// A user's months, oldest first, with the present one.
    pub(crate) fn months(&self, user: &str, now_ms: i64) -> BTreeMap<String, Period> {
        let entries = self.users.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(user).map(|entry| entry.seen(now_ms).months).unwrap_or_default()
    }

    /// A user's days, oldest first, with the present one.
    pub(crate) fn days(&self, user: &str, now_ms: i64) -> BTreeMap<String, u64> {
        let entries = self.users.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(user).map(|entry| entry.seen(now_ms).days).unwrap_or_default()
    }

    /// What a look at each user's cells gives, of those it gives something for.
    pub(crate) fn all<T>(&self, look: impl Fn(&str, &Usage) -> Option<T>) -> Vec<T> {
        let entries = self.users.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter_map(|(user, entry)| look(user, &entry.usage)).collect()
    }

    /// Requests of all users by month.
    pub(crate) fn totals(&self, now_ms: i64) -> BTreeMap<String, u64> {
        let entries = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let mut totals = BTreeMap::new();
        for (month, period) in entries.values().flat_map(|entry| entry.seen(now_ms).months) {
            *totals.entry(month).or_default() += period.requests;
        }
        totals
    }

    /// Writes down what has changed and drops who is no user any more. Blocks on the disk.
    ///
    /// # Errors
    /// What kept it from the disk; it is tried again with the next call.
    pub(crate) fn save(&self, store: &Store, state: &State, now_ms: i64) -> Result<(), Problem> {
        self.keys.save(store, state)?;
        let (changed, gone) = self.changed(state, now_ms);
        for rows in changed.chunks(ROWS) {
            let mut batch = Batch::default();
            for (user, kept) in rows {
                batch.put(TABLE, user, serde_json::to_vec(kept).unwrap_or_default());
            }
            store.commit(batch).map_err(|error| error.problem())?;
            let mut entries = self.users.write().unwrap_or_else(PoisonError::into_inner);
            for (user, kept) in rows {
                if let Some(entry) = entries.get_mut(user) {
                    entry.kept = kept.clone();
                }
            }
        }
        let mut batch = Batch::default();
        gone.iter().for_each(|user| batch.delete(TABLE, user));
        if !gone.is_empty() {
            store.commit(batch).map_err(|error| error.problem())?;
            let mut entries = self.users.write().unwrap_or_else(PoisonError::into_inner);
            for user in &gone {
                // One who came back meanwhile goes on in the same cells, and is written down anew.
                match entries.get_mut(user) {
                    Some(entry) if Arc::strong_count(&entry.usage) > 1 => entry.kept = Kept::default(),
                    _ => drop(entries.remove(user)),
                }
            }
        }
        Ok(())
    }

    fn changed(&self, state: &State, now_ms: i64) -> (Vec<(String, Kept)>, Vec<String>) {
        let entries = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for (user, entry) in entries.iter() {
            // A snapshot that is still served may hold the cells of one who is gone.
            if state.get("users", user).is_none() && Arc::strong_count(&entry.usage) == 1 {
                gone.push(user.clone());
                continue;
            }
            let seen = entry.seen(now_ms);
            if seen != entry.kept {
                changed.push((user.clone(), seen));
            }
        }
        (changed, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Row;
    use serde_json::json;

    const NOVEMBER: i64 = 1_795_600_000_000;

    fn state(users: &[&str]) -> State {
        let mut state = State::default();
        for user in users {
            state.set("users", user, Some(Arc::new(Row::new())));
        }
        state
    }

    fn count(usages: &Usages, user: &str, requests: u64, now_ms: i64) {
        let (usage, (day, month)) = (usages.of(user), calendar(now_ms));
        usage.month_requests.add(requests, month, 1);
        usage.day_requests.add(requests, day, 1);
        usage.tier[1].add(requests, now_ms, 60_000);
    }

    #[test]
    fn counted_on_over_a_restart() {
        let store = Store::memory().unwrap();
        let usages = Usages::load(&store).unwrap();
        count(&usages, "ana", 7, NOVEMBER);
        usages.of("idle");
        usages.save(&store, &state(&["ana", "idle"]), NOVEMBER).unwrap();
        assert_eq!(store.scan(TABLE).unwrap().len(), 1, "who used nothing has no row");
        let again = Usages::load(&store).unwrap();
        count(&again, "ana", 1, NOVEMBER);
        let (_, month) = calendar(NOVEMBER);
        assert_eq!(again.of("ana").month_requests.used(month, 1), 8);
        assert_eq!(again.of("ana").tier[1].used(NOVEMBER, 60_000), 8);
        again.clear_limits();
        let ana = again.of("ana");
        assert_eq!((ana.tier[1].used(NOVEMBER, 60_000), ana.month_requests.used(month, 1)), (0, 8));
    }

    #[test]
    fn past_months_are_kept_and_who_left_is_forgotten() {
        let store = Store::memory().unwrap();
        let usages = Usages::load(&store).unwrap();
        count(&usages, "ana", 5, NOVEMBER);
        usages.save(&store, &state(&["ana"]), NOVEMBER).unwrap();
        let december = times::next_month(NOVEMBER);
        count(&usages, "ana", 2, december);
        let months = usages.months("ana", december);
        let requests: Vec<_> =
            months.iter().map(|(month, period)| (month.as_str(), period.requests)).collect();
        assert_eq!(requests, [("2026-11", 5), ("2026-12", 2)]);
        assert_eq!(usages.days("ana", december).values().copied().collect::<Vec<_>>(), [5, 2]);
        usages.save(&store, &state(&[]), december).unwrap();
        assert!(usages.months("ana", december).is_empty() && store.scan(TABLE).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_row_keeps_nobody_from_starting() {
        let store = Store::memory().unwrap();
        let mut batch = Batch::default();
        batch.put(TABLE, "ana", b"{".to_vec());
        batch.put(TABLE, "eva", json!({"month_requests": 3}).to_string().into_bytes());
        store.commit(batch).unwrap();
        let usages = Usages::load(&store).unwrap();
        assert_eq!((usages.of("ana").month_requests.raw(), usages.of("eva").month_requests.raw()), (0, 3));
    }
}
