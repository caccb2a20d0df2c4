//! The login form and what it sets (spec/octoprox.md 3.2, 3.3, 13.5): a page without scripts, a session in a cookie.

use super::answers::{self, invalid};
use super::{auth, credential};
use crate::change::Draft;
use crate::config::ControlConfig;
use crate::index::{self, By};
use crate::session::source;
use crate::state::{Fields as _, Row, State};
use crate::subjects::browser::{self, CSRF, SESSION};
use crate::subjects::logins;
use crate::{Inner, whole_versioned};
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION, RETRY_AFTER};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::json;
use std::collections::HashMap;

/// Below `/login`.
pub(crate) fn login(config: &mut ServiceConfig) {
    whole_versioned!(config, "", get => form, post => submitted);
}

/// Below `/logout`.
pub(crate) fn logout(config: &mut ServiceConfig) {
    whole_versioned!(config, "", post => left);
}

/// What a link must begin with to stay where the request came in.
fn prefix(request: &HttpRequest) -> &'static str {
    if request.path().starts_with("/app/") { "/app" } else { "" }
}

/// The form, with the token that goes with a cookie.
fn page(request: &HttpRequest, status: u16, csrf: &str, message: &str) -> HttpResponse {
    let message = match message {
        "" => String::new(),
        // Our own words alone: nothing that was sent is shown again.
        text => format!("<p role=\"alert\">{text}</p>\n"),
    };
    let prefix = prefix(request);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Log in – Gatehouse</title>\n</head>\n<body>\n\
         <main>\n<h1>Login</h1>\n{message}<form method=\"post\" action=\"{prefix}/login\">\n\
         <input type=\"hidden\" name=\"csrf_token\" value=\"{csrf}\">\n\
         <p><label for=\"username\">User name</label><br>\n\
         <input id=\"username\" name=\"username\" autocomplete=\"username\" required autofocus></p>\n\
         <p><label for=\"password\">Password</label><br>\n<input id=\"password\" name=\"password\" type=\"password\" \
         autocomplete=\"current-password\" required></p>\n<p><label for=\"code\">Code of your authenticator, if you \
         have set one up</label><br>\n<input id=\"code\" name=\"totp_code\" inputmode=\"numeric\" \
         autocomplete=\"one-time-code\"></p>\n<p><button type=\"submit\">Log in</button></p>\n\
         </form>\n</main>\n</body>\n</html>\n"
    );
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    HttpResponseBuilder::new(status).content_type("text/html; charset=utf-8").body(text)
}

fn set(config: &ControlConfig, response: &mut HttpResponse, name: &str, value: &str, secs: i64) {
    let mut cookie = Cookie::new(name, value);
    cookie.set_path("/");
    cookie.set_max_age(Duration::seconds(secs));
    cookie.set_same_site(SameSite::Lax);
    cookie.set_secure(config.cookie_secure);
    // Scripts read the form's token, and never the session.
    cookie.set_http_only(name == SESSION);
    if let Err(error) = response.add_cookie(&cookie) {
        tracing::error!(target: "login", %error, "cookie not set");
    }
}

fn with_cookies(config: &ControlConfig, mut response: HttpResponse, session: &str) -> HttpResponse {
    let secs = config.refresh_ttl_secs;
    set(config, &mut response, SESSION, session, secs);
    set(config, &mut response, CSRF, &browser::csrf(session), secs);
    response
}

