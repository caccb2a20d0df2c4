//! `/platform/authorization` (spec/doorman.md 2.1): login, refresh, status, invalidate, and what an
//! administrator does to somebody else's tokens.

use super::registration::field;
use super::{Outcome, part};
use crate::change::Draft;
use crate::config::ControlConfig;
use crate::envelope::{Reply, answer};
use crate::index::{self, By};
use crate::session::{COOKIE, Caller, caller, credential, source};
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::last_admin;
use crate::subjects::sessions::{self, Standing, revoked_row, sweep};
use crate::subjects::tokens::{self, Claims, Wanted};
use crate::{Inner, resource, whole_resource};
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes(config: &mut ServiceConfig) {
    whole_resource!(config, "/authorization", post => login);
    whole_resource!(config, "/authorization/refresh", post => refresh);
    whole_resource!(config, "/authorization/invalidate", post => invalidate);
    resource!(config, "/authorization/status", get => status);
    resource!(config, "/authorization/admin/revoke/{username}", post => revoke);
    resource!(config, "/authorization/admin/unrevoke/{username}", post => unrevoke);
    resource!(config, "/authorization/admin/disable/{username}", post => disable);
    resource!(config, "/authorization/admin/enable/{username}", post => enable);
    resource!(config, "/authorization/admin/status/{username}", get => admin_status);
}

async fn login(
    control: Data<Inner>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    let now_ms = control.clock.unix_ms();
    let standing = control.logins.attempt(control.config().login_limit, &source(&control, &request), now_ms);
    let outcome = if standing.refused {
        Err(Problem::compat(429, "IP_RATE_LIMIT", "Too many login attempts from this address"))
    } else {
        match body {
            Ok(body) => attempt(&control, &body, &source(&control, &request), now_ms).await,
            Err(error) => Err(super::unreadable(&error)),
        }
    };
    let token = outcome.as_ref().ok().map(|(token, _)| token.clone());
    let outcome = outcome.map(|(token, _)| Reply::Data(200, json!({ "access_token": token })));
    let mut response = answer(&control, &request, outcome);
    limit_headers(&mut response, &standing, now_ms);
    if let Some(token) = token {
        set_cookies(&control.config(), &mut response, &token, control.config().access_ttl_secs);
    }
    response
}

async fn attempt(
    control: &Inner,
    body: &Bytes,
    source: &str,
    now_ms: i64,
) -> Result<(String, Claims), Problem> {
    let refused = |code: &str, text: &str| Problem::compat(400, code, text);
    let body: Value = serde_json::from_slice(body).map_err(|_| refused("AUTH004", "Invalid JSON payload"))?;
    let (name, password) = (field(&body, "email")?, Secret::new(field(&body, "password")?.to_owned()));
    let state = control.changes.state();
    let user = find(&state, name);
    let phc = user.as_ref().map(|user| user.text("password_hash").to_owned());
    let matches = control.hasher.verify(password, phc).await?;
    let user = user.filter(|_| matches).ok_or_else(|| refused("AUTH002", "Invalid email or password"))?;
    if !user.flag("active") {
        return Err(refused("AUTH007", "User is not active"));
    }
    let sid = uuid::Uuid::new_v4().to_string();
    let wanted = Wanted { sid: &sid, typ: "access", ttl_secs: control.config().access_ttl_secs, now_ms };
    let (token, claims) = tokens::issue(&control.config(), &state, &user, &wanted)?;
    let actor = Actor::User { name: claims.sub.clone(), source: source.to_owned() };
    let (session, source) = (claims.clone(), source.to_owned());
    let listed = control
        .changes
        .submit(actor, move |state: &State| Ok(sessions::login(state, &session, &source, now_ms)))
        .await;
    if let Err(problem) = listed {
        // Whoever comes to free a full disk must be let in.
        tracing::error!(target: "authorization", code = problem.code, "the session is not listed: {problem}");
    }
    Ok((token, claims))
}

/// By user name or e-mail address.
fn find(state: &State, name: &str) -> Option<Arc<Row>> {
    let mail = index::mail(name);
    let by_mail = || state.get("users", state.keys_by(By::UserEmail, &mail).next()?);
    state.get("users", name).or_else(by_mail).cloned()
}

