//! The single path of change: draft, check, commit with its audit record in one transaction, publish, wait
//! until the data plane serves it, answer. One thread owns the newest state; what waits is committed together.

use crate::compile::{Compiler, compile, update};
use crate::config::ControlConfig;
use crate::state::{Row, State};
use arc_swap::ArcSwap;
use gatehouse_common::ids::Revision;
use gatehouse_common::limits::{ACKNOWLEDGE_WAIT_MILLIS, CHANGE_QUEUE_DRAFTS};
use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::snapshot::{Publisher, Snapshot};
use gatehouse_store::tables::{AUDIT_KEY, REVISION_KEY, TABLES, outbox_key};
use gatehouse_store::{Batch, Store, StoreError};
use serde_json::Value;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Drafts joined into one commit at most.
const GROUP_DRAFTS: usize = 128;

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
}

/// The data plane is told nothing of this table, so a change in it alone makes no revision.
const UNPUBLISHED: &str = "sessions";

fn published(draft: &Draft) -> bool {
    draft.rows.iter().any(|(table, ..)| *table != UNPUBLISHED)
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
}

struct Job {
    actor: Actor,
    make: Make,
    /// What the snapshot is compiled with from this job on.
    configure: Option<Configure>,
    answer: oneshot::Sender<Result<Revision, Problem>>,
}

/// The handle of the change thread.
#[derive(Clone)]
pub(crate) struct Changes {
    jobs: mpsc::Sender<Job>,
    state: Arc<ArcSwap<State>>,
    publisher: Publisher,
}

impl Changes {
    pub(crate) fn start(config: &ControlConfig, store: Store, publisher: Publisher) -> Result<Self, Problem> {
        let state = Arc::new(ArcSwap::from_pointee(
            load(&store, config.audit_floor).map_err(|error| error.problem())?,
        ));
        // Full: the caller waits for its turn.
        let (jobs, queue) = mpsc::channel(CHANGE_QUEUE_DRAFTS);
        let mut worker = Worker {
            store,
            shared: Arc::clone(&state),
            publisher: publisher.clone(),
            compiler: Compiler::new(config),
            published: (State::default(), Arc::default()),
            reconfigured: true,
            fetched: BTreeSet::new(),
            clock: config.clock.clone(),
        };
        worker.publish(&state.load());
        let thread = std::thread::Builder::new().name("change".to_owned()).spawn(move || worker.work(queue));
        thread
            .map_err(|error| Problem::new(Code::Internal, format!("starting the change thread: {error}")))?;
        Ok(Self { jobs, state, publisher })
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
        let configure = Configure::Settings(Compiler::new(config));
        self.enqueue(Actor::System, Box::new(make), Some(configure)).await
    }

    /// Lets rate limits begin anew and forgets what the data plane remembers of credentials.
    pub(crate) async fn clear_caches(&self, actor: Actor) -> Result<Revision, Problem> {
        let make = |_: &State| Ok(Draft { republish: true, ..Draft::new("caches.clear", "appliance") });
        self.enqueue(actor, Box::new(make), Some(Configure::Counters)).await
    }

    async fn enqueue(
        &self,
        actor: Actor,
        make: Make,
        configure: Option<Configure>,
    ) -> Result<Revision, Problem> {
        let gone = || Problem::new(Code::ShuttingDown, "the daemon is shutting down");
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { actor, make, configure, answer }).await.map_err(|_| gone())?;
        let revision = answered.await.map_err(|_| gone())??;
        let wait = Duration::from_millis(ACKNOWLEDGE_WAIT_MILLIS);
        if tokio::time::timeout(wait, self.publisher.acknowledged(revision)).await.is_err() {
            tracing::warn!(target: "change", %revision, "the data plane has not acknowledged yet");
        }
        Ok(revision)
    }
}

struct Worker {
    store: Store,
    shared: Arc<ArcSwap<State>>,
    publisher: Publisher,
    compiler: Compiler,
    /// What the data plane was given last, and the state it was made of.
    published: (State, Arc<Snapshot>),
    /// Whether the settings that were compiled with have changed since.
    reconfigured: bool,
    /// Where issuers' keys were fetched that the data plane has not been given yet.
    fetched: BTreeSet<String>,
    clock: Clock,
}

/// Who waits for the commit, and what they hear when it is done: a revision, or a refusal that rests on drafts
/// before it in the group.
type Waiting = Vec<(oneshot::Sender<Result<Revision, Problem>>, Result<Revision, Problem>)>;

