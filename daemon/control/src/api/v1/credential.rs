//! Which credential wins on this surface (spec/octoprox.md 3.1): a bearer, an API key or a token, and never the session
//! then; without one the session's cookie. Each refusal has its own text.

use super::gate;
use crate::Inner;
use crate::change::Draft;
use crate::envelope::detail;
use crate::index::{self, By};
use crate::session::{self, Caller, source};
use crate::state::{Fields as _, Row, State};
use crate::subjects::tokens::{self, Claims};
use crate::subjects::{browser, foreign, logins};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest};
use gatehouse_common::opaque::PERSONAL;
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// How API keys begin.
pub(crate) const KEY: &str = "mcp_";
/// `typ` of what stands for an API key, and for a token of an outer platform.
const KEY_CLAIMS: &str = "key";
const OUTER_CLAIMS: &str = "outer";

/// A caller, and how they showed themselves.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) caller: Caller,
    /// Unix seconds, of a token.
    pub(crate) expires_secs: Option<i64>,
}

impl Known {
    /// Under which name their requests are counted.
    pub(super) fn counted(&self) -> String {
        match self.caller.claims.typ.as_str() {
            KEY_CLAIMS => format!("key {}", self.caller.claims.sid),
            _ => format!("user {}", self.caller.name),
        }
    }

    /// Whether it is an API key.
    pub(super) fn is_key(&self) -> bool {
        self.caller.claims.typ == KEY_CLAIMS
    }
}

fn refused(text: &str) -> Problem {
    detail(401, text)
}

/// The bearer, if one is shown that is not empty.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// The caller, or 401 with the text of the table. Found out before, where the gate has counted the request.
pub(crate) async fn caller(control: &Data<Inner>, request: &HttpRequest) -> Result<Caller, Problem> {
    let before = request.extensions().get::<Result<Known, Problem>>().cloned();
    let known = before.unwrap_or_else(|| known(control, request));
    match (known, bearer(request)) {
        (Err(_), Some(key)) if key.starts_with(KEY) => {
            prove(control, key, (&gate::network(control, request), source(control, request))).await
        }
        (known, _) => known,
    }
    .and_then(|Known { caller, .. }| {
        match logins::factor_due(control, &caller.state, &caller.user, &caller.claims.sid) {
            true => Err(detail(403, "Administrators need a second factor here: set one up first")),
            false => Ok(caller),
        }
    })
}

/// As [`caller`], but for keys of which only a slow hash is known yet.
pub(super) fn known(control: &Inner, request: &HttpRequest) -> Result<Known, Problem> {
    let source = source(control, request);
    match bearer(request) {
        Some(token) if token.starts_with(PERSONAL) => {
            session::caller(control, request).map(|caller| Known { caller, expires_secs: None })
        }
        Some(token) => by_text(control, token, source),
        None if browser::cookie(request, browser::SESSION).is_none() => by_platform(control, request),
        None => by_session(control, request, source),
    }
}

/// The cookie of the other surface's login.
fn by_platform(control: &Inner, request: &HttpRequest) -> Result<Known, Problem> {
    let known = session::caller(control, request).map(|caller| Known { caller, expires_secs: None });
    known.map_err(|problem| if problem.status == 401 { refused("Not authenticated") } else { problem })
}

/// A key or a token.
pub(super) fn by_text(control: &Inner, text: &str, source: String) -> Result<Known, Problem> {
    let state = control.changes.state();
    match text.starts_with(KEY) {
        true => by_key(control, state, text, source),
        false => by_token(control, state, text, source),
    }
}

/// The first part of a key's text, by which it is found. The last part may have `_` in it.
fn prefix(key: &str) -> Option<&str> {
    key.strip_prefix(KEY)?.split_once('_').map(|(prefix, _)| prefix)
}

/// Keys that a text could be: all of its first part that are neither revoked nor expired.
fn candidates<'s>(
    state: &'s State,
    key: &'s str,
    now_ms: i64,
) -> impl Iterator<Item = (&'s str, &'s Arc<Row>)> {
    let ids = prefix(key).into_iter().flat_map(|prefix| state.keys_by(By::KeyPrefix, prefix));
    let rows = ids.filter_map(|id| Some((id, state.get("keys", id)?)));
    rows.filter(move |(_, row)| tokens::key_counts(row, now_ms))
}

