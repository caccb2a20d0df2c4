//! `GET /v1/health`: the items as they are now, worst first.

use super::{Call, object};
use actix_web::HttpResponse;
use gatehouse_common::problem::Problem;

pub(super) async fn health(call: Call) -> Result<HttpResponse, Problem> {
    object(&call.ops.monitor.look().await)
}
