//! The only table from [`Failure`] to status, code and text (spec/doorman.md 1.6, 5.2). Texts are fixed, so
//! that nothing from inside can leak.

use crate::failure::Failure;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder};

/// One row: status, code, text.
pub(crate) const fn row(failure: Failure) -> (u16, &'static str, &'static str) {
    match failure {
        Failure::UnknownPath => (404, "", "Not Found"),
        Failure::BadPath => {
            (400, "GTW011", "The path must not contain dot segments, backslashes or encoded slashes")
        }
        Failure::Upgrade => (400, "GTW011", "Upgrade and CONNECT are not supported on this route"),
        Failure::UnknownApi => (404, "GTW001", "API does not exist for the requested name and version"),
        Failure::NoUpstream => (404, "GTW001", "No upstream servers are configured"),
        Failure::Inactive => (403, "GTW012", "API is disabled"),
        Failure::NoEndpoints => (404, "GTW002", "No endpoints exist for the API"),
        Failure::UnknownEndpoint => (404, "GTW003", "Endpoint does not exist for the requested API"),
        Failure::Method => (405, "GTW004", "Method not supported"),
        Failure::BodyTooLarge => (413, "REQ001", "Request entity too large"),
        Failure::Overloaded => (503, "GTW999", "The gateway is at its limit of requests in flight"),
        Failure::Unauthenticated => (401, "Unauthorized", "Unauthorized"),
        Failure::NotSubscribed => {
            (403, "You are not subscribed to this resource", "You are not subscribed to this resource")
        }
        Failure::WrongGroup => {
            (401, "You do not have the correct group for this", "You do not have the correct group for this")
        }
        Failure::WrongRole => (403, "GTW014", "Your role is not allowed to use this API"),
        Failure::RateLimited(_) => (429, "Rate limit exceeded", "Rate limit exceeded"),
        Failure::Connect => (502, "GTW006", "The upstream could not be reached"),
        Failure::Upstream => (502, "GTW006", "The upstream broke off its answer"),
        Failure::Timeout => (504, "GTW010", "The upstream did not answer in time"),
        Failure::ClientBody => (400, "REQ001", "The request body ended early"),
    }
}

/// The answer to a failure.
pub(crate) fn rescue(failure: Failure, strict_envelope: bool) -> HttpResponse {
    let (status, code, text) = row(failure);
    // Codes and texts are our own and need no escaping.
    let body = match (failure, strict_envelope) {
        (Failure::UnknownPath, _) => format!(r#"{{"detail":"{text}"}}"#),
        (_, true) => format!(r#"{{"status_code":{status},"error_code":"{code}","error_message":"{text}"}}"#),
        (_, false) => format!(r#"{{"error_code":"{code}","error_message":"{text}"}}"#),
    };
    let real = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let strict = strict_envelope && failure != Failure::UnknownPath;
    let mut answer = HttpResponseBuilder::new(if strict { StatusCode::OK } else { real });
    if let Failure::RateLimited(millis) = failure {
        answer.insert_header((RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000).max(1))));
    }
    answer.content_type("application/json").body(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_mode_hides_the_status_in_the_body() {
        assert_eq!(rescue(Failure::Unauthenticated, false).status(), 401);
        assert_eq!(rescue(Failure::Unauthenticated, true).status(), 200);
        assert_eq!(rescue(Failure::UnknownPath, true).status(), 404);
        assert_eq!(rescue(Failure::RateLimited(1_200), false).headers().get("retry-after").unwrap(), "2");
    }
}
