//! The single path of change: draft, check, commit with its audit record in one transaction, publish, wait
//! until the data plane serves it, answer. One thread owns the newest state; what waits is committed together.

pub(crate) mod history;
pub(crate) mod numbers;
pub(crate) mod terms;
mod worker;

use crate::compile::Compiler;
use crate::config::ControlConfig;
use crate::index::By;
use crate::leases::{Cells, Effect};
use crate::state::{Row, State};
use crate::subjects::sealing::Sealer;
use crate::subjects::usage::Usages;
use arc_swap::ArcSwap;
use gatehouse_common::ids::Revision;
use gatehouse_common::limits::{ACKNOWLEDGE_WAIT_MILLIS, CHANGE_QUEUE_DRAFTS};
use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::snapshot::{Publisher, Snapshot};
use gatehouse_store::Store;
use history::History;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use terms::Terms;
use tokio::sync::{mpsc, oneshot};
use worker::{Worker, load};

/// What a change would write.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// `None` removes the row.
    pub(crate) rows: Vec<(&'static str, String, Option<Row>)>,
    pub(crate) action: &'static str,
    pub(crate) object: String,
    pub(crate) detail: Value,
    /// A record made elsewhere, instead of one about these rows.
    pub(crate) entry: Option<AuditEntry>,
    /// Makes a revision though no row changes: what the snapshot is compiled with has changed.
    republish: bool,
    /// Leaves no record and makes no revision: credits that go from a row to a cell and back change nothing.
    quiet: bool,
    /// Comes by itself: it has a record and is not kept in the history.
    passing: bool,
    /// Revisions that it takes back.
    pub(crate) undoes: Vec<u64>,
    /// What becomes of cells of credits once this is on the disk.
    pub(crate) effects: Vec<Effect>,
    /// Accounts (user, group) whose number this draft puts anew, if not all of the users it writes.
    pub(crate) settles: Option<Vec<(String, String)>>,
}

/// The data plane is told nothing of sessions, so a change in them alone makes no revision.
const UNPUBLISHED: &str = "sessions";

/// Whether a draft changes what the data plane is told.
fn published(draft: &Draft) -> bool {
    !draft.quiet && draft.rows.iter().any(|(table, ..)| *table != UNPUBLISHED)
}

impl Draft {
    pub(crate) fn new(action: &'static str, object: impl Into<String>) -> Self {
        Self { action, object: object.into(), ..Self::default() }
    }

    pub(crate) fn put(mut self, table: &'static str, key: impl Into<String>, row: Row) -> Self {
        self.rows.push((table, key.into(), Some(row)));
        self
    }

    pub(crate) fn delete(mut self, table: &'static str, key: impl Into<String>) -> Self {
        self.rows.push((table, key.into(), None));
        self
    }

    /// Puts the numbers of these accounts (user, group) anew, and of no other that it writes.
    pub(crate) fn settling(mut self, accounts: Vec<(String, String)>) -> Self {
        self.settles = Some(accounts);
        self
    }

    /// What comes by itself, again and again, is nothing that anybody would take back.
    pub(crate) fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// Says which revisions it takes back.
    pub(crate) fn undoing(mut self, revisions: Vec<u64>) -> Self {
        self.undoes = revisions;
        self
    }

    /// A draft that nobody is told of.
    pub(crate) fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// A record alone, made elsewhere.
    pub(crate) fn record(entry: AuditEntry) -> Self {
        Self { entry: Some(entry), ..Self::default() }
    }

    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

type Make = Box<dyn FnOnce(&State) -> Result<Draft, Problem> + Send>;

/// What is not a row and yet part of the snapshot.
enum Configure {
    Settings(Compiler),
    Counters,
    /// Where an issuer's keys are, and their text.
    Keys(String, Arc<str>),
}

struct Job {
    actor: Actor,
    make: Make,
    /// What the snapshot is compiled with from this job on.
    configure: Option<Configure>,
    /// What the request asks for beside the change.
    terms: Option<Arc<Terms>>,
    answer: oneshot::Sender<Result<Revision, Problem>>,
}

type Answered = oneshot::Receiver<Result<Revision, Problem>>;

impl Job {
    fn new(
        actor: Actor,
        make: Make,
        configure: Option<Configure>,
        terms: Option<Arc<Terms>>,
    ) -> (Self, Answered) {
        let (answer, answered) = oneshot::channel();
        (Self { actor, make, configure, terms, answer }, answered)
    }
}

/// The handle of the change thread.
#[derive(Clone)]
pub(crate) struct Changes {
    jobs: mpsc::Sender<Job>,
    state: Arc<ArcSwap<State>>,
    pub(crate) publisher: Publisher,
    /// Cells of credits.
    pub(crate) cells: Arc<Cells>,
    pub(crate) history: Arc<History>,
    sealer: Arc<Sealer>,
    usages: Arc<Usages>,
}

impl Changes {
    pub(crate) fn start(
        config: &ControlConfig,
        store: Store,
        publisher: Publisher,
        (sealer, usages): (Arc<Sealer>, Arc<Usages>),
    ) -> Result<Self, Problem> {
        let cells = Arc::new(Cells::default());
        let state = Arc::new(ArcSwap::from_pointee(
            load(&store, config.audit_floor).map_err(|error| error.problem())?,
        ));
        let history =
            Arc::new(History::load(&store, config.history_limits).map_err(|error| error.problem())?);
        // Full: the caller waits for its turn.
        let (jobs, queue) = mpsc::channel(CHANGE_QUEUE_DRAFTS);
        let mut worker = Worker {
            store,
            shared: Arc::clone(&state),
            publisher: publisher.clone(),
            compiler: Compiler::new(config, &sealer, &cells, &usages),
            cells: Arc::clone(&cells),
            history: Arc::clone(&history),
            published: (State::default(), Arc::default()),
            reconfigured: true,
            fetched: BTreeSet::new(),
            check: config.check,
            clock: config.clock.clone(),
        };
        worker.publish(&state.load(), worker.published.clone());
        let thread = std::thread::Builder::new().name("change".to_owned()).spawn(move || worker.work(queue));
        thread
            .map_err(|error| Problem::new(Code::Internal, format!("starting the change thread: {error}")))?;
        Ok(Self { jobs, state, publisher, cells, history, sealer, usages })
    }

