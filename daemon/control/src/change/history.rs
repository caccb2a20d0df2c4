//! The history: what each change made of the rows it touched, so that it can be seen, compared and taken back. Heads are
//! held in memory; rows, sealed as they are at rest, lie in the store alone and are bounded.

use crate::state::{Row, State};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_store::tables::outbox_key;
use gatehouse_store::{Batch, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Table of the heads.
const HEADS: &str = "revisions";
/// Table of the rows.
const ROWS: &str = "revision_rows";
/// Who is logged in, by which credentials, and what was revoked is of the present: it has no history, so that nothing that
/// was ended or used up comes back.
const PRESENT: [&str; 7] =
    ["known_sources", "oidc_logins", "one_time_tokens", "revoked", "second_factors", "sessions", "tokens"];

/// How much of the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Revisions.
    pub revisions: usize,
    /// Bytes of rows, as JSON.
    pub bytes: u64,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { revisions: 1_000, bytes: 64 * 1_048_576 }
    }
}

/// One revision without its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    pub(crate) at_unix_ms: i64,
    pub(crate) actor: String,
    pub(crate) source: String,
    pub(crate) action: String,
    pub(crate) object: String,
    /// Rows it changed.
    pub(crate) rows: usize,
    /// Bytes of those rows before and after.
    pub(crate) bytes: u64,
    /// Whether its rows are kept: one that alone is larger than all that may be kept has only a head.
    pub(crate) kept: bool,
    /// Revisions that it took back.
    #[serde(default)]
    pub(crate) undoes: Vec<u64>,
}

/// A row that a change made, changed or took away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Turned {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) before: Option<Arc<Row>>,
    pub(crate) after: Option<Arc<Row>>,
}

/// The rows that differ between two states, of those that were written.
pub(crate) fn turned<'w>(
    before: &State,
    after: &State,
    written: impl Iterator<Item = (&'static str, &'w str)>,
) -> Vec<Turned> {
    let mut places: Vec<_> = written.filter(|(table, _)| !PRESENT.contains(table)).collect();
    places.sort_unstable();
    places.dedup();
    let row = |(table, key): (&'static str, &str)| Turned {
        table: table.to_owned(),
        key: key.to_owned(),
        before: before.get(table, key).cloned(),
        after: after.get(table, key).cloned(),
    };
    places.into_iter().map(row).filter(|turned| turned.before != turned.after).collect()
}

/// The heads of what is kept, and how much is kept.
#[derive(Debug)]
pub(crate) struct History {
    heads: RwLock<BTreeMap<u64, Head>>,
    limits: RwLock<HistoryLimits>,
}

fn bad(table: &str, key: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { place: format!("table {table}, key {key}"), detail: error.to_string() }
}

fn read(store: &Store) -> Result<BTreeMap<u64, Head>, StoreError> {
    let heads = store.scan(HEADS)?.into_iter().map(|(key, bytes)| {
        let head: Head = serde_json::from_slice(&bytes).map_err(|error| bad(HEADS, &key, &error))?;
        Ok((head.revision, head))
    });
    heads.collect()
}

impl History {
    pub(super) fn load(store: &Store, limits: HistoryLimits) -> Result<Self, StoreError> {
        Ok(Self { heads: RwLock::new(read(store)?), limits: RwLock::new(limits) })
    }

    /// Takes what the store holds now.
    pub(super) fn reload(&self, store: &Store) -> Result<(), StoreError> {
        *self.heads.write().unwrap_or_else(PoisonError::into_inner) = read(store)?;
        Ok(())
    }

