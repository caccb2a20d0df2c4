//! `/metrics` for Prometheus (spec/doorman.md 4.20).

use crate::envelope::{answer, decorate, detail};
use crate::observe::access::Verdict;
use crate::observe::exposition::Format;
use crate::observe::families;
use crate::{Inner, whole_resource};
use actix_web::http::header::{ACCEPT, HeaderValue, WWW_AUTHENTICATE};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

pub(crate) fn routes(config: &mut ServiceConfig) {
    whole_resource!(config, "/metrics", get => metrics);
}

async fn metrics(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    match control.config().metrics.judge(&request) {
        Verdict::Allowed => {}
        Verdict::Absent => return answer(&control, &request, Err(detail(404, "Not Found"))),
        Verdict::Refused => return answer(&control, &request, Err(detail(403, "Forbidden"))),
        Verdict::NeedsToken => {
            let mut refused = answer(&control, &request, Err(detail(401, "Unauthorized")));
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refused;
        }
    }
    let accept = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let format = Format::asked(&accept.collect::<Vec<_>>().join(","));
    // Some thirty thousand lines at the most APIs: not on a worker that carries calls.
    let made = web::block(move || families::page(&control, format)).await;
    let mut response = match made {
        Ok(text) => HttpResponse::Ok().content_type(format.content_type()).body(text),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    };
    decorate(&mut response);
    response
}
