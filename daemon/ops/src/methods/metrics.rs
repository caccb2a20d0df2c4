//! `GET /v1/metrics`: windows of traffic, one after the other.

use super::{Call, lines};
use crate::Inner;
use crate::windows::ROUTE_SECONDS;
use actix_web::HttpResponse;
use futures_util::stream::{self, StreamExt as _};
use gatehouse_common::limits::WINDOWS_KEPT;
use gatehouse_common::ops::Item;
use gatehouse_common::ops::metrics::{MetricsQuery, Window};
use gatehouse_common::problem::{Code, Problem};
use std::sync::Arc;

fn every(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(1) };
    let seconds = text.strip_suffix('s').and_then(|number| number.parse::<usize>().ok());
    seconds.filter(|seconds| (1..=ROUTE_SECONDS).contains(seconds)).ok_or_else(|| {
        let text = format!("every={text:?}: expected 1s to {ROUTE_SECONDS}s");
        Problem::new(Code::BadInput, text).at("every")
    })
}

pub(super) async fn metrics(call: Call) -> Result<HttpResponse, Problem> {
    let query: MetricsQuery = call.query()?;
    let every = every(query.every.as_deref())?;
    let ops = Arc::clone(&call.ops);
    // A daemon that has just started has no second to show yet.
    ops.windows.reached(1).await;
    if query.follow == Some(0) {
        let window = ops.monitor.complete(ops.windows.newest(every));
        return lines(&call, stream::iter([Item { seq: 0, body: window }]));
    }
    let wanted = query.history.unwrap_or(0).min(WINDOWS_KEPT);
    let before = if every == 1 { ops.windows.history(wanted) } else { Vec::new() };
    let told = before.len() as u64;
    let before = before.into_iter().enumerate().map(|(seq, body)| Item { seq: seq as u64, body });
    let next = Next { ops, every, seen: None, seq: told };
    let live = stream::unfold(next, |next| async move { Some(next.window().await) });
    lines(&call, stream::iter(before).chain(live))
}

struct Next {
    ops: Arc<Inner>,
    every: usize,
    /// Seconds sampled when the last window was made.
    seen: Option<u64>,
    seq: u64,
}

impl Next {
    /// The next window; the number passes over those that a slow reader has missed.
    async fn window(mut self) -> (Item<Window>, Self) {
        if let Some(seen) = self.seen {
            let due = seen + self.every as u64;
            self.ops.windows.reached(due).await;
            self.seq += (self.ops.windows.count() - due) / self.every as u64;
        }
        self.seen = Some(self.ops.windows.count());
        let body = self.ops.monitor.complete(self.ops.windows.newest(self.every));
        let item = Item { seq: self.seq, body };
        self.seq += 1;
        (item, self)
    }
}
