//! HTTP/1.1 on the two sockets: each request is checked for its door, then handed to the method of the list.

use crate::Inner;
use crate::methods::{Call, LIST, Method, Needs};
use crate::peer;
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use gatehouse_common::limits::{CONFIG_BODY_BYTES, IMPORT_BODY_BYTES, OPS_BODY_BYTES};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::permission::grant;
use gatehouse_corridor::tasks::TaskGroup;
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// Serves both sockets with one worker: ops is small, and must not take processors from traffic.
pub(crate) fn serve(
    inner: &Arc<Inner>,
    doors: [UnixListener; 2],
    tasks: &TaskGroup,
) -> Result<ServerHandle, Problem> {
    let failed = |error: std::io::Error| Problem::new(Code::Internal, format!("ops socket: {error}"));
    let (shared, attached, clock) = (Arc::clone(inner), inner.attached.clone(), inner.config.clock.clone());
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(Data::from(Arc::clone(&shared)))
            .app_data(web::PayloadConfig::new(OPS_BODY_BYTES))
            .configure(mount)
            .default_service(web::to(unknown))
    })
    .on_connect(move |io, extensions: &mut Extensions| peer::learn(io, extensions, &attached, &clock))
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1);
    for door in doors {
        server = server.listen_uds(door).map_err(failed)?;
    }
    let server = server.run();
    let handle = server.handle();
    tasks.spawn_to_end(async move {
        if let Err(error) = server.await {
            tracing::error!(target: "ops", %error, "the ops sockets ended");
        }
    });
    Ok(handle)
}

/// Largest body of a path, bytes: what holds the whole configuration or whole tables is larger than any other.
fn most(path: &str) -> usize {
    match path {
        _ if path.starts_with("/v1/config/") => CONFIG_BODY_BYTES,
        _ if path.starts_with("/v1/import/") => IMPORT_BODY_BYTES,
        _ => OPS_BODY_BYTES,
    }
}

fn mount(config: &mut web::ServiceConfig) {
    let mut paths: BTreeMap<&str, Vec<&'static Method>> = BTreeMap::new();
    for method in LIST {
        paths.entry(method.path).or_default().push(method);
    }
    for (path, methods) in paths {
        let whole = web::resource(path).app_data(web::PayloadConfig::new(most(path)));
        let resource = methods.into_iter().fold(whole, |resource, method| {
            let route = web::method(method.verb.clone());
            resource.route(route.to(
                move |inner: Data<Inner>, request: HttpRequest, body: Result<Bytes, actix_web::Error>| {
                    answer(method, inner.into_inner(), request, body)
                },
            ))
        });
        config.service(resource.default_service(web::to(wrong_method)));
    }
}

async fn answer(
    method: &'static Method,
    inner: Arc<Inner>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    let outcome = async {
        peer::no_browser(&request)?;
        let peer = peer::of(&request)?;
        let grant = grant(&peer.actor);
        if method.needs == Needs::Write {
            grant.write()?;
        }
        let body = body.map_err(|error| unreadable(&error, most(method.path)))?;
        (method.handler)(Call { ops: inner, peer, grant, request, body }).await
    };
    outcome.await.unwrap_or_else(|problem| rendered(&problem))
}

fn unreadable(error: &actix_web::Error, most: usize) -> Problem {
    match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Code::TooLarge, format!("the body is larger than {most} bytes"))
        }
        _ => Problem::new(Code::BadInput, format!("the body could not be read: {error}")),
    }
}

/// A problem as RFC 9457 wants it.
pub(crate) fn rendered(problem: &Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).content_type("application/problem+json").json(problem)
}

async fn unknown(request: HttpRequest) -> HttpResponse {
    let known: Vec<_> = LIST.iter().map(|method| method.path).collect();
    let text = format!("{}: unknown path; known: {}", request.path(), known.join(", "));
    rendered(&Problem::new(Code::NotFound, text))
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    let text = format!("{} is not a method of {}", request.method(), request.path());
    rendered(&Problem::compat(405, Code::BadInput.entry().code, text))
}
