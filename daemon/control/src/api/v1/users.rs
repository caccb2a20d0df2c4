//! `/api/v1/users` (spec/octoprox.md 5.1, 3.7, 3.8): administrators see and change all, everybody else sees themselves.

use super::answers::{self, admins_only, bad, data, object};
use super::credential::caller;
use super::{Outcome, keys};
use crate::api::query::Query;
use crate::change::numbers::{self, CREATED, UPDATED};
use crate::envelope::detail;
use crate::index::{self, By};
use crate::session::Caller;
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::is_admin;
use crate::subjects::{accounts, passwords, times};
use crate::{Inner, versioned};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) fn routes(config: &mut ServiceConfig) {
    versioned!(config, "/users", get => list, post => post);
    versioned!(config, "/users/me", get => me);
    versioned!(config, "/users/me/password", put => own_password);
    versioned!(config, "/users/{user_id}", get => get, put => put, delete => delete);
    versioned!(config, "/users/{user_id}/activate", post => activate);
    versioned!(config, "/users/{user_id}/password", put => password);
}

/// One of the two roles that this surface knows: every role that administers is `admin`.
pub(super) fn role(state: &State, user: &Row) -> &'static str {
    if is_admin(state, user.text("role")) { "admin" } else { "user" }
}

fn status(user: &Row) -> &'static str {
    if user.flag("active") && !user.flag("tokens_revoked") { "active" } else { "inactive" }
}

/// A time as text, null where there is none.
pub(super) fn time(row: &Row, name: &str) -> Value {
    row.get(name).and_then(Value::as_i64).map_or(Value::Null, |at| json!(times::text(at)))
}

fn shown(state: &State, user: &Row) -> Value {
    let text = |name: &str| user.get(name).cloned().unwrap_or(Value::Null);
    json!({
        "id": user.number("id"), "username": user.text("username"), "role": role(state, user),
        "status": status(user), "is_active": status(user) == "active", "email": text("email"),
        "gateway_role": user.text("role"), "created_at": time(user, CREATED), "updated_at": time(user, UPDATED),
        "nexusgate_user_id": text("nexusgate_user_id"), "nexusgate_role": text("nexusgate_role"),
        "last_synced_at": time(user, "last_synced_unix_ms"),
    })
}

/// One that an import brought, whatever its state.
fn workspace(row: &Row) -> Value {
    json!({"id": row.number("id"), "name": row.text("name"), "status": row.text("status"),
           "created_at": time(row, CREATED), "nexusgate_service_id": row.get("nexusgate_service_id")})
}

/// With what belongs to the user.
fn whole(control: &Inner, state: &State, user: &Row) -> Value {
    let mut value = shown(state, user);
    if let Some(fields) = value.as_object_mut() {
        let own = keys::of(control, state, user.text("username"));
        fields.insert("api_keys".to_owned(), Value::Array(own));
        let own = state.keys_by(By::WorkspaceUser, user.text("username"));
        let own = own.filter_map(|name| state.get("workspaces", name)).map(|row| workspace(row));
        fields.insert("workspaces".to_owned(), own.collect());
    }
    value
}

/// A user by number.
pub(super) fn by_number(state: &State, id: i64) -> Option<&Arc<Row>> {
    state.get("users", state.keys_by(By::UserNumber, &index::second(id.max(0))).next()?)
}

fn missing() -> Problem {
    detail(404, "User not found")
}

async fn list(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).await?;
    let query = Query::of(request);
    let page = answers::page(&query)?;
    let state = &caller.state;
    if !caller.is_admin() {
        let own = std::iter::once(&*caller.user);
        return Ok(answers::listed("users", (1, 20), own, |user| shown(state, user)));
    }
    let asked = |name: &str, value: &str| query.text(name).is_none_or(|wanted| wanted == value);
    // In the order of their numbers.
    let names = state.keys_by_index(By::UserNumber);
    let rows = names.filter_map(|name| state.get("users", name));
    let rows = rows.filter(|user| asked("status", status(user)) && asked("role", role(state, user)));
    Ok(answers::listed("users", page, rows, |user| shown(state, user)))
}

async fn me(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).await?;
    Ok(data(200, &whole(control, &caller.state, &caller.user)))
}

async fn get(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).await?;
    let id = answers::id(request, "user_id")?;
    if !caller.is_admin() && caller.user.number("id") != id {
        return Err(detail(403, "Access denied"));
    }
    let user = by_number(&caller.state, id).ok_or_else(missing)?;
    Ok(data(200, &whole(control, &caller.state, user)))
}

/// Text of a field within a length.
fn text<'b>(fields: &'b Map<String, Value>, name: &str, most: usize) -> Result<Option<&'b str>, Problem> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=most).contains(&text.chars().count()) => Ok(Some(text)),
        Some(other) => Err(bad(name, &format!("text of 1 to {most} characters"), other)),
    }
}

