//! `/platform/user` (spec/doorman.md 4.4), with the protections of section 3.

use super::{Outcome, json, part};
use crate::change::Draft;
use crate::compile::consumers::bandwidth;
use crate::envelope::Reply;
use crate::index::{self, By};
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::accounts;
use crate::subjects::leaving;
use crate::subjects::passwords;
use crate::subjects::roles::{self, is_admin};
use crate::subjects::sessions;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::{Value, json};

/// The user no one may remove or rename.
const ROOT: &str = "admin";
const LIMITS: &[&str] = &[
    "rate_limit_duration",
    "rate_limit_duration_type",
    "rate_limit_enabled",
    "throttle_duration",
    "throttle_duration_type",
    "throttle_wait_duration",
    "throttle_wait_duration_type",
    "throttle_queue_limit",
    "throttle_enabled",
    "bandwidth_limit_bytes",
    "bandwidth_limit_window",
];
pub(crate) const FIELDS: &[Field] = &[
    ("username", Kind::Text(3, 50), Absent::Required),
    ("email", Kind::Text(3, 127), Absent::Required),
    ("password", Kind::Text(1, 127), Absent::Required),
    ("role", Kind::Text(2, 50), Absent::Required),
    ("groups", Kind::Texts, Absent::Empty),
    ("rate_limit_duration", Kind::Int(0), Absent::Null),
    ("rate_limit_duration_type", Kind::Text(1, 7), Absent::Null),
    ("rate_limit_enabled", Kind::Flag, Absent::Null),
    ("throttle_duration", Kind::Int(0), Absent::Null),
    ("throttle_duration_type", Kind::Text(1, 7), Absent::Null),
    ("throttle_wait_duration", Kind::Int(0), Absent::Null),
    ("throttle_wait_duration_type", Kind::Text(1, 7), Absent::Null),
    ("throttle_queue_limit", Kind::Int(0), Absent::Null),
    ("throttle_enabled", Kind::Flag, Absent::Null),
    ("custom_attributes", Kind::Object, Absent::Null),
    ("bandwidth_limit_bytes", Kind::Int(0), Absent::Null),
    ("bandwidth_limit_window", Kind::Text(1, 10), Absent::Text("day")),
    ("bandwidth_limit_enabled", Kind::Flag, Absent::Null),
    ("active", Kind::Flag, Absent::Is(true)),
    ("ui_access", Kind::Flag, Absent::Is(false)),
];
/// The fields as they may be stored: users of `/api/v1` have other bounds, and need no address.
pub(crate) fn stored_fields() -> Vec<Field> {
    let own = |(name, kind, absent): &Field| match *name {
        "username" => ("username", Kind::Text(1, 128), Absent::Required),
        "email" => ("email", Kind::Text(0, 127), Absent::Null),
        name => (name, *kind, *absent),
    };
    FIELDS.iter().map(own).collect()
}

/// Names that are words of a path.
pub(crate) const TAKEN: &[&str] = &["me", "all", "email"];
/// Never shown.
const HIDDEN: [&str; 11] = [
    "password_hash",
    "token_epoch",
    "token_epoch_before",
    "tokens_revoked",
    // Of `/api/v1`.
    "id",
    "created_unix_ms",
    "updated_unix_ms",
    "nexusgate_user_id",
    "nexusgate_role",
    "last_synced_unix_ms",
    "revoked_at_unix_ms",
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/user/me", get => me);
    resource!(config, "/user/all", get => list);
    resource!(config, "/user/email/{email}", get => by_email);
    resource!(config, "/user/{username}/update-password", put => update_password);
    resource!(config, "/user/{username}", get => get, put => put, delete => delete);
    resource!(config, "/user", post => post, get => list);
}