/// A session's cookie that may go into a page again.
fn present(request: &HttpRequest) -> Option<String> {
    let plain = |text: &String| {
        text.len() < 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    browser::cookie(request, SESSION).filter(plain)
}

async fn form(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let session = present(&request).unwrap_or_else(browser::before);
    let page = page(&request, 200, &browser::csrf(&session), "");
    with_cookies(&control.config(), page, &session)
}

/// What the form sends.
struct Submitted {
    name: String,
    password: Secret<String>,
    /// Of the second factor.
    code: Option<String>,
    csrf: String,
}

/// The fields of the form.
fn fields(body: &Bytes) -> Result<Submitted, Problem> {
    let text = String::from_utf8_lossy(body);
    let pairs = web::Query::<HashMap<String, String>>::from_query(&text);
    let mut pairs = pairs.map(web::Query::into_inner).unwrap_or_default();
    let mut take = |name: &str| {
        let missing = || invalid(&["body", name], "missing", "Field required", &json!(null));
        pairs.remove(name).ok_or_else(missing)
    };
    let (name, password) = (take("username")?, Secret::new(take("password")?));
    let code = pairs.remove("totp_code").filter(|code| !code.trim().is_empty());
    Ok(Submitted { name, password, code, csrf: pairs.remove("csrf_token").unwrap_or_default() })
}

async fn submitted(
    control: Data<Inner>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    let body = body.map_err(|error| crate::api::unreadable(&error));
    let Submitted { name, password, code, csrf } = match body.and_then(|body| fields(&body)) {
        Ok(fields) => fields,
        Err(problem) => return answers::answer(Err(problem)),
    };
    let before = present(&request);
    let session = before.clone().unwrap_or_else(browser::before);
    let again = |status: u16, message: &str| {
        let page = page(&request, status, &browser::csrf(&session), message);
        with_cookies(&control.config(), page, &session)
    };
    if !browser::genuine(before.as_deref(), &csrf) {
        return again(403, "The form's security token is missing or no longer valid. Please try again.");
    }
    let begun = match auth::prove(&control, &request, (&name, password)).await {
        Ok(user) => begin(&control, &request, &user, code).await,
        Err(problem) => Err(problem),
    };
    match begun {
        Ok(session) => {
            let response = to(&request, "/workspaces");
            with_cookies(&control.config(), response, &session)
        }
        Err(problem) => {
            let mut response = again(problem.status, told(problem.status));
            if let Some(secs) = answers::waiting(&problem) {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
            }
            response
        }
    }
}

fn told(status: u16) -> &'static str {
    match status {
        401 => "Invalid user name, password or code.",
        403 => "This account has been deactivated.",
        429 => "Too many attempts. Please try again later.",
        _ => "That did not work. Please try again later.",
    }
}

fn to(request: &HttpRequest, path: &str) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::SEE_OTHER);
    if let Ok(target) = HeaderValue::from_str(&format!("{}{path}", prefix(request))) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// A session of its own for each login: what was known of the cookie before is worth nothing now.
async fn begin(
    control: &Inner,
    request: &HttpRequest,
    user: &Row,
    code: Option<String>,
) -> Result<String, Problem> {
    let (now_ms, source) = (control.clock.unix_ms(), source(control, request));
    let life = (now_ms, control.config().refresh_ttl_secs);
    let (cookie, id, row) = browser::begin(user, &source, life);
    let name = user.text("username").to_owned();
    let make = move |state: &State| {
        let mut draft = Draft::new("session.login", format!("user/{name}")).detail(json!({ "session": id }));
        for old in state.keys_up_to(By::SessionEnd, &index::second(now_ms / 1_000)).take(100) {
            draft = draft.delete("sessions", old);
        }
        draft.put("sessions", id, row)
    };
    logins::enter(control, user, (code, &source), make).await.map_err(auth::told)?;
    Ok(cookie)
}

async fn left(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let state = control.changes.state();
    let now_ms = control.clock.unix_ms();
    let session = present(&request);
    let found = session.as_deref().and_then(|text| browser::find(&state, text, now_ms));
    if let Some((id, row)) = found {
        // A page of somewhere else logs nobody out.
        let caller = match credential::known(&control, &request) {
            Ok(known) => known.caller,
            Err(problem) => return answers::answer(Err(problem)),
        };
        let (id, ends) = (id.to_owned(), row.number("expires_unix_secs"));
        let make = move |state: &State| Ok(browser::end(state, &id, ends));
        if let Err(problem) = control.changes.submit(caller.actor(), make).await {
            return answers::answer(Err(problem));
        }
    }
    let mut response = to(&request, "/login");
    for name in [SESSION, CSRF] {
        set(&control.config(), &mut response, name, "", 0);
    }
    response
}
