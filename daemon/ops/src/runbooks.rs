//! Runbooks: trait and THE LIST. A runbook looks, proposes steps, does them one by one, undoes them where that can be
//! done, and at the end asks the world whether it is so. It changes nothing itself: each effect is a command.

mod backup_now;
mod restart_service;
mod restore_backup;
mod revoke_tokens;
mod undo_run;

use crate::plan::Proposal;
use crate::world::World;
use gatehouse_common::ids::RunId;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::RunbookSpec;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::permission::{Grant, grant};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// THE LIST, in the order in which consoles show it.
pub(crate) const LIST: &[&dyn Runbook] = &[
    &revoke_tokens::RevokeTokens,
    &backup_now::BackupNow,
    &restore_backup::RestoreBackup,
    &restart_service::RestartService,
    &undo_run::UndoRun,
];

/// The runbook of an id.
pub(crate) fn named(id: &str) -> Result<&'static dyn Runbook, Problem> {
    LIST.iter().copied().find(|runbook| runbook.spec().id == id).ok_or_else(|| {
        let known: Vec<String> = LIST.iter().map(|runbook| runbook.spec().id).collect();
        let text = format!("runbook {id:?} does not exist; expected one of {}", known.join(", "));
        Problem::new(Code::NotFound, text).at("runbook")
    })
}

/// A future of a runbook.
pub(crate) type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// What a runbook works on.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) world: Arc<World>,
    pub(crate) actor: Actor,
    pub(crate) grant: Grant,
    pub(crate) params: BTreeMap<String, String>,
    /// The run; empty while planning.
    pub(crate) run: RunId,
}

impl Job {
    pub(crate) fn new(
        world: &Arc<World>,
        actor: &Actor,
        params: &BTreeMap<String, String>,
        run: RunId,
    ) -> Self {
        let (world, actor, params) = (Arc::clone(world), actor.clone(), params.clone());
        Self { grant: grant(&actor), world, actor, params, run }
    }

    /// A parameter; a required one was checked before.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
}

/// What becomes of a step in which the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It is done again: doing it twice does no harm.
    Redo,
    /// The end of the daemon was its effect.
    WasDone,
}

/// A runbook.
pub(crate) trait Runbook: Sync {
    /// What consoles show and which parameters it takes.
    fn spec(&self) -> RunbookSpec;
    /// Looks and proposes; changes nothing.
    fn examine<'a>(&'a self, job: &'a Job) -> Doing<'a, Proposal>;
    /// Does a step of the proposal; says what was done.
    fn step<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String>;
    /// Undoes a step that is done and whose plan says how it is undone.
    fn undo<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String>;
    /// Asks the world; an error says what it saw instead.
    fn verify<'a>(&'a self, job: &'a Job) -> Doing<'a, String>;
    /// What becomes of a step in which the daemon ended.
    fn cut(&self, _index: usize) -> Cut {
        Cut::Redo
    }
}

/// For a step that a runbook does not have.
pub(crate) fn no_such_step(index: usize) -> Problem {
    Problem::new(Code::Internal, format!("there is no step {}", index + 1))
}

/// A verification that saw something else.
pub(crate) fn disagrees(text: String) -> Problem {
    Problem::new(Code::Conflict, text)
}
