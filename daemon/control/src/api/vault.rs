//! `/platform/vault`: each user's own secrets (spec/doorman.md 4.13). A value is encrypted before it reaches the change
//! thread, and no answer, log line or audit record ever holds one.

use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::times;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::{Value, json};

/// Entries of one user.
const ENTRIES: usize = 200;
/// Longest value, characters.
const VALUE_CHARS: usize = 16_384;
const SHOWN: [&str; 4] = ["key_name", "description", "created_at", "updated_at"];

pub(crate) const CREATE: &[Field] = &[
    ("key_name", Kind::Text(1, 255), Absent::Required),
    ("value", Kind::Text(1, VALUE_CHARS), Absent::Required),
    ("description", Kind::Text(0, 500), Absent::Null),
];

/// An entry as it is stored; its value is sealed.
pub(crate) const FIELDS: &[Field] = &[
    ("username", Kind::Text(1, 50), Absent::Required),
    ("key_name", Kind::Text(1, 255), Absent::Required),
    ("value", Kind::Text(1, 16 * VALUE_CHARS), Absent::Required),
    ("description", Kind::Text(0, 500), Absent::Null),
    ("created_at", Kind::Time, Absent::Null),
    ("updated_at", Kind::Time, Absent::Null),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/vault/{key}", get => get, put => put, delete => delete);
    resource!(config, "/vault", post => post, get => list);
}

/// A row's key. Neither name holds a slash.
pub(crate) fn key(user: &str, name: &str) -> String {
    format!("{user}/{name}")
}

/// A user's entries.
pub(crate) fn of<'s>(state: &'s State, user: &str) -> impl Iterator<Item = (&'s String, &'s Row)> {
    let first = key(user, "");
    let rows = state.table("vault").range(first.clone()..);
    rows.take_while(move |(key, _)| key.starts_with(&first)).map(|(key, row)| (key, &**row))
}

fn shown(row: &Row) -> Value {
    Value::Object(SHOWN.iter().map(|name| ((*name).to_owned(), json!(row.get(*name)))).collect())
}

fn missing() -> Problem {
    Problem::compat(404, "VAULT007", "Vault entry not found")
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(CREATE, &json(body)?)?;
    let caller = caller(control, request)?;
    let (user, name) = (caller.name.clone(), row.text("key_name").to_owned());
    super::addressable(&name, &[], "VAL001", "key_name")?;
    let key = key(&user, &name);
    let Some(Value::String(value)) = row.remove("value") else {
        return Err(Problem::compat(422, "VAL001", "Validation Error: value: expected text").at("value"));
    };
    let value = Secret::new(value);
    row.insert("value".to_owned(), json!(control.sealer.seal(&format!("vault/{key}"), value.expose())?));
    let now = json!(times::text(control.clock.unix_ms()));
    row.extend([("created_at".to_owned(), now.clone()), ("updated_at".to_owned(), now)]);
    row.insert("username".to_owned(), json!(user));
    let make = move |state: &State, caller: &Caller| {
        if caller.user.text("email").is_empty() {
            return Err(Problem::compat(400, "VAULT003", "The user has no e-mail address"));
        }
        if state.get("vault", &key).is_some() {
            return Err(Problem::compat(409, "VAULT004", "Vault entry already exists"));
        }
        if of(state, &user).count() >= ENTRIES {
            let text = format!("expected at most {ENTRIES} entries of one user");
            return Err(Problem::compat(400, "VAULT005", text));
        }
        let draft = Draft::new("vault.create", format!("vault/{key}")).detail(shown(&row));
        Ok(draft.put("vault", key, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(201, "Vault entry created successfully"))
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let entries: Vec<_> = of(&caller.state, &caller.name).map(|(_, row)| shown(row)).collect();
    Ok(Reply::Data(200, json!({"count": entries.len(), "entries": entries})))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let row = caller.state.get("vault", &key(&caller.name, part(request, "key"))).ok_or_else(missing)?;
    Ok(Reply::Data(200, shown(row)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = schema::update(&[("description", Kind::Text(0, 500), Absent::Null)], &json(body)?)?;
    let caller = caller(control, request)?;
    let key = key(&caller.name, part(request, "key"));
    let now = json!(times::text(control.clock.unix_ms()));
    let make = move |state: &State, _caller: &Caller| {
        let mut row = state.get("vault", &key).map(|row| Row::clone(row)).ok_or_else(missing)?;
        let before = shown(&row);
        row.extend(changes);
        row.insert("updated_at".to_owned(), now);
        let told = json!({"before": before, "after": shown(&row)});
        Ok(Draft::new("vault.update", format!("vault/{key}")).detail(told).put("vault", key, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Vault entry updated successfully"))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let key = key(&caller.name, part(request, "key"));
    let make = move |state: &State, _caller: &Caller| {
        let before = shown(state.get("vault", &key).ok_or_else(missing)?);
        let draft = Draft::new("vault.delete", format!("vault/{key}")).detail(json!({ "before": before }));
        Ok(draft.delete("vault", key))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Vault entry deleted successfully"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_users_entries_are_those_of_no_other() {
        let mut state = State::default();
        for (user, name) in [("ana", "a"), ("ana", "b"), ("anabel", "a"), ("an", "z"), ("ana.", "c")] {
            state.set("vault", &key(user, name), Some(Arc::new(Row::new())));
        }
        assert_eq!(of(&state, "ana").map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["ana/a", "ana/b"]);
        assert_eq!(of(&state, "nobody").count(), 0);
    }

    #[test]
    fn no_answer_has_a_value() {
        let row = json!({"username": "ana", "key_name": "k", "value": "gh1:x"}).as_object().cloned().unwrap();
        assert!(!shown(&row).to_string().contains("gh1"));
    }
}
