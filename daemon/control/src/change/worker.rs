//! The change thread: drafts to one commit, and what follows from it.

use super::history::{Head, History, Turned, turned};
use super::terms::{Plan, Terms, routes};
use super::{Configure, Draft, Job, numbers, published};
use crate::compile::{Compiler, compile, update};
use crate::leases::{self, Cells, Effect};
use crate::state::{Row, State};
use crate::subjects::authority;
use arc_swap::ArcSwap;
use gatehouse_common::ids::Revision;
use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::snapshot::{Publisher, Snapshot};
use gatehouse_store::tables::{AUDIT_KEY, REVISION_KEY, TABLES, outbox_key};
use gatehouse_store::{Batch, Store, StoreError};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Drafts joined into one commit at most.
const GROUP_DRAFTS: usize = 128;

/// All that the change thread owns.
pub(super) struct Worker {
    pub(super) store: Store,
    pub(super) shared: Arc<ArcSwap<State>>,
    pub(super) publisher: Publisher,
    pub(super) compiler: Compiler,
    pub(super) cells: Arc<Cells>,
    pub(super) history: Arc<History>,
    /// What the data plane was given last, and the state it was made of.
    pub(super) published: Compiled,
    /// Whether the settings that were compiled with have changed since.
    pub(super) reconfigured: bool,
    /// Where issuers' keys were fetched that the data plane has not been given yet.
    pub(super) fetched: BTreeSet<String>,
    /// All that keeps the data plane from loading the second snapshot whole; it has loaded the first.
    pub(super) check: fn(&Snapshot, &Snapshot) -> Vec<Problem>,
    pub(super) clock: Clock,
}

/// A state, and the snapshot that was made of it.
pub(super) type Compiled = (State, Arc<Snapshot>);

/// Who waits for the commit, and what they hear when it is done: a revision, or a refusal that rests on drafts
/// before it in the group.
type Waiting = Vec<(oneshot::Sender<Result<Revision, Problem>>, Result<Revision, Problem>)>;

/// Drafts that are committed as one.
struct Group {
    state: State,
    /// What would be published of the drafts so far.
    compiled: Compiled,
    batch: Batch,
    waiting: Waiting,
    /// Revisions that go into the history with it.
    heads: Vec<Head>,
    effects: Vec<Effect>,
}

/// One draft, checked.
struct Drafted {
    after: State,
    /// What would be published, if that differs.
    compiled: Option<Arc<Snapshot>>,
    writes: Batch,
    effects: Vec<Effect>,
    rows: Vec<Turned>,
    head: Option<Head>,
    /// Action and object.
    plan: (String, String),
}

/// Leaves with the terms what would be done, or what it would be refused for.
fn planned(terms: &Terms, drafted: Result<Drafted, Problem>, group: &Group) -> Result<Revision, Problem> {
    match drafted {
        Ok(Drafted { compiled, rows, plan: (action, object), .. }) => {
            let routes = compiled.map(|after| routes(&group.compiled.1, &after)).unwrap_or_default();
            terms.see(|seen| seen.plans.push(Plan { action, object, rows, routes }));
            Ok(group.state.revision)
        }
        Err(problem) => {
            terms.see(|seen| seen.refused = Some(problem.clone()));
            Err(problem)
        }
    }
}

/// The head of a revision, as its record tells it.
fn head_of(entry: &AuditEntry, undoes: Vec<u64>) -> Head {
    Head {
        revision: entry.revision.0,
        at_unix_ms: entry.at_unix_ms,
        actor: entry.actor.clone(),
        source: entry.source.clone(),
        action: entry.action.clone(),
        object: entry.object.clone(),
        rows: 0,
        bytes: 0,
        kept: false,
        undoes,
    }
}

