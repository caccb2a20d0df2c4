//! The ops room: shows the house and runs its runbooks, over two Unix sockets. It changes nothing itself: every
//! effect is a command to control, with a proof of permission.

mod attached;
mod audit;
mod health;
mod journal;
mod logring;
mod methods;
mod monitor;
mod peer;
mod plan;
mod probe;
mod runbooks;
mod runner;
mod runs;
mod server;
mod socket;
mod windows;
mod world;

pub use audit::AuditExport;
pub use logring::LogRing;

use actix_web::dev::ServerHandle;
use attached::Attached;
use audit::AuditTrail;
use gatehouse_common::ids::BootId;
use gatehouse_common::problem::Problem;
use gatehouse_common::runbook::RunbookSpec;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::command::ControlHandle;
use gatehouse_corridor::shutdown::Shutdown;
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_store::Store;
use gatehouse_store::segments::AuditLog;
use monitor::Monitor;
use runner::Runner;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use windows::Windows;
use world::World;

/// What the room is given by settings.
#[derive(Debug, Clone)]
pub struct OpsConfig {
    /// Folder of `operate.sock` and `view.sock`.
    pub runtime_dir: PathBuf,
    /// Folder of the journal of runs; its disk is watched.
    pub data_dir: PathBuf,
    /// Name of the box: the word that confirms what concerns all of it.
    pub host: String,
    /// Group that may operate, if the system has it.
    pub operators_group: String,
    /// Group that may look, if the system has it.
    pub viewers_group: String,
    /// Where the gateway listens: probes go there.
    pub gateway: SocketAddr,
    /// Time.
    pub clock: Clock,
}

/// The doors and ports of the room.
#[derive(Debug)]
pub struct OpsPorts {
    /// To control.
    pub control: ControlHandle,
    /// The data plane's counters.
    pub telemetry: Arc<Telemetry>,
    /// For the outbox of audit records.
    pub store: Store,
    /// The audit trail.
    pub trail: AuditLog,
    /// Where audit records go beside the trail.
    pub export: Option<AuditExport>,
    /// The newest log lines.
    pub log: LogRing,
    /// Phases.
    pub shutdown: Shutdown,
    /// Runs and samplers live here.
    pub tasks: TaskGroup,
}

/// All runbooks, as consoles and the manual show them.
#[must_use]
pub fn runbook_specs() -> Vec<RunbookSpec> {
    runbooks::LIST.iter().map(|runbook| runbook.spec()).collect()
}

pub(crate) struct Inner {
    pub(crate) config: OpsConfig,
    pub(crate) boot: BootId,
    pub(crate) started_unix_ms: i64,
    pub(crate) control: ControlHandle,
    pub(crate) audit: AuditTrail,
    pub(crate) attached: Attached,
    pub(crate) windows: Windows,
    pub(crate) monitor: Monitor,
    pub(crate) log: LogRing,
    pub(crate) runner: Runner,
    pub(crate) shutdown: Shutdown,
}

/// The room at work.
#[derive(Clone)]
pub struct Ops {
    inner: Arc<Inner>,
    server: ServerHandle,
}

impl std::fmt::Debug for Ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ops").field("boot", &self.inner.boot).finish_non_exhaustive()
    }
}

impl Ops {
    /// Opens the sockets, starts sampling, and takes up runs that the last end of the daemon cut.
    ///
    /// # Errors
    /// A socket that cannot be had, or a folder that cannot be written.
    pub fn start(config: OpsConfig, ports: OpsPorts) -> Result<Self, Problem> {
        let OpsPorts { control, telemetry, store, trail, export, log, shutdown, tasks } = ports;
        let doors = socket::open_both(&config)?;
        let boot = BootId(uuid::Uuid::new_v4().to_string());
        let attached = Attached::default();
        let audit = AuditTrail::start(trail, store.clone(), export)?;
        let windows = Windows::default();
        let world = Arc::new(World {
            control: control.clone(),
            clock: config.clock.clone(),
            host: config.host.clone(),
            gateway: config.gateway,
            data_dir: config.data_dir.clone(),
            store,
            attached: attached.clone(),
            runs: runs::RunTable::open(&config.data_dir.join("runs"))?,
            shutdown: shutdown.clone(),
        });
        let monitor = Monitor::start(&world, (&audit, &windows, &telemetry), &tasks);
        windows.start(telemetry, control.clone(), config.clock.clone(), &tasks);
        let runner = Runner::new(world, tasks.clone());
        let started_unix_ms = config.clock.unix_ms();
        let inner = Arc::new(Inner {
            config,
            boot,
            started_unix_ms,
            control,
            audit,
            attached,
            windows,
            monitor,
            log,
            runner,
            shutdown,
        });
        let server = server::serve(&inner, doors, &tasks)?;
        Ok(Self { inner, server })
    }

    /// Takes up the runs that were cut; once the gateway answers, since they may probe it.
    pub fn resume(&self) {
        self.inner.runner.resume();
    }

    /// Ends the sockets.
    pub async fn close(&self) {
        self.server.stop(false).await;
    }

    /// Moves what is left of the audit records; once nothing writes any more.
    pub fn settle(&self) {
        self.inner.audit.stop();
    }
}
