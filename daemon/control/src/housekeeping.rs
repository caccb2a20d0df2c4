//! What control does by itself, beside requests and commands.

use crate::commands::blocking;
use crate::declared::folder;
use crate::subjects::{dumps, refusals, turns};
use crate::{Control, Inner};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::tasks::TaskGroup;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often usage is written down; so much of it a crash may lose.
const USAGE_PERIOD: Duration = Duration::from_secs(30);

impl Control {
    /// Starts what runs until the group is closed.
    pub fn housekeeping(&self, tasks: &TaskGroup) {
        tasks.spawn(turns::follow(Arc::clone(&self.0)));
        tasks.spawn(refusals::follow(Arc::clone(&self.0)));
        tasks.spawn(keep_usage(Arc::clone(&self.0)));
        if let Some(folder) = self.0.config().config_dir.clone() {
            tasks.spawn(folder::follow(Arc::clone(&self.0), folder));
        }
    }

    /// Writes an encrypted dump of all rows where dumps lie if no path is asked for; the path it got. Blocks.
    ///
    /// # Errors
    /// What kept it from the disk.
    pub fn dump(&self) -> Result<PathBuf, Problem> {
        let control = &self.0;
        dumps::write(&control.changes.state(), &control.config(), None, control.clock.unix_ms())
    }

    /// Writes down what only memory knows; to be called when no request is served any more and before the store is
    /// closed. Blocks on the disk.
    pub fn settle_usage(&self) {
        if let Err(problem) = save_usage(&self.0) {
            tracing::error!(target: "usage", code = problem.code, "usage is not written down: {problem}");
        }
    }
}

fn save_usage(control: &Inner) -> Result<(), Problem> {
    control.usages.save(&control.store, &control.changes.state(), control.clock.unix_ms())
}

async fn keep_usage(control: Arc<Inner>) {
    loop {
        tokio::time::sleep(USAGE_PERIOD).await;
        if let Err(problem) = blocking(&control, save_usage).await {
            tracing::warn!(target: "usage", code = problem.code, "usage waits to be written down: {problem}");
        }
    }
}
