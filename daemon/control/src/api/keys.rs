//! `/api/v1/api-keys` (spec/octoprox.md 3.4, 5.3, 13.3): made, listed, revoked. The secret is shown once and
//! kept only as a hash; it has 192 random bits, so a fast hash is as good as a slow one.

use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::{Reply, detail};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::is_admin;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Longest name, characters.
const NAME_CHARS: usize = 100;

/// Below `/api/v1`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api-keys", get => list, post => post);
    resource!(config, "/api-keys/{id}", delete => delete);
}

fn shown(id: &str, row: &Row) -> Value {
    let mut object = json!({ "id": id, "user_id": row.text("username") });
    if let Some(object) = object.as_object_mut() {
        for name in ["prefix", "name", "created_unix_ms", "expires_unix_ms", "revoked_unix_ms"] {
            object.insert(name.to_owned(), row.get(name).cloned().unwrap_or(Value::Null));
        }
    }
    object
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
        Self { name: caller.name.clone(), manager: caller.may("manage_users"), admin: caller.is_admin() }
    }
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let who = Who::from(&caller);
    let seen = caller.state.rows("keys").filter(|(_, row)| may(&caller.state, &who, row.text("username")));
    let keys: Vec<Value> = seen.map(|(id, row)| shown(id, row)).collect();
    Ok(Reply::Data(200, json!({ "data": { "api_keys": keys } })))
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = json(body)?;
    if !body.is_object() {
        return Err(detail(422, "body: expected a JSON object").at("body"));
    }
    let name = match body.get("name") {
        None | Some(Value::Null) => "default".to_owned(),
        Some(Value::String(name)) if (1..=NAME_CHARS).contains(&name.chars().count()) => name.clone(),
        Some(_) => return Err(detail(422, "name: expected text of 1 to 100 characters").at("name")),
    };
    let caller = caller(control, request)?;
    let owner = match body.get("user_id") {
        None | Some(Value::Null) => caller.name.clone(),
        Some(Value::String(owner)) if caller.may("manage_users") => owner.clone(),
        Some(_) => return Err(detail(403, "user_id: only who manages users may name one").at("user_id")),
    };
    let prefix = hex::encode(rand::random::<[u8; 4]>());
    let secret = format!("mcp_{prefix}_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>()));
    let id = uuid::Uuid::new_v4().to_string();
    let mut row = Row::new();
    row.extend([
        ("username".to_owned(), json!(owner)),
        ("name".to_owned(), json!(name)),
        ("prefix".to_owned(), json!(prefix)),
        ("hash".to_owned(), json!(hex::encode(Sha256::digest(secret.as_bytes())))),
        ("created_unix_ms".to_owned(), json!(control.clock.unix_ms())),
    ]);
    let mut made = shown(&id, &row);
    let make = move |state: &State, caller: &Caller| {
        let known = state.get("users", &owner).is_some() && may(state, &Who::from(caller), &owner);
        if !known {
            return Err(detail(404, "User not found"));
        }
        let told = json!({ "prefix": row.text("prefix"), "user": owner });
        Ok(Draft::new("key.create", format!("key/{id}")).detail(told).put("keys", id, row))
    };
    caller.submit(control, make).await?;
    if let Some(made) = made.as_object_mut() {
        // One secret under the three names that older clients look for.
        for name in ["token", "api_key", "key"] {
            made.insert(name.to_owned(), json!(secret));
        }
        made.insert("warning".to_owned(), json!("This key is shown once; keep it now."));
    }
    Ok(Reply::Data(201, json!({ "data": made })))
}

/// A revoked key stays in the list: a restored backup must not bring it back to life.
async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let missing = || -> Problem { detail(404, "API key not found") };
    let id = part(request, "id").to_owned();
    let now_ms = control.clock.unix_ms();
    let make = move |state: &State, caller: &Caller| {
        let who = Who::from(caller);
        let key = state.get("keys", &id).filter(|row| may(state, &who, row.text("username")));
        let mut row = Row::clone(key.ok_or_else(missing)?);
        let told = json!({ "prefix": row.text("prefix"), "user": row.text("username") });
        row.entry("revoked_unix_ms").or_insert_with(|| json!(now_ms));
        Ok(Draft::new("key.revoke", format!("key/{id}")).detail(told).put("keys", id, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::Data(200, json!({ "data": { "message": "API key revoked" } })))
}
