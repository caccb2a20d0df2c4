//! `undo_run --run ID`: undoes the steps of a finished run, last one first, where each of them can be undone. It is a
//! plan like any other, with its own confirmation and record.

use super::{Doing, Job, Runbook, disagrees, named, no_such_step};
use crate::plan::{Proposal, block, good, step};
use crate::runs::Run;
use gatehouse_common::ids::RunId;
use gatehouse_common::problem::Problem;
use gatehouse_common::runbook::{Param, ParamKind, RunbookSpec, Tier};
use gatehouse_corridor::command::Command;
use std::sync::Arc;

pub(crate) struct UndoRun;

/// The run to be undone, and a job as it had.
fn old(job: &Job) -> Result<(Arc<Run>, Job), Problem> {
    let run = job.world.runs.get(&RunId::from(job.param("run")))?;
    let job = Job::new(&job.world, &job.actor, &run.plan.params, run.id.clone());
    Ok((run, job))
}

/// Its steps, last one first. They stay the same while they are being undone.
fn steps(run: &Run) -> Vec<usize> {
    (0..run.plan.steps.len()).rev().collect()
}

impl Runbook for UndoRun {
    fn spec(&self) -> RunbookSpec {
        RunbookSpec {
            id: "undo_run".to_owned(),
            title: "Undo a run".to_owned(),
            group: "Service".to_owned(),
            about: "Undoes the steps of a finished run, last one first. Only runs whose every step can be undone."
                .to_owned(),
            tier: Tier::NameReason,
            params: vec![Param {
                name: "run".to_owned(),
                kind: ParamKind::Text,
                required: true,
                help: "id of the run".to_owned(),
            }],
            exclusive: Some("service".to_owned()),
        }
    }

    fn examine<'a>(&'a self, job: &'a Job) -> Doing<'a, Proposal> {
        Box::pin(async move {
            let (run, _) = old(job)?;
            let summary = run.summary();
            let undone = job.world.runs.all().into_iter().any(|other| {
                other.plan.runbook == "undo_run"
                    && other.plan.params.get("run").is_some_and(|id| *id == run.id.0)
                    && other.summary().state == gatehouse_common::runbook::RunState::Done
            });
            let finding = match (summary.can_undo, undone) {
                (true, false) => good(format!("{} by {}: {}", summary.title, summary.actor, summary.summary)),
                (_, true) => block("this run was undone already", "Nothing is left to do."),
                (false, _) => block("this run cannot be undone", "Its plan said which steps have no undo."),
            };
            let revision = job.world.control.ask(|reply| Command::Revision(job.grant.read, reply)).await?;
            let planned = steps(&run).into_iter().filter_map(|index| run.plan.steps.get(index));
            Ok(Proposal {
                title: format!("Undo: {}", summary.title),
                findings: vec![finding],
                steps: planned
                    .map(|old| {
                        step(&format!("undo {}", old.name), old.undo.clone().unwrap_or_default(), None)
                    })
                    .collect(),
                changes: vec![format!("run {} undone", run.id)],
                verify: vec!["each step said how it was undone".to_owned()],
                risks: Vec::new(),
                tier: Tier::NameReason,
                confirm_word: job.world.host.clone(),
                fingerprint: format!("{:?}", summary.state),
                revision,
            })
        })
    }

    fn step<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            let (run, job) = old(job)?;
            let which = steps(&run).get(index).copied().ok_or_else(|| no_such_step(index))?;
            named(&run.plan.runbook)?.undo(which, &job).await
        })
    }

    fn undo<'a>(&'a self, index: usize, _job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move { Err(no_such_step(index)) })
    }

    fn verify<'a>(&'a self, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            let (run, _) = old(job)?;
            let mine = job.world.runs.get(&job.run)?.done_steps().len();
            match mine == run.plan.steps.len() {
                true => Ok(format!("{mine} steps of {} undone", run.id)),
                false => Err(disagrees(format!("{mine} of {} steps undone", run.plan.steps.len()))),
            }
        })
    }
}