/// The role and the state that a body asks for; null leaves alone.
fn asked(fields: &Map<String, Value>) -> Result<(Option<bool>, Option<bool>), Problem> {
    let words = |name: &str, yes: &str, no: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if word == yes => Ok(Some(true)),
        Some(Value::String(word)) if word == no => Ok(Some(false)),
        Some(other) => Err(bad(name, &format!("{yes} or {no}"), other)),
    };
    let flag = match fields.get("is_active") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(flag)) => Some(*flag),
        Some(other) => return Err(bad("is_active", "true or false", other)),
    };
    let status = words("status", "active", "inactive")?;
    if let (Some(status), Some(flag)) = (status, flag)
        && status != flag
    {
        return Err(bad("is_active", "what status says", &json!(flag)));
    }
    Ok((words("role", "admin", "user")?, status.or(flag)))
}

/// The fields that are there for an outer platform.
fn platform(fields: &Map<String, Value>) -> Result<Row, Problem> {
    let mut row = Row::new();
    if let Some(id) = text(fields, "nexusgate_user_id", 64)? {
        let parsed = uuid::Uuid::try_parse(id).map_err(|_| bad("nexusgate_user_id", "a UUID", &json!(id)))?;
        row.insert("nexusgate_user_id".to_owned(), json!(parsed.to_string()));
    }
    if let Some(role) = text(fields, "nexusgate_role", 64)? {
        row.insert("nexusgate_role".to_owned(), json!(role));
    }
    if let Some(at) = fields.get("last_synced_at").filter(|at| !at.is_null()) {
        let parsed = times::parse(at).ok_or_else(|| bad("last_synced_at", "a time (RFC 3339)", at))?;
        row.insert("last_synced_unix_ms".to_owned(), json!(parsed));
    }
    Ok(row)
}

/// No two users are one of the outer platform's.
fn unlinked(state: &State, row: &Row) -> Result<(), Problem> {
    let id = row.text("nexusgate_user_id");
    let others = state.keys_by(By::UserNexusgate, id).any(|name| name != row.text("username"));
    let text = "nexusgate_user_id: already linked to another user";
    if !id.is_empty() && others { Err(detail(409, text)) } else { Ok(()) }
}

async fn post(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = answers::json(body)?;
    let caller = caller(control, request).await?;
    if !caller.is_admin() {
        return Err(admins_only());
    }
    let fields = object(&body)?;
    let needed = |name: &str, most: usize| {
        let absent = || answers::invalid(&["body", name], "missing", "Field required", &json!({}));
        text(fields, name, most)?.ok_or_else(absent)
    };
    let name = needed("username", accounts::NAME_CHARS)?.to_owned();
    crate::api::addressable(&name, crate::api::users::TAKEN, "", "username").map_err(|problem| {
        bad("username", "a name without slash and control characters", &json!(problem.detail))
    })?;
    let password = Secret::new(needed("password", 1_024)?.to_owned());
    passwords::policy(password.expose()).map_err(|why| bad("password", &why.detail, &Value::Null))?;
    let (admin, active) = asked(fields)?;
    let email = text(fields, "email", 127)?.unwrap_or_default().to_owned();
    let mut given = platform(fields)?;
    given.insert("active".to_owned(), json!(active.unwrap_or(true)));
    let hash = control.hasher.hash(password).await?;
    let role = if admin == Some(true) { "admin" } else { "user" };
    let (now_ms, made) = (control.clock.unix_ms(), name.clone());
    let make = move |state: &State, caller: &Caller| {
        if !caller.is_admin() {
            return Err(admins_only());
        }
        if state.get("users", &name).is_some() {
            return Err(detail(409, "Username already exists"));
        }
        if !email.is_empty() && crate::api::users::email_taken(state, &email, &name) {
            return Err(detail(409, "email: already in use"));
        }
        let mut row = accounts::plain(&name, &email, &hash, (role, now_ms));
        row.extend(given);
        unlinked(state, &row)?;
        row.insert("id".to_owned(), json!(numbers::next(state, "users")));
        let told = shown(state, &row);
        Ok(crate::change::Draft::new("user.create", format!("user/{name}"))
            .detail(told)
            .put("users", name, row))
    };
    caller.submit(control, make).await?;
    let state = control.changes.state();
    let row = state.get("users", &made).ok_or_else(missing)?;
    Ok(data(201, &whole(control, &state, row)))
}

async fn put(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = answers::json(body)?;
    let caller = caller(control, request).await?;
    if !caller.is_admin() {
        return Err(admins_only());
    }
    let id = answers::id(request, "user_id")?;
    let fields = object(&body)?;
    let (admin, active) = asked(fields)?;
    let given = platform(fields)?;
    let now_ms = control.clock.unix_ms();
    let make = move |state: &State, caller: &Caller| {
        if !caller.is_admin() {
            return Err(admins_only());
        }
        let old = by_number(state, id).ok_or_else(missing)?;
        let own = old.text("username") == caller.name;
        let mut row = accounts::changed(state, old, (admin, active), (own, now_ms))?;
        row.extend(given);
        unlinked(state, &row)?;
        let told = json!({"before": shown(state, old), "after": shown(state, &row)});
        let name = old.text("username").to_owned();
        Ok(crate::change::Draft::new("user.update", format!("user/{name}"))
            .detail(told)
            .put("users", name, row))
    };
    caller.submit(control, make).await?;
    let state = control.changes.state();
    Ok(data(200, &shown(&state, by_number(&state, id).ok_or_else(missing)?)))
}

