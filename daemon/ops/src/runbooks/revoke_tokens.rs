//! `revoke_tokens --user NAME`: ends every session, token and API key of one user at once. Use it when a credential
//! may be in the wrong hands. It cannot be undone: the user logs in again, keys are made anew.

use super::{Doing, Job, Runbook, disagrees, no_such_step};
use crate::plan::{Proposal, good, step, warn};
use crate::probe;
use gatehouse_common::ids::ConsumerId;
use gatehouse_common::ops::entities::{Consumer, Route, Token};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::{Param, ParamKind, RunbookSpec, Tier};
use gatehouse_corridor::command::Command;

pub(crate) struct RevokeTokens;

/// A path of the management surface that only answers a valid token.
const STATUS: &str = "/platform/authorization/status";

async fn consumer(job: &Job) -> Result<Consumer, Problem> {
    let name = job.param("user");
    let all = job.world.control.ask(|reply| Command::Consumers(job.grant.read, reply)).await?;
    all.into_iter().find(|consumer| consumer.id.as_str() == name).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("user {name:?} does not exist")).at("params.user")
    })
}

/// Their keys that are alive, in a stable order.
async fn live_keys(job: &Job) -> Result<Vec<Token>, Problem> {
    let all = job.world.control.ask(|reply| Command::Tokens(job.grant.read, reply)).await?;
    let name = job.param("user");
    Ok(all.into_iter().filter(|key| key.consumer.as_str() == name && key.revoked_unix_ms.is_none()).collect())
}

/// A call that the gateway must refuse without its upstream being asked: a protected route's first plain GET.
async fn protected_path(job: &Job) -> Result<Option<String>, Problem> {
    let routes: Vec<Route> = job.world.control.ask(|reply| Command::Routes(job.grant.read, reply)).await?;
    // Whatever its kind: a route is reached under every prefix (spec/doorman.md 5.1).
    let serving = routes.iter().filter(|route| route.protected && route.active);
    Ok(serving.into_iter().find_map(|route| {
        let uris = route.endpoints.iter().filter_map(|endpoint| endpoint.strip_prefix("GET "));
        uris.into_iter().find(|uri| !uri.contains('{')).map(|uri| format!("/api/rest/{}{uri}", route.name))
    }))
}

impl Runbook for RevokeTokens {
    fn spec(&self) -> RunbookSpec {
        RunbookSpec {
            id: "revoke_tokens".to_owned(),
            title: "Revoke tokens".to_owned(),
            group: "Access".to_owned(),
            about:
                "Ends every session, token and API key of one user at once. They log in again and make new \
                    keys; what was revoked never comes back."
                    .to_owned(),
            tier: Tier::Name,
            params: vec![Param {
                name: "user".to_owned(),
                kind: ParamKind::Consumer,
                required: true,
                help: "name of the user whose credentials end".to_owned(),
            }],
            exclusive: Some("access".to_owned()),
        }
    }

    fn examine<'a>(&'a self, job: &'a Job) -> Doing<'a, Proposal> {
        Box::pin(async move {
            let (consumer, keys) = (consumer(job).await?, live_keys(job).await?);
            let revision = job.world.control.ask(|reply| Command::Revision(job.grant.read, reply)).await?;
            let mut findings = vec![good(format!("{} exists, role {}", consumer.id, consumer.role))];
            if consumer.role == "admin" {
                findings.push(warn("this user administers; they must log in again to manage"));
            }
            if !consumer.active {
                findings.push(warn("this user is deactivated or revoked already"));
            }
            let mut verify = vec![format!("{STATUS} refuses a token as they had")];
            match protected_path(job).await? {
                Some(path) => verify.push(format!("the gateway refuses it at {path}")),
                None => findings
                    .push(warn("no protected route with a plain GET: the gateway itself is not probed")),
            }
            let (sessions, name) = (consumer.sessions, &consumer.id);
            let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
            Ok(Proposal {
                title: format!("Revoke all tokens of {name}"),
                findings,
                steps: vec![step(
                    "revoke",
                    format!("end every token of {name} issued until now, and {} API keys", keys.len()),
                    None,
                )],
                changes: vec![
                    format!("sessions {sessions} ended"),
                    format!("API keys {} revoked", keys.len()),
                ],
                verify,
                risks: Vec::new(),
                tier: Tier::Name,
                confirm_word: name.to_string(),
                fingerprint: ids.join(","),
                revision,
            })
        })
    }

    fn step<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            if index > 0 {
                return Err(no_such_step(index));
            }
            let destroy = job.grant.destroy()?;
            let (actor, consumer) = (job.actor.clone(), ConsumerId::from(job.param("user")));
            let ask = |reply| Command::RevokeTokens(destroy, actor, consumer, reply);
            let revoked = job.world.control.ask(ask).await?;
            Ok(format!(
                "{} sessions ended, {} keys revoked, revision {} served",
                revoked.sessions, revoked.keys, revoked.revision
            ))
        })
    }

    fn undo<'a>(&'a self, index: usize, _job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move { Err(no_such_step(index)) })
    }

    fn verify<'a>(&'a self, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            let destroy = job.grant.destroy()?;
            let consumer = ConsumerId::from(job.param("user"));
            let ask = |reply| Command::ProbeToken(destroy, consumer, reply);
            let token = job.world.control.ask(ask).await?;
            let paths = std::iter::once(STATUS.to_owned()).chain(protected_path(job).await?);
            let mut seen = Vec::new();
            for path in paths {
                let status = probe::status(job.world.gateway(), &path, Some(&token)).await?;
                if status != 401 {
                    return Err(disagrees(format!("{path} answered {status} to a revoked token, not 401")));
                }
                seen.push(format!("{path} 401"));
            }
            Ok(format!("a token as they had: {}", seen.join(", ")))
        })
    }
}
