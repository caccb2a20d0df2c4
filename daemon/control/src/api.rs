//! THE LIST of management resources: one line each.

pub(crate) mod analytics;
pub(crate) mod apis;
pub(crate) mod assignments;
pub(crate) mod authorization;
pub(crate) mod chaos;
pub(crate) mod configuration;
pub(crate) mod contract;
pub(crate) mod cookies;
pub(crate) mod credits;
pub(crate) mod dashboard;
pub(crate) mod demo;
pub(crate) mod discovery;
pub(crate) mod endpoints;
pub(crate) mod gate;
pub(crate) mod groups;
pub(crate) mod health;
pub(crate) mod lists;
pub(crate) mod logging;
pub(crate) mod memory;
pub(crate) mod metrics;
pub(crate) mod monitor;
#[cfg(test)]
pub(crate) mod mounted;
pub(crate) mod oidc;
pub(crate) mod one_time;
pub(crate) mod protos;
pub(crate) mod query;
pub(crate) mod quota;
pub(crate) mod rate_limits;
pub(crate) mod registration;
pub(crate) mod revisions;
pub(crate) mod roles;
pub(crate) mod routings;
pub(crate) mod second_factor;
pub(crate) mod security;
pub(crate) mod sessions;
pub(crate) mod subscriptions;
pub(crate) mod tags;
pub(crate) mod tiers;
pub(crate) mod tokens;
pub(crate) mod tools;
pub(crate) mod users;
pub(crate) mod v1;
pub(crate) mod validations;
pub(crate) mod vault;
pub(crate) mod why;

use crate::Inner;
use crate::envelope::{Reply, answer, detail};
use actix_web::guard::{self, Guard};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::limits::MANAGE_BODY_BYTES;
use gatehouse_common::problem::{Code, Problem};
use serde_json::Value;

/// The query that asks what a change would do.
pub(crate) const DRY_RUN: &str = "dry_run";

/// Mounts everything.
pub(crate) fn routes(control: &Inner, config: &mut ServiceConfig) {
    let most = usize::try_from(control.config().limits.body_bytes).unwrap_or(usize::MAX);
    config.app_data(web::PayloadConfig::new(MANAGE_BODY_BYTES.min(most)));
    mount(config);
}

fn mount(config: &mut ServiceConfig) {
    health::routes(config);
    metrics::routes(config);
    contract::routes(config);
    // In scopes: what the gateway carries passes every pattern out here, and one with a variable is a regex.
    v1::routes(config);
    config.service(
        web::scope("/auth")
            .wrap(from_fn(gate::gate))
            .configure(tokens::routes)
            .configure(second_factor::routes)
            .configure(one_time::routes)
            .configure(oidc::routes),
    );
    config.service(
        web::scope("/platform")
            .wrap(from_fn(gate::gate))
            .configure(authorization::routes)
            .configure(sessions::routes)
            .configure(registration::routes)
            .configure(why::routes)
            .configure(discovery::routes)
            .configure(apis::routes)
            .configure(protos::routes)
            .configure(validations::routes)
            .configure(endpoints::routes)
            .configure(users::routes)
            .configure(roles::routes)
            .configure(groups::routes)
            .configure(subscriptions::routes)
            .configure(credits::routes)
            .configure(routings::routes)
            .configure(security::routes)
            .configure(tools::routes)
            .configure(assignments::routes)
            .configure(tiers::routes)
            .configure(rate_limits::routes)
            .configure(quota::routes)
            .configure(vault::routes)
            .configure(configuration::routes)
            .configure(revisions::routes)
            .configure(logging::routes)
            .configure(memory::routes)
            .configure(chaos::routes)
            .configure(dashboard::routes)
            .configure(demo::routes)
            .configure(analytics::routes)
            .configure(health::platform)
            .configure(monitor::routes)
            .configure(contract::platform)
            .default_service(web::to(unknown)),
    );
}

async fn unknown(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    answer(&control, &request, Err(detail(404, "Not Found")))
}

/// A known path with another method than those it has.
pub(crate) fn wrong_method(control: &Inner, request: &HttpRequest, methods: &[&str]) -> HttpResponse {
    let mut response = answer(control, request, Err(not_allowed()));
    allow(&mut response, methods);
    response
}

/// The refusal of another method.
pub(crate) fn not_allowed() -> Problem {
    detail(405, "Method Not Allowed")
}

/// Tells the methods that a path has (RFC 9110, 15.5.6).
pub(crate) fn allow(response: &mut HttpResponse, methods: &[&str]) {
    let head = methods.contains(&"get").then_some("HEAD".to_owned());
    let all: Vec<_> = methods.iter().map(|method| method.to_uppercase()).chain(head).collect();
    if let Ok(all) = HeaderValue::from_str(&all.join(", ")) {
        response.headers_mut().insert(ALLOW, all);
    }
}

