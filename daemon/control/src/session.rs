//! Who calls the management surface: credential to user, and what the user's role allows right now.

use crate::Inner;
use crate::change::Draft;
use crate::envelope::detail;
use crate::state::{Fields as _, Row, State};
use crate::subjects::authority::{self, Wish};
use crate::subjects::roles::is_admin;
use crate::subjects::scopes::{self, Scopes, Wanted};
use crate::subjects::security::{self, Forwarded};
use crate::subjects::tokens::{self, Claims};
use crate::subjects::{csrf, logins, personal};
use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use gatehouse_common::ids::Revision;
use gatehouse_common::opaque::PERSONAL;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::actor::Actor;
use std::net::IpAddr;
use std::sync::Arc;

/// Name of the session cookie.
pub(crate) const COOKIE: &str = "access_token_cookie";

/// What bounds a caller beside the role.
#[derive(Clone, Default)]
pub(crate) struct Bounds {
    /// Of a personal access token; `None` for whoever logged in.
    scopes: Option<Scopes>,
    /// The request changes something.
    writes: bool,
}

/// A caller who has proved who they are, and what they may do in one state.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) user: Arc<Row>,
    pub(crate) claims: Claims,
    pub(crate) state: Arc<State>,
    pub(crate) bounds: Bounds,
    source: String,
}

impl Caller {
    /// Who has proved to be a user by what these claims stand for.
    pub(crate) fn known(user: Arc<Row>, claims: Claims, state: Arc<State>, source: String) -> Self {
        let name = user.text("username").to_owned();
        Self { name, user, claims, state, bounds: Bounds::default(), source }
    }

    /// Whether the role, as it is now, has a permission, and the scopes of the token let it count.
    pub(crate) fn may(&self, permission: &str) -> bool {
        let (scopes, writes) = (self.bounds.scopes.as_ref(), self.bounds.writes);
        authority::allows(&Wish { state: &self.state, user: &self.user, permission, scopes, writes })
    }

    /// Refuses without the permission.
    pub(crate) fn needs(&self, permission: &str, code: &str) -> Result<(), Problem> {
        let text = format!("You do not have permission: {permission}");
        if self.may(permission) { Ok(()) } else { Err(Problem::compat(403, code, text)) }
    }

    /// An administrator, with a token only if it has the scope `admin`.
    pub(crate) fn is_admin(&self) -> bool {
        self.bounds.scopes.as_ref().is_none_or(Scopes::admin) && is_admin(&self.state, self.user.text("role"))
    }

