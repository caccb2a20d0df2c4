//! THE LIST of ops methods: verb, path, permission, handler. `common/src/ops.rs` is the same page for clients.

mod audit;
mod config;
mod entities;
mod health;
mod hello;
mod imports;
mod logs;
mod metrics;
mod runs;

use crate::Inner;
use crate::peer::Peer;
use actix_web::http::Method as Verb;
use actix_web::web::{Bytes, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{Stream, StreamExt as _};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::permission::Grant;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Whoever may connect.
    Read,
    /// Who came through the operate socket.
    Write,
    /// Decided by the tier of the plan.
    ByTier,
}

/// A call whose door has been checked.
pub(crate) struct Call {
    pub(crate) ops: Arc<Inner>,
    pub(crate) peer: Peer,
    pub(crate) grant: Grant,
    pub(crate) request: HttpRequest,
    pub(crate) body: Bytes,
}

pub(crate) type Answering = LocalBoxFuture<'static, Result<HttpResponse, Problem>>;

/// One method.
pub(crate) struct Method {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) needs: Needs,
    pub(crate) handler: fn(Call) -> Answering,
}

macro_rules! methods {
    ($($verb:ident $path:literal $needs:ident $handler:path;)*) => {
        /// THE LIST.
        pub(crate) const LIST: &[Method] = &[$(Method {
            verb: Verb::$verb,
            path: $path,
            needs: Needs::$needs,
            handler: |call| Box::pin($handler(call)),
        }),*];
    };
}

methods! {
    GET "/v1/hello" Read hello::hello;
    GET "/v1/attached" Read hello::attached;
    GET "/v1/metrics" Read metrics::metrics;
    GET "/v1/logs" Read logs::logs;
    GET "/v1/routes" Read entities::routes;
    GET "/v1/consumers" Read entities::consumers;
    GET "/v1/tokens" Read entities::tokens;
    GET "/v1/sessions" Read entities::sessions;
    GET "/v1/backups" Read entities::backups;
    GET "/v1/config/export" Read config::export;
    GET "/v1/config/schema" Read config::schema;
    GET "/v1/config/revisions" Read config::revisions;
    GET "/v1/config/folder" Read config::folder;
    POST "/v1/config/plan" Write config::plan;
    POST "/v1/config/apply" Write config::apply;
    POST "/v1/config/rollback" Write config::rollback;
    GET "/v1/health" Read health::health;
    POST "/v1/plans" Read runs::plan;
    POST "/v1/runs" ByTier runs::start;
    GET "/v1/runs" Read runs::list;
    GET "/v1/runs/{id}" Read runs::follow;
    POST "/v1/runs/{id}/stop" Write runs::stop;
    POST "/v1/runs/{id}/undo" Write runs::undo;
    POST "/v1/import/octoprox" Write imports::octoprox;
    POST "/v1/introspect" Write imports::introspect;
    GET "/v1/audit" Read audit::audit;
    GET "/v1/audit/verify" Read audit::verify;
    GET "/v1/audit/export" Read audit::export;
}

impl Call {
    /// The query, typed.
    fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let query = Query::<T>::from_query(self.request.query_string());
        query
            .map(Query::into_inner)
            .map_err(|error| Problem::new(Code::BadInput, format!("query: {error}")).at("query"))
    }

    /// The body, typed.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::new(Code::BadInput, format!("body: {error}")).at("body"))
    }
}

fn object(value: &impl Serialize) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(value))
}

/// One JSON object a line, made as fast as the reader takes them; ends when the daemon drains.
fn lines<T: Serialize>(call: &Call, items: impl Stream<Item = T> + 'static) -> Result<HttpResponse, Problem> {
    let shutdown = call.ops.shutdown.clone();
    let ends = async move { shutdown.reached(gatehouse_corridor::shutdown::Phase::Draining).await };
    let bytes = items.take_until(Box::pin(ends)).map(|item| {
        serde_json::to_vec(&item)
            .map(|mut line| {
                line.push(b'\n');
                Bytes::from(line)
            })
            .map_err(actix_web::Error::from)
    });
    Ok(HttpResponse::Ok().content_type("application/jsonl").streaming(Box::pin(bytes)))
}
