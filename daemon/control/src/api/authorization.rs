//! `/platform/authorization` (spec/doorman.md 2.1): login, refresh, status, invalidate, and what an
//! administrator does to somebody else's tokens.

use super::registration::field;
use super::{Outcome, cookies, part};
use crate::change::Draft;
use crate::config::ControlConfig;
use crate::envelope::{Reply, answer};
use crate::session::{Caller, caller, caller_enrolling, credential, source};
use crate::state::{Fields as _, Row, State};
use crate::subjects::logins::{self, Given, Refusal};
use crate::subjects::refusals;
use crate::subjects::roles::last_admin;
use crate::subjects::sessions::{self, Standing, revoked_row, sweep};
use crate::subjects::tokens::{self, Claims, Wanted};
use crate::{Inner, resource, whole_resource};
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
    let asked = body.as_ref().ok().and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let asked = asked.and_then(|body| Some(body.get("email")?.as_str()?.to_owned())).unwrap_or_default();
    let source = source(&control, &request);
    let (mut wait, outcome) = (
        None,
        match body {
            _ if standing.refused => {
                Err(Problem::compat(429, "IP_RATE_LIMIT", "Too many login attempts from this address"))
            }
            Ok(body) => Ok(body),
            Err(error) => Err(super::unreadable(&error)),
        },
    );
    let outcome = match outcome {
        Ok(body) => attempt(&control, &body, &source).await.map_err(|refusal| told(refusal, &mut wait)),
        Err(problem) => Err(problem),
    };
    if let Err(problem) = &outcome {
        refusals::login(&control, &request, &asked, problem);
    }
    let made = outcome.as_ref().ok().map(|(token, claims)| (token.clone(), claims.sid.clone()));
    let outcome = outcome.map(|(token, _)| Reply::Data(200, json!({ "access_token": token })));
    let mut response = answer(&control, &request, outcome);
    limit_headers(&mut response, &standing, now_ms);
    if let Some(secs) = wait {
        response.headers_mut().insert(HeaderName::from_static("retry-after"), HeaderValue::from(secs));
    }
    if let Some((token, sid)) = made {
        let secs = control.config().access_ttl_secs;
        cookies::set(&control, &request, &mut response, (&token, &sid), secs);
    }
    response
}

/// A refusal in Doorman's words; the seconds to wait beside it.
fn told(refusal: Refusal, wait: &mut Option<i64>) -> Problem {
    match refusal {
        Refusal::Wrong => Problem::compat(400, "AUTH002", "Invalid email or password"),
        Refusal::Inactive => Problem::compat(400, "AUTH007", "User is not active"),
        Refusal::Wait(secs) => {
            *wait = Some(secs);
            let text = format!("Too many failed logins of this account: wait {secs} seconds");
            Problem::compat(429, "ACCOUNT_RATE_LIMIT", text)
        }
        Refusal::Second(problem) | Refusal::Failed(problem) => problem,
    }
}

async fn attempt(control: &Inner, body: &Bytes, source: &str) -> Result<(String, Claims), Refusal> {
    let given = given(body).map_err(Refusal::Failed)?;
    let user = logins::prove(control, &given, source).await?;
    logins::let_in(control, &user, given.code, source).await
}

fn given(body: &Bytes) -> Result<Given, Problem> {
    let refused = |_| Problem::compat(400, "AUTH004", "Invalid JSON payload");
    let body: Value = serde_json::from_slice(body).map_err(refused)?;
    let code = ["totp_code", "recovery_code"].iter().find_map(|name| body.get(*name)?.as_str());
    Ok(Given {
        name: field(&body, "email")?.to_owned(),
        password: Secret::new(field(&body, "password")?.to_owned()),
        code: code.map(str::to_owned),
    })
}

pub(super) fn limit_headers(response: &mut HttpResponse, standing: &Standing, now_ms: i64) {
    let headers = response.headers_mut();
    let numbers = [standing.limit.into(), standing.remaining.into(), standing.reset.into()];
    crate::envelope::limits(headers, numbers);
    if standing.refused {
        let wait = (standing.reset - now_ms / 1_000).max(1);
        headers.insert(HeaderName::from_static("retry-after"), HeaderValue::from(wait));
    }
}

/// Gives a new long-lived token. A refresh token serves once: a second use means that two hold it, and ends
/// the whole session.
async fn refresh(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let outcome = rotate(&control, &request).await;
    let made = outcome.as_ref().ok().cloned();
    let outcome = outcome.map(|(token, _)| Reply::Data(200, json!({ "refresh_token": token })));
    let mut response = answer(&control, &request, outcome);
    if let Some((token, sid)) = made {
        let secs = control.config().refresh_ttl_secs;
        cookies::set(&control, &request, &mut response, (&token, &sid), secs);
    }
    response
}

/// The token, and its session.
async fn rotate(control: &Inner, request: &HttpRequest) -> Result<(String, String), Problem> {
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
    extended(control, request, fresh).await.map(|()| (token, old.sid))
}

/// Lets a session live as long as its newest token.
pub(crate) async fn extended(control: &Inner, request: &HttpRequest, fresh: Claims) -> Result<(), Problem> {
    let actor = Actor::User { name: fresh.sub.clone(), source: source(control, request) };
    let object = format!("user/{}", fresh.sub);
    let make = move |state: &State| Ok(sessions::extend(Draft::new("session.extend", object), state, &fresh));
    control.changes.submit(actor, make).await.map(drop)
}

/// Spends a refresh token; decided inside the draft, so that of two that come at once the second ends the
/// session, as any second use does.
pub(crate) async fn spend(
    control: &Inner,
    request: &HttpRequest,
    old: &Claims,
    now_ms: i64,
) -> Result<(), Problem> {
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
    if done {
        cookies::clear(&control, &request, &mut response);
    }
    response
}

/// Logging out ends the session: its refresh tokens too.
async fn log_out(control: &Inner, request: &HttpRequest) -> Outcome {
    let caller = caller_enrolling(control, request).map_err(coded)?;
    caller.interactive()?;
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
        sessions::ended(&mut user, fields.contains(&("active", false)));
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
