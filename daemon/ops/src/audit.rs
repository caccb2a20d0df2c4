//! The audit trail: moves records from the store's outbox to the chained segments (append and sync there first,
//! remove here then; a crash in between repeats the append, which passes over numbers it has), and reads them.

use gatehouse_common::ops::audit::{AuditEntry, AuditPage, AuditQuery, AuditRecord};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_store::segments::AuditLog;
use gatehouse_store::{Batch, Store, StoreError};
use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the outbox is looked at.
const PERIOD_MILLIS: u64 = 200;
/// Records of a page, if not asked for otherwise.
const PAGE_RECORDS: usize = 200;
/// Most records of a page.
const PAGE_RECORDS_MAX: usize = 10_000;

/// How far the chain was followed, and with what result.
type Verified = (u64, Result<u64, String>);

#[derive(Debug)]
struct Shared {
    trail: AuditLog,
    store: Store,
    stuck: RwLock<Option<String>>,
    verified: RwLock<Option<Verified>>,
}

/// The trail and its mover.
#[derive(Debug, Clone)]
pub(crate) struct AuditTrail {
    shared: Arc<Shared>,
    stop: SyncSender<()>,
    thread: Arc<RwLock<Option<JoinHandle<()>>>>,
}

impl AuditTrail {
    /// Starts the mover.
    pub(crate) fn start(trail: AuditLog, store: Store) -> Result<Self, Problem> {
        let shared = Arc::new(Shared { trail, store, stuck: RwLock::default(), verified: RwLock::default() });
        // Room for one message; a second stop would find the thread gone.
        let (stop, stopped) = sync_channel(1);
        let mover = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            loop {
                let waited = stopped.recv_timeout(Duration::from_millis(PERIOD_MILLIS));
                mover.attempt();
                if !matches!(waited, Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        });
        let thread = thread
            .map_err(|error| Problem::new(Code::Internal, format!("starting the audit thread: {error}")))?;
        Ok(Self { shared, stop, thread: Arc::new(RwLock::new(Some(thread))) })
    }

    /// Moves what is left and ends the mover.
    pub(crate) fn stop(&self) {
        self.stop.send(()).ok();
        if let Some(thread) = self.thread.write().unwrap_or_else(PoisonError::into_inner).take() {
            drop(thread.join());
        }
    }

    /// Why records cannot be moved, if they cannot.
    pub(crate) fn stuck(&self) -> Option<String> {
        self.shared.stuck.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest records that match, and whether the whole chain holds. Blocks on the disk.
    pub(crate) fn page(&self, query: &AuditQuery) -> Result<AuditPage, Problem> {
        let words: Vec<String> =
            query.q.iter().flat_map(|q| q.split_whitespace()).map(str::to_lowercase).collect();
        // What was recorded before the question is part of the answer; the mover may be at it too, which does no harm:
        // the trail passes over numbers it has.
        self.shared.attempt();
        let limit = query.limit.unwrap_or(PAGE_RECORDS).clamp(1, PAGE_RECORDS_MAX);
        let records = self
            .shared
            .trail
            .read_newest(limit, &|record| words.iter().all(|word| mentions(record, word)))
            .map_err(|error| error.problem())?;
        let (total, broken) = match self.verify() {
            Ok(total) => (total, None),
            Err(broken) => (self.shared.trail.last_seq(), Some(broken)),
        };
        Ok(AuditPage { records, chain_ok: broken.is_none(), total, broken })
    }

    /// Follows the chain; the result is kept until there are new records.
    pub(crate) fn verify(&self) -> Result<u64, String> {
        let last = self.shared.trail.last_seq();
        let known = self.shared.verified.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, result)) = known.filter(|(seq, _)| *seq == last) {
            return result;
        }
        let result = self.shared.trail.verify();
        *self.shared.verified.write().unwrap_or_else(PoisonError::into_inner) = Some((last, result.clone()));
        result
    }
}

fn mentions(record: &AuditRecord, word: &str) -> bool {
    let AuditEntry { actor, source, action, object, outcome, .. } = &record.entry;
    [actor, source, action, object, outcome].iter().any(|field| field.to_lowercase().contains(word))
}

impl Shared {
    fn attempt(&self) {
        let outcome = drain(&self.store, &self.trail);
        let mut stuck = self.stuck.write().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => *stuck = None,
            // Records stay in the outbox and are tried again; told once, not five times a second.
            Err(error) => {
                let text = error.to_string();
                if stuck.as_ref() != Some(&text) {
                    tracing::error!(target: "audit", %error, "audit records not moved");
                    *stuck = Some(text);
                }
            }
        }
    }
}

fn drain(store: &Store, trail: &AuditLog) -> Result<(), StoreError> {
    let seen = store.scan("outbox")?;
    if seen.is_empty() {
        return Ok(());
    }
    // A row may have been seen before it was synced, and may be gone after a crash or a failed write: the trail must
    // not tell of a change that never was.
    store.barrier()?;
    let there: BTreeMap<String, Vec<u8>> = store.scan("outbox")?.into_iter().collect();
    let rows: Vec<_> = seen.into_iter().filter(|(key, row)| there.get(key) == Some(row)).collect();
    let mut entries = Vec::with_capacity(rows.len());
    let mut moved = Batch::default();
    for (key, bytes) in &rows {
        let corrupt = |detail: String| StoreError::Corrupt { place: format!("outbox {key}"), detail };
        let seq: u64 = key.parse().map_err(|_| corrupt("expected a number".to_owned()))?;
        let entry: AuditEntry = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        entries.push((seq, entry));
        moved.delete("outbox", key);
    }
    trail.append(&entries)?;
    store.commit(moved)
}