async fn delete(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let id = switch(control, request, false).await?;
    Ok(data(200, &json!({"message": "User deactivated", "deactivated": true, "deleted": true, "id": id})))
}

async fn activate(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let id = switch(control, request, true).await?;
    let state = control.changes.state();
    Ok(data(200, &shown(&state, by_number(&state, id).ok_or_else(missing)?)))
}

/// Deactivates or activates a user; the number.
async fn switch(control: &Data<Inner>, request: &HttpRequest, active: bool) -> Result<i64, Problem> {
    let caller = caller(control, request).await?;
    if !caller.is_admin() {
        return Err(admins_only());
    }
    let id = answers::id(request, "user_id")?;
    let now_ms = control.clock.unix_ms();
    let make = move |state: &State, caller: &Caller| {
        if !caller.is_admin() {
            return Err(admins_only());
        }
        let old = by_number(state, id).ok_or_else(missing)?;
        let name = old.text("username").to_owned();
        let row = accounts::changed(state, old, (None, Some(active)), (name == caller.name, now_ms))?;
        let action = if active { "user.enable" } else { "user.disable" };
        Ok(crate::change::Draft::new(action, format!("user/{name}")).put("users", name, row))
    };
    caller.submit(control, make).await?;
    Ok(id)
}

/// The password of a body's field.
fn secret(fields: &Map<String, Value>, name: &str) -> Result<Secret<String>, Problem> {
    let absent = || answers::invalid(&["body", name], "missing", "Field required", &json!({}));
    Ok(Secret::new(text(fields, name, 1_024)?.ok_or_else(absent)?.to_owned()))
}

async fn own_password(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = answers::json(body)?;
    let caller = caller(control, request).await?;
    let fields = object(&body)?;
    let (current, new) = (secret(fields, "current_password")?, secret(fields, "new_password")?);
    let proved = super::auth::prove(control, request, (&caller.name, current)).await;
    proved.map_err(|why| match why.status {
        // Who asks is logged in; it is the field that is wrong.
        401 => bad("current_password", "the present password", &Value::Null),
        _ => why,
    })?;
    let id = caller.user.number("id");
    set_password(control, &caller, (id, new)).await
}

async fn password(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = answers::json(body)?;
    let caller = caller(control, request).await?;
    if !caller.is_admin() {
        return Err(admins_only());
    }
    let id = answers::id(request, "user_id")?;
    let new = secret(object(&body)?, "new_password")?;
    set_password(control, &caller, (id, new)).await
}

/// Sets a password. Whoever held the old one has no session and no token any more.
async fn set_password(control: &Data<Inner>, caller: &Caller, (id, new): (i64, Secret<String>)) -> Outcome {
    passwords::policy(new.expose()).map_err(|why| bad("new_password", &why.detail, &Value::Null))?;
    let hash = control.hasher.hash(new).await?;
    let now_ms = control.clock.unix_ms();
    let make = move |state: &State, caller: &Caller| {
        let old = by_number(state, id).ok_or_else(missing)?;
        if old.text("username") != caller.name && !caller.is_admin() {
            return Err(admins_only());
        }
        let mut row = accounts::ended(old, now_ms);
        row.insert("password_hash".to_owned(), json!(hash));
        let name = old.text("username").to_owned();
        Ok(crate::change::Draft::new("user.password", format!("user/{name}")).put("users", name, row))
    };
    caller.submit(control, make).await?;
    Ok(data(200, &json!({"message": "Password changed", "id": id})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_asks_for() {
        let fields = |value: Value| value.as_object().cloned().unwrap();
        for (body, expected) in [
            (json!({}), Ok((None, None))),
            (json!({"role": null, "status": null, "is_active": null, "else": 5}), Ok((None, None))),
            (json!({"role": "admin", "status": "inactive"}), Ok((Some(true), Some(false)))),
            (json!({"role": "user", "is_active": true}), Ok((Some(false), Some(true)))),
            (json!({"status": "active", "is_active": true}), Ok((None, Some(true)))),
            (json!({"status": "active", "is_active": false}), Err("is_active")),
            (json!({"role": "root"}), Err("role")),
            (json!({"status": "deleted"}), Err("status")),
            (json!({"is_active": "yes"}), Err("is_active")),
        ] {
            let found = asked(&fields(body.clone())).map_err(|problem| problem.field.unwrap());
            assert_eq!(found, expected.map_err(str::to_owned), "{body}");
        }
        assert!(platform(&fields(json!({"nexusgate_user_id": "x"}))).is_err());
        assert_eq!(platform(&fields(json!({"nexusgate_user_id": null}))).unwrap(), Row::new());
    }
}
