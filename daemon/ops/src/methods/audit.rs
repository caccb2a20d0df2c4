//! The audit trail: `GET /v1/audit`, records, newest first, with the state of the chain; `verify`, the whole chain looked at
//! now; `export`, all records, oldest first.

use super::{Call, lines, object};
use actix_web::{HttpResponse, web};
use futures_util::stream::{self, StreamExt as _};
use gatehouse_common::auditquery::AuditFilter;
use gatehouse_common::ops::audit::{AuditBreak, AuditQuery, Exported};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_store::walk::Records;

/// Records read at once, whether they pass or not.
const CHUNK_RECORDS: usize = 1_000;

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    web::block(work).await.map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

pub(super) async fn audit(call: Call) -> Result<HttpResponse, Problem> {
    let query: AuditQuery = call.query()?;
    let (trail, now_ms) = (call.ops.audit.clone(), call.ops.config.clock.unix_ms());
    object(&blocking(move || trail.page(&query, now_ms)).await??)
}

pub(super) async fn verify(call: Call) -> Result<HttpResponse, Problem> {
    let trail = call.ops.audit.clone();
    object(&blocking(move || trail.verdict()).await?)
}

pub(super) async fn export(call: Call) -> Result<HttpResponse, Problem> {
    let query: AuditQuery = call.query()?;
    let now_ms = call.ops.config.clock.unix_ms();
    let filter = AuditFilter::parse(query.q.as_deref().unwrap_or_default(), now_ms)?;
    let trail = call.ops.audit.clone();
    let records = blocking(move || trail.records()).await??;
    let chunks = stream::unfold(Some(records), move |records| {
        let filter = filter.clone();
        async move {
            let mut records = records?;
            let read = blocking(move || {
                chunk(&mut records, &filter).map(|(found, on)| (found, on.then_some(records)))
            });
            // A pool that is gone ends the stream, as the daemon's end does.
            read.await.ok().flatten()
        }
    });
    lines(&call, chunks.flat_map(stream::iter))
}

/// The next records that pass, and whether it goes on behind them; `None` at the end.
fn chunk(records: &mut Records, filter: &AuditFilter) -> Option<(Vec<Exported>, bool)> {
    let (mut found, mut read) = (Vec::new(), 0);
    for item in records.take(CHUNK_RECORDS) {
        read += 1;
        match item {
            Ok((.., record)) if filter.matches(&record.entry) => found.push(Exported::Record(record)),
            Ok(_) => {}
            // The writer is at it; what is before it was asked for.
            Err(broken) if broken.unfinished => return Some((found, false)),
            Err(broken) => {
                let gatehouse_store::walk::Broken { file, line, why, .. } = broken;
                found.push(Exported::Broken { broken: AuditBreak { file, line, why } });
                return Some((found, false));
            }
        }
    }
    (read > 0).then_some((found, true))
}