fn shown(row: &Row) -> Value {
    let fields = row.iter().filter(|(name, _)| !HIDDEN.contains(&name.as_str()));
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// With what a limit of bandwidth has been used of, and the second in which its window ends.
fn used(control: &Inner, row: &Row) -> Value {
    let mut user = shown(row);
    if let (Some(limit), Some(user)) = (bandwidth(row), user.as_object_mut()) {
        let (now_ms, published) = (control.clock.unix_ms(), control.changes.published());
        let consumer = published.consumers.get(row.text("username"));
        let bytes = consumer.map_or(0, |one| one.usage.bandwidth.used(now_ms, limit.window_ms));
        let window_ms = i64::try_from(limit.window_ms).unwrap_or(i64::MAX).max(1);
        user.insert("bandwidth_usage_bytes".to_owned(), json!(bytes));
        user.insert(
            "bandwidth_resets_at".to_owned(),
            json!((now_ms / window_ms + 1).saturating_mul(window_ms) / 1_000),
        );
    }
    user
}

/// A user with the default of every field, role `user`, no group.
pub(crate) fn plain(name: &str, email: &str, hash: &str, token_epoch: i64) -> Row {
    let given = json!({"username": name, "email": email, "password": hash, "role": "user"});
    // Every required field is given, so that nothing can be missing.
    let mut row = schema::create(FIELDS, &given).unwrap_or_default();
    row.remove("password");
    row.insert("password_hash".to_owned(), json!(hash));
    row.insert("token_epoch".to_owned(), json!(token_epoch));
    row
}

fn refused(status: u16, code: &str, text: &str) -> Problem {
    Problem::compat(status, code, text)
}

fn self_or(caller: &Caller, name: &str, code: &str) -> Result<(), Problem> {
    if caller.name == name { Ok(()) } else { caller.needs("manage_users", code) }
}

fn attributes(row: &Row) -> Result<(), Problem> {
    let count = row.get("custom_attributes").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if count > 10 { Err(refused(400, "USR016", "custom_attributes: expected at most 10")) } else { Ok(()) }
}

/// Whether somebody else has this address.
pub(crate) fn email_taken(state: &State, email: &str, but: &str) -> bool {
    state.keys_by(By::UserEmail, &index::mail(email)).any(|name| name != but)
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    caller.needs("manage_users", "USR006")?;
    attributes(&row)?;
    let password = match row.remove("password") {
        Some(Value::String(password)) => Secret::new(password),
        _ => return Err(refused(400, "USR005", "password: expected text")),
    };
    passwords::policy(password.expose())?;
    let name = row.text("username").to_owned();
    super::addressable(&name, TAKEN, "USR001", "username")?;
    let taken = |state: &State, row: &Row| {
        state.get("users", row.text("username")).is_some() || email_taken(state, row.text("email"), "")
    };
    if taken(&caller.state, &row) {
        return Err(refused(400, "USR001", "Username or email already exists"));
    }
    row.insert("password_hash".to_owned(), json!(control.hasher.hash(password).await?));
    // An earlier user of this name may have left tokens that have not expired.
    row.insert("token_epoch".to_owned(), json!(control.clock.unix_ms()));
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_users", "USR006")?;
        if !caller.is_admin() && is_admin(state, row.text("role")) {
            return Err(refused(403, "USR015", "Only an administrator may create an administrator"));
        }
        if taken(state, &row) {
            return Err(refused(400, "USR001", "Username or email already exists"));
        }
        Ok(Draft::new("user.create", format!("user/{name}")).detail(shown(&row)).put("users", name, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(201, "User created successfully"))
}

fn coded(problem: Problem) -> Problem {
    refused(problem.status, "GTW998", &problem.detail)
}

async fn me(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).map_err(coded)?;
    Ok(Reply::Data(200, used(control, &caller.user)))
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).map_err(coded)?;
    let admin = caller.is_admin();
    let rows =
        caller.state.rows("users").filter(|(_, row)| admin || !is_admin(&caller.state, row.text("role")));
    let page = super::lists::page(control, request, "users", rows, |(_, row)| used(control, row))?;
    Ok(Reply::Data(200, json!({ "users": page.get("users") })))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "username");
    self_or(&caller, name, "USR008")?;
    let row = caller.state.get("users", name);
    let row = row.filter(|row| caller.is_admin() || !is_admin(&caller.state, row.text("role")));
    Ok(Reply::Data(200, used(control, row.ok_or_else(|| refused(404, "", "User not found"))?)))
}

