//! `/auth/tokens` (spec/agnes.md 6.3): personal access tokens, made in an interactive session, shown once, listed also when
//! they are revoked.

use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::{Reply, detail};
use crate::index::By;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::personal::{self, digest, random};
use crate::subjects::scopes::Scopes;
use crate::subjects::{addresses, times};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::opaque::{self, PERSONAL};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

/// Longest name, characters.
const NAME_CHARS: usize = 100;
/// Networks of one token.
const NETWORKS: usize = 32;
/// Life where none is asked for, and the longest, days.
const USUAL_DAYS: i64 = 90;
const MOST_DAYS: i64 = 3_650;
/// The longest life with the scope `admin`, days.
const ADMIN_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

/// Below `/auth`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/tokens", get => list, post => post);
    resource!(config, "/tokens/{id}", get => get, delete => delete);
    resource!(config, "/admin/tokens", get => list_all);
    resource!(config, "/admin/tokens/{id}", delete => delete_any);
}

fn bare(status: u16, value: &Value) -> Reply {
    Reply::Bare(status, value.to_string())
}

fn shown(state: &State, id: &str, row: &Row, now_ms: i64) -> Value {
    let time = |name: &str| row.get(name).and_then(Value::as_i64).map(times::text);
    json!({"id": id, "name": row.text("name"), "prefix": format!("{PERSONAL}{id}"), "scopes": row.list("scopes"),
           "networks": row.list("networks"), "created_at": time("created_unix_ms"), "expires_at": time("expires_unix_ms"),
           "last_used_at": time("last_used_unix_ms"), "revoked_at": time("revoked_unix_ms"),
           "active": personal::alive(state, row, now_ms)})
}

fn with(mut value: Value, more: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    value
}

/// With what administrators see beside.
fn whole(state: &State, id: &str, row: &Row, now_ms: i64) -> Value {
    let user = row.text("username");
    let email = state.get("users", user).map(|user| user.text("email").to_owned());
    let more = [
        ("user_id", json!(user)),
        ("email", json!(email)),
        ("last_used_ip", json!(row.get("last_used_from"))),
    ];
    with(shown(state, id, row, now_ms), more)
}

/// What a token is asked to be.
struct Asked {
    name: String,
    scopes: Scopes,
    networks: Vec<String>,
    expires_unix_ms: Option<i64>,
}

fn refused(field: &str, expected: &str) -> Problem {
    detail(422, &format!("{field}: expected {expected}")).at(field)
}

fn texts(body: &Value, field: &str) -> Result<Vec<String>, Problem> {
    let items = match body.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(refused(field, "a list of texts")),
    };
    let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    texts.ok_or_else(|| refused(field, "a list of texts"))
}

fn asked(body: &Value, endless: bool, now_ms: i64) -> Result<Asked, Problem> {
    let name = body.get("name").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if name.is_empty() || name.chars().count() > NAME_CHARS {
        return Err(refused("name", "text of 1 to 100 characters"));
    }
    let scopes = Scopes::parse(texts(body, "scopes")?)?;
    let most = if scopes.admin() { ADMIN_DAYS } else { MOST_DAYS };
    let days = match body.get("expires_in_days") {
        None => Some(USUAL_DAYS.min(most)),
        Some(Value::Null) if scopes.admin() => {
            return Err(refused("expires_in_days", "1 to 30 days with the scope admin"));
        }
        Some(Value::Null) if endless => None,
        Some(Value::Null) => {
            return Err(refused(
                "expires_in_days",
                "a number of days: the setting endless_tokens forbids null",
            ));
        }
        Some(value) => {
            let days = value.as_i64().filter(|days| (1..=most).contains(days));
            Some(days.ok_or_else(|| refused("expires_in_days", &format!("a whole number from 1 to {most}")))?)
        }
    };
    let networks = texts(body, "networks")?;
    if networks.len() > NETWORKS {
        return Err(refused("networks", &format!("at most {NETWORKS}")));
    }
    if let Some(problem) = addresses::problem(&networks) {
        return Err(detail(422, &format!("networks: {problem}")).at("networks"));
    }
    let expires_unix_ms = days.map(|days| now_ms.saturating_add(days.saturating_mul(DAY_MS)));
    Ok(Asked { name: name.to_owned(), scopes, networks, expires_unix_ms })
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.interactive()?;
    let now_ms = control.clock.unix_ms();
    let asked = asked(&json(body)?, control.config().identity.endless_tokens, now_ms)?;
    let (id, secret) = (random::<8>(), random::<32>());
    let token = opaque::print(PERSONAL, &id, &secret);
    let mut row = Row::new();
    row.extend([
        ("username".to_owned(), json!(caller.name)),
        ("name".to_owned(), json!(asked.name)),
        ("hash".to_owned(), json!(digest(&secret))),
        ("scopes".to_owned(), json!(asked.scopes.words())),
        ("networks".to_owned(), json!(asked.networks)),
        ("created_unix_ms".to_owned(), json!(now_ms)),
        ("expires_unix_ms".to_owned(), json!(asked.expires_unix_ms)),
    ]);
    let key = id.clone();
    let make = move |state: &State, caller: &Caller| {
        if personal::count(state, &caller.name, now_ms) >= personal::ALIVE {
            let text = format!("You have {} tokens that are alive: revoke one first", personal::ALIVE);
            return Err(detail(409, &text));
        }
        row.insert("epoch".to_owned(), json!(caller.user.number("token_epoch")));
        let told = json!({"name": row.text("name"), "scopes": row.list("scopes"), "networks": row.list("networks"),
                          "expires_unix_ms": row.get("expires_unix_ms")});
        Ok(Draft::new("token.create", format!("token/{key}")).detail(told).put("tokens", key, row))
    };
    caller.submit(control, make).await?;
    let state = control.changes.state();
    let row = state.get("tokens", &id).map(|row| shown(&state, &id, row, now_ms));
    let made = with(row.unwrap_or_else(|| json!({})), [("token", json!(token.expose()))]);
    Ok(bare(201, &made))
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let (state, now_ms) = (&caller.state, control.clock.unix_ms());
    let own =
        state.keys_by(By::TokenUser, &caller.name).filter_map(|id| Some((id, state.get("tokens", id)?)));
    let own: Vec<_> = own.map(|(id, row)| shown(state, id, row, now_ms)).collect();
    Ok(bare(200, &json!(own)))
}

