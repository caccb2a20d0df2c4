//! The only table from [`Failure`] to status, code and text (spec/doorman.md 1.6, 5.2). Texts are fixed, so
//! that nothing from inside can leak.

use crate::client::answer::Answer;
use crate::client::head::BadHead;
use crate::failure::Failure;
use crate::lane::Lane;

/// The answer to a path that is nobody's.
pub(crate) const UNKNOWN_PATH: &str = r#"{"detail":"Not Found"}"#;

/// One row: status, code, text.
pub(crate) const fn row(failure: Failure) -> (u16, &'static str, &'static str) {
    match failure {
        Failure::Head(BadHead::Malformed(text)) => (400, "GTW011", text),
        Failure::Head(BadHead::TargetTooLong) => {
            (414, "REQ001", "The request target is longer than 16384 bytes")
        }
        Failure::Head(BadHead::TooLarge) => {
            (431, "REQ001", "The head of the request is longer than 65536 bytes or has more than 100 fields")
        }
        Failure::Head(BadHead::Version) => (505, "GTW011", "Expected HTTP/1.1 or HTTP/1.0"),
        Failure::LateHead => (408, "GTW010", "The head of the request did not end in time"),
        Failure::SlowBody => (408, "GTW010", "The body of the request came too slowly"),
        Failure::ClientGone => (499, "", "The client closed the connection"),
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
        Failure::ClientBody => (400, "REQ001", "The chunks of the request body are broken"),
    }
}

/// The answer to a failure.
pub(crate) fn rescue(failure: Failure, strict_envelope: bool, lane: &Lane) -> Answer {
    let (status, body) = body(failure, strict_envelope);
    let mut answer = Answer::new(status, lane);
    if let Failure::RateLimited(millis) = failure {
        answer.field(b"retry-after", millis.div_ceil(1_000).max(1).to_string().as_bytes());
    }
    answer.with("application/json", body)
}

/// Status and body as they are sent. Codes and texts are our own and need no escaping.
fn body(failure: Failure, strict_envelope: bool) -> (u16, String) {
    let (status, code, text) = row(failure);
    if strict_envelope {
        return (
            200,
            format!(r#"{{"status_code":{status},"error_code":"{code}","error_message":"{text}"}}"#),
        );
    }
    (status, format!(r#"{{"error_code":"{code}","error_message":"{text}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_mode_hides_the_status_in_the_body() {
        let (status, text) = body(Failure::Unauthenticated, true);
        assert_eq!((status, text.contains(r#""status_code":401"#)), (200, true));
        assert_eq!(body(Failure::Unauthenticated, false).0, 401);
    }
}
