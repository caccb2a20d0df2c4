//! The only table from [`Failure`] to status, code and text (spec/doorman.md 1.6, 5.2). Texts are fixed, so
//! that nothing from inside can leak.

use crate::client::answer::Answer;
use crate::client::head::BadHead;
use crate::failure::Failure;
use crate::lane::Lane;
use crate::policies::standing::Standing;
use std::io::Write as _;

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
        Failure::PlatformNotAllowed => (403, "SEC010", "IP address not in the whitelist"),
        Failure::PlatformDenied => (403, "SEC011", "IP address is blacklisted"),
        Failure::ApiNotAllowed => (403, "API010", "IP address not allowed for this API"),
        Failure::ApiDenied => (403, "API011", "IP address denied for this API"),
        Failure::UnknownApi => (404, "GTW001", "API does not exist for the requested name and version"),
        Failure::NoUpstream => (404, "GTW001", "No upstream servers are configured"),
        Failure::Inactive => (403, "GTW012", "API is disabled"),
        Failure::NoEndpoints => (404, "GTW002", "No endpoints exist for the API"),
        Failure::UnknownEndpoint => (404, "GTW003", "Endpoint does not exist for the requested API"),
        Failure::Method => (405, "GTW004", "Method not supported"),
        Failure::BodyTooLarge => (413, "REQ001", "Request entity too large"),
        Failure::Overloaded => (503, "GTW999", "The gateway is at its limit of requests in flight"),
        Failure::ApiOverloaded => (503, "GTW999", "The API is at its limit of requests in flight"),
        Failure::Unauthenticated => (401, "Unauthorized", "Unauthorized"),
        Failure::NotSubscribed => {
            (403, "You are not subscribed to this resource", "You are not subscribed to this resource")
        }
        Failure::WrongGroup => {
            (401, "You do not have the correct group for this", "You do not have the correct group for this")
        }
        Failure::WrongRole => (403, "GTW014", "Your role is not allowed to use this API"),
        Failure::RateLimited(_) => (429, "Rate limit exceeded", "Rate limit exceeded"),
        Failure::Rule(_) => (429, "RATE_LIMIT_EXCEEDED", "A rate-limit rule refuses the call"),
        Failure::Tier(_) => (429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded"),
        Failure::Throttled => (429, "Throttle queue limit exceeded", "Throttle queue limit exceeded"),
        Failure::Bandwidth(_) => (429, "Bandwidth limit exceeded", "Bandwidth limit exceeded"),
        Failure::Credits => (401, "GTW008", "User does not have any credits"),
        Failure::CreditsLate => (503, "GTW999", "Credits could not be taken in time"),
        Failure::Invalid => (400, "GTW011", "The body does not match the rules of the endpoint"),
        Failure::Untransformed => (400, "GTW006", "The body is not the JSON that the API changes"),
        Failure::CircuitOpen(_) => (503, "GTW999", "The upstream is out of service for a while"),
        Failure::Crowded => (503, "GTW999", "The upstream has as many connections as are allowed"),
        Failure::Connect => (502, "GTW006", "The upstream could not be reached"),
        Failure::Upstream => (502, "GTW006", "The upstream broke off its answer"),
        Failure::NotKept => (504, "GTW010", "No kept answer suits the request"),
        Failure::Timeout => (504, "GTW010", "The upstream did not answer in time"),
        Failure::ClientBody => (400, "REQ001", "The chunks of the request body are broken"),
    }
}

/// Which policy refused, for the record; empty if it was none.
pub(crate) const fn policy(failure: Failure) -> &'static str {
    match failure {
        Failure::PlatformNotAllowed
        | Failure::PlatformDenied
        | Failure::ApiNotAllowed
        | Failure::ApiDenied => "addresses",
        Failure::Overloaded | Failure::ApiOverloaded => "shed",
        Failure::RateLimited(_) => "rate_limit",
        Failure::Rule(_) => "rules",
        Failure::Tier(_) => "tier",
        Failure::Throttled => "throttle",
        Failure::Bandwidth(_) => "bandwidth",
        Failure::Credits | Failure::CreditsLate => "credits",
        Failure::Invalid => "validate",
        Failure::CircuitOpen(_) => "breaker",
        _ => "",
    }
}

/// The answer to a failure; `detail` goes into its text, as JSON takes it.
pub(crate) fn rescue(failure: Failure, detail: Option<&str>, call: &Told<'_>) -> Answer {
    let (status, body) = body(failure, detail, (call.strict_envelope, call.now_ms));
    let mut answer = Answer::new(status, call.lane);
    match failure {
        Failure::RateLimited(millis) | Failure::CircuitOpen(millis) => {
            answer.field(b"retry-after", millis.div_ceil(1_000).max(1).to_string().as_bytes());
        }
        Failure::Tier(standing) | Failure::Rule(standing) | Failure::Bandwidth(standing) => {
            limits(&mut answer, &standing);
            let after = standing.retry_after_secs(call.now_ms).to_string();
            answer.field(b"retry-after", after.as_bytes());
            answer.field(b"x-ratelimit-retry-after", after.as_bytes());
        }
        _ => {}
    }
    answer.with("application/json", body)
}

