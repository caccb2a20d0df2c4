//! The run engine: plan, confirm, run step by step, undo on failure, verify, record. A run belongs to the daemon; it
//! survives its console and, by its journal, the daemon itself.

mod drive;

use crate::plan::{self, Plans};
use crate::runbooks::{Job, named};
use crate::runs::Run;
use crate::world::World;
use gatehouse_common::ids::RunId;
use gatehouse_common::limits::REASON_BYTES;
use gatehouse_common::ops::audit::AuditEntry;
use gatehouse_common::ops::runs::{PlanRequest, RunSummary, StartRequest};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::{Plan, Risk, RunEvent, Tier};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::permission::grant;
use gatehouse_corridor::tasks::TaskGroup;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// An examination may take this long.
const EXAMINE: Duration = Duration::from_secs(5);
/// Events waiting for one follower; then the follower's own task waits.
const FOLLOW_EVENTS: usize = 64;

/// A fault that a test plants: this step, or the undo of this step, fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) step: Option<usize>,
    pub(crate) undo: Option<usize>,
}

pub(crate) struct Engine {
    pub(crate) world: Arc<World>,
    tasks: TaskGroup,
    plans: Plans,
    /// Exclusive resources, and the run that holds each.
    held: RwLock<HashMap<String, RunId>>,
    fault: Fault,
}

/// The engine's handle; cheap to clone.
#[derive(Clone)]
pub(crate) struct Runner(Arc<Engine>);

impl Runner {
    pub(crate) fn new(world: Arc<World>, tasks: TaskGroup) -> Self {
        Self::with_fault(world, tasks, Fault::default())
    }

    pub(crate) fn with_fault(world: Arc<World>, tasks: TaskGroup, fault: Fault) -> Self {
        Self(Arc::new(Engine { world, tasks, plans: Plans::default(), held: RwLock::default(), fault }))
    }

    /// Takes up the runs that the end of the daemon cut.
    pub(crate) fn resume(&self) {
        for run in self.0.world.runs.unfinished() {
            tracing::info!(target: "runs", run = %run.id, runbook = run.plan.runbook, "taken up");
            let resource = named(&run.plan.runbook).ok().and_then(|runbook| runbook.spec().exclusive);
            if let Some(resource) = &resource {
                let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
                held.insert(resource.clone(), run.id.clone());
            }
            let engine = Arc::clone(&self.0);
            self.0.tasks.spawn(drive::resume(engine, run));
        }
    }

    pub(crate) fn list(&self) -> Vec<RunSummary> {
        self.0.world.runs.all().iter().map(|run| run.summary()).collect()
    }

    /// What has happened in a run until now.
    pub(crate) fn events(&self, id: &RunId) -> Result<Vec<RunEvent>, Problem> {
        self.0.world.runs.get(id).map(|run| run.events())
    }

    /// Asks a run to stop at its next safe point.
    pub(crate) fn stop(&self, actor: &Actor, id: &RunId) -> Result<RunSummary, Problem> {
        let run = self.0.world.runs.get(id)?;
        if run.summary().state.is_final() {
            return Err(Problem::new(Code::Conflict, format!("run {id} has ended already")).at("run"));
        }
        let now_ms = self.0.world.clock.unix_ms();
        self.0.world.runs.stop(&run, now_ms, actor.to_string())?;
        Ok(run.summary())
    }

    /// The plan that undoes a run.
    pub(crate) async fn undo(&self, actor: &Actor, id: &RunId) -> Result<Plan, Problem> {
        let params = [("run".to_owned(), id.to_string())].into();
        self.plan(actor, PlanRequest { runbook: "undo_run".to_owned(), params }).await
    }

    /// Examines and plans; changes nothing.
    pub(crate) async fn plan(&self, actor: &Actor, request: PlanRequest) -> Result<Plan, Problem> {
        let plan = self.0.examine(actor, &request).await?;
        if !plan.blocked() {
            self.0.plans.hold(&plan);
        }
        Ok(plan)
    }

    /// Starts exactly the plan of that digest.
    pub(crate) async fn start(&self, actor: &Actor, request: StartRequest) -> Result<RunSummary, Problem> {
        self.0.start(actor, request).await
    }

    /// All events of a run from the first on; ends with the verdict.
    pub(crate) fn follow(&self, id: &RunId) -> Result<mpsc::Receiver<RunEvent>, Problem> {
        let run = self.0.world.runs.get(id)?;
        let (events, receiver) = mpsc::channel(FOLLOW_EVENTS);
        self.0.tasks.spawn(async move {
            let mut index = 0;
            while let Some(event) = run.event(index).await {
                if events.send(event).await.is_err() {
                    return;
                }
                index += 1;
            }
        });
        Ok(receiver)
    }
}

impl Engine {
    async fn examine(&self, actor: &Actor, request: &PlanRequest) -> Result<Plan, Problem> {
        let runbook = named(&request.runbook)?;
        plan::check_params(&runbook.spec(), request)?;
        let job = Job::new(&self.world, actor, &request.params, RunId::default());
        let late = |_| {
            let text = format!("the examination took longer than {} s", EXAMINE.as_secs());
            Problem::new(Code::Internal, text)
        };
        let mut proposal = tokio::time::timeout(EXAMINE, runbook.examine(&job)).await.map_err(late)??;
        for step in &mut proposal.steps {
            step.expected_ms = self.world.runs.expected_ms(&request.runbook, &step.name);
        }
        if let Some(holder) = self.holder(runbook.spec().exclusive.as_deref()) {
            proposal
                .findings
                .push(plan::warn(format!("run {holder} holds what this needs; wait for its end")));
        }
        Ok(plan::plan(request, proposal, self.world.clock.unix_ms()))
    }

