//! `/api/v1/api-keys` (spec/octoprox.md 3.4, 5.3, 13.3, 13.6): made, listed, revoked. The secret is shown once and kept
//! only as a hash; it has 192 random bits, so a fast hash is as good as a slow one.

use super::Outcome;
use super::answers::{self, bad, data, object};
use super::credential::{KEY, caller};
use super::users::{by_number, time};
use crate::api::query::Query;
use crate::change::{Draft, numbers};
use crate::envelope::{Reply, detail};
use crate::index::{self, By};
use crate::session::Caller;
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::is_admin;
use crate::subjects::times;
use crate::{Inner, versioned};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, ServiceConfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Longest name, characters.
const NAME_CHARS: usize = 128;

pub(crate) fn routes(config: &mut ServiceConfig) {
    versioned!(config, "/api-keys", get => list, post => post);
    versioned!(config, "/api-keys/{key_id}", delete => delete);
}

fn shown(control: &Inner, state: &State, (key, row): (&str, &Row)) -> Value {
    let text = |name: &str| row.get(name).cloned().unwrap_or(Value::Null);
    let owner = state.get("users", row.text("username")).map(|user| user.number("id"));
    // What was noted here, or what an importer brought.
    let used = control.usages.keys.of(key).last().or_else(|| row.get("last_used_unix_ms")?.as_i64());
    json!({
        "id": row.number("id"), "prefix": row.text("prefix"), "name": text("name"), "user_id": owner,
        "created_at": time(row, "created_unix_ms"), "expires_at": time(row, "expires_unix_ms"),
        "last_used_at": used.map(times::text), "nexusgate_token_id": text("nexusgate_token_id"),
    })
}

fn alive(row: &Row) -> bool {
    row.get("revoked_unix_ms").is_none_or(Value::is_null)
}

/// The keys of a user in the order of their numbers.
fn owned<'s>(state: &'s State, name: &str) -> Vec<(&'s str, &'s Row)> {
    let ids: Vec<String> = state.keys_by(By::KeyUser, name).map(str::to_owned).collect();
    let rows = ids.iter().filter_map(|id| state.table("keys").get_key_value(id));
    let mut rows: Vec<_> = rows.map(|(id, row)| (id.as_str(), &**row)).collect();
    rows.sort_by_key(|(_, row)| row.number("id"));
    rows
}

/// The keys of a user that are not revoked, as the user's page shows them.
pub(super) fn of(control: &Inner, state: &State, name: &str) -> Vec<Value> {
    let rows = owned(state, name).into_iter();
    rows.filter(|(_, row)| alive(row)).map(|row| shown(control, state, row)).collect()
}

/// The owner, or who may manage users; an administrator's keys are for administrators only, or whoever manages
/// users could call in an administrator's name.
fn may(state: &State, caller: &Who, owner: &str) -> bool {
    let admins = state.get("users", owner).is_some_and(|user| is_admin(state, user.text("role")));
    caller.name == owner || (caller.manager && (caller.admin || !admins))
}

/// What of a caller these rules look at.
struct Who {
    name: String,
    manager: bool,
    admin: bool,
}

impl From<&Caller> for Who {
    fn from(caller: &Caller) -> Self {
        let admin = caller.is_admin();
        Self { name: caller.name.clone(), manager: admin || caller.may("manage_users"), admin }
    }
}

async fn list(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).await?;
    let query = Query::of(request);
    let page = answers::page(&query)?;
    let (who, state) = (Who::from(&caller), &caller.state);
    // Others ask for nobody but themselves, whoever they name.
    let wanted = match answers::number(&query, "user_id")?.filter(|_| who.manager) {
        Some(id) => by_number(state, id).map_or(Some(""), |user| Some(user.text("username"))),
        None => None,
    };
    let rows: Box<dyn Iterator<Item = (&str, &Row)>> = match wanted.or((!who.manager).then_some(&*who.name)) {
        Some(name) => Box::new(owned(state, name).into_iter()),
        None => {
            let ids = state.keys_by_index(By::KeyNumber);
            Box::new(ids.filter_map(|id| Some((id, &**state.get("keys", id)?))))
        }
    };
    let rows = rows.filter(|(_, row)| alive(row) && may(state, &who, row.text("username")));
    Ok(answers::listed("api_keys", page, rows, |row| shown(control, state, row)))
}

/// What a body says of the key to be made: numbers become text, as older clients send them.
fn name(body: &Value) -> Result<Value, Problem> {
    match body.get("name") {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(Value::Number(number)) => Ok(json!(number.to_string())),
        Some(Value::String(name)) if (1..=NAME_CHARS).contains(&name.chars().count()) => Ok(json!(name)),
        Some(other) => Err(bad("name", &format!("text of 1 to {NAME_CHARS} characters"), other)),
    }
}

fn expiry(body: &Value, now_ms: i64) -> Result<Option<i64>, Problem> {
    let Some(given) = body.get("expires_at").filter(|at| !at.is_null()) else { return Ok(None) };
    let at = times::parse(given).filter(|at| *at > now_ms);
    at.map(Some).ok_or_else(|| bad("expires_at", "a time in the future (RFC 3339)", given))
}

