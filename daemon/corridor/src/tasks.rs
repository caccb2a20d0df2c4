//! The only spawner: a group of tasks that shutdown can wait for.

use std::future::Future;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one room. They run on the runtime that the group was made in, whoever starts them: a server's
/// worker ends before the daemon does, and would take its tasks along.
#[derive(Debug, Clone)]
pub struct TaskGroup {
    room: &'static str,
    runtime: Option<Handle>,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl TaskGroup {
    /// An empty group.
    #[must_use]
    pub fn new(room: &'static str) -> Self {
        let runtime = Handle::try_current().ok();
        Self { room, runtime, tracker: TaskTracker::new(), cancel: CancellationToken::new() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(match &self.runtime {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        });
    }

    /// Starts a task; it is dropped at its next await once the group is closed.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        let tracked = self.tracker.track_future(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = task => {}
            }
        });
        self.start(tracked);
    }

    /// Starts a task that must come to its own end; closing waits for it.
    pub fn spawn_to_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.start(self.tracker.track_future(task));
    }

    /// Ends the group and waits for its tasks.
    pub async fn close(&self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        tracing::debug!(room = self.room, "tasks ended");
    }
}
