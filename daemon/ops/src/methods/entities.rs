//! Tables: routes, consumers, tokens, sessions, backups; filtered and paged here.

use super::{Call, object};
use actix_web::HttpResponse;
use gatehouse_common::ops::entities::{Backup, Consumer, ListQuery, Page, Route, Session, Token};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::command::{self, Command};
use serde::Serialize;

fn page<T: Serialize>(
    call: &Call,
    rows: Vec<T>,
    name: impl Fn(&T) -> String,
) -> Result<HttpResponse, Problem> {
    let query: ListQuery = call.query()?;
    let wanted = query.q.as_deref().unwrap_or_default().to_lowercase();
    let rows = rows.into_iter().filter(|row| name(row).to_lowercase().contains(&wanted)).collect();
    object(&Page::cut(rows, &query))
}

pub(super) async fn routes(call: Call) -> Result<HttpResponse, Problem> {
    let rows = call.ops.control.ask(|reply| Command::Routes(call.grant.read, reply)).await?;
    page(&call, rows, |row: &Route| row.name.clone())
}

pub(super) async fn consumers(call: Call) -> Result<HttpResponse, Problem> {
    let rows = call.ops.control.ask(|reply| Command::Consumers(call.grant.read, reply)).await?;
    page(&call, rows, |row: &Consumer| format!("{} {}", row.id, row.email))
}

pub(super) async fn tokens(call: Call) -> Result<HttpResponse, Problem> {
    let rows = call.ops.control.ask(|reply| Command::Tokens(call.grant.read, reply)).await?;
    page(&call, rows, |row: &Token| format!("{} {} {}", row.consumer, row.name, row.prefix))
}

pub(super) async fn sessions(call: Call) -> Result<HttpResponse, Problem> {
    let rows = call.ops.control.ask(|reply| Command::Sessions(call.grant.read, reply)).await?;
    page(&call, rows, |row: &Session| format!("{} {}", row.consumer, row.source))
}

pub(super) async fn backups(call: Call) -> Result<HttpResponse, Problem> {
    let rows = call.ops.control.ask(|reply| Command::Backups(call.grant.read, reply)).await?;
    page(&call, rows.into_iter().map(shown).collect(), |row: &Backup| row.name.clone())
}

fn shown(backup: command::Backup) -> Backup {
    Backup {
        name: backup.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        rows: backup.rows,
        bytes: backup.bytes,
        revision: backup.revision,
        made_unix_ms: backup.made_unix_ms,
    }
}
