//! The audit trail: moves records from the store's outbox to the chained segments (append and sync there first,
//! remove here then; a crash in between repeats the append, which passes over numbers it has), and reads them.

use gatehouse_common::auditquery::AuditFilter;
use gatehouse_common::ops::audit::{
    AuditBreak, AuditEntry, AuditPage, AuditQuery, AuditRecord, AuditVerdict,
};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_store::segments::AuditLog;
use gatehouse_store::tables::{AUDIT_KEY, OUTBOX};
use gatehouse_store::walk::{Records, Walked};
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

/// Where records go beside the trail, each once it is in it. What a crash keeps from there is in the trail all the same.
#[derive(Clone)]
pub struct AuditExport(Arc<dyn Fn(&AuditRecord) + Send + Sync>);

impl AuditExport {
    /// `export` may block; the trail waits for it, changes do not.
    #[must_use]
    pub fn new(export: impl Fn(&AuditRecord) + Send + Sync + 'static) -> Self {
        Self(Arc::new(export))
    }
}

impl std::fmt::Debug for AuditExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditExport")
    }
}

/// How far the chain was followed, and with what result.
type Verified = (u64, Result<u64, String>);

#[derive(Debug)]
struct Shared {
    trail: AuditLog,
    store: Store,
    export: Option<AuditExport>,
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
    pub(crate) fn start(trail: AuditLog, store: Store, export: Option<AuditExport>) -> Result<Self, Problem> {
        let (stuck, verified) = (RwLock::default(), RwLock::default());
        let shared = Arc::new(Shared { trail, store, export, stuck, verified });
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
    pub(crate) fn page(&self, query: &AuditQuery, now_unix_ms: i64) -> Result<AuditPage, Problem> {
        let filter = AuditFilter::parse(query.q.as_deref().unwrap_or_default(), now_unix_ms)?;
        // What was recorded before the question is part of the answer; the mover may be at it too, which does no harm:
        // the trail passes over numbers it has.
        self.shared.attempt();
        let limit = query.limit.unwrap_or(PAGE_RECORDS).clamp(1, PAGE_RECORDS_MAX);
        let records = self
            .shared
            .trail
            .read_newest(limit, &|record| filter.matches(&record.entry))
            .map_err(|error| error.problem())?;
        let (total, broken) = match self.verify() {
            Ok(total) => (total, None),
            Err(broken) => (self.shared.trail.last_seq(), Some(broken)),
        };
        Ok(AuditPage { records, chain_ok: broken.is_none(), total, broken })
    }

    /// Follows the whole chain now. Blocks on the disk.
    pub(crate) fn verdict(&self) -> AuditVerdict {
        self.shared.attempt();
        match self.shared.walked() {
            Ok(Walked { records, files, hash }) => AuditVerdict { records, files, hash, broken: None },
            Err(broken) => AuditVerdict { records: 0, files: 0, hash: String::new(), broken: Some(broken) },
        }
    }

    /// All records, oldest first, those before the question among them. Blocks on the disk.
    pub(crate) fn records(&self) -> Result<Records, Problem> {
        self.shared.attempt();
        Records::open(self.shared.trail.folder()).map_err(|error| error.problem())
    }

    /// Follows the chain; the result is kept until there are new records.
    pub(crate) fn verify(&self) -> Result<u64, String> {
        let last = self.shared.trail.last_seq();
        let known = self.shared.verified.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, result)) = known.filter(|(seq, _)| *seq == last) {
            return result;
        }
        let result = self.shared.walked().map(|walked| walked.records).map_err(|broken| told(&broken));
        *self.shared.verified.write().unwrap_or_else(PoisonError::into_inner) = Some((last, result.clone()));
        result
    }
}

fn told(AuditBreak { file, line, why }: &AuditBreak) -> String {
    format!("{file} line {line}: {why}")
}

impl Shared {
    /// Follows the whole chain on the disk, and asks the store for the number that was given last: records that somebody
    /// cut off at the end leave a chain that holds.
    fn walked(&self) -> Result<Walked, AuditBreak> {
        let trail =
            |why: String| AuditBreak { file: self.trail.folder().display().to_string(), line: 0, why };
        let given = given(&self.store).map_err(|error| trail(error.to_string()))?;
        // Behind the number: what leaves the outbox meanwhile is in the trail.
        let waiting = self.store.scan(OUTBOX).map_err(|error| trail(error.to_string()))?;
        let last = waiting.last().and_then(|(key, _)| key.parse().ok()).unwrap_or(0);
        let walked = self.trail.verify().map_err(|broken| {
            let gatehouse_store::walk::Broken { file, line, why, .. } = broken;
            AuditBreak { file, line, why }
        })?;
        if walked.records.max(last) < given {
            return Err(trail(format!("the trail ends with record {}; {given} were given", walked.records)));
        }
        Ok(walked)
    }