fn by_key(control: &Inner, state: Arc<State>, key: &str, source: String) -> Result<Known, Problem> {
    let hash = hex::encode(Sha256::digest(key.as_bytes()));
    let same = |row: &Row| bool::from(row.text("hash").as_bytes().ct_eq(hash.as_bytes()));
    let now_ms = control.clock.unix_ms();
    let found = candidates(&state, key, now_ms).find(|(_, row)| same(row));
    let (id, row) = found.ok_or_else(|| refused("Invalid API key"))?;
    control.usages.keys.of(id).touch(now_ms);
    let user = state.get("users", row.text("username")).filter(|user| lives(user));
    let user = Arc::clone(user.ok_or_else(|| refused("Invalid API key"))?);
    let claims = claims(&user, KEY_CLAIMS, id, now_ms);
    let expires_secs = row.get("expires_unix_ms").and_then(Value::as_i64).map(|at| at / 1_000);
    Ok(Known { caller: Caller::known(user, claims, Arc::clone(&state), source), expires_secs })
}

fn lives(user: &Row) -> bool {
    user.flag("active") && !user.flag("tokens_revoked")
}

/// What stands for a credential that is no token of ours; it ends with the user's epoch.
fn claims(user: &Row, typ: &str, id: &str, now_ms: i64) -> Claims {
    Claims {
        sub: user.text("username").to_owned(),
        role: user.text("role").to_owned(),
        exp: i64::MAX,
        iat: now_ms / 1_000,
        jti: id.to_owned(),
        sid: id.to_owned(),
        epoch: u64::try_from(user.number("token_epoch")).unwrap_or(0),
        typ: typ.to_owned(),
        accesses: BTreeMap::new(),
    }
}

/// Hashes that are looked at for one key at most: each takes as long as a password's.
const SLOW: usize = 4;
/// Texts that were none, of one address and minute, after which none is looked at.
const WRONG: u64 = 20;

/// Looks at the slow hashes of imported keys. The one that is right is kept from then on as a digest, so that the next
/// time costs nothing, and the data plane knows it.
pub(super) async fn prove(
    control: &Inner,
    key: &str,
    (network, source): (&str, String),
) -> Result<Known, Problem> {
    let state = control.changes.state();
    let now_ms = control.clock.unix_ms();
    let slow = candidates(&state, key, now_ms).filter(|(_, row)| !row.text("phc").is_empty());
    let slow: Vec<_> = slow.take(SLOW).map(|(id, row)| (id.to_owned(), row.text("phc").to_owned())).collect();
    let counted = format!("key {network}");
    let failures = &control.versioned.failures;
    if !slow.is_empty() && failures.place(&counted, WRONG, 60, now_ms).wait_secs.is_some() {
        return Err(detail(429, "Too many wrong API keys, try again later"));
    }
    for (id, phc) in slow {
        if control.hasher.verify(Secret::new(key.to_owned()), Some(phc.clone())).await? {
            remember(control, id, phc, hex::encode(Sha256::digest(key.as_bytes()))).await?;
            return by_text(control, key, source);
        }
        failures.attempt(&counted, WRONG, 60, now_ms);
    }
    Err(refused("Invalid API key"))
}

/// Puts the digest of a key in its slow hash's place.
async fn remember(control: &Inner, id: String, phc: String, hash: String) -> Result<(), Problem> {
    let make = move |state: &State| {
        let gone = || refused("Invalid API key");
        let row = state.get("keys", &id).filter(|row| row.text("hash") == hash || row.text("phc") == phc);
        let mut row = Row::clone(row.ok_or_else(gone)?);
        row.remove("phc");
        row.insert("hash".to_owned(), json!(hash));
        let object = format!("key/{id}");
        Ok(Draft::new("key.verified", object).put("keys", id, row))
    };
    control.changes.submit(Actor::System, make).await.map(drop)
}

/// A token of ours, or one of an outer platform that knows the key.
fn by_token(control: &Inner, state: Arc<State>, token: &str, source: String) -> Result<Known, Problem> {
    let (config, now_ms) = (control.config(), control.clock.unix_ms());
    let dead = || refused("User not found or inactive");
    match tokens::own(&config, token) {
        Some(claims) => {
            if claims.exp <= now_ms / 1_000 {
                return Err(refused("Token has expired"));
            }
            if claims.typ != "access" {
                return Err(refused("Invalid token type"));
            }
            let user = state.get("users", &claims.sub).filter(|user| lives(user)).cloned();
            let user = user.ok_or_else(dead)?;
            if !tokens::alive(&state, &claims, now_ms) {
                return Err(refused("Invalid token"));
            }
            let expires_secs = Some(claims.exp);
            Ok(Known { caller: Caller::known(user, claims, state, source), expires_secs })
        }
        None => by_outer(control, state, token, source),
    }
}