    /// Refuses tokens and keys: what makes credentials takes somebody who logged in.
    pub(crate) fn interactive(&self) -> Result<(), Problem> {
        match self.bounds.scopes.is_none() && ["access", "refresh"].contains(&self.claims.typ.as_str()) {
            true => Ok(()),
            false => Err(detail(403, "This takes an interactive session: log in, a token is not enough")),
        }
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

    /// Refuses a token whose scopes do not open the path.
    fn scoped(self, request: &HttpRequest) -> Result<Self, Problem> {
        let wanted = Wanted::by(request.method(), request.path());
        match &self.bounds.scopes {
            Some(scopes) if !scopes.open(wanted) => {
                Err(refused(request, &format!("This token lacks the scope {}", wanted.name())))
            }
            _ => Ok(self),
        }
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

/// A 403 in the shape of the path's family.
fn refused(request: &HttpRequest, text: &str) -> Problem {
    match request.path().starts_with("/platform") {
        true => Problem::compat(403, "AUTH902", text),
        false => detail(403, text),
    }
}

/// The caller, or 401 `{"detail":"Unauthorized"}`; 403 if a token's scopes do not open the path, or a change came by
/// cookie alone.
pub(crate) fn caller(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = known(control, request)?.scoped(request)?;
    if logins::factor_due(control, &caller.state, &caller.user, &caller.claims.sid) {
        let text = "Administrators need a second factor here: set one up with POST /auth/totp/enrol and /auth/totp/confirm";
        return Err(refused(request, text));
    }
    Ok(caller)
}

/// As [`caller`], also for an administrator who has yet to set up a second factor.
pub(crate) fn caller_enrolling(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    known(control, request)?.scoped(request)
}

/// As [`caller`]; a token that is about to end itself needs no scope for that.
pub(crate) fn caller_ending(control: &Inner, request: &HttpRequest, token: &str) -> Result<Caller, Problem> {
    let caller = known(control, request)?;
    let itself = caller.claims.typ == personal::TYPE && caller.claims.jti == token;
    if itself { Ok(caller) } else { caller.scoped(request) }
}

/// Who calls.
fn known(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    let unauthorized = || detail(401, "Unauthorized");
    let shown = shown(request).ok_or_else(unauthorized)?;
    let (state, source) = (control.changes.state(), source(control, request));
    let now_ms = control.clock.unix_ms();
    let (claims, scopes) = if shown.text.starts_with(PERSONAL) {
        let (claims, scopes) =
            personal::verify(&state, &shown.text, &source, now_ms).ok_or_else(unauthorized)?;
        control.token_uses.used(&claims.jti, &source, now_ms);
        (claims, Some(scopes))
    } else {
        let claims = tokens::verify(&control.config(), &state, &shown.text, now_ms);
        (claims.ok_or_else(unauthorized)?, None)
    };
    let writes = scopes::writes(request.method());
    if shown.cookie && writes {
        submitted_twice(control, request, &claims)?;
    }
    let user = state.get("users", &claims.sub).cloned().ok_or_else(unauthorized)?;
    Ok(Caller { name: claims.sub.clone(), user, claims, state, bounds: Bounds { scopes, writes }, source })
}

/// Paths whose changes a page of another site may cause without harm, as with the older gateway (spec/doorman.md 2.3).
const HARMLESS: [&str; 2] = ["/platform/authorization/refresh", "/platform/authorization/invalidate"];

/// Refuses a change that only a cookie speaks for. No page of another site can send `Authorization`, so who sends it
/// beside the cookie is believed; nor does anything but a browser tell an origin, so that below `/api/v1` a script with a
/// cookie goes on as it did (spec/octoprox.md 3.2).
fn submitted_twice(control: &Inner, request: &HttpRequest, claims: &Claims) -> Result<(), Problem> {
    let headers = request.headers();
    let browser = headers.contains_key("origin") || headers.contains_key("sec-fetch-site");
    let path = request.path().trim_end_matches('/');
    let script = !browser && (path.starts_with("/api/v1/") || path.starts_with("/app/api/v1/"));
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        // What a browser adds by itself does not count.
        value.split_once(' ').is_none_or(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
    });
    if bearer || script || HARMLESS.contains(&path) {
        return Ok(());
    }
    let field = headers.get(csrf::HEADER).and_then(|value| value.to_str().ok());
    let cookie = cookies(request).find(|(name, _)| *name == csrf::COOKIE).map(|(_, value)| value);
    match csrf::missing(&control.config(), &claims.sid, (field, cookie)) {
        Some(text) => Err(refused(request, &format!("CSRF: {text}"))),
        None => Ok(()),
    }
}

/// A credential, and how it came.
struct Shown {
    text: String,
    cookie: bool,
}

fn cookies(request: &HttpRequest) -> impl Iterator<Item = (&str, &str)> {
    let lines = request.headers().get_all("cookie").filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// Cookie first, then bearer, then a bare token (spec/doorman.md 2.2).
fn shown(request: &HttpRequest) -> Option<Shown> {
    let cookie = cookies(request).find(|(name, value)| *name == COOKIE && !value.is_empty());
    if let Some((_, value)) = cookie {
        return Some(Shown { text: value.to_owned(), cookie: true });
    }
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let text = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) => return None,
        None => value,
    };
    Some(Shown { text: text.to_owned(), cookie: false })
}

/// The text of the credential that counts.
pub(crate) fn credential(request: &HttpRequest) -> Option<String> {
    shown(request).map(|shown| shown.text)
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
        Caller {
            name: "admin".to_owned(),
            user,
            claims,
            state,
            bounds: Bounds::default(),
            source: String::new(),
        }
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
            bounds: Bounds::default(),
            source: String::new(),
        };
        assert!(caller.at(&state, 1).unwrap().needs("manage_apis", "API007").is_ok());
        for (scope, writes, may) in [
            ("apis:read", true, false),
            ("apis:read", false, true),
            ("apis:write", true, true),
            ("users:write", true, false),
            ("gateway", false, false),
            ("admin", true, true),
        ] {
            let scopes = Scopes::parse(vec![scope.to_owned()]).ok();
            let bounded = Caller { bounds: Bounds { scopes, writes }, ..caller.clone() };
            assert_eq!(bounded.at(&state, 1).unwrap().may("manage_apis"), may, "{scope} {writes}");
            assert!(bounded.interactive().is_err() && !bounded.may("manage_users"), "{scope}");
        }
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
