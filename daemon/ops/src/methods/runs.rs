//! Plans and runs.

use super::{Call, lines, object};
use actix_web::HttpResponse;
use futures_util::stream;
use gatehouse_common::ids::RunId;
use gatehouse_common::ops::runs::{PlanRequest, RunQuery, StartRequest};
use gatehouse_common::problem::Problem;

fn id(call: &Call) -> RunId {
    RunId::from(call.request.match_info().get("id").unwrap_or_default())
}

pub(super) async fn plan(call: Call) -> Result<HttpResponse, Problem> {
    let request: PlanRequest = call.json()?;
    object(&call.ops.runner.plan(&call.peer.actor, request).await?)
}

pub(super) async fn start(call: Call) -> Result<HttpResponse, Problem> {
    let request: StartRequest = call.json()?;
    let summary = call.ops.runner.start(&call.peer.actor, request).await?;
    Ok(HttpResponse::Accepted().json(summary))
}

pub(super) async fn list(call: Call) -> Result<HttpResponse, Problem> {
    object(&call.ops.runner.list())
}

/// All events; with `follow=1` also those to come, up to the verdict.
pub(super) async fn follow(call: Call) -> Result<HttpResponse, Problem> {
    let run = id(&call);
    let query: RunQuery = call.query()?;
    if query.follow != Some(1) {
        return lines(&call, stream::iter(call.ops.runner.events(&run)?));
    }
    let events = call.ops.runner.follow(&run)?;
    let items = stream::unfold(events, |mut events| async move {
        let event = events.recv().await?;
        Some((event, events))
    });
    lines(&call, items)
}

pub(super) async fn stop(call: Call) -> Result<HttpResponse, Problem> {
    object(&call.ops.runner.stop(&call.peer.actor, &id(&call))?)
}

pub(super) async fn undo(call: Call) -> Result<HttpResponse, Problem> {
    object(&call.ops.runner.undo(&call.peer.actor, &id(&call)).await?)
}
