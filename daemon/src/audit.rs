//! Moves audit records from the store's outbox to the chained trail: append and sync there first, remove
//! here then. A crash in between repeats the append, which passes over numbers it has.

use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_store::segments::AuditLog;
use gatehouse_store::{Batch, Store, StoreError};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the outbox is looked at.
const PERIOD_MILLIS: u64 = 200;

/// The mover's thread.
pub(crate) struct AuditDrain {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl AuditDrain {
    /// Starts the mover.
    pub(crate) fn start(trail: AuditLog, store: Store) -> anyhow::Result<Self> {
        // Room for one message; a second stop would find the thread gone.
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            loop {
                let waited = stopped.recv_timeout(Duration::from_millis(PERIOD_MILLIS));
                if let Err(error) = drain(&store, &trail) {
                    // Records stay in the outbox and are tried again.
                    tracing::error!(target: "audit", %error, "audit records not moved");
                }
                if !matches!(waited, Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Moves what is left and ends.
    pub(crate) fn stop(self) {
        self.stop.send(()).ok();
        drop(self.thread.join());
    }
}

fn drain(store: &Store, trail: &AuditLog) -> Result<(), StoreError> {
    let rows = store.scan("outbox")?;
    if rows.is_empty() {
        return Ok(());
    }
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
