//! The runs there are: their events in memory and in the journal, who holds what exclusively.

use crate::journal::Journal;
use gatehouse_common::ids::RunId;
use gatehouse_common::ops::runs::RunSummary;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::{Plan, RunEvent, RunEventKind, RunState, StepState};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// One run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) plan: Plan,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    events: RwLock<Vec<RunEvent>>,
    count: watch::Sender<usize>,
    stop: AtomicBool,
}

/// The runs, newest last; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RunTable {
    runs: Arc<RwLock<BTreeMap<RunId, Arc<Run>>>>,
    journal: Journal,
}

impl Run {
    /// A run whose first event says how it began.
    fn from_events(events: Vec<RunEvent>) -> Option<Self> {
        let first = events.first()?;
        let RunEventKind::Started { plan, actor, reason } = &first.kind else { return None };
        Some(Self {
            id: first.run.clone(),
            plan: Plan::clone(plan),
            actor: actor.clone(),
            reason: reason.clone(),
            count: watch::Sender::new(events.len()),
            stop: AtomicBool::new(
                events.iter().any(|event| matches!(event.kind, RunEventKind::StopAsked { .. })),
            ),
            events: RwLock::new(events),
        })
    }

    pub(crate) fn events(&self) -> Vec<RunEvent> {
        self.events.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The event at a position, once it is there; `None` behind the last one of a run that has ended.
    pub(crate) async fn event(&self, index: usize) -> Option<RunEvent> {
        let ended = {
            let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
            events.len() <= index && ended(&events)
        };
        if ended {
            return None;
        }
        let mut count = self.count.subscribe();
        // The sender lives in self, so this cannot fail while we wait.
        drop(count.wait_for(|count| *count > index).await);
        self.events.read().unwrap_or_else(PoisonError::into_inner).get(index).cloned()
    }

    /// Why it is being undone, and where it ends then; `None` while it goes forward.
    pub(crate) fn undoing(&self) -> Option<(String, RunState)> {
        self.events().into_iter().find_map(|event| match event.kind {
            RunEventKind::Undoing { why, ending } => Some((why, ending)),
            _ => None,
        })
    }

    pub(crate) fn stops(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Steps that are done and not undone, in order.
    pub(crate) fn done_steps(&self) -> Vec<usize> {
        let mut done = Vec::new();
        for event in self.events() {
            if let RunEventKind::Step { index, state, .. } = event.kind {
                done.retain(|known| *known != index);
                if state == StepState::Done {
                    done.push(index);
                }
            }
        }
        done
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let (mut state, mut summary, mut finished_unix_ms) = (RunState::Running, String::new(), None);
        for event in events.iter() {
            match &event.kind {
                RunEventKind::Step { name, state, .. } => {
                    summary = format!("{name}: {}", format!("{state:?}").to_lowercase());
                }
                RunEventKind::Finished { state: last, summary: said } => {
                    (state, summary, finished_unix_ms) = (*last, said.clone(), Some(event.at_unix_ms));
                }
                _ => {}
            }
        }
        let started_unix_ms = events.first().map_or(0, |event| event.at_unix_ms);
        drop(events);
        if state == RunState::Running && self.stops() {
            state = RunState::Stopping;
        }
        let done = self.done_steps();
        let undoable = |index: &usize| self.plan.steps.get(*index).is_some_and(|step| step.undo.is_some());
        let ended_well = matches!(state, RunState::Done | RunState::Unverified);
        RunSummary {
            id: self.id.clone(),
            runbook: self.plan.runbook.clone(),
            title: self.plan.title.clone(),
            state,
            actor: self.actor.clone(),
            started_unix_ms,
            finished_unix_ms,
            summary,
            can_undo: ended_well && !done.is_empty() && done.iter().all(undoable),
        }
    }
}

fn ended(events: &[RunEvent]) -> bool {
    matches!(events.last().map(|event| &event.kind), Some(RunEventKind::Finished { .. }))
}

impl RunTable {
    /// Reads the journal.
    pub(crate) fn open(folder: &Path) -> Result<Self, Problem> {
        let journal = Journal::open(folder)?;
        let known = journal.load()?.into_iter().filter_map(Run::from_events);
        let runs = known.map(|run| (run.id.clone(), Arc::new(run))).collect();
        Ok(Self { runs: Arc::new(RwLock::new(runs)), journal })
    }

    /// Begins a run; its first event is on the disk when this returns.
    pub(crate) fn begin(
        &self,
        plan: &Plan,
        actor: String,
        reason: Option<String>,
        at_unix_ms: i64,
    ) -> Result<Arc<Run>, Problem> {
        let id = RunId(uuid::Uuid::now_v7().to_string());
        let kind = RunEventKind::Started { plan: Box::new(plan.clone()), actor, reason };
        let first = RunEvent { run: id.clone(), seq: 0, at_unix_ms, kind };
        self.journal.append(&first)?;
        let broken = || Problem::new(Code::Internal, "a run must begin with its plan");
        let run = Arc::new(Run::from_events(vec![first]).ok_or_else(broken)?);
        self.runs.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&run));
        Ok(run)
    }

    /// Asks a run to stop; on the disk when this returns, so that a crash does not forget it.
    pub(crate) fn stop(&self, run: &Run, at_unix_ms: i64, actor: String) -> Result<(), Problem> {
        self.add(run, at_unix_ms, RunEventKind::StopAsked { actor })?;
        run.stop.store(true, Ordering::Release);
        Ok(())
    }

    /// Adds an event: first to the journal, then to those who follow.
    pub(crate) fn add(&self, run: &Run, at_unix_ms: i64, kind: RunEventKind) -> Result<(), Problem> {
        // One at a time: the run itself and whoever asks it to stop may both have something to add.
        let mut events = run.events.write().unwrap_or_else(PoisonError::into_inner);
        let event = RunEvent { run: run.id.clone(), seq: events.len() as u64, at_unix_ms, kind };
        let kept = self.journal.append(&event);
        if let Err(problem) = &kept {
            tracing::error!(target: "runs", run = %run.id, "{problem}");
        }
        events.push(event);
        drop(events);
        run.count.send_modify(|count| *count += 1);
        kept
    }

    pub(crate) fn get(&self, id: &RunId) -> Result<Arc<Run>, Problem> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.get(id).cloned().ok_or_else(|| {
            Problem::new(Code::NotFound, format!("run {:?} is not known", id.as_str())).at("run")
        })
    }

    /// All, newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.values().rev().cloned().collect()
    }

    /// Those that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<Arc<Run>> {
        self.all().into_iter().filter(|run| !run.summary().state.is_final()).collect()
    }

    /// How long a step took the last time, milliseconds.
    pub(crate) fn expected_ms(&self, runbook: &str, step: &str) -> Option<u64> {
        let took = |run: Arc<Run>| {
            let events = run.events();
            let at = |wanted: StepState| {
                events.iter().find_map(|event| match &event.kind {
                    RunEventKind::Step { name, state, .. } if name == step && *state == wanted => {
                        Some(event.at_unix_ms)
                    }
                    _ => None,
                })
            };
            u64::try_from(at(StepState::Done)? - at(StepState::Running)?).ok()
        };
        self.all().into_iter().filter(|run| run.plan.runbook == runbook).find_map(took)
    }
}
