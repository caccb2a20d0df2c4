//! Before every management route: the platform's cross-origin rules (spec/doorman.md 4.23). Its address lists are kept by
//! the data plane, which sees every request first.

use crate::Inner;
use crate::envelope;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue, ORIGIN};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};

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
        envelope::decorate(&mut response, request.request());
        let mut response = request.into_response(response).map_into_right_body();
        put(&mut response, control.config().cors.preflight(&origin));
        return Ok(response);
    }
    let mut response = next.call(request).await?.map_into_left_body();
    if platform {
        put(&mut response, control.config().cors.actual(&origin));
    }
    Ok(response)
}

fn put<B>(response: &mut ServiceResponse<B>, lines: crate::subjects::cors::Lines) {
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}