pub(super) fn limit_headers(response: &mut HttpResponse, standing: &Standing, now_ms: i64) {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-ratelimit-limit"), HeaderValue::from(standing.limit));
    headers.insert(HeaderName::from_static("x-ratelimit-remaining"), HeaderValue::from(standing.remaining));
    headers.insert(HeaderName::from_static("x-ratelimit-reset"), HeaderValue::from(standing.reset));
    if standing.refused {
        let wait = (standing.reset - now_ms / 1_000).max(1);
        headers.insert(HeaderName::from_static("retry-after"), HeaderValue::from(wait));
    }
}

fn cookie<'c>(config: &ControlConfig, name: &'c str, value: String, secs: i64) -> Cookie<'c> {
    let same_site = match config.cookie_samesite.as_str() {
        "lax" => SameSite::Lax,
        // Browsers refuse None without Secure.
        "none" if config.cookie_secure => SameSite::None,
        "none" => SameSite::Lax,
        _ => SameSite::Strict,
    };
    let mut cookie = Cookie::new(name, value);
    cookie.set_path("/");
    cookie.set_max_age(Duration::seconds(secs));
    cookie.set_same_site(same_site);
    cookie.set_secure(config.cookie_secure);
    cookie.set_http_only(name == COOKIE);
    if let Some(domain) = &config.cookie_domain {
        cookie.set_domain(domain.clone());
    }
    cookie
}

fn set_cookies(config: &ControlConfig, response: &mut HttpResponse, token: &str, secs: i64) {
    let csrf = uuid::Uuid::new_v4().to_string();
    for cookie in [cookie(config, COOKIE, token.to_owned(), secs), cookie(config, "csrf_token", csrf, secs)] {
        if let Err(error) = response.add_cookie(&cookie) {
            tracing::error!(target: "authorization", %error, "cookie not set");
        }
    }
}

/// Gives a new long-lived token. A refresh token serves once: a second use means that two hold it, and ends
/// the whole session.
async fn refresh(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let outcome = rotate(&control, &request).await;
    let token = outcome.as_ref().ok().cloned();
    let outcome = outcome.map(|token| Reply::Data(200, json!({ "refresh_token": token })));
    let mut response = answer(&control, &request, outcome);
    if let Some(token) = token {
        set_cookies(&control.config(), &mut response, &token, control.config().refresh_ttl_secs);
    }
    response
}

async fn rotate(control: &Inner, request: &HttpRequest) -> Result<String, Problem> {
    let refused = || Problem::compat(401, "AUTH003", "Unable to refresh the token");
    let now_ms = control.clock.unix_ms();
    let token = credential(request).ok_or_else(refused)?;
    let state = control.changes.state();
    let old = tokens::decode(&control.config(), &token, now_ms).ok_or_else(refused)?;
    let live = tokens::verify(&control.config(), &state, &token, now_ms).is_some();
    if old.typ == "refresh" {
        spend(control, request, &old, now_ms).await?;
        // Spent here for the first time, or the session would have ended with it.
        if control.changes.state().get("revoked", &old.sid).is_some() {
            return Err(refused());
        }
    }
    let user = state.get("users", &old.sub).filter(|_| live).ok_or_else(refused)?;
    let wanted =
        Wanted { sid: &old.sid, typ: "refresh", ttl_secs: control.config().refresh_ttl_secs, now_ms };
    let (token, fresh) = tokens::issue(&control.config(), &state, user, &wanted)?;
    let actor = Actor::User { name: fresh.sub.clone(), source: source(control, request) };
    let object = format!("user/{}", fresh.sub);
    let make = move |state: &State| Ok(sessions::extend(Draft::new("session.extend", object), state, &fresh));
    control.changes.submit(actor, make).await.map(|_| token)
}

