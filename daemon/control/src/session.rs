//! Who calls the management surface: credential to user, and what the user's role allows right now.

use crate::Inner;
use crate::change::Draft;
use crate::envelope::detail;
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::is_admin;
use crate::subjects::security::{self, Forwarded};
use crate::subjects::tokens::{self, Claims};
use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use gatehouse_common::ids::Revision;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::actor::Actor;
use std::net::IpAddr;
use std::sync::Arc;

/// Name of the session cookie.
pub(crate) const COOKIE: &str = "access_token_cookie";

/// A caller who has proved who they are, and what they may do in one state.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) user: Arc<Row>,
    pub(crate) claims: Claims,
    pub(crate) state: Arc<State>,
    source: String,
}

impl Caller {
    /// Who has proved to be a user by what these claims stand for.
    pub(crate) fn known(user: Arc<Row>, claims: Claims, state: Arc<State>, source: String) -> Self {
        Self { name: user.text("username").to_owned(), user, claims, state, source }
    }

    /// Whether the role, as it is now, has a permission.
    pub(crate) fn may(&self, permission: &str) -> bool {
        self.state.get("roles", self.user.text("role")).is_some_and(|role| role.flag(permission))
    }

    /// Refuses without the permission.
    pub(crate) fn needs(&self, permission: &str, code: &str) -> Result<(), Problem> {
        let text = format!("You do not have permission: {permission}");
        if self.may(permission) { Ok(()) } else { Err(Problem::compat(403, code, text)) }
    }

    pub(crate) fn is_admin(&self) -> bool {
        is_admin(&self.state, self.user.text("role"))
    }

    /// The same caller in another state: who was revoked or deleted meanwhile is nobody there.
    fn at(&self, state: &State, now_ms: i64) -> Result<Self, Problem> {
        let user = state.get("users", &self.name).filter(|_| tokens::alive(state, &self.claims, now_ms));
        let user = Arc::clone(user.ok_or_else(|| detail(401, "Unauthorized"))?);
        Ok(Self { user, state: Arc::new(state.clone()), ..self.clone() })
    }

    /// Submits a change. The caller that the draft is given stands in the state that the change is made on, so that a
    /// permission taken away meanwhile counts.
    pub(crate) async fn submit(
        &self,
        control: &Inner,
        make: impl FnOnce(&State, &Self) -> Result<Draft, Problem> + Send + 'static,
    ) -> Result<Revision, Problem> {
        let (caller, now_ms) = (self.clone(), control.clock.unix_ms());
        control.changes.submit(self.actor(), move |state| make(state, &caller.at(state, now_ms)?)).await
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::User { name: self.name.clone(), source: self.source.clone() }
    }
}

/// Fields that only proxies write: whoever sends one speaks for somebody else.
const PROXY_FIELDS: [&str; 9] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "cf-connecting-ip",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "true-client-ip",
    "via",
];

/// The peer, and what it says about whom it speaks for.
pub(crate) fn origin(request: &HttpRequest) -> (Option<IpAddr>, Forwarded) {
    let line = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let lines: Vec<_> = request.headers().get_all("x-forwarded-for").map(line).collect();
    let told = Forwarded {
        any: PROXY_FIELDS.iter().any(|name| request.headers().contains_key(*name)),
        chain: (!lines.is_empty()).then(|| lines.join(",")),
        real_ip: request.headers().get("x-real-ip").map(line),
    };
    (request.peer_addr().map(|peer| peer.ip()), told)
}

/// The client's address: the peer's, or the one that a trusted proxy tells.
pub(crate) fn source(control: &Inner, request: &HttpRequest) -> String {
    let (peer, told) = origin(request);
    let security = &control.changes.published().security;
    peer.map(|peer| security::client(security, peer, &told).to_string()).unwrap_or_default()
}

/// The caller, or 401 `{"detail":"Unauthorized"}`.
pub(crate) fn caller(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    let unauthorized = || detail(401, "Unauthorized");
    let token = credential(request).ok_or_else(unauthorized)?;
    let state = control.changes.state();
    let now = control.clock.unix_ms();
    let claims = tokens::verify(&control.config(), &state, &token, now).ok_or_else(unauthorized)?;
    let user = state.get("users", &claims.sub).cloned().ok_or_else(unauthorized)?;
    Ok(Caller { name: claims.sub.clone(), user, claims, state, source: source(control, request) })
}

/// Cookie first, then bearer, then a bare token (spec/doorman.md 2.2).
pub(crate) fn credential(request: &HttpRequest) -> Option<String> {
    let lines = request.headers().get_all("cookie").filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    if let Some((_, value)) = pairs.find(|(name, value)| *name == COOKIE && !value.is_empty()) {
        return Some(value.to_owned());
    }
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
        Some(_) => None,
        None => Some(value.to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    /// The administrator of a state.
    pub(crate) fn admin(state: &State) -> Caller {
        let claims = Claims {
            sub: "admin".to_owned(),
            role: "admin".to_owned(),
            exp: i64::MAX,
            iat: 0,
            jti: "j".to_owned(),
            sid: "s".to_owned(),
            epoch: 0,
            typ: "access".to_owned(),
            accesses: BTreeMap::new(),
        };
        let user = state.get("users", "admin").cloned().unwrap_or_default();
        let state = Arc::new(state.clone());
        Caller { name: "admin".to_owned(), user, claims, state, source: String::new() }
    }

    fn row(value: Value) -> Option<Arc<Row>> {
        value.as_object().cloned().map(Arc::new)
    }

    #[test]
    fn what_was_taken_away_before_the_change_counts_in_it() {
        let mut state = State::default();
        state.set("roles", "ops", row(json!({"role_name": "ops", "manage_apis": true})));
        let user = json!({"username": "ana", "role": "ops", "active": true, "token_epoch": 1});
        state.set("users", "ana", row(user.clone()));
        let claims = Claims {
            sub: "ana".to_owned(),
            role: "ops".to_owned(),
            exp: i64::MAX,
            iat: 0,
            jti: "j".to_owned(),
            sid: "s".to_owned(),
            epoch: 1,
            typ: "access".to_owned(),
            accesses: BTreeMap::new(),
        };
        let caller = Caller {
            name: "ana".to_owned(),
            user: Arc::clone(state.get("users", "ana").unwrap()),
            claims,
            state: Arc::new(state.clone()),
            source: String::new(),
        };
        assert!(caller.at(&state, 1).unwrap().needs("manage_apis", "API007").is_ok());
        let changed = |change: &dyn Fn(&mut State)| {
            let mut later = state.clone();
            change(&mut later);
            caller
                .at(&later, 1)
                .and_then(|caller| caller.needs("manage_apis", "API007"))
                .map_err(|problem| problem.status)
        };
        let with = |field: &str, value: Value| {
            let mut user = user.clone();
            user[field] = value;
            row(user)
        };
        for (change, status) in [
            (&(|state: &mut State| drop(state.set("roles", "ops", None))) as &dyn Fn(&mut State), 403),
            (&|state: &mut State| drop(state.set("users", "ana", with("role", json!("none")))), 403),
            (&|state: &mut State| drop(state.set("users", "ana", None)), 401),
            (&|state: &mut State| drop(state.set("users", "ana", with("active", json!(false)))), 401),
            (&|state: &mut State| drop(state.set("users", "ana", with("token_epoch", json!(2)))), 401),
            (&|state: &mut State| drop(state.set("revoked", "s", row(json!({})))), 401),
        ] {
            assert_eq!(changed(change), Err(status));
        }
    }
}