/// The row of a new key and its text, the only time that it is known.
fn fresh(body: &Value, now_ms: i64) -> Result<(String, Row), Problem> {
    let prefix = hex::encode(rand::random::<[u8; 4]>());
    let secret = format!("{KEY}{prefix}_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>()));
    let mut row = Row::new();
    row.extend([
        ("name".to_owned(), name(body)?),
        ("prefix".to_owned(), json!(prefix)),
        ("hash".to_owned(), json!(hex::encode(Sha256::digest(secret.as_bytes())))),
        ("created_unix_ms".to_owned(), json!(now_ms)),
    ]);
    row.extend(expiry(body, now_ms)?.map(|at| ("expires_unix_ms".to_owned(), json!(at))));
    match body.get("nexusgate_token_id") {
        None | Some(Value::Null) => {}
        Some(Value::String(id)) if (1..=64).contains(&id.chars().count()) => {
            row.insert("nexusgate_token_id".to_owned(), json!(id));
        }
        Some(other) => return Err(bad("nexusgate_token_id", "text of 1 to 64 characters", other)),
    }
    Ok((secret, row))
}

async fn post(control: &Data<Inner>, request: &HttpRequest, body: &Bytes) -> Outcome {
    // Everything in it may be left out.
    let body = if body.is_empty() { json!({}) } else { answers::json(body)? };
    let caller = caller(control, request).await?;
    object(&body)?;
    let target = match body.get("user_id") {
        None | Some(Value::Null) => caller.user.number("id"),
        Some(_) if !Who::from(&caller).manager => return Err(answers::admins_only()),
        Some(id) => id.as_i64().ok_or_else(|| bad("user_id", "the number of a user", id))?,
    };
    let (secret, mut row) = fresh(&body, control.clock.unix_ms())?;
    let id = uuid::Uuid::new_v4().to_string();
    let key = id.clone();
    let make = move |state: &State, caller: &Caller| {
        let missing = || detail(404, "User not found");
        let owner = by_number(state, target).ok_or_else(missing)?.text("username");
        if !may(state, &Who::from(caller), owner) {
            return Err(missing());
        }
        let outer = row.text("nexusgate_token_id");
        if !outer.is_empty() && state.keys_by(By::KeyNexusgate, outer).next().is_some() {
            return Err(detail(409, "nexusgate_token_id: already linked to another key"));
        }
        row.insert("username".to_owned(), json!(owner));
        row.insert("id".to_owned(), json!(numbers::next(state, "keys")));
        let told = json!({ "id": row.number("id"), "prefix": row.text("prefix"), "user": owner });
        Ok(Draft::new("key.create", format!("key/{id}")).detail(told).put("keys", id, row))
    };
    caller.submit(control, make).await?;
    let state = control.changes.state();
    let row = state.get("keys", &key).ok_or_else(|| detail(404, "API key not found"))?;
    let mut made = shown(control, &state, (&key, row));
    if let Some(made) = made.as_object_mut() {
        // One secret under the three names that older clients look for.
        for name in ["token", "api_key", "key"] {
            made.insert(name.to_owned(), json!(secret));
        }
        made.insert("warning".to_owned(), json!("This key is shown once; keep it now."));
    }
    Ok(Reply::Data(201, json!({ "data": made })))
}

/// A revoked key stays among the rows, unseen: a restored backup must not bring it back to life.
async fn delete(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).await?;
    let number = answers::id(request, "key_id")?;
    let now_ms = control.clock.unix_ms();
    let make = move |state: &State, caller: &Caller| {
        let who = Who::from(caller);
        let place = index::second(number.max(0));
        let id = state.keys_by(By::KeyNumber, &place).next();
        let key = id.and_then(|id| Some((id, state.get("keys", id)?)));
        let key = key.filter(|(_, row)| alive(row) && may(state, &who, row.text("username")));
        let (id, row) = key.ok_or_else(|| detail(404, "API key not found"))?;
        let mut row = Row::clone(row);
        let told = json!({ "id": number, "prefix": row.text("prefix"), "user": row.text("username") });
        row.insert("revoked_unix_ms".to_owned(), json!(now_ms));
        Ok(Draft::new("key.revoke", format!("key/{id}")).detail(told).put("keys", id, row))
    };
    caller.submit(control, make).await?;
    Ok(data(200, &json!({"message": "API key revoked", "revoked": true, "deleted": true, "id": number})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_what_the_key_is() {
        for (body, expected) in [
            (json!({}), Ok(Value::Null)),
            (json!({"name": 5}), Ok(json!("5"))),
            (json!({"name": "ci", "expires_at": "2026-01-01T00:00:00Z"}), Ok(json!("ci"))),
            (json!({"name": ""}), Err("name")),
            (json!({"name": "x".repeat(129)}), Err("name")),
            (json!({"name": ["x"]}), Err("name")),
            (json!({"expires_at": "1971-01-01"}), Err("expires_at")),
            (json!({"expires_at": "soon"}), Err("expires_at")),
            (json!({"nexusgate_token_id": 5}), Err("nexusgate_token_id")),
        ] {
            let made = fresh(&body, 1_700_000_000_000);
            let named = made.as_ref().map(|(_, row)| row["name"].clone()).map_err(|why| why.field.clone());
            assert_eq!(named, expected.map_err(|field| Some(field.to_owned())), "{body}");
            if let Ok((secret, row)) = made {
                assert!(secret.starts_with(&format!("mcp_{}_", row.text("prefix"))) && secret.len() == 45);
                assert!(!json!(row).to_string().contains(&secret));
            }
        }
    }
}
