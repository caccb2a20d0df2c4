//! The keys of external issuers (JWKS, RFC 7517): fetched here, so that the data plane never waits for them, looked at
//! before they are believed, and kept until a better answer comes.

use crate::Inner;
use crate::egress::{self, Ask, Egress};
use crate::index::By;
use crate::subjects::egress::EgressAllow;
use futures_util::StreamExt as _;
use hyper::header;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at which issuers there are.
const LOOK: Duration = Duration::from_secs(1);
/// Life of keys that were fetched, milliseconds; an issuer may say that it is shorter.
const FRESH_MS: i64 = 300_000;
/// Shortest life, milliseconds.
const SHORTEST_MS: i64 = 2_000;
/// Before an issuer that did not answer is asked again, milliseconds.
const AGAIN_MS: i64 = 15_000;
/// Largest answer.
const ANSWER_BYTES: usize = 262_144;
/// Keys of one issuer.
const KEYS: usize = 64;
/// Issuers asked at the same time.
const AT_ONCE: usize = 4;

/// The text of a JWKS, and how long it counts, milliseconds.
async fn fetch(egress: &Egress, allow: &EgressAllow, url: &str) -> Result<(Arc<str>, i64), String> {
    // An administrator named it as they name upstreams: an issuer may be in a private network.
    let named: Vec<_> = egress::place(url).into_iter().collect();
    let ask = Ask {
        url,
        accept: "application/json",
        post: None,
        authorization: None,
        most: ANSWER_BYTES,
        named: &named,
    };
    let answer = egress.ask(allow, ask).await.map_err(|error| error.to_string())?;
    let life_ms = life_ms(answer.headers.get_all(header::CACHE_CONTROL).iter());
    Ok((checked(&answer.body)?, life_ms))
}

/// The life of an answer by its `max-age` (RFC 9111 5.2.2), milliseconds.
fn life_ms<'v>(values: impl Iterator<Item = &'v header::HeaderValue>) -> i64 {
    let texts = values.filter_map(|value| value.to_str().ok());
    let ages = texts.flat_map(|text| text.split(',')).filter_map(|one| {
        let (name, secs) = one.trim().split_once('=')?;
        let secs = secs.trim_matches('"').parse::<u32>().ok()?;
        name.eq_ignore_ascii_case("max-age").then_some(i64::from(secs) * 1_000)
    });
    ages.min().unwrap_or(FRESH_MS).clamp(SHORTEST_MS, FRESH_MS)
}

/// What is a JWKS with at least one key of a known kind; others are passed over (RFC 7517 5).
fn checked(body: &[u8]) -> Result<Arc<str>, String> {
    let set: Value = serde_json::from_slice(body).map_err(|error| format!("expected a JWKS: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("expected a JWKS with a list of keys")?;
    if keys.len() > KEYS {
        return Err(format!("expected a JWKS with at most {KEYS} keys"));
    }
    let known = |key: &Value| {
        let key = serde_json::from_value::<Jwk>(key.clone());
        key.is_ok_and(|key| !matches!(key.algorithm, AlgorithmParameters::Other(_)))
    };
    if !keys.iter().any(known) {
        return Err("expected a JWKS with at least one key of a known kind".to_owned());
    }
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    Ok(text.into())
}

/// Keeps the keys of every issuer that an API names fresh; for a task of its own.
pub(crate) async fn tend(control: &Inner) {
    let mut due: BTreeMap<String, i64> = BTreeMap::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let state = control.changes.state();
        let now_ms = control.clock.unix_ms();
        let known: Vec<String> = state.values(By::ApiJwks).map(str::to_owned).collect();
        due.retain(|url, _| known.contains(url));
        let wanted = known.into_iter().filter(|url| due.get(url).is_none_or(|at| *at <= now_ms));
        let fetched = futures_util::stream::iter(wanted)
            .map(async |url| (renew(control, &url).await, url))
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        for (life_ms, url) in fetched {
            due.insert(url, now_ms + life_ms);
        }
    }
}

/// Fetches one set and hands it on if it is another one; milliseconds until the next time.
async fn renew(control: &Inner, url: &str) -> i64 {
    let answer = fetch(&control.egress, &control.config().egress_allow, url).await;
    let (text, life_ms) = match answer {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(target: "jwks", url, error, "an issuer's keys are not renewed; the last ones count");
            return AGAIN_MS;
        }
    };
    if control.changes.published_keys(url).as_deref() == Some(&*text) {
        return life_ms;
    }
    match control.changes.keys(url.to_owned(), text).await {
        Ok(_) => {
            tracing::info!(target: "jwks", url, "an issuer's keys are renewed");
            life_ms
        }
        Err(problem) => {
            tracing::error!(target: "jwks", url, code = problem.code, "keys not handed on: {problem}");
            AGAIN_MS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const SET: &str = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#;

    #[tokio::test]
    async fn only_a_set_of_keys_is_taken() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = [
            ("200 OK", SET.to_owned(), true),
            ("404 Not Found", SET.to_owned(), false),
            ("200 OK", "{}".to_owned(), false),
            ("200 OK", r#"{"keys":[]}"#.to_owned(), false),
            ("200 OK", r#"{"keys":[{"kid":"a"}]}"#.to_owned(), false),
            ("200 OK", SET.replace("[{", r#"[{"kid":"b"},{"#), true),
            ("200 OK", format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"oct","k":"a"}"#; 65].join(",")), false),
            ("200 OK", "x".repeat(ANSWER_BYTES + 1), false),
        ];
        let (egress, allow) = (Egress::new(), EgressAllow::default());
        for (status, body, good) in answers {
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1_024];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                // Whoever heard enough hangs up.
                drop(stream.write_all(answer.as_bytes()).await);
            };
            let url = format!("http://{address}/jwks");
            let (found, ()) = tokio::join!(fetch(&egress, &allow, &url), serve);
            assert_eq!(found.is_ok(), good, "{status} {found:?}");
        }
    }

    #[test]
    fn an_issuer_may_say_how_long_its_keys_count() {
        for (value, wanted) in [
            ("", FRESH_MS),
            ("no-store", FRESH_MS),
            ("public, Max-Age=30", 30_000),
            ("max-age=\"7\", max-age=9", 7_000),
            ("max-age=0", SHORTEST_MS),
            ("s-maxage=5, max-age=99999", FRESH_MS),
            ("max-age=-1, max-age=x", FRESH_MS),
        ] {
            let value = header::HeaderValue::from_static(value);
            assert_eq!(life_ms([&value].into_iter()), wanted, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(checked(&body).is_err());
        }
    }
}
