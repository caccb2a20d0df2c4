//! Sessions of browsers (spec/octoprox.md 3.2): the cookie names a row and proves it by a secret of which the row has only
//! the digest. The token against forged forms follows from the cookie, so that nothing is kept of who only looks at the form.

use crate::change::Draft;
use crate::state::{Fields as _, Row, State};
use crate::subjects::entities;
use actix_web::HttpRequest;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Name of the session's cookie.
pub(crate) const SESSION: &str = "session";
/// Name of the cookie that scripts read the form's token from.
pub(crate) const CSRF: &str = "csrftoken";
/// Begins the cookie of who has not logged in.
const BEFORE: &str = "new";

/// A cookie of a request that is not empty.
pub(crate) fn cookie(request: &HttpRequest, name: &str) -> Option<String> {
    let lines = request.headers().get_all("cookie").filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let found = pairs.find(|(given, value)| *given == name && !value.is_empty());
    found.map(|(_, value)| value.to_owned())
}

fn secret() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// A cookie for who has not logged in.
pub(crate) fn before() -> String {
    format!("{BEFORE}.{}", secret())
}

/// The token against forged forms that goes with a cookie.
pub(crate) fn csrf(cookie: &str) -> String {
    digest(&format!("csrf {cookie}"))
}

/// Whether a form came from a page of ours.
pub(crate) fn genuine(cookie: Option<&str>, given: &str) -> bool {
    let expected = cookie.filter(|cookie| cookie.contains('.')).map(csrf);
    expected.is_some_and(|expected| bool::from(expected.as_bytes().ct_eq(given.as_bytes())))
}

/// A new session: its cookie, its id and its row.
pub(crate) fn begin(user: &Row, source: &str, (now_ms, life_secs): (i64, i64)) -> (String, String, Row) {
    let (id, secret) = (uuid::Uuid::new_v4().to_string(), secret());
    let mut row = Row::new();
    row.extend([
        ("username".to_owned(), json!(user.text("username"))),
        ("source".to_owned(), json!(source)),
        ("created_unix_ms".to_owned(), json!(now_ms)),
        ("expires_unix_secs".to_owned(), json!(now_ms / 1_000 + life_secs)),
        ("epoch".to_owned(), json!(user.number("token_epoch"))),
        ("secret_hash".to_owned(), json!(digest(&secret))),
    ]);
    (format!("{id}.{secret}"), id, row)
}

/// The session of a cookie, if it is alive.
pub(crate) fn find<'s>(state: &'s State, cookie: &'s str, now_ms: i64) -> Option<(&'s str, &'s Row)> {
    let (id, secret) = cookie.split_once('.')?;
    let row = &**state.get("sessions", id)?;
    let same = digest(secret).as_bytes().ct_eq(row.text("secret_hash").as_bytes());
    (bool::from(same) && entities::alive(state, id, row, now_ms)).then_some((id, row))
}

/// Ends a session.
pub(crate) fn end(state: &State, id: &str, expires_secs: i64) -> Draft {
    let name = state.get("sessions", id).map(|row| row.text("username").to_owned()).unwrap_or_default();
    let draft = Draft::new("session.end", format!("user/{name}")).detail(json!({ "session": id }));
    draft.delete("sessions", id).put("revoked", id, crate::subjects::sessions::revoked_row(expires_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_session_lives_with_its_user_its_secret_and_its_time() {
        let user = json!({"username": "ana", "active": true, "token_epoch": 3}).as_object().cloned().unwrap();
        let (cookie, id, row) = begin(&user, "127.0.0.1", (5_000, 60));
        let mut state = State::default();
        state.set("users", "ana", Some(Arc::new(user)));
        state.set("sessions", &id, Some(Arc::new(row)));
        assert_eq!(find(&state, &cookie, 64_000).map(|(found, _)| found), Some(&*id));
        assert!(find(&state, &cookie, 66_000).is_none(), "expired");
        for other in [format!("{id}."), format!("{id}.{}", secret()), id.clone(), before(), String::new()] {
            assert!(find(&state, &other, 5_000).is_none(), "{other}");
        }
        let mut revoked = state.clone();
        revoked.set("revoked", &id, Some(Arc::new(Row::new())));
        assert!(find(&revoked, &cookie, 5_000).is_none());
    }

    #[test]
    fn a_form_is_genuine_with_the_token_of_its_cookie_alone() {
        let cookie = before();
        assert!(genuine(Some(&cookie), &csrf(&cookie)));
        for (cookie, given) in [(None, csrf("")), (Some(""), csrf("")), (Some(&*cookie), String::new())] {
            assert!(!genuine(cookie, &given));
        }
        assert!(!genuine(Some(&before()), &csrf(&cookie)));
    }
}
