//! Configuration as code: control reads, plans and changes; here is only the door.

use super::{Call, object};
use actix_web::HttpResponse;
use gatehouse_common::ops::config::{ConfigFiles, ConfigQuery, ConfigText, ConfigUndo};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::command::Command;

/// Revisions, if not asked for otherwise, and at most.
const LISTED: usize = 50;
const LISTED_MAX: usize = 10_000;

pub(super) async fn export(call: Call) -> Result<HttpResponse, Problem> {
    let query: ConfigQuery = call.query()?;
    let yaml = match query.format.as_deref() {
        None | Some("toml") => false,
        Some("yaml") => true,
        Some(_) => return Err(Problem::new(Code::BadInput, "format: expected toml or yaml").at("format")),
    };
    let text = call.ops.control.ask(|reply| Command::ConfigExport(call.grant.read, yaml, reply)).await?;
    object(&ConfigText { text })
}

pub(super) async fn schema(call: Call) -> Result<HttpResponse, Problem> {
    let text = call.ops.control.ask(|reply| Command::ConfigSchema(call.grant.read, reply)).await?;
    object(&ConfigText { text })
}

pub(super) async fn revisions(call: Call) -> Result<HttpResponse, Problem> {
    let query: ConfigQuery = call.query()?;
    let most = query.limit.unwrap_or(LISTED).min(LISTED_MAX);
    object(&call.ops.control.ask(|reply| Command::ConfigHistory(call.grant.read, most, reply)).await?)
}

pub(super) async fn folder(call: Call) -> Result<HttpResponse, Problem> {
    object(&call.ops.control.ask(|reply| Command::ConfigFolder(call.grant.read, reply)).await?)
}

pub(super) async fn plan(call: Call) -> Result<HttpResponse, Problem> {
    let (write, actor, files): (_, _, ConfigFiles) =
        (call.grant.write()?, call.peer.actor.clone(), call.json()?);
    object(&call.ops.control.ask(|reply| Command::ConfigPlan(write, actor, files, reply)).await?)
}

pub(super) async fn apply(call: Call) -> Result<HttpResponse, Problem> {
    let (write, actor, files): (_, _, ConfigFiles) =
        (call.grant.write()?, call.peer.actor.clone(), call.json()?);
    object(&call.ops.control.ask(|reply| Command::ConfigApply(write, actor, files, reply)).await?)
}

pub(super) async fn rollback(call: Call) -> Result<HttpResponse, Problem> {
    let (write, actor, undo): (_, _, ConfigUndo) =
        (call.grant.write()?, call.peer.actor.clone(), call.json()?);
    object(&call.ops.control.ask(|reply| Command::ConfigUndo(write, actor, undo, reply)).await?)
}