/// Spends a refresh token; decided inside the draft, so that of two that come at once the second ends the
/// session, as any second use does.
async fn spend(control: &Inner, request: &HttpRequest, old: &Claims, now_ms: i64) -> Result<(), Problem> {
    let ends = session_ends(&control.config(), now_ms);
    let actor = Actor::User { name: old.sub.clone(), source: source(control, request) };
    let old = old.clone();
    let make = move |state: &State| {
        let object = format!("user/{}", old.sub);
        if state.get("revoked", &old.jti).is_some() {
            return Ok(Draft::new("session.reuse", object).put("revoked", old.sid, revoked_row(ends)));
        }
        let draft = sweep(Draft::new("session.refresh", object), state, now_ms);
        Ok(draft.put("revoked", old.jti, revoked_row(old.exp)))
    };
    control.changes.submit(actor, make).await.map(drop)
}

/// Unix seconds after which no token of a session can be alive.
pub(super) fn session_ends(config: &ControlConfig, now_ms: i64) -> i64 {
    now_ms / 1_000 + config.refresh_ttl_secs.max(config.access_ttl_secs)
}

async fn status(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    caller(control, request).map_err(coded)?;
    Ok(Reply::message(200, "Token is valid"))
}

fn coded(problem: Problem) -> Problem {
    Problem::compat(problem.status, "AUTH005", problem.detail)
}

async fn invalidate(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let outcome = log_out(&control, &request).await;
    let done = outcome.is_ok();
    let mut response = answer(&control, &request, outcome);
    for name in [COOKIE, "csrf_token"] {
        let gone = cookie(&control.config(), name, String::new(), 0);
        if done && let Err(error) = response.add_cookie(&gone) {
            tracing::error!(target: "authorization", %error, "cookie not removed");
        }
    }
    response
}

/// Logging out ends the session: its refresh tokens too.
async fn log_out(control: &Inner, request: &HttpRequest) -> Outcome {
    let caller = caller(control, request).map_err(coded)?;
    let now_ms = control.clock.unix_ms();
    let ends = session_ends(&control.config(), now_ms);
    let (name, claims) = (caller.name.clone(), caller.claims.clone());
    let make = move |state: &State| {
        let draft = sweep(Draft::new("session.end", format!("user/{name}")), state, now_ms);
        let draft = draft.delete("sessions", claims.sid.clone());
        let draft = draft.put("revoked", claims.jti, revoked_row(claims.exp));
        Ok(draft.put("revoked", claims.sid, revoked_row(ends)))
    };
    control.changes.submit(caller.actor(), make).await?;
    Ok(Reply::message(200, "Your token has been invalidated"))
}

async fn set(
    control: &Inner,
    request: &HttpRequest,
    action: &'static str,
    fields: &'static [(&str, bool)],
) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "username").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_auth", "AUTH900")?;
        let mut user = Row::clone(&*visible(state, &name, caller.is_admin())?);
        if fields.contains(&("active", false)) && last_admin(state, &name) {
            return Err(Problem::compat(403, "AUTH900", "The last administrator cannot be disabled"));
        }
        for (field, value) in fields {
            user.insert((*field).to_owned(), json!(value));
        }
        Ok(Draft::new(action, format!("user/{name}")).put("users", name, user))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Done"))
}

/// An administrator does not exist for others (spec/doorman.md 3).
pub(super) fn visible(state: &State, name: &str, admin: bool) -> Result<Arc<Row>, Problem> {
    let user = state.get("users", name);
    let user = user.filter(|user| admin || !crate::subjects::roles::is_admin(state, user.text("role")));
    user.cloned().ok_or_else(|| Problem::compat(404, "", "User not found"))
}

async fn revoke(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    set(control, request, "user.revoke_tokens", &[("tokens_revoked", true)]).await
}

async fn unrevoke(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    set(control, request, "user.unrevoke_tokens", &[("tokens_revoked", false)]).await
}

async fn disable(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    set(control, request, "user.disable", &[("active", false), ("tokens_revoked", true)]).await
}

async fn enable(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    set(control, request, "user.enable", &[("active", true)]).await
}

async fn admin_status(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_auth", "AUTH900")?;
    let user = visible(&caller.state, part(request, "username"), caller.is_admin())?;
    Ok(Reply::Data(200, json!({"active": user.flag("active"), "revoked": user.flag("tokens_revoked")})))
}