    fn attempt(&self) {
        let outcome = drain(&self.store, &self.trail, self.export.as_ref());
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

/// Number of the last record that the store knows of.
fn given(store: &Store) -> Result<u64, StoreError> {
    let Some(bytes) = store.get("meta", AUDIT_KEY)? else { return Ok(0) };
    let corrupt = |error: serde_json::Error| StoreError::Corrupt {
        place: format!("meta/{AUDIT_KEY}"),
        detail: error.to_string(),
    };
    serde_json::from_slice(&bytes).map_err(corrupt)
}

fn drain(store: &Store, trail: &AuditLog, export: Option<&AuditExport>) -> Result<(), StoreError> {
    let seen = store.scan(OUTBOX)?;
    if seen.is_empty() {
        return Ok(());
    }
    // A row may have been seen before it was synced, and may be gone after a crash or a failed write: the trail must
    // not tell of a change that never was.
    store.barrier()?;
    let there: BTreeMap<String, Vec<u8>> = store.scan(OUTBOX)?.into_iter().collect();
    let rows: Vec<_> = seen.into_iter().filter(|(key, row)| there.get(key) == Some(row)).collect();
    let mut entries = Vec::with_capacity(rows.len());
    let mut moved = Batch::default();
    for (key, bytes) in &rows {
        let corrupt = |detail: String| StoreError::Corrupt { place: format!("outbox {key}"), detail };
        let seq: u64 = key.parse().map_err(|_| corrupt("expected a number".to_owned()))?;
        let entry: AuditEntry = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        entries.push((seq, entry));
        moved.delete(OUTBOX, key);
    }
    let new = trail.append(&entries)?;
    store.commit(moved)?;
    if let Some(AuditExport(export)) = export {
        new.iter().for_each(|record| export(record));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::ids::Revision;

    fn changed(store: &Store, number: u64) {
        let entry = AuditEntry {
            at_unix_ms: i64::try_from(number).unwrap(),
            actor: "admin".into(),
            source: "test".into(),
            action: "user.update".into(),
            object: format!("user/{number}"),
            outcome: "ok".into(),
            detail: serde_json::Value::Null,
            revision: Revision(number),
        };
        let mut batch = Batch::default();
        batch.put(OUTBOX, &gatehouse_store::tables::outbox_key(number), serde_json::to_vec(&entry).unwrap());
        batch.put("meta", AUDIT_KEY, number.to_string().into_bytes());
        store.commit(batch).unwrap();
    }

    #[test]
    fn records_are_exported_once_and_a_cut_end_shows() {
        let folder = tempfile::tempdir().unwrap();
        let (store, told) = (Store::memory().unwrap(), Arc::new(RwLock::new(Vec::new())));
        let heard = Arc::clone(&told);
        let export = AuditExport::new(move |record| heard.write().unwrap().push(record.seq));
        let open = |export| {
            AuditTrail::start(AuditLog::open(folder.path()).unwrap(), store.clone(), export).unwrap()
        };
        let trail = open(Some(export));
        (1..=3).for_each(|number| changed(&store, number));
        assert_eq!(trail.verdict().records, 3);
        let page = |q: &str| {
            let query = AuditQuery { q: Some(q.to_owned()), limit: None };
            trail.page(&query, 0).map(|page| page.records.iter().map(|record| record.seq).collect::<Vec<_>>())
        };
        assert_eq!(page("object:user/2 actor:admin"), Ok(vec![2]));
        assert!(page("since:x").unwrap_err().detail.contains("span"));
        trail.stop();
        assert_eq!(*told.read().unwrap(), [1, 2, 3]);
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let two: Vec<&str> = text.split_inclusive('\n').take(2).collect();
        std::fs::write(&file, two.concat()).unwrap();
        let broken = open(None).verdict().broken.unwrap();
        assert!(broken.why.contains("ends with record 2; 3 were given"), "{broken:?}");
    }
}