    /// The newest state that is on the disk.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// What the data plane was given last.
    pub(crate) fn published(&self) -> Arc<Snapshot> {
        self.publisher.current()
    }

    /// Submits a change. The draft is made against the newest state and nothing comes between.
    ///
    /// # Errors
    /// What the draft refuses, or what kept it from the disk; then nothing has changed.
    pub(crate) async fn submit(
        &self,
        actor: Actor,
        make: impl FnOnce(&State) -> Result<Draft, Problem> + Send + 'static,
    ) -> Result<Revision, Problem> {
        self.enqueue(actor, Box::new(make), None).await
    }

    /// Compiles with other settings from now on, and publishes with them.
    pub(crate) async fn configure(&self, config: &ControlConfig) -> Result<Revision, Problem> {
        let make = |_: &State| Ok(Draft { republish: true, ..Draft::new("settings.reload", "appliance") });
        self.history.bound(config.history_limits);
        let configure = Configure::Settings(self.compiler(config));
        self.enqueue(Actor::System, Box::new(make), Some(configure)).await
    }

    /// What compiles with these settings.
    pub(crate) fn compiler(&self, config: &ControlConfig) -> Compiler {
        Compiler::new(config, &self.sealer, &self.cells, &self.usages)
    }

    /// Lets rate limits begin anew and forgets what the data plane remembers of credentials.
    pub(crate) async fn clear_caches(&self, actor: Actor) -> Result<Revision, Problem> {
        let make = |_: &State| Ok(Draft { republish: true, ..Draft::new("caches.clear", "appliance") });
        self.enqueue(actor, Box::new(make), Some(Configure::Counters)).await
    }

    /// The keys of an issuer that the data plane has.
    pub(crate) fn published_keys(&self, url: &str) -> Option<Arc<str>> {
        let state = self.state();
        let api = state.keys_by(By::ApiJwks, url).next()?;
        self.published().apis.get(api)?.issuer.as_ref()?.jwks.clone()
    }

    /// Gives the data plane an issuer's keys; nobody's change, so without a record.
    pub(crate) async fn keys(&self, url: String, jwks: Arc<str>) -> Result<Revision, Problem> {
        let make = |_: &State| Ok(Draft { republish: true, ..Draft::quiet() });
        self.enqueue(Actor::System, Box::new(make), Some(Configure::Keys(url, jwks))).await
    }

    /// As [`Changes::submit`], without waiting for the data plane: it waits for this.
    pub(crate) async fn quietly(
        &self,
        make: impl FnOnce(&State) -> Result<Draft, Problem> + Send + 'static,
    ) -> Result<Revision, Problem> {
        self.committed(Job::new(Actor::System, Box::new(make), None, None)).await
    }

    async fn enqueue(
        &self,
        actor: Actor,
        make: Make,
        configure: Option<Configure>,
    ) -> Result<Revision, Problem> {
        let terms = terms::current();
        let dry = terms.as_ref().is_some_and(|terms| terms.dry);
        // Nothing that a dry run plans may hold from now on.
        let revision = self.committed(Job::new(actor, make, configure.filter(|_| !dry), terms)).await?;
        if dry {
            return Ok(revision);
        }
        let wait = Duration::from_millis(ACKNOWLEDGE_WAIT_MILLIS);
        if tokio::time::timeout(wait, self.publisher.acknowledged(revision)).await.is_err() {
            tracing::warn!(target: "change", %revision, "the data plane has not acknowledged yet");
        }
        Ok(revision)
    }

    async fn committed(&self, (job, answered): (Job, Answered)) -> Result<Revision, Problem> {
        let gone = || Problem::new(Code::ShuttingDown, "the daemon is shutting down");
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
