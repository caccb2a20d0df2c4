//! The only spawner: a group of tasks that shutdown can wait for.

use std::future::Future;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one room.
#[derive(Debug, Clone)]
pub struct TaskGroup {
    room: &'static str,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl TaskGroup {
    /// An empty group.
    #[must_use]
    pub fn new(room: &'static str) -> Self {
        Self { room, tracker: TaskTracker::new(), cancel: CancellationToken::new() }
    }

    /// Starts a task; it is dropped at its next await once the group is closed.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        let tracked = self.tracker.track_future(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = task => {}
            }
        });
        drop(tokio::spawn(tracked));
    }

    /// Starts a task that must come to its own end; closing waits for it.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_to_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(self.tracker.track_future(task)));
    }

    /// Ends the group and waits for its tasks.
    pub async fn close(&self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        tracing::debug!(room = self.room, "tasks ended");
    }
}
