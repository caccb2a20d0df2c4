//! The one writer: a thread that takes whatever batches wait, commits them as one, and answers each.

use crate::{Backend, Batch, StoreError};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Batches that may wait; then callers wait.
const QUEUE_BATCHES: usize = 1_024;
/// Batches joined into one commit at most, so that the first is not kept waiting by the rest.
const GROUP_BATCHES: usize = 256;

struct Job {
    batch: Batch,
    answer: SyncSender<Result<(), StoreError>>,
}

/// The writer's handle.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` once closed: the thread ends when the last sender is gone.
    jobs: RwLock<Option<SyncSender<Job>>>,
    thread: RwLock<Option<std::thread::JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel(QUEUE_BATCHES);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work(&backend, &queue))?;
        Ok(Self { jobs: RwLock::new(Some(jobs)), thread: RwLock::new(Some(thread)) })
    }

    pub(crate) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let jobs =
            self.jobs.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::Closed)?;
        let (answer, answered) = sync_channel(1);
        jobs.send(Job { batch, answer }).map_err(|_| StoreError::Closed)?;
        drop(jobs);
        answered.recv().map_err(|_| StoreError::Closed)?
    }

    pub(crate) fn close(&self) {
        drop(self.jobs.write().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.write().unwrap_or_else(PoisonError::into_inner).take() {
            drop(thread.join());
        }
    }
}

fn work(backend: &Arc<dyn Backend>, queue: &Receiver<Job>) {
    loop {
        let mut group = match queue.recv_timeout(Duration::from_secs(3600)) {
            Ok(job) => vec![job],
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        group.extend(queue.try_iter().take(GROUP_BATCHES - 1));
        let joined = Batch { ops: group.iter().flat_map(|job| job.batch.ops.iter().cloned()).collect() };
        // Nothing to write is a barrier: what came before has been answered.
        let outcome = if joined.ops.is_empty() { Ok(()) } else { backend.commit(&joined) };
        for job in group {
            // The asker may have gone; what is written stays written.
            drop(job.answer.send(outcome.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Batch, Store, StoreError};

    #[test]
    fn many_writers_none_lost_none_hung() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "sled").unwrap();
        std::thread::scope(|scope| {
            for writer in 0..64 {
                let store = &store;
                scope.spawn(move || {
                    for row in 0..10 {
                        let mut batch = Batch::default();
                        batch.put("t", &format!("{writer:02}-{row}"), b"1".to_vec());
                        store.commit(batch).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.scan("t").unwrap().len(), 640);
        store.close();
        assert_eq!(store.commit(Batch::default()), Err(StoreError::Closed));
    }
}