    fn holder(&self, resource: Option<&str>) -> Option<RunId> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(resource?).cloned()
    }

    /// Starts exactly the plan of a digest: permission, confirmation, validity, the world as it was, and the
    /// exclusive resource are checked before anything is written.
    async fn start(self: &Arc<Self>, actor: &Actor, request: StartRequest) -> Result<RunSummary, Problem> {
        let plan = self.plans.held(&request.plan, self.world.clock.unix_ms())?;
        let power = grant(actor);
        match plan.tier {
            Tier::Safe | Tier::Yes => drop(power.write()?),
            Tier::Name | Tier::NameReason => drop(power.destroy()?),
        }
        confirmed(&plan, &request)?;
        let asked = PlanRequest { runbook: plan.runbook.clone(), params: plan.params.clone() };
        let now = self.examine(actor, &asked).await?;
        if now.blocked() || now.digest != plan.digest {
            self.plans.spend(&plan.digest);
            let text = "what the plan was made from has changed; plan again and look at the new one";
            return Err(Problem::new(Code::PlanOutdated, text).at("plan"));
        }
        let resource = named(&plan.runbook)?.spec().exclusive;
        let run = self.take(&plan, actor, &request, resource.as_deref())?;
        self.plans.spend(&plan.digest);
        if let Err(problem) = self.recorded(&run, actor, &request).await {
            drive::refuse(self, &run, &problem);
            return Err(problem);
        }
        let (engine, begun, actor) = (Arc::clone(self), Arc::clone(&run), actor.clone());
        self.tasks.spawn(drive::drive(engine, begun, actor, 0));
        Ok(run.summary())
    }

    /// Takes the exclusive resource and begins the journal, in one step.
    fn take(
        &self,
        plan: &Plan,
        actor: &Actor,
        request: &StartRequest,
        resource: Option<&str>,
    ) -> Result<Arc<Run>, Problem> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = resource.and_then(|resource| held.get(resource)) {
            let text = format!("run {holder} is at work on the same thing");
            return Err(Problem::new(Code::Busy, text).at("plan"));
        }
        let now_ms = self.world.clock.unix_ms();
        let run = self.world.runs.begin(plan, actor.to_string(), request.reason.clone(), now_ms)?;
        if let Some(resource) = resource {
            held.insert(resource.to_owned(), run.id.clone());
        }
        Ok(run)
    }

    /// Leaves the record that a run begins, before the answer to who asked.
    async fn recorded(&self, run: &Run, actor: &Actor, request: &StartRequest) -> Result<(), Problem> {
        let detail = serde_json::json!({
            "run": run.id, "params": run.plan.params, "plan": run.plan.digest, "tier": run.plan.tier,
            "reason": request.reason, "ssh_connection_claimed": request.ssh_connection,
        });
        let entry = AuditEntry {
            at_unix_ms: self.world.clock.unix_ms(),
            actor: actor.to_string(),
            source: actor.source(),
            action: format!("run.{}.start", run.plan.runbook),
            object: object(&run.plan),
            outcome: "ok".to_owned(),
            detail,
            revision: run.plan.revision,
        };
        self.audit(actor, entry).await
    }

    pub(crate) async fn audit(&self, actor: &Actor, entry: AuditEntry) -> Result<(), Problem> {
        let read = grant(actor).read;
        let ask = |reply| gatehouse_corridor::command::Command::Audit(read, entry, reply);
        self.world.control.ask(ask).await.map(drop)
    }
}

/// What a run is about: its first parameter, or the box.
pub(crate) fn object(plan: &Plan) -> String {
    match plan.params.iter().next() {
        Some((name, value)) => format!("{name}/{value}"),
        None => "appliance".to_owned(),
    }
}

/// The word, the reason, and each risk by its name.
fn confirmed(plan: &Plan, request: &StartRequest) -> Result<(), Problem> {
    let wrong = |field: &str, text: String| Problem::new(Code::ConfirmationWrong, text).at(field);
    let expected = match plan.tier {
        Tier::Safe => None,
        Tier::Yes => Some("yes"),
        Tier::Name | Tier::NameReason => Some(plan.confirm_word.as_str()),
    };
    if let Some(expected) = expected.filter(|word| request.confirm.as_deref() != Some(*word)) {
        return Err(wrong("confirm", format!("confirm: expected the word {expected:?}")));
    }
    let reason = request.reason.as_deref().unwrap_or_default().trim();
    if plan.tier == Tier::NameReason && reason.is_empty() {
        return Err(wrong("reason", "reason: expected a text; it is kept in the audit record".to_owned()));
    }
    if reason.len() > REASON_BYTES {
        return Err(wrong("reason", format!("reason: expected at most {REASON_BYTES} bytes")));
    }
    let missing: Vec<&Risk> = plan.risks.iter().filter(|risk| !request.accept_risks.contains(risk)).collect();
    match missing.first() {
        None => Ok(()),
        Some(_) => Err(wrong("accept_risks", format!("accept_risks: expected {missing:?} by name"))),
    }
}

#[cfg(test)]
mod tests;
