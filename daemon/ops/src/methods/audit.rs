//! `GET /v1/audit`: records, newest first, with the state of the chain.

use super::{Call, object};
use actix_web::{HttpResponse, web};
use gatehouse_common::ops::audit::AuditQuery;
use gatehouse_common::problem::{Code, Problem};

pub(super) async fn audit(call: Call) -> Result<HttpResponse, Problem> {
    let query: AuditQuery = call.query()?;
    let trail = call.ops.audit.clone();
    let page = web::block(move || trail.page(&query)).await;
    object(&page.map_err(|error| Problem::new(Code::Internal, error.to_string()))??)
}