/// A token of an outer platform, which names a user by our number or by its own id.
fn by_outer(control: &Inner, state: Arc<State>, token: &str, source: String) -> Result<Known, Problem> {
    let now_ms = control.clock.unix_ms();
    let outer = foreign::verify(&control.config().signing_keys, token, now_ms).map_err(refused)?;
    let (index, place) = match &outer.platform_user {
        Some(id) => (By::UserNexusgate, id.clone()),
        None => (By::UserNumber, index::second(outer.user)),
    };
    let user = state.keys_by(index, &place).next().and_then(|name| state.get("users", name));
    let user = user.filter(|user| lives(user) && !foreign::before_revocation(user, outer.issued_secs));
    let user = Arc::clone(user.ok_or_else(|| refused("User not found or inactive"))?);
    let claims = claims(&user, OUTER_CLAIMS, outer.id.as_deref().unwrap_or_default(), now_ms);
    if !claims.jti.is_empty() && state.get("revoked", &claims.jti).is_some() {
        return Err(refused("Invalid token"));
    }
    let expires_secs = Some(outer.expires_secs);
    Ok(Known { caller: Caller::known(user, claims, Arc::clone(&state), source), expires_secs })
}

fn by_session(control: &Inner, request: &HttpRequest, source: String) -> Result<Known, Problem> {
    let none = || refused("Not authenticated");
    let text = browser::cookie(request, browser::SESSION).ok_or_else(none)?;
    let (state, now_ms) = (control.changes.state(), control.clock.unix_ms());
    let (id, row) = browser::find(&state, &text, now_ms).ok_or_else(none)?;
    let user = Arc::clone(state.get("users", row.text("username")).ok_or_else(none)?);
    let mut claims = claims(&user, "session", id, now_ms);
    claims.epoch = u64::try_from(row.number("epoch")).unwrap_or(0);
    claims.exp = row.number("expires_unix_secs");
    same_site(request, &text)?;
    let expires_secs = Some(claims.exp);
    Ok(Known { caller: Caller::known(user, claims, Arc::clone(&state), source), expires_secs })
}

/// A page of somewhere else may not change anything by a session: the browser says where a request comes from. Scripts say
/// nothing and have no session that they were not given.
fn same_site(request: &HttpRequest, session: &str) -> Result<(), Problem> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return Ok(());
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let token = header("x-csrf-token").unwrap_or_default();
    if bool::from(token.as_bytes().ct_eq(browser::csrf(session).as_bytes())) {
        return Ok(());
    }
    let host = header(HOST.as_str()).unwrap_or_default();
    let origin = header(ORIGIN.as_str());
    let own = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, from)| from == host));
    let site = header("sec-fetch-site").is_none_or(|site| ["same-origin", "none"].contains(&site));
    if own && site {
        return Ok(());
    }
    Err(detail(403, "This request comes from another site: expected the header X-CSRF-Token"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_a_bearer_that_is_not_empty_counts() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bEaReR  abc ", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("abc", None),
        ] {
            let request = TestRequest::default().insert_header(("authorization", value)).to_http_request();
            assert_eq!(bearer(&request), expected, "{value:?}");
        }
    }

    #[test]
    fn a_keys_last_part_may_hold_anything() {
        for (key, expected) in [
            ("mcp_0a1b2c3d_x_y-z", Some("0a1b2c3d")),
            ("mcp_0a1b2c3d", None),
            ("mcp__x", Some("")),
            ("other_0a_x", None),
        ] {
            assert_eq!(prefix(key), expected, "{key}");
        }
    }

    #[test]
    fn another_site_needs_the_token() {
        let session = "id.secret";
        let token = browser::csrf(session);
        for (method, headers, passes) in [
            ("POST", vec![], true),
            ("POST", vec![("origin", "http://box:8080")], true),
            ("POST", vec![("origin", "http://evil.example")], false),
            ("POST", vec![("origin", "null")], false),
            ("POST", vec![("sec-fetch-site", "cross-site")], false),
            ("POST", vec![("sec-fetch-site", "same-site")], false),
            ("POST", vec![("origin", "http://evil.example"), ("x-csrf-token", token.as_str())], true),
            ("POST", vec![("origin", "http://evil.example"), ("x-csrf-token", "")], false),
            ("GET", vec![("origin", "http://evil.example")], true),
        ] {
            let mut request = TestRequest::default().method(method.parse().unwrap());
            request = request.insert_header(("host", "box:8080"));
            for header in &headers {
                request = request.insert_header(*header);
            }
            let outcome = same_site(&request.to_http_request(), session);
            assert_eq!(outcome.is_ok(), passes, "{method} {headers:?}");
        }
    }
}