impl Worker {
    pub(super) fn work(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let (state, before) = (State::clone(&self.shared.load()), self.compiler.clone());
            let (compiled, batch) = (self.published.clone(), Batch::default());
            let mut group =
                Group { state, compiled, batch, waiting: Vec::new(), heads: Vec::new(), effects: Vec::new() };
            let (mut next, mut configured) = (Some(first), false);
            while let Some(mut job) = next {
                if let Some(configure) = job.configure.take() {
                    configured = true;
                    self.configure(configure);
                }
                self.draft(job, &mut group);
                next = if group.waiting.len() < GROUP_DRAFTS { queue.try_recv().ok() } else { None };
            }
            if !group.waiting.is_empty() && !self.commit(group) && configured {
                // Settings whose change is not on the disk do not hold either.
                self.compiler = before;
                self.reconfigured = true;
            }
        }
    }

    fn configure(&mut self, configure: Configure) {
        match configure {
            Configure::Settings(new) => {
                let Compiler { counters, jwks, .. } = std::mem::replace(&mut self.compiler, new);
                self.compiler.counters = counters;
                self.compiler.jwks = jwks;
                self.reconfigured = true;
            }
            Configure::Counters => self.compiler.counters += 1,
            Configure::Keys(url, jwks) => {
                self.compiler.jwks.insert(url.clone(), jwks);
                self.fetched.insert(url);
            }
        }
    }

    /// Makes one draft part of the group, or answers why not; the state stays as it was then.
    fn draft(&self, job: Job, group: &mut Group) {
        let Job { actor, make, terms, answer, .. } = job;
        let made = catch_unwind(AssertUnwindSafe(|| make(&group.state)));
        let made = made.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the change could not be made")));
        let held = made.and_then(|draft| match &terms {
            Some(terms) => terms.hold(&draft.rows, &group.state).map(|()| draft),
            None => Ok(draft),
        });
        let drafted = held.and_then(|draft| self.drafted(&actor, draft, group));
        if let Some(terms) = terms.filter(|terms| terms.dry) {
            // The asker may have gone.
            drop(answer.send(planned(&terms, drafted, group)));
            return;
        }
        match drafted {
            Ok(drafted) => {
                if let Some(compiled) = drafted.compiled {
                    group.compiled = (drafted.after.clone(), compiled);
                }
                group.state = drafted.after;
                group.batch.ops.extend(drafted.writes.ops);
                group.effects.extend(drafted.effects);
                group.heads.extend(drafted.head);
                group.waiting.push((answer, Ok(group.state.revision)));
            }
            // The asker may have gone.
            Err(problem) if group.waiting.is_empty() => drop(answer.send(Err(problem))),
            Err(problem) => group.waiting.push((answer, Err(problem))),
        }
    }

    /// What a draft would make of the group's state.
    fn drafted(&self, actor: &Actor, draft: Draft, group: &Group) -> Result<Drafted, Problem> {
        let mut after = group.state.clone();
        after.revision.0 += u64::from(draft.republish || published(&draft));
        let mut writes = Batch::default();
        for (table, key, row) in &draft.rows {
            let whole = row.as_ref().and_then(|row| {
                let place = (*table, key.as_str());
                numbers::complete((&mut after, &mut writes), place, row, self.clock.unix_ms())
            });
            apply(&mut after, &mut writes, table, key, whole.as_ref().or(row.as_ref()))?;
        }
        let tables: Vec<_> = draft.rows.iter().map(|(table, ..)| *table).collect();
        if authority::locks_out(&group.state, &after, &tables) {
            let text = "After this nobody could administer the appliance: make another administrator first";
            return Err(Problem::compat(403, "AUTH903", text));
        }
        let compiled = if published(&draft) { Some(self.loadable(&after, &group.compiled)?) } else { None };
        let mut effects = draft.effects.clone();
        let rows = if draft.quiet || draft.passing {
            Vec::new()
        } else {
            let written = draft.rows.iter().map(|(table, key, _)| (*table, key.as_str()));
            turned(&group.state, &after, written)
        };
        let plan = (draft.action.to_owned(), draft.object.clone());
        let mut head = None;
        if !draft.quiet {
            effects.extend(leases::settled(&group.state, &draft));
            after.audit += 1;
            let undoes = draft.undoes.clone();
            let entry = self.entry(actor, draft, after.revision);
            // What makes no revision has no number of its own.
            if !rows.is_empty() && after.revision > group.state.revision {
                head = Some(self.history.record(&mut writes, head_of(&entry, undoes), &rows)?);
            }
            writes.put("outbox", &outbox_key(after.audit), json_bytes(&entry)?);
        }
        Ok(Drafted { after, compiled, writes, effects, rows, head, plan })
    }

    /// The snapshot of a state, if the data plane would load all of it.
    fn loadable(&self, after: &State, (old, before): &Compiled) -> Result<Arc<Snapshot>, Problem> {
        let next = update(&self.compiler, old, after, before, &BTreeSet::new());
        match (self.check)(before, &next).into_iter().next() {
            Some(mut problem) => {
                let field = problem.field.as_deref().unwrap_or_default();
                problem.detail = format!("{field}: {}", problem.detail);
                Err(problem)
            }
            None => Ok(Arc::new(next)),
        }
    }

    /// The audit record of a draft.
    fn entry(&self, actor: &Actor, draft: Draft, revision: Revision) -> AuditEntry {
        let made = || AuditEntry {
            at_unix_ms: self.clock.unix_ms(),
            actor: actor.to_string(),
            source: actor.source(),
            action: draft.action.to_owned(),
            object: draft.object,
            outcome: "ok".to_owned(),
            detail: draft.detail,
            revision,
        };
        match draft.entry {
            Some(entry) => AuditEntry { revision, ..entry },
            None => made(),
        }
    }

    /// Whether it is on the disk.
    fn commit(&mut self, group: Group) -> bool {
        let Group { state, compiled, mut batch, waiting, heads, mut effects } = group;
        let gone = self.history.make_room(&heads, &mut batch);
        // That an account is empty is nothing to be written.
        let nothing = batch.ops.is_empty() && state.revision == self.shared.load().revision;
        batch.put("meta", REVISION_KEY, state.revision.to_string().into_bytes());
        batch.put("meta", AUDIT_KEY, state.audit.to_string().into_bytes());
        let outcome = if nothing { Ok(()) } else { self.store.commit(batch) };
        if matches!(outcome, Err(StoreError::Io(_) | StoreError::Corrupt { .. })) && self.reread() {
            // No block that may not have been leased, and none beside a number that may say all.
            effects.retain(|effect| matches!(effect, Effect::Settle { .. }));
            self.cells.apply(&effects);
        }
        let outcome = outcome.map_err(|error| error.problem());
        if outcome.is_ok() {
            self.cells.apply(&effects);
            self.history.written(heads, &gone);
            if state.revision != self.shared.load().revision {
                self.publish(&state, compiled);
            }
            self.shared.store(Arc::new(state));
        }
        for (answer, told) in waiting {
            drop(answer.send(outcome.clone().and(told)));
        }
        outcome.is_ok()
    }

    /// A write that failed half-way may be there or not: what the store holds now is what counts. Whether it is there.
    fn reread(&mut self) -> bool {
        let known = self.shared.load_full();
        match load(&self.store, known.audit) {
            // A change that is not published has its audit number all the same, and that must not be given twice.
            Ok(state) if (state.revision, state.audit) != (known.revision, known.audit) => {
                tracing::warn!(target: "change", revision = %state.revision, "a change whose commit failed is there");
                if let Err(error) = self.history.reload(&self.store) {
                    tracing::error!(target: "change", %error, "the history cannot be read");
                }
                self.publish(&state, self.published.clone());
                self.shared.store(Arc::new(state));
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::error!(target: "change", %error, "the store cannot be read");
                false
            }
        }
    }

    /// Publishes a state; from what is compiled of an earlier one, by the same settings, only what differs is compiled.
    pub(super) fn publish(&mut self, state: &State, (old, before): Compiled) {
        let snapshot = Arc::new(match self.reconfigured {
            true => compile(&self.compiler, state),
            false => update(&self.compiler, &old, state, &before, &std::mem::take(&mut self.fetched)),
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

pub(super) fn load(store: &Store, audit_floor: u64) -> Result<State, StoreError> {
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
    for (table, by) in numbers::tables() {
        let used = state.values(by).last().and_then(|last| last.parse().ok()).unwrap_or(0);
        let given = i64::try_from(number(&numbers::place(table))?).unwrap_or(i64::MAX);
        state.numbers.insert(table, given.max(used));
    }
    Ok(state)
}
