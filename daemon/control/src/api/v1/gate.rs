//! Before every route of this surface: HEAD is answered as GET, a trailing slash leads to the path without it, requests are
//! counted by class and by who asks (spec/octoprox.md 4), and every answer carries the security headers.

use super::{answers, credential};
use crate::Inner;
use crate::api::gate::{kept, terms};
use crate::envelope::{closing, limits};
use crate::session::source;
use crate::subjects::windows::Place;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};
use std::net::IpAddr;

/// Seconds that are counted over.
const WINDOW_SECS: i64 = 60;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Auth,
    Api,
    /// Balancers and workspaces ask as often as they like.
    Free,
}

fn class(path: &str) -> Class {
    let path = path.strip_prefix("/app").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    match path {
        "/login" | "/logout" => Class::Auth,
        "/api/v1/health" => Class::Free,
        path if path.starts_with("/api/v1/auth/") => Class::Auth,
        path if path.starts_with("/internal/") => Class::Free,
        _ => Class::Api,
    }
}

pub(crate) async fn gate<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(control) = request.app_data::<Data<Inner>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    if request.method() == Method::HEAD {
        // Who writes the answer knows that the client asked for the head alone.
        request.head_mut().method = Method::GET;
    }
    let asked = count(&control, request.request());
    let terms = terms(request.request());
    let early = match &asked {
        Some((_, place)) if place.wait_secs.is_some() => {
            let secs = place.wait_secs.unwrap_or(1);
            Some(answers::answer(Err(answers::wait("Rate limit exceeded", secs))))
        }
        _ => without_slash(&request),
    };
    let mut response = match (early, terms) {
        (Some(response), _) => request.into_response(response).map_into_right_body(),
        (None, Ok(terms)) => kept(&control, request, terms, next).await?.map_into_left_body(),
        (None, Err(problem)) => request.into_response(answers::answer(Err(problem))).map_into_right_body(),
    };
    let headers = response.headers_mut();
    answers::secure(&control, headers);
    if let Some((limit, place)) = asked {
        let reset = HeaderValue::from(place.reset_secs);
        limits(headers, [HeaderValue::from(limit), HeaderValue::from(place.remaining), reset]);
    }
    closing(&control, response.response_mut().head_mut());
    Ok(response)
}

/// Counts a request; its limit, and where who asks stands. Who is known is counted as such, all others by address.
fn count(control: &Inner, request: &HttpRequest) -> Option<(u64, Place)> {
    let settings = &control.config().versioned;
    let known = credential::known(control, request);
    let (limit, who) = match class(request.path()) {
        Class::Free => (0, None),
        Class::Auth => (settings.auth_per_minute, Some(format!("auth {}", network(control, request)))),
        Class::Api => {
            let who = known.as_ref().ok().map(credential::Known::counted);
            (settings.requests_per_minute, who.or_else(|| Some(network(control, request))))
        }
    };
    request.extensions_mut().insert(known);
    let now_ms = control.clock.unix_ms();
    who.map(|who| (limit, control.versioned.requests.attempt(&who, limit, WINDOW_SECS, now_ms)))
}

/// The client's address; of IPv6 the network of 64 bits, which one client has whole.
pub(super) fn network(control: &Inner, request: &HttpRequest) -> String {
    let text = source(control, request);
    match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => {
            format!("{}/64", std::net::Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)))
        }
        Ok(address) => address.to_string(),
        Err(_) => text,
    }
}

fn without_slash(request: &ServiceRequest) -> Option<HttpResponse> {
    let path = request.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    // Relative to the host that was asked: nothing that a client sent becomes a host to go to.
    let path = format!("/{}", path.trim_matches('/'));
    let target = match request.query_string() {
        "" => path,
        query => format!("{path}?{query}"),
    };
    let mut response = HttpResponse::new(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&target).ok()?);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_class_with_and_without_the_prefix() {
        for (path, expected) in [
            ("/login", Class::Auth),
            ("/api/v1/auth/introspect", Class::Auth),
            ("/api/v1/users", Class::Api),
            ("/health", Class::Api),
            ("/api/v1/health", Class::Free),
            ("/internal/auth/introspect", Class::Free),
        ] {
            assert_eq!((class(path), class(&format!("/app{path}"))), (expected, expected), "{path}");
        }
        assert_eq!(class("/application/login"), Class::Api);
    }
}