/// Takes one method; `get` takes `HEAD` too, whose answer loses its body on the way out.
pub(crate) fn takes(method: &'static str) -> impl Guard {
    guard::fn_guard(move |context| {
        let asked = context.head().method.as_str();
        asked.eq_ignore_ascii_case(method) || (method == "get" && asked == "HEAD")
    })
}

/// Refuses a name that no URL of its resource could address.
pub(crate) fn addressable(name: &str, taken: &[&str], code: &str, field: &str) -> Result<(), Problem> {
    if taken.contains(&name) || name.contains('/') || name.chars().any(char::is_control) {
        let taken = if taken.is_empty() { String::new() } else { format!(", and not {}", taken.join(", ")) };
        let text = format!("{field}: expected no slash and no control character{taken}");
        return Err(Problem::compat(400, code, text).at(field));
    }
    Ok(())
}

/// A body that could not be read to its end.
pub(crate) fn unreadable(error: &actix_web::Error) -> Problem {
    let text = format!("body: expected at most {MANAGE_BODY_BYTES} bytes, and no more than body_bytes_max");
    match error.as_response_error().status_code().as_u16() {
        413 => Problem::compat(413, "REQ001", text).at("body"),
        _ => Problem::compat(400, "REQ001", "body: it ended early or is not encoded as announced").at("body"),
    }
}

/// The body as JSON.
pub(crate) fn json(body: &Bytes) -> Result<Value, Problem> {
    let bad =
        |error| Problem::compat(422, "VAL001", format!("Validation Error: body: expected JSON: {error}"));
    serde_json::from_slice(body).map_err(bad)
}

/// A path's variable, decoded by the router.
pub(crate) fn part<'r>(request: &'r HttpRequest, name: &str) -> &'r str {
    request.match_info().get(name).unwrap_or_default()
}

/// Refuses a dry run of what is done outside of the path of change.
///
/// # Errors
/// 400, under a dry run.
pub(crate) fn real(request: &HttpRequest) -> Result<(), Problem> {
    if query::Query::of(request).flag(DRY_RUN) {
        let text = format!("{DRY_RUN}: this changes no record and cannot be planned; expected no {DRY_RUN}");
        return Err(Problem::new(Code::BadInput, text).at(DRY_RUN));
    }
    Ok(())
}

/// Shorthand for handlers.
pub(crate) type Outcome = Result<Reply, Problem>;

/// A resource: `GET`, `POST`, … to handlers of the shape `fn(&Inner, &HttpRequest, &Bytes) -> Outcome`, with
/// 405 for the rest and the trailing slash accepted. Each operation has a line in `openapi/docs/`.
#[macro_export]
macro_rules! resource {
    ($config:expr, $path:literal, $($method:ident => $handler:path),+ $(,)?) => {
        $crate::whole_resource!($config, $path, $($method =>
            |control: actix_web::web::Data<$crate::Inner>,
             request: actix_web::HttpRequest,
             body: Result<actix_web::web::Bytes, actix_web::Error>| async move {
                let outcome = match body {
                    Ok(body) => $handler(&control, &request, &body).await,
                    Err(error) => Err($crate::api::unreadable(&error)),
                };
                $crate::envelope::answer(&control, &request, outcome)
            }
        ),+)
    };
}

/// As [`resource`], to handlers that take what actix extracts and make the whole answer: its headers, or a body that is
/// not read at once.
#[macro_export]
macro_rules! whole_resource {
    ($config:expr, $path:literal, $($method:ident => $handler:expr),+ $(,)?) => {
        $crate::mounts!(
            $config,
            [$path, concat!($path, "/")],
            |control: actix_web::web::Data<$crate::Inner>, request: actix_web::HttpRequest| async move {
                $crate::api::wrong_method(&control, &request, &[$(stringify!($method)),+])
            },
            $($method => $handler),+
        )
    };
}

/// What every way of mounting is built on: the handlers at one or more spellings of a path, the first of which is the one
/// that is documented, and who answers another method.
#[macro_export]
macro_rules! mounts {
    ($config:expr, [$path:expr $(, $spelling:expr)*], $wrong:expr, $($method:ident => $handler:expr),+ $(,)?) => {
        $(
            #[cfg(test)]
            $crate::api::mounted::note(stringify!($method), $path);
        )+
        for path in [$path $(, $spelling)*] {
            $config.service(
                actix_web::web::resource(path)
                    $(.route(actix_web::web::route().guard($crate::api::takes(stringify!($method))).to($handler)))+
                    .default_service(actix_web::web::to($wrong)),
            );
        }
    };
}
