//! What happens in a run: the steps in order, undo in reverse when one fails, verification, the record.

use super::{Engine, object};
use crate::runbooks::{Cut, Job, Runbook, named};
use crate::runs::Run;
use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::{RunEventKind, RunState, StepState};
use gatehouse_corridor::actor::Actor;
use std::sync::{Arc, PoisonError};

struct Drive {
    engine: Arc<Engine>,
    run: Arc<Run>,
    runbook: &'static dyn Runbook,
    job: Job,
}

/// Drives a run from a step on to its end.
pub(super) async fn drive(engine: Arc<Engine>, run: Arc<Run>, actor: Actor, from: usize) {
    let runbook = match named(&run.plan.runbook) {
        Ok(runbook) => runbook,
        Err(problem) => return refuse(&engine, &run, &problem),
    };
    let job = Job::new(&engine.world, &actor, &run.plan.params, run.id.clone());
    let drive = Drive { engine, run, runbook, job };
    let (state, summary) = drive.steps(from).await;
    drive.finish(state, summary).await;
}

/// Takes up a run where its journal ends. The daemon itself goes on with what an operator has started.
pub(super) async fn resume(engine: Arc<Engine>, run: Arc<Run>) {
    if let Some((why, ending)) = run.undoing() {
        return undo_on(engine, run, why, ending).await;
    }
    let events = run.events();
    let last = events.iter().rev().find_map(|event| match &event.kind {
        RunEventKind::Step { index, state, .. } => Some((*index, *state)),
        _ => None,
    });
    match last {
        None => drive(engine, run, Actor::System, 0).await,
        Some((index, StepState::Done)) => drive(engine, run, Actor::System, index + 1).await,
        Some((index, StepState::Running)) => {
            let done = named(&run.plan.runbook).is_ok_and(|runbook| runbook.cut(index) == Cut::WasDone);
            if done {
                let detail = "the daemon has started anew".to_owned();
                let name = run.plan.steps.get(index).map(|step| step.name.clone()).unwrap_or_default();
                let kind = RunEventKind::Step { index, name, state: StepState::Done, detail };
                let now_ms = engine.world.clock.unix_ms();
                drop(engine.world.runs.add(&run, now_ms, kind));
            }
            drive(engine, run, Actor::System, index + usize::from(done)).await;
        }
        // A step that had failed, and the daemon ended before it could say that it undoes the others.
        Some(_) => undo_on(engine, run, "a step failed".to_owned(), RunState::Undone).await,
    }
}

async fn undo_on(engine: Arc<Engine>, run: Arc<Run>, why: String, ending: RunState) {
    let runbook = match named(&run.plan.runbook) {
        Ok(runbook) => runbook,
        Err(problem) => return refuse(&engine, &run, &problem),
    };
    let job = Job::new(&engine.world, &Actor::System, &run.plan.params, run.id.clone());
    let drive = Drive { engine, run, runbook, job };
    let (state, summary) = drive.undo(&why, ending).await;
    drive.finish(state, summary).await;
}

/// Ends a run in which nothing was done.
pub(super) fn refuse(engine: &Engine, run: &Run, problem: &Problem) {
    let kind = RunEventKind::Finished { state: RunState::Failed, summary: problem.detail.clone() };
    release(engine, run);
    // Told to who asked, and logged by the table.
    drop(engine.world.runs.add(run, engine.world.clock.unix_ms(), kind));
}

fn release(engine: &Engine, run: &Run) {
    let mut held = engine.held.write().unwrap_or_else(PoisonError::into_inner);
    held.retain(|_, holder| *holder != run.id);
}

fn planted(fault: Option<usize>, index: usize) -> Result<(), Problem> {
    match fault == Some(index) {
        true => Err(Problem::new(Code::Internal, "a planted fault")),
        false => Ok(()),
    }
}

impl Drive {
    fn tell(&self, kind: RunEventKind) -> Result<(), Problem> {
        self.engine.world.runs.add(&self.run, self.engine.world.clock.unix_ms(), kind)
    }

    fn step_is(&self, index: usize, state: StepState, detail: &str) -> Result<(), Problem> {
        let name = self.run.plan.steps.get(index).map(|step| step.name.clone()).unwrap_or_default();
        self.tell(RunEventKind::Step { index, name, state, detail: detail.to_owned() })
    }