async fn by_email(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let email = part(request, "email");
    let mail = index::mail(email);
    let name = caller.state.keys_by(By::UserEmail, &mail).next();
    let row = name.and_then(|name| caller.state.get("users", name));
    if row.is_none_or(|row| row.text("username") != caller.name) {
        caller.needs("manage_users", "USR008")?;
    }
    let row = row.filter(|row| caller.is_admin() || !is_admin(&caller.state, row.text("role")));
    Ok(Reply::Data(200, used(control, row.ok_or_else(|| refused(404, "USR002", "User not found"))?)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = json(body)?;
    let mut changes = schema::update(FIELDS, &body)?;
    let caller = caller(control, request)?;
    let name = part(request, "username").to_owned();
    let make = move |state: &State, caller: &Caller| {
        self_or(caller, &name, "USR006")?;
        attributes(&changes)?;
        let power = (caller.is_admin(), caller.may("manage_users"));
        let old = state.get("users", &name).ok_or_else(|| refused(404, "USR002", "User not found"))?;
        // Older clients send every field; a null where nothing stands asks for nothing.
        changes.retain(|field, value| !schema::idle(&body, old, field, value));
        allowed(state, &name, old, &changes, power)?;
        let mut row = Row::clone(old);
        row.extend(changes);
        let off = old.flag("active") && !row.flag("active");
        sessions::ended(&mut row, off);
        if roles::last_admin(state, &name) && !(row.flag("active") && is_admin(state, row.text("role"))) {
            return Err(refused(403, "USR020", "The last administrator must stay one"));
        }
        if email_taken(state, row.text("email"), &name) {
            return Err(refused(400, "USR004", "email: already in use"));
        }
        let detail = json!({"before": shown(old), "after": shown(&row)});
        Ok(Draft::new("user.update", format!("user/{name}")).detail(detail).put("users", name, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "User updated successfully"))
}

/// Who may change what of whom. A user may not raise their own limits.
fn allowed(state: &State, name: &str, old: &Row, changes: &Row, power: (bool, bool)) -> Result<(), Problem> {
    let (admin, manager) = power;
    let limit_only = changes.keys().all(|field| LIMITS.contains(&field.as_str()));
    if name == ROOT && !limit_only {
        return Err(refused(403, "USR020", "Only the limits of this user can be changed"));
    }
    if !admin && is_admin(state, old.text("role")) {
        return Err(refused(403, "USR012", "Only an administrator may modify an administrator"));
    }
    if !admin && changes.get("role").and_then(Value::as_str).is_some_and(|role| is_admin(state, role)) {
        return Err(refused(403, "USR013", "Only an administrator may give an administrator role"));
    }
    let fixed = |field: &str| {
        LIMITS.contains(&field)
            || ["role", "groups", "active", "username", "ui_access", "bandwidth_limit_enabled"]
                .contains(&field)
    };
    if !manager && changes.keys().any(|field| fixed(field)) {
        return Err(refused(
            403,
            "USR023",
            "You may not change role, groups, limits or state of your own account",
        ));
    }
    if changes.get("username").is_some_and(|new| new != name) {
        return Err(refused(400, "USR004", "username cannot be changed"));
    }
    if changes.contains_key("password") {
        let text = "password: set it with PUT /platform/user/{username}/update-password";
        return Err(refused(400, "USR004", text));
    }
    Ok(())
}

async fn update_password(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let fields: &[Field] = &[("new_password", Kind::Text(6, 50), Absent::Required)];
    let mut row = schema::create(fields, &json(body)?)?;
    let caller = caller(control, request)?;
    let name = part(request, "username").to_owned();
    self_or(&caller, &name, "USR006")?;
    caller.interactive()?;
    if name == ROOT {
        return Err(refused(403, "USR022", "The password of this user is set by the settings"));
    }
    let password = match row.remove("new_password") {
        Some(Value::String(password)) => Secret::new(password),
        _ => return Err(refused(400, "USR005", "new_password: expected text")),
    };
    passwords::policy(password.expose())?;
    let hash = control.hasher.hash(password).await?;
    let now_ms = control.clock.unix_ms();
    let make = move |state: &State, caller: &Caller| {
        self_or(caller, &name, "USR006")?;
        let old = state.get("users", &name).ok_or_else(|| refused(404, "USR002", "User not found"))?;
        if !caller.is_admin() && caller.name != name && is_admin(state, old.text("role")) {
            return Err(refused(403, "USR012", "Only an administrator may modify an administrator"));
        }
        // Whoever held the old password holds no token any more, of an outer platform neither.
        let mut row = accounts::ended(old, now_ms);
        row.insert("password_hash".to_owned(), json!(hash));
        Ok(Draft::new("user.password", format!("user/{name}")).put("users", name, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Password updated successfully"))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "username").to_owned();
    let make = move |state: &State, caller: &Caller| {
        self_or(caller, &name, "USR007")?;
        if name == ROOT || roles::last_admin(state, &name) {
            return Err(refused(403, "USR021", "This user cannot be deleted"));
        }
        let old = state.get("users", &name).ok_or_else(|| refused(404, "USR002", "User not found"))?;
        if !caller.is_admin() && is_admin(state, old.text("role")) {
            return Err(refused(403, "USR014", "Only an administrator may delete an administrator"));
        }
        let draft = Draft::new("user.delete", format!("user/{name}")).detail(json!({ "before": shown(old) }));
        Ok(leaving::account(state, &name, draft))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "User deleted successfully"))
}