impl Worker {
    fn work(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut state = State::clone(&self.shared.load());
            let mut batch = Batch::default();
            let mut waiting = Waiting::new();
            let (mut next, before) = (Some(first), self.compiler.clone());
            while let Some(mut job) = next {
                match job.configure.take() {
                    Some(Configure::Settings(new)) => {
                        let counters = self.compiler.counters;
                        self.compiler = new;
                        self.compiler.counters = counters;
                        self.reconfigured = true;
                    }
                    Some(Configure::Counters) => self.compiler.counters += 1,
                    None => {}
                }
                self.draft(job, &mut state, &mut batch, &mut waiting);
                next = if waiting.len() < GROUP_DRAFTS { queue.try_recv().ok() } else { None };
            }
            if !waiting.is_empty() && !self.commit(state, batch, waiting) {
                // Settings whose change is not on the disk do not hold either.
                self.compiler = before;
                self.reconfigured = true;
            }
        }
    }

    /// Makes one draft part of the group, or answers why not; the state stays as it was then.
    fn draft(&self, job: Job, state: &mut State, batch: &mut Batch, waiting: &mut Waiting) {
        let made = catch_unwind(AssertUnwindSafe(|| (job.make)(state)));
        let made = made.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the change could not be made")));
        let drafted = made.and_then(|draft| {
            let mut after = state.clone();
            after.revision.0 += u64::from(draft.republish || published(&draft));
            let mut writes = Batch::default();
            for (table, key, row) in &draft.rows {
                apply(&mut after, &mut writes, table, key, row.as_ref())?;
            }
            after.audit += 1;
            let made = || AuditEntry {
                at_unix_ms: self.clock.unix_ms(),
                actor: job.actor.to_string(),
                source: job.actor.source(),
                action: draft.action.to_owned(),
                object: draft.object,
                outcome: "ok".to_owned(),
                detail: draft.detail,
                revision: after.revision,
            };
            let entry = match draft.entry {
                Some(entry) => AuditEntry { revision: after.revision, ..entry },
                None => made(),
            };
            writes.put("outbox", &outbox_key(after.audit), json_bytes(&entry)?);
            Ok((after, writes))
        });
        match drafted {
            Ok((after, writes)) => {
                *state = after;
                batch.ops.extend(writes.ops);
                waiting.push((job.answer, Ok(state.revision)));
            }
            // The asker may have gone.
            Err(problem) if waiting.is_empty() => drop(job.answer.send(Err(problem))),
            Err(problem) => waiting.push((job.answer, Err(problem))),
        }
    }

    /// Whether it is on the disk.
    fn commit(&mut self, state: State, mut batch: Batch, waiting: Waiting) -> bool {
        batch.put("meta", REVISION_KEY, state.revision.to_string().into_bytes());
        batch.put("meta", AUDIT_KEY, state.audit.to_string().into_bytes());
        let outcome = self.store.commit(batch);
        if matches!(outcome, Err(StoreError::Io(_) | StoreError::Corrupt { .. })) {
            self.reread();
        }
        let outcome = outcome.map_err(|error| error.problem());
        if outcome.is_ok() {
            if state.revision != self.shared.load().revision {
                self.publish(&state);
            }
            self.shared.store(Arc::new(state));
        }
        for (answer, told) in waiting {
            drop(answer.send(outcome.clone().and(told)));
        }
        outcome.is_ok()
    }

    /// A write that failed half-way may be there or not: what the store holds now is what counts.
    fn reread(&mut self) {
        let known = self.shared.load_full();
        match load(&self.store, known.audit) {
            // A change that is not published has its audit number all the same, and that must not be given twice.
            Ok(state) if (state.revision, state.audit) != (known.revision, known.audit) => {
                tracing::warn!(target: "change", revision = %state.revision, "a change whose commit failed is there");
                self.publish(&state);
                self.shared.store(Arc::new(state));
            }
            Ok(_) => {}
            Err(error) => tracing::error!(target: "change", %error, "the store cannot be read"),
        }
    }

    fn publish(&mut self, state: &State) {
        let (old, before) = &self.published;
        let snapshot = Arc::new(match self.reconfigured {
            true => compile(&self.compiler, state, before),
            false => update(&self.compiler, old, state, before, &std::mem::take(&mut self.fetched)),
        });
        self.reconfigured = false;
        self.published = (state.clone(), Arc::clone(&snapshot));
        self.publisher.publish(snapshot);
    }
}

fn json_bytes(value: &impl serde::Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

fn apply(
    state: &mut State,
    batch: &mut Batch,
    table: &'static str,
    key: &str,
    row: Option<&Row>,
) -> Result<(), Problem> {
    match row {
        Some(row) => batch.put(table, key, json_bytes(row)?),
        None => batch.delete(table, key),
    }
    state.set(table, key, row.map(|row| Arc::new(row.clone())));
    Ok(())
}

fn load(store: &Store, audit_floor: u64) -> Result<State, StoreError> {
    let mut state = State::default();
    let number = |key: &str| -> Result<u64, StoreError> {
        let Some(bytes) = store.get("meta", key)? else { return Ok(0) };
        serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::Corrupt { place: format!("meta/{key}"), detail: error.to_string() })
    };
    state.revision = Revision(number(REVISION_KEY)?);
    state.audit = number(AUDIT_KEY)?.max(audit_floor);
    for table in TABLES.iter().filter(|table| table.archived) {
        for (key, bytes) in store.scan(table.name)? {
            let row: Row = serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt {
                place: format!("table {}, key {key}", table.name),
                detail: error.to_string(),
            })?;
            state.set(table.name, &key, Some(Arc::new(row)));
        }
    }
    Ok(state)
}
