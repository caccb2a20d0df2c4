//! Links for users, and second factors that were lost.

use super::{Call, object};
use actix_web::HttpResponse;
use gatehouse_common::ids::ConsumerId;
use gatehouse_common::ops::users::LinkRequest;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::command::Command;
use serde_json::json;

fn name(call: &Call) -> ConsumerId {
    ConsumerId::from(call.request.match_info().get("name").unwrap_or_default())
}

/// The one place where a link leaves the daemon.
pub(super) async fn link(call: Call) -> Result<HttpResponse, Problem> {
    let (request, user): (LinkRequest, _) = (call.json()?, name(&call));
    let (proof, actor) = (call.grant.write()?, call.peer.actor.clone());
    let ask = |reply| Command::OneTimeLink(proof, actor, user, request.purpose, reply);
    let made = call.ops.control.ask(ask).await?;
    object(&json!({"link": made.link.expose(), "expires_unix_ms": made.expires_unix_ms}))
}

pub(super) async fn forget_factor(call: Call) -> Result<HttpResponse, Problem> {
    let user = name(&call);
    let (proof, actor) = (call.grant.write()?, call.peer.actor.clone());
    call.ops.control.ask(|reply| Command::ForgetFactor(proof, actor, user, reply)).await?;
    object(&json!({ "done": true }))
}