    pub(super) fn bound(&self, limits: HistoryLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> HistoryLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a revision to what is written. Its head says what was kept.
    pub(super) fn record(
        &self,
        writes: &mut Batch,
        mut head: Head,
        rows: &[Turned],
    ) -> Result<Head, Problem> {
        let failed = |error: serde_json::Error| Problem::new(Code::Internal, error.to_string());
        let text = serde_json::to_vec(rows).map_err(failed)?;
        let key = outbox_key(head.revision);
        (head.rows, head.bytes) = (rows.len(), text.len() as u64);
        head.kept = head.bytes <= self.limits().bytes;
        if head.kept {
            writes.put(ROWS, &key, text);
        }
        writes.put(HEADS, &key, serde_json::to_vec(&head).map_err(failed)?);
        Ok(head)
    }

    /// Revisions that must go for the new ones to have room, the oldest first; their removal is written.
    pub(super) fn make_room(&self, new: &[Head], batch: &mut Batch) -> Vec<u64> {
        if new.is_empty() {
            return Vec::new();
        }
        let (limits, heads) = (self.limits(), self.heads.read().unwrap_or_else(PoisonError::into_inner));
        let weight = |head: &Head| if head.kept { head.bytes } else { 0 };
        let (mut count, mut bytes) =
            (heads.len() + new.len(), heads.values().chain(new).map(weight).sum::<u64>());
        let mut gone = Vec::new();
        for head in heads.values().chain(new) {
            if count <= limits.revisions && bytes <= limits.bytes {
                break;
            }
            (count, bytes) = (count - 1, bytes - weight(head));
            gone.push(head.revision);
        }
        for revision in &gone {
            batch.delete(HEADS, &outbox_key(*revision));
            batch.delete(ROWS, &outbox_key(*revision));
        }
        gone
    }

    /// What was written is on the disk.
    pub(super) fn written(&self, new: Vec<Head>, gone: &[u64]) {
        let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
        heads.extend(new.into_iter().map(|head| (head.revision, head)));
        heads.retain(|revision, _| !gone.contains(revision));
    }

    /// Heads of what is kept, the oldest first.
    pub(crate) fn heads(&self) -> BTreeMap<u64, Head> {
        self.heads.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One head.
    pub(crate) fn head(&self, revision: u64) -> Option<Head> {
        self.heads.read().unwrap_or_else(PoisonError::into_inner).get(&revision).cloned()
    }
}

/// The rows of a revision. Blocks on the disk.
///
/// # Errors
/// A store that cannot be read, or 409 where the rows were not kept.
pub(crate) fn rows(store: &Store, revision: u64) -> Result<Vec<Turned>, Problem> {
    let key = outbox_key(revision);
    let missing = || {
        let text = format!("revision {revision}: its rows are not kept: it was too large, or it is too old");
        Problem::new(Code::Conflict, text)
    };
    let bytes = store.get(ROWS, &key).map_err(|error| error.problem())?.ok_or_else(missing)?;
    serde_json::from_slice(&bytes).map_err(|error| bad(ROWS, &key, &error).problem())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn head(revision: u64) -> Head {
        Head {
            revision,
            at_unix_ms: 1,
            actor: "ana".to_owned(),
            source: "test".to_owned(),
            action: "group.create".to_owned(),
            object: "group/a".to_owned(),
            rows: 0,
            bytes: 0,
            kept: false,
            undoes: Vec::new(),
        }
    }

    fn row(length: usize) -> Turned {
        let row = json!({"text": "x".repeat(length)}).as_object().cloned().unwrap();
        Turned { table: "groups".to_owned(), key: "a".to_owned(), before: None, after: Some(Arc::new(row)) }
    }

    #[test]
    fn only_what_differs_and_has_a_history_is_kept() {
        let (before, mut after) = (State::default(), State::default());
        for table in ["groups", "sessions", "revoked"] {
            after.set(table, "a", Some(Arc::new(Row::new())));
        }
        let written =
            [("groups", "a"), ("groups", "a"), ("groups", "none"), ("sessions", "a"), ("revoked", "a")];
        let found = turned(&before, &after, written.into_iter());
        assert_eq!(found.iter().map(|one| one.table.as_str()).collect::<Vec<_>>(), ["groups"]);
    }

    #[test]
    fn what_is_too_large_has_a_head_alone() {
        let store = Store::memory().unwrap();
        let history = History::load(&store, HistoryLimits { revisions: 9, bytes: 500 }).unwrap();
        let mut batch = Batch::default();
        let made = history.record(&mut batch, head(1), &[row(1_000)]).unwrap();
        assert!(!made.kept && history.make_room(std::slice::from_ref(&made), &mut batch).is_empty());
        store.commit(batch).unwrap();
        history.written(vec![made], &[]);
        assert_eq!(rows(&store, 1).unwrap_err().status, 409);
        assert_eq!(History::load(&store, HistoryLimits::default()).unwrap().heads(), history.heads());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_never_grows_beyond_its_bounds_and_never_has_a_gap(
            sizes in proptest::collection::vec(0_usize..400, 1..40), most in 1_usize..12, bytes in 200_u64..2_000
        ) {
            let store = Store::memory().unwrap();
            let limits = HistoryLimits { revisions: most, bytes };
            let history = History::load(&store, limits).unwrap();
            for (index, size) in sizes.iter().enumerate() {
                let mut batch = Batch::default();
                let made = history.record(&mut batch, head(index as u64 + 1), &[row(*size)]).unwrap();
                let new = vec![made];
                let gone = history.make_room(&new, &mut batch);
                store.commit(batch).unwrap();
                history.written(new, &gone);
                let heads = history.heads();
                let kept: u64 = heads.values().filter(|head| head.kept).map(|head| head.bytes).sum();
                prop_assert!(heads.len() <= most && kept <= bytes);
                let last = *heads.keys().next_back().unwrap();
                prop_assert_eq!(last, index as u64 + 1, "the newest stays");
                prop_assert_eq!(last - heads.keys().next().unwrap() + 1, heads.len() as u64);
                prop_assert_eq!(store.scan(HEADS).unwrap().len(), heads.len());
                for head in heads.values().filter(|head| head.kept) {
                    prop_assert_eq!(rows(&store, head.revision).unwrap().len(), 1);
                }
            }
        }
    }
}
