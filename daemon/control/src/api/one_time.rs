//! What links lead to (spec/agnes.md 5.1, 6.2): a page that asks, which uses nothing up, since mail scanners look at links
//! too, and the answer to its button.

use super::{Outcome, cookies, second_factor};
use crate::envelope::{Reply, answer, detail};
use crate::session::source;
use crate::state::Fields as _;
use crate::subjects::{once, passwords};
use crate::{Inner, resource, whole_resource};
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::opaque::{self, ONCE};
use gatehouse_common::ops::users::Purpose;
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Tries of one address.
const TRIES: crate::config::LoginLimit =
    crate::config::LoginLimit { per_window: 10, window_secs: 60, disabled: false };

/// Below `/auth`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/password/reset", get => reset_page);
    resource!(config, "/password/setup", get => setup_page, post => setup);
    resource!(config, "/password/reset/confirm", post => reset);
    resource!(config, "/password/setup/confirm", post => setup);
    whole_resource!(config, "/email/verify", get => verify_page, post => verify);
}

/// A page; the token in it is of hex digits.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{title}</title><h1>{title}</h1>{body}</html>"
    )
}

fn form(token: &str, action: &str, fields: &str, button: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
             {fields}<p><button>{button}</button></form>"
    )
}

const PASSWORDS: &str = "<p><label>New password, 16 to 50 characters, with upper and lower case, a digit and a special \
                         character <input type=\"password\" name=\"password\" autocomplete=\"new-password\" \
                         required></label><p><label>The same again <input type=\"password\" name=\"confirm_password\" \
                         autocomplete=\"new-password\" required></label>";
const CODE: &str = "<p><label>Code of the second factor, if you have one <input name=\"totp_code\" \
                    autocomplete=\"one-time-code\"></label>";

/// The token of the query, if it has the form of one; whether it counts is not looked at.
fn asked(request: &HttpRequest) -> Option<String> {
    let query = super::query::Query::of(request);
    query.text("token").filter(|token| opaque::parse(ONCE, token).is_some()).map(str::to_owned)
}

fn asking(request: &HttpRequest, title: &str, form: impl FnOnce(&str) -> String) -> String {
    match asked(request) {
        Some(token) => page(title, &form(&token)),
        None => page(title, "<p>This link is not whole: copy it again."),
    }
}

async fn reset_page(_control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let ask = |token: &str| form(token, "reset/confirm", PASSWORDS, "Set the password");
    Ok(Reply::Page(200, asking(request, "A new password", ask)))
}

async fn setup_page(_control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let ask = |token: &str| form(token, "setup/confirm", PASSWORDS, "Set the password");
    Ok(Reply::Page(200, asking(request, "Welcome to Gatehouse", ask)))
}

async fn verify_page(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let ask = |token: &str| form(token, "verify", CODE, "Log in");
    answer(&control, &request, Ok(Reply::Page(200, asking(&request, "Log in", ask))))
}

/// What was sent, by a form or as JSON.
struct Sent {
    fields: HashMap<String, String>,
    form: bool,
}

impl Sent {
    fn of(request: &HttpRequest, body: &Bytes) -> Result<Self, Problem> {
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            let bad = |_| detail(422, "body: expected the fields of a form").at("body");
            let text =
                std::str::from_utf8(body).map_err(|_| detail(422, "body: expected UTF-8").at("body"))?;
            let fields =
                actix_web::web::Query::<HashMap<String, String>>::from_query(text).map_err(bad)?.into_inner();
            return Ok(Self { fields, form: true });
        }
        let object = super::json(body).map_err(second_factor::plain)?;
        let object = object.as_object().ok_or_else(|| detail(422, "body: expected an object").at("body"))?;
        let texts =
            object.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Ok(Self { fields: texts.collect(), form: false })
    }

    fn text(&self, name: &str) -> Result<&str, Problem> {
        let text = self.fields.get(name).map(String::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| detail(422, &format!("{name}: expected text")).at(name))
    }

    /// In the way it was asked.
    fn reply(&self, title: &str, value: &Value) -> Reply {
        match self.form {
            true => Reply::Page(200, page(title, "")),
            false => Reply::Bare(200, value.to_string()),
        }
    }
}

/// Refuses an address that tries too often.
fn slowly(control: &Inner, request: &HttpRequest) -> Result<(), Problem> {
    let standing = control.once_tries.attempt(TRIES, &source(control, request), control.clock.unix_ms());
    match standing.refused {
        true => Err(detail(429, "Too many tries from this address: wait a minute")),
        false => Ok(()),
    }
}

async fn reset(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    set(control, request, body, Purpose::Reset).await
}

async fn setup(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    set(control, request, body, Purpose::Invite).await
}

/// All that can be wrong with a password is told before the token is used up, and it is hashed only for a token that counts.
async fn set(control: &Inner, request: &HttpRequest, body: &Bytes, purpose: Purpose) -> Outcome {
    slowly(control, request)?;
    let sent = Sent::of(request, body)?;
    let token = Secret::new(sent.text("token")?.to_owned());
    once::owner(&control.changes.state(), token.expose(), purpose, control.clock.unix_ms())?;
    let password = sent.text("password")?;
    if sent.fields.get("confirm_password").is_some_and(|again| again != password) {
        return Err(detail(422, "confirm_password: expected the same as password").at("confirm_password"));
    }
    passwords::policy(password).map_err(second_factor::plain)?;
    let hash = control.hasher.hash(Secret::new(password.to_owned())).await?;
    once::set_password(control, (token, purpose), hash, &source(control, request)).await?;
    let message = "The password is set: log in with it";
    Ok(sent.reply(message, &json!({ "message": message })))
}

async fn verify(
    control: Data<Inner>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    let outcome = match body {
        Ok(body) => log_in(&control, &request, &body).await,
        Err(error) => Err(super::unreadable(&error)),
    };
    let made = outcome.as_ref().ok().map(|(_, made)| made.clone());
    let mut response = answer(&control, &request, outcome.map(|(reply, _)| reply));
    if let Some((token, sid)) = made {
        let secs = control.config().access_ttl_secs;
        cookies::set(&control, &request, &mut response, (&token, &sid), secs);
    }
    if response.status().as_u16() == 429 {
        response.headers_mut().insert(HeaderName::from_static("retry-after"), HeaderValue::from(60));
    }
    response
}

/// The answer, and token and session for the cookies.
async fn log_in(
    control: &Inner,
    request: &HttpRequest,
    body: &Bytes,
) -> Result<(Reply, (String, String)), Problem> {
    slowly(control, request)?;
    let sent = Sent::of(request, body)?;
    let token = Secret::new(sent.text("token")?.to_owned());
    let code = ["totp_code", "recovery_code"].iter().find_map(|name| sent.text(name).ok()).map(str::to_owned);
    let entered = once::log_in(control, token, code, &source(control, request)).await;
    let (made, claims) = entered.map_err(second_factor::plain)?;
    let state = control.changes.state();
    let email = state.get("users", &claims.sub).map(|user| user.text("email").to_owned());
    let value = json!({"access_token": made, "token_type": "bearer", "email": email, "role": claims.role});
    Ok((sent.reply("You are logged in", &value), (made, claims.sid)))
}
