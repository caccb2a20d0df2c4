//! `POST /platform/authorization/register` (spec/doorman.md 2.1): anyone makes an account of their own. It has the role
//! `user` and no group, so it reaches no protected API until an administrator lets it.

use super::authorization::limit_headers;
use super::json;
use crate::change::Draft;
use crate::envelope::{Reply, answer};
use crate::session::source;
use crate::state::State;
use crate::subjects::passwords;
use crate::{Inner, whole_resource};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use serde_json::Value;

pub(crate) fn routes(config: &mut ServiceConfig) {
    whole_resource!(config, "/authorization/register", post => register);
}

async fn register(
    control: Data<Inner>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    let now_ms = control.clock.unix_ms();
    let limit = control.config().register_limit;
    let standing = control.registrations.attempt(limit, &source(&control, &request), now_ms);
    let outcome = match body {
        _ if !control.config().registration => Err(crate::envelope::detail(404, "Not Found")),
        _ if standing.refused => {
            Err(Problem::compat(429, "IP_RATE_LIMIT", "Too many registrations from this address"))
        }
        Ok(body) => make(&control, &request, &body).await,
        Err(error) => Err(super::unreadable(&error)),
    };
    let mut response = answer(&control, &request, outcome);
    limit_headers(&mut response, &standing, now_ms);
    response
}

fn refused(code: &str, text: impl Into<String>) -> Problem {
    Problem::compat(400, code, text)
}

/// A field of the body, text that is not empty.
pub(super) fn field<'b>(body: &'b Value, name: &str) -> Result<&'b str, Problem> {
    let text = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| refused("AUTH001", format!("Missing {name}: expected text")).at(name))
}

async fn make(control: &Inner, request: &HttpRequest, body: &Bytes) -> super::Outcome {
    let body = json(body).map_err(|_| refused("AUTH004", "Invalid JSON payload"))?;
    let email = field(&body, "email")?.to_owned();
    let password = Secret::new(field(&body, "password")?.to_owned());
    let expected = || refused("USR001", "email: expected an address of 3 to 127 characters").at("email");
    let (name, _) = email.split_once('@').filter(|_| email.chars().count() <= 127).ok_or_else(expected)?;
    let name = name.to_owned();
    if !(3..=50).contains(&name.chars().count()) {
        return Err(refused("USR001", "email: expected 3 to 50 characters before the @").at("email"));
    }
    super::addressable(&name, super::users::TAKEN, "USR001", "email")?;
    passwords::policy(password.expose())?;
    let hash = control.hasher.hash(password).await?;
    let epoch = control.clock.unix_ms();
    let actor = Actor::User { name: name.clone(), source: source(control, request) };
    let change = move |state: &State| {
        if state.get("users", &name).is_some() || super::users::email_taken(state, &email, &name) {
            return Err(refused("USR001", "Username or email already exists"));
        }
        let row = super::users::plain(&name, &email, &hash, epoch);
        Ok(Draft::new("user.register", format!("user/{name}")).put("users", name, row))
    };
    control.changes.submit(actor, change).await?;
    Ok(Reply::message(201, "User created successfully"))
}
