//! Around every management route: the terms of a change, tags of what is shown, and the platform's cross-origin rules
//! (spec/doorman.md 4.23). Its address lists are kept by
//! the data plane, which sees every request first.

use crate::Inner;
use crate::api::DRY_RUN;
use crate::api::query::Query;
use crate::api::tags;
use crate::change::terms::Terms;
use crate::envelope;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, ORIGIN, SET_COOKIE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, HttpResponse};
use gatehouse_common::problem::Problem;
use std::sync::Arc;

pub(crate) async fn gate<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(control) = request.app_data::<Data<Inner>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let platform = request.path().starts_with("/platform");
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    let (origin, preflight) = (origin.to_owned(), request.method() == Method::OPTIONS);
    if platform && preflight {
        let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
        envelope::decorate(&mut response);
        let mut response = request.into_response(response).map_into_right_body();
        put(&mut response, control.config().cors.preflight(&origin));
        return Ok(response);
    }
    let mut response = match terms(request.request()) {
        Ok(terms) => kept(&control, request, terms, next).await?.map_into_left_body(),
        Err(problem) => {
            let response = envelope::answer(&control, request.request(), Err(problem));
            request.into_response(response).map_into_right_body()
        }
    };
    if platform {
        put(&mut response, control.config().cors.actual(&origin));
    }
    Ok(response)
}

/// The terms of a change; `None` of a look.
///
/// # Errors
/// 422, for `dry_run` that is neither yes nor no: what was meant as a question must not be done.
pub(crate) fn terms(request: &HttpRequest) -> Result<Option<Arc<Terms>>, Problem> {
    if request.method().is_safe() {
        return Ok(None);
    }
    let if_match = request.headers().get(IF_MATCH).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let dry = Query::of(request).yes_or_no(DRY_RUN)?;
    Ok(Some(Arc::new(Terms::new(dry, if_match.as_deref()))))
}

/// Answers under the terms of the request; what is shown as one resource says which one it is.
pub(crate) async fn kept<B: MessageBody + 'static>(
    control: &Inner,
    request: ServiceRequest,
    terms: Option<Arc<Terms>>,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let Some(terms) = terms else {
        // A state that may be older than what is shown: a tag that is too old costs another look, a newer one a change.
        let state = control.changes.state();
        let mut response = next.call(request).await?;
        if response.status() == StatusCode::OK
            && let Some(tag) = tags::of(control, &state, response.request())
        {
            insert(&mut response, ETAG, &tag);
        }
        return Ok(response);
    };
    let mut response = terms.keep(next.call(request)).await?;
    if terms.dry {
        // Nobody is logged in by what is not done.
        response.headers_mut().remove(SET_COOKIE);
    }
    if let Some(tag) = terms.seen().tag {
        insert(&mut response, ETAG, &tag);
    }
    Ok(response)
}

fn insert<B>(response: &mut ServiceResponse<B>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn put<B>(response: &mut ServiceResponse<B>, lines: crate::subjects::cors::Lines) {
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}
