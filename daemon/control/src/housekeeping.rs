//! What control does by itself, beside requests and commands.

use crate::Control;
use crate::subjects::turns;
use gatehouse_corridor::tasks::TaskGroup;
use std::sync::Arc;

impl Control {
    /// Starts what runs until the group is closed.
    pub fn housekeeping(&self, tasks: &TaskGroup) {
        tasks.spawn(turns::follow(Arc::clone(&self.0)));
    }
}
