//! The end of what knows the store, in one order, whether the process ends or another one takes over.

use crate::assemble::House;
use crate::history::HistoryFile;
use crate::records::Records;
use crate::settings::checked::Settings;
use gatehouse_control::Control;
use gatehouse_corridor::shutdown::Shutdown;
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_data::{DataPlane, Workers};
use gatehouse_ops::Ops;
use gatehouse_store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What may go on without the store.
pub(crate) struct Plane {
    pub(crate) settings: Settings,
    pub(crate) shutdown: Shutdown,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) data: DataPlane,
    pub(crate) workers: Workers,
    pub(crate) records: Records,
}

/// What knows the store, and the store.
pub(crate) struct Rooms {
    control: Control,
    ops: Ops,
    tasks: TaskGroup,
    store: Store,
    history_file: HistoryFile,
}

/// Parts an appliance that is to end. Who waits for a reload hears now that there is none, lest the end wait for them.
pub(crate) fn parted(house: House) -> (Plane, Rooms) {
    let House {
        settings,
        shutdown,
        telemetry,
        data,
        control,
        workers,
        ops,
        tasks,
        store,
        records,
        history_file,
        reloads,
        ..
    } = house;
    drop(reloads);
    let plane = Plane { settings, shutdown, telemetry, data, workers, records };
    (plane, Rooms { control, ops, tasks, store, history_file })
}

impl Rooms {
    /// Closes them. `within` bounds what hangs on a disk and on tasks that must come to their end. Calls that are
    /// `in_flight` may pay yet; what they use besides is counted no more, nor are they in the reports of traffic.
    pub(crate) async fn close(self, records: &Records, in_flight: u64, within: Duration) {
        match timeout(within, self.control.settle(in_flight)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => {
                tracing::error!(target: "run", code = problem.code, "leased credits are not written back: {problem}");
            }
            Err(_) => tracing::error!(target: "run", "leased credits are not written back in time"),
        }
        self.ops.close().await;
        // What it cuts, a backup for example, is taken up by the next one.
        if timeout(within, self.tasks.close()).await.is_err() {
            tracing::warn!(target: "run", "a task goes on without the store");
        }
        records.flush();
        self.history_file.stop();
        self.control.settle_usage();
        self.ops.settle();
        self.store.close();
    }
}
