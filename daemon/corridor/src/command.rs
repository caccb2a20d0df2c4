//! Door 3, ops to control: what ops may ask for. Ops never touches data; control decides.

use crate::actor::Actor;
use crate::permission::{CanDestroy, CanRead, CanWrite};
use gatehouse_common::ids::{ConsumerId, Revision};
use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_common::ops::config::{ConfigFiles, ConfigFolder, ConfigPlan, ConfigRevision, ConfigUndo};
use gatehouse_common::ops::entities::{Consumer, Route, Session, Token};
use gatehouse_common::ops::imports::{ImportReport, ImportRequest};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use serde_json::Value;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// Where the answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Problem>>;

/// What a revocation took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Sessions ended.
    pub sessions: usize,
    /// API keys revoked.
    pub keys: usize,
    /// Revision that says so; the data plane has acknowledged it.
    pub revision: Revision,
}

/// A backup, as written or as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The file.
    pub path: PathBuf,
    /// Rows in it.
    pub rows: usize,
    /// Its size in bytes.
    pub bytes: u64,
    /// Revision it holds.
    pub revision: Revision,
    /// Unix milliseconds when it was made.
    pub made_unix_ms: i64,
}

/// What restoring a backup would change, counted by table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The backup, read to its end and checked.
    pub backup: Backup,
    /// Table, rows added, rows removed, rows changed; tables without a difference are left out.
    pub tables: Vec<(String, usize, usize, usize)>,
    /// Keys and tokens that are dead now and alive in the backup: they stay dead.
    pub stay_revoked: usize,
    /// Whether the settings file differs from the backup's.
    pub settings_differ: bool,
    /// Revision compared with.
    pub revision: Revision,
}

/// Whether a container engine is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// The settings name none.
    Off,
    /// It answered.
    Reachable {
        /// Name and release, such as `Docker 20.10.24`.
        name: String,
        /// The newest API version it speaks.
        api: String,
        /// How long the answer took, microseconds.
        latency_us: u64,
    },
    /// There is no socket: an engine is not installed, or does not run. In words for operators.
    Absent(String),
    /// Something is there and does not answer as an engine, or not to us. In words for operators.
    Unavailable(String),
}

/// All that ops may ask of control. Each change carries its proof and its actor.
#[derive(Debug)]
pub enum Command {
    /// The published revision.
    Revision(CanRead, Reply<Revision>),
    /// The routes.
    Routes(CanRead, Reply<Vec<Route>>),
    /// The consumers.
    Consumers(CanRead, Reply<Vec<Consumer>>),
    /// The API keys.
    Tokens(CanRead, Reply<Vec<Token>>),
    /// The sessions.
    Sessions(CanRead, Reply<Vec<Session>>),
    /// Makes every present token, session and API key of a consumer dead.
    RevokeTokens(CanDestroy, Actor, ConsumerId, Reply<Revoked>),
    /// A token as this consumer's were before the last revocation, for a probe: nothing may accept it.
    ProbeToken(CanDestroy, ConsumerId, Reply<Secret<String>>),
    /// Writes a consistent archive of store and settings; the name has no folder in it.
    Backup(CanWrite, String, Reply<Backup>),
    /// The archives there are, newest first.
    Backups(CanRead, Reply<Vec<Backup>>),
    /// Reads an archive to its end, checks every row and counts what restoring it would change.
    CompareBackup(CanRead, String, Reply<Comparison>),
    /// Puts an archive's rows in place of the present ones, in one change; revoked stays revoked.
    Restore(CanDestroy, Actor, String, Reply<Revision>),
    /// Leaves an audit record; answers when it is on the disk.
    Audit(CanRead, AuditEntry, Reply<Revision>),
    /// Takes what another manager kept, in one change, or says what would become of it.
    Import(CanWrite, Actor, ImportRequest, Reply<ImportReport>),
    /// What an API key or a token stands for, as introspection says it.
    Introspect(CanWrite, Secret<String>, Reply<Value>),
    /// The container engine, as seen within the last seconds.
    Engine(CanRead, Reply<EngineState>),
    /// The configuration as a file declares it, without secrets; `true` as YAML.
    ConfigExport(CanRead, bool, Reply<String>),
    /// JSON Schema of such a file.
    ConfigSchema(CanRead, Reply<String>),
    /// Revisions, the newest first, at most so many.
    ConfigHistory(CanRead, usize, Reply<Vec<ConfigRevision>>),
    /// What the watched folder is like.
    ConfigFolder(CanRead, Reply<ConfigFolder>),
    /// What applying files would do; it reads the secrets that they name.
    ConfigPlan(CanWrite, Actor, ConfigFiles, Reply<ConfigPlan>),
    /// Makes the configuration what files declare, in one change.
    ConfigApply(CanWrite, Actor, ConfigFiles, Reply<ConfigPlan>),
    /// Takes back one revision, or all behind it, in one change.
    ConfigUndo(CanWrite, Actor, ConfigUndo, Reply<ConfigPlan>),
    /// Drains and starts the daemon anew; answers before it ends.
    Restart(CanDestroy, Actor, Reply<()>),
}

/// Ops' end of the door.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    commands: mpsc::Sender<Command>,
}

impl ControlHandle {
    /// Makes the door; control serves the receiver.
    #[must_use]
    pub fn door() -> (Self, mpsc::Receiver<Command>) {
        // Full: the asker waits. Ops asks a few times a second at most.
        let (commands, receiver) = mpsc::channel(64);
        (Self { commands }, receiver)
    }

    /// Asks and waits: `handle.ask(|reply| Command::Routes(read, reply))`.
    ///
    /// # Errors
    /// What control answers, or [`Code::ShuttingDown`] when it has ended.
    pub async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let gone = || Problem::new(Code::ShuttingDown, "the control plane has ended");
        self.commands.send(make(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
