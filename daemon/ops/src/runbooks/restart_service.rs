//! `restart_service`: starts the daemon anew on the same listener, under systemd beside the old process, which finishes
//! its requests; elsewhere in the same process, once they are finished. Use it after changing settings that need a start.
//! Nothing to undo.

use super::{Cut, Doing, Job, Runbook, disagrees, no_such_step};
use crate::plan::{Proposal, good, step, warn};
use crate::probe;
use gatehouse_common::runbook::{RunbookSpec, Tier};
use gatehouse_corridor::command::Command;

pub(crate) struct RestartService;

const LIVENESS: &str = "/platform/monitor/liveness";
const SERVES_ON: &str = "the new process did not come up and the old one serves on";

impl Runbook for RestartService {
    fn spec(&self) -> RunbookSpec {
        RunbookSpec {
            id: "restart_service".to_owned(),
            title: "Restart the service".to_owned(),
            group: "Service".to_owned(),
            about:
                "Starts the daemon anew on the same listener and lets requests in flight finish. If the new \
                    process does not come up, the old one serves on and the run fails. Consoles reconnect by \
                    themselves. Cannot be undone."
                    .to_owned(),
            tier: Tier::Name,
            params: Vec::new(),
            exclusive: Some("service".to_owned()),
        }
    }

    fn examine<'a>(&'a self, job: &'a Job) -> Doing<'a, Proposal> {
        Box::pin(async move {
            let revision = job.world.control.ask(|reply| Command::Revision(job.grant.read, reply)).await?;
            let others = job.world.attached.list().len();
            let mut findings = vec![
                good("everything acknowledged is on the disk"),
                warn("this console is cut and reconnects by itself"),
            ];
            if others > 1 {
                findings.push(warn(format!("{others} clients are attached, this one among them")));
            }
            Ok(Proposal {
                title: format!("Restart gatehouse on {}", job.world.host),
                findings,
                steps: vec![step("restart", "start anew, let requests in flight finish".to_owned(), None)],
                changes: vec!["program and settings read anew".to_owned()],
                verify: vec![format!("the gateway answers {LIVENESS} after the start")],
                risks: Vec::new(),
                tier: Tier::Name,
                confirm_word: job.world.host.clone(),
                fingerprint: String::new(),
                revision,
            })
        })
    }

    fn step<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            if index > 0 {
                return Err(no_such_step(index));
            }
            let (destroy, actor) = (job.grant.destroy()?, job.actor.clone());
            let mut refusals = job.world.shutdown.refusals();
            job.world.control.ask(|reply| Command::Restart(destroy, actor, reply)).await?;
            // The next start finds this step begun, which says that it was done.
            Err(disagrees(format!("{SERVES_ON}: {}", refusals.next().await.why)))
        })
    }

    fn undo<'a>(&'a self, index: usize, _job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move { Err(no_such_step(index)) })
    }

    fn verify<'a>(&'a self, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            if let Some(refusal) = job.world.shutdown.refusal() {
                return Err(disagrees(format!("{SERVES_ON}: {}", refusal.why)));
            }
            match probe::status(job.world.gateway(), LIVENESS, None).await? {
                200 => Ok(format!("{LIVENESS} 200 after the start")),
                status => Err(disagrees(format!("{LIVENESS} answered {status}, not 200"))),
            }
        })
    }

    fn cut(&self, _index: usize) -> Cut {
        Cut::WasDone
    }
}