    async fn steps(&self, from: usize) -> (RunState, String) {
        for index in from..self.run.plan.steps.len() {
            if self.run.stops() {
                return self.undo("stopped as asked", RunState::Stopped).await;
            }
            // What is not in the journal is not begun.
            if let Err(problem) = self.step_is(index, StepState::Running, "") {
                return self.undo(&problem.detail, RunState::Undone).await;
            }
            let outcome = match planted(self.engine.fault.step, index) {
                Ok(()) => self.runbook.step(index, &self.job).await,
                Err(problem) => Err(problem),
            };
            match outcome {
                // Not journalled: a next start would do the step again, which its runbook allows.
                Ok(detail) => drop(self.step_is(index, StepState::Done, &detail)),
                Err(problem) => {
                    drop(self.step_is(index, StepState::Failed, &problem.detail));
                    return self.undo(&problem.detail, RunState::Undone).await;
                }
            }
        }
        self.verify().await
    }

    async fn verify(&self) -> (RunState, String) {
        let (ok, detail) = match self.runbook.verify(&self.job).await {
            Ok(detail) => (true, detail),
            Err(problem) => (false, problem.detail),
        };
        drop(self.tell(RunEventKind::Verified { ok, detail: detail.clone() }));
        (if ok { RunState::Done } else { RunState::Unverified }, detail)
    }

    /// Undoes what is done, last one first; a step without an undo, or one whose undo fails, makes it a failure.
    async fn undo(&self, why: &str, otherwise: RunState) -> (RunState, String) {
        let mut whole = true;
        if self.run.undoing().is_none() {
            // Not journalled: the next start would go forward with a run that stops; so it is tried twice.
            let kind = || RunEventKind::Undoing { why: why.to_owned(), ending: otherwise };
            drop(self.tell(kind()).or_else(|_| self.tell(kind())));
        }
        for index in self.run.done_steps().into_iter().rev() {
            let planned = self.run.plan.steps.get(index).and_then(|step| step.undo.clone());
            if planned.is_none() {
                whole = false;
                continue;
            }
            let outcome = match planted(self.engine.fault.undo, index) {
                Ok(()) => self.runbook.undo(index, &self.job).await,
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok(detail) => drop(self.step_is(index, StepState::Undone, &detail)),
                Err(problem) => {
                    whole = false;
                    drop(self.step_is(index, StepState::UndoFailed, &problem.detail));
                }
            }
        }
        match whole {
            true => (otherwise, format!("{why}; what was done is undone")),
            false => (RunState::Failed, format!("{why}; not everything could be undone")),
        }
    }

    /// The record first, then the end that followers see.
    async fn finish(&self, state: RunState, summary: String) {
        let outcome = if state == RunState::Done { "ok" } else { "failed" };
        let steps: Vec<_> = self
            .run
            .events()
            .into_iter()
            .filter_map(|event| match event.kind {
                RunEventKind::Step { name, state, detail, .. } if state != StepState::Running => {
                    Some(serde_json::json!({ "step": name, "state": state, "detail": detail }))
                }
                _ => None,
            })
            .collect();
        let read = self.job.grant.read;
        let ask = |reply| gatehouse_corridor::command::Command::Revision(read, reply);
        let revision = self.engine.world.control.ask(ask).await.unwrap_or(self.run.plan.revision);
        let entry = AuditEntry {
            at_unix_ms: self.engine.world.clock.unix_ms(),
            actor: self.run.actor.clone(),
            source: self.job.actor.source(),
            action: format!("run.{}", self.run.plan.runbook),
            object: object(&self.run.plan),
            outcome: outcome.to_owned(),
            detail: serde_json::json!({
                "run": self.run.id, "plan": self.run.plan.digest, "reason": self.run.reason, "state": state,
                "steps": steps, "summary": summary, "revision_before": self.run.plan.revision,
            }),
            revision,
        };
        let recorded = self.engine.audit(&self.job.actor, entry).await;
        let summary = match recorded {
            Ok(()) => summary,
            Err(problem) => format!("{summary}; the audit record was not written: {}", problem.detail),
        };
        tracing::info!(target: "runs", run = %self.run.id, runbook = self.run.plan.runbook, ?state, "ended");
        release(&self.engine, &self.run);
        drop(self.tell(RunEventKind::Finished { state, summary }));
    }
}
