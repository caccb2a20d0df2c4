//! Importing what another manager kept, and what a token stands for.

use super::{Call, object};
use actix_web::HttpResponse;
use gatehouse_common::ops::imports::{ImportRequest, IntrospectRequest};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::command::Command;

pub(super) async fn octoprox(call: Call) -> Result<HttpResponse, Problem> {
    let request: ImportRequest = call.json()?;
    let (may, actor) = (call.grant.write()?, call.peer.actor.clone());
    let report = call.ops.control.ask(|reply| Command::Import(may, actor, request, reply)).await?;
    object(&report)
}

pub(super) async fn introspect(call: Call) -> Result<HttpResponse, Problem> {
    let IntrospectRequest { token } = call.json()?;
    let may = call.grant.write()?;
    let answer = call.ops.control.ask(|reply| Command::Introspect(may, token, reply)).await?;
    object(&answer)
}
