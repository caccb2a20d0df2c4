//! `GET /v1/hello` and `GET /v1/attached`: who is there.

use super::{Call, object};
use actix_web::HttpResponse;
use gatehouse_common::ops::PROTOCOL;
use gatehouse_common::ops::hello::Hello;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::command::Command;

pub(super) async fn hello(call: Call) -> Result<HttpResponse, Problem> {
    let ops = &call.ops;
    let revision = ops.control.ask(|reply| Command::Revision(call.grant.read, reply)).await?;
    object(&Hello {
        build: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: (PROTOCOL, PROTOCOL),
        boot: ops.boot.clone(),
        host: ops.config.host.clone(),
        started_unix_ms: ops.started_unix_ms,
        revision,
        actor: call.peer.actor.to_string(),
        door: call.peer.door,
        listen: vec![ops.config.gateway.to_string()],
        runbooks: crate::runbook_specs(),
    })
}

pub(super) async fn attached(call: Call) -> Result<HttpResponse, Problem> {
    object(&call.ops.attached.list())
}