fn missing() -> Problem {
    detail(404, "Token not found")
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let id = part(request, "id");
    let row = caller.state.get("tokens", id).filter(|row| row.text("username") == caller.name);
    let row = row.ok_or_else(missing)?;
    Ok(bare(200, &shown(&caller.state, id, row, control.clock.unix_ms())))
}

async fn list_all(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    administrator(&caller)?;
    let now_ms = control.clock.unix_ms();
    let rows = caller.state.rows("tokens").map(|(id, row)| whole(&caller.state, id, row, now_ms));
    Ok(bare(200, &json!(rows.collect::<Vec<_>>())))
}

pub(super) fn administrator(caller: &Caller) -> Result<(), Problem> {
    if caller.is_admin() { Ok(()) } else { Err(detail(403, "Admin access required")) }
}

/// A token of one's own; one of another is not there. A token may end itself whatever its scopes.
async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let id = part(request, "id").to_owned();
    let caller = crate::session::caller_ending(control, request, &id)?;
    revoke(control, &caller, id, |row, caller| row.text("username") == caller.name, "token.revoke").await
}

async fn delete_any(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    administrator(&caller)?;
    let id = part(request, "id").to_owned();
    revoke(control, &caller, id, |_, caller| caller.is_admin(), "token.admin_revoke").await
}

/// Revokes; a second time changes nothing.
async fn revoke(
    control: &Inner,
    caller: &Caller,
    id: String,
    may: fn(&Row, &Caller) -> bool,
    action: &'static str,
) -> Outcome {
    let now_ms = control.clock.unix_ms();
    let known = caller.state.get("tokens", &id).filter(|row| may(row, caller)).ok_or_else(missing)?;
    if !personal::unrevoked(known) {
        return Ok(Reply::Bare(204, String::new()));
    }
    let make = move |state: &State, caller: &Caller| {
        let row = state.get("tokens", &id).filter(|row| may(row, caller)).ok_or_else(missing)?;
        let told = json!({"name": row.text("name"), "user": row.text("username")});
        let mut row = Row::clone(row);
        if personal::unrevoked(&row) {
            row.insert("revoked_unix_ms".to_owned(), json!(now_ms));
        }
        Ok(Draft::new(action, format!("token/{id}")).detail(told).put("tokens", id, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::Bare(204, String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_as_long_as_its_scopes_may() {
        let days = |body: Value, endless| {
            asked(&body, endless, 0)
                .map(|asked| asked.expires_unix_ms.map(|at| at / DAY_MS))
                .map_err(|problem| (problem.status, problem.field.unwrap_or_default()))
        };
        let refused = |field: &str| Err((422, field.to_owned()));
        let with = |value: Value| {
            let mut body = json!({"name": " n ", "scopes": ["apis:read"]});
            body.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            body
        };
        for (body, endless, expected) in [
            (with(json!({})), false, Ok(Some(90))),
            (with(json!({"expires_in_days": 3650})), false, Ok(Some(3650))),
            (with(json!({"expires_in_days": 3651})), true, refused("expires_in_days")),
            (with(json!({"expires_in_days": 0})), true, refused("expires_in_days")),
            (with(json!({"expires_in_days": "9"})), true, refused("expires_in_days")),
            (with(json!({"expires_in_days": null})), true, Ok(None)),
            (with(json!({"expires_in_days": null})), false, refused("expires_in_days")),
            (with(json!({"scopes": ["admin"]})), false, Ok(Some(30))),
            (with(json!({"scopes": ["admin"], "expires_in_days": 31})), true, refused("expires_in_days")),
            (with(json!({"scopes": ["admin"], "expires_in_days": null})), true, refused("expires_in_days")),
            (with(json!({"scopes": []})), true, refused("scopes")),
            (with(json!({"scopes": "admin"})), true, refused("scopes")),
            (with(json!({"name": "  "})), true, refused("name")),
            (with(json!({"networks": ["10.0.0.0/8", "x"]})), true, refused("networks")),
        ] {
            assert_eq!(days(body.clone(), endless), expected, "{body}");
        }
    }
}