/// What an answer to a failure depends on.
pub(crate) struct Told<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) strict_envelope: bool,
    /// Unix milliseconds.
    pub(crate) now_ms: i64,
}

/// `X-RateLimit-*` (spec/doorman.md 5.3).
pub(crate) fn limits(answer: &mut Answer, standing: &Standing) {
    // Into memory: this cannot fail.
    let mut number = |name: &str, number: u64| drop(write!(answer.head, "{name}: {number}\r\n"));
    number("x-ratelimit-limit", standing.limit);
    number("x-ratelimit-remaining", standing.remaining);
    number("x-ratelimit-reset", u64::try_from(standing.reset_secs()).unwrap_or(0));
    if let Some((limit, remaining)) = standing.burst {
        number("x-ratelimit-burst-limit", limit);
        number("x-ratelimit-burst-remaining", remaining);
    }
}

/// Status and body as they are sent. Codes and texts are our own and need no escaping; a detail is escaped.
fn body(failure: Failure, detail: Option<&str>, (strict, now_ms): (bool, i64)) -> (u16, String) {
    let (status, code, text) = row(failure);
    let text = match detail {
        Some(detail) => {
            // It was a text: it can be written as one.
            let quoted = serde_json::to_string(detail).unwrap_or_default();
            let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            format!("{text}: {}", inner.unwrap_or_default())
        }
        None => text.to_owned(),
    };
    // The answers of the tier and of the platform's address lists are the same in both modes (spec/doorman.md 1.1).
    let bare = matches!(failure, Failure::Tier(_) | Failure::PlatformDenied | Failure::PlatformNotAllowed);
    if strict && !bare {
        return (
            200,
            format!(r#"{{"status_code":{status},"error_code":"{code}","error_message":"{text}"}}"#),
        );
    }
    let body = match failure {
        Failure::Tier(standing) | Failure::Rule(standing) => format!(
            r#"{{"error":"Rate limit exceeded","error_code":"{code}","error_message":"{text}","message":"{text}","limit":{},"remaining":0,"reset_at":{},"retry_after":{}}}"#,
            standing.limit,
            standing.reset_secs(),
            standing.retry_after_secs(now_ms),
        ),
        Failure::PlatformDenied | Failure::PlatformNotAllowed => {
            format!(r#"{{"status_code":{status},"error_code":"{code}","error_message":"{text}"}}"#)
        }
        _ => format!(r#"{{"error_code":"{code}","error_message":"{text}"}}"#),
    };
    (status, body)
}

#[cfg(test)]
mod tests {
    use super::{body, row};
    use crate::failure::Failure;
    use crate::policies::standing::Standing;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn refusals_of_older_clients_are_as_they_know_them() {
        for (failure, status, code) in [
            (Failure::Unauthenticated, 401, "Unauthorized"),
            (Failure::PlatformDenied, 403, "SEC011"),
            (Failure::ApiNotAllowed, 403, "API010"),
            (Failure::Credits, 401, "GTW008"),
            (Failure::CircuitOpen(1), 503, "GTW999"),
        ] {
            let found = row(failure);
            assert_eq!((found.0, found.1), (status, code), "{failure:?}");
        }
    }

    #[test]
    fn strict_envelopes_leave_the_tiers_and_the_platforms_refusals_as_they_are() {
        let standing = Standing::new(1, 0, 1, 5_000);
        for (failure, plain, strict) in [
            (Failure::Unauthenticated, 401, 200),
            (Failure::Rule(standing), 429, 200),
            (Failure::RateLimited(1), 429, 200),
            (Failure::ApiDenied, 403, 200),
            (Failure::Tier(standing), 429, 429),
            (Failure::PlatformDenied, 403, 403),
            (Failure::PlatformNotAllowed, 403, 403),
        ] {
            let sent = [false, true].map(|strict| body(failure, None, (strict, 0)));
            assert_eq!([sent[0].0, sent[1].0], [plain, strict], "{failure:?}");
            let parsed: Value = serde_json::from_str(&sent[1].1).unwrap();
            let enveloped = parsed["status_code"] == plain && strict == 200;
            assert!(enveloped || sent[0] == sent[1], "{failure:?} {sent:?}");
        }
    }

    proptest! {
        /// Whatever a detail says, the answer is JSON and says it.
        #[test]
        fn never_panics_and_a_detail_comes_back(detail in "[a\"\\\\ \\n\\PC]{0,20}", strict: bool) {
            let (_, body) = body(Failure::Invalid, Some(&detail), (strict, 0));
            let parsed: Value = serde_json::from_str(&body).unwrap();
            let end = format!(": {detail}");
            prop_assert!(parsed["error_message"].as_str().unwrap().ends_with(&end));
        }
    }
}
