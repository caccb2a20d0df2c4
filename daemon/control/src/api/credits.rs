//! `/platform/credit` (spec/doorman.md 4.9): definitions, whose keys are never answered, and users' accounts.

use super::{Outcome, json, lists, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::leases::{self, ACCOUNTS, GROUPS};
use crate::schema;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::credits::{self, DEFINITIONS, FIELDS, USER_KEY};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use std::sync::Arc;

const PERMISSION: &str = "manage_credits";

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/credit/defs", get => definitions);
    resource!(config, "/credit/defs/{group}", get => definition);
    resource!(config, "/credit/all", get => all);
    resource!(config, "/credit/rotate-key", post => rotate);
    resource!(config, "/credit/{name}", get => account, post => give, put => update, delete => delete);
    resource!(config, "/credit", post => define);
}

fn refused(status: u16, code: &str, text: &str) -> Problem {
    Problem::compat(status, code, text)
}

async fn define(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut row = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let group = row.text("api_credit_group").to_owned();
    let given = !row.text("api_key").is_empty();
    let sealer = Arc::clone(&control.sealer);
    let make = move |state: &State, caller: &Caller| {
        caller.needs(PERMISSION, "CRD001")?;
        if group.is_empty() {
            return Err(refused(400, "CRD009", "api_credit_group: expected a name").at("api_credit_group"));
        }
        if !given {
            return Err(refused(400, "CRD010", "api_key: expected a key").at("api_key"));
        }
        super::addressable(&group, &[], "CRD009", "api_credit_group")?;
        if state.get(DEFINITIONS, &group).is_some() {
            return Err(refused(400, "CRD001", "Credit group already exists"));
        }
        credits::define(&sealer, &group, &mut row)?;
        let draft = Draft::new("credit.create", format!("credit/{group}")).detail(credits::shown(&row));
        Ok(draft.put(DEFINITIONS, group, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(201, "Credit definition created successfully"))
}

async fn update(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let mut changes = schema::update(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let (group, sealer) = (part(request, "name").to_owned(), Arc::clone(&control.sealer));
    let make = move |state: &State, caller: &Caller| {
        caller.needs(PERMISSION, "CRD001")?;
        let old = state.get(DEFINITIONS, &group);
        let old = old.ok_or_else(|| refused(400, "CRD004", "Credit group does not exist"))?;
        // Of what is null there is nothing to say: neither name nor key can be taken away.
        changes.retain(|name, value| {
            !(["api_credit_group", "api_key"].contains(&name.as_str()) && value.is_null())
        });
        if changes.get("api_credit_group").is_some_and(|new| new != group.as_str()) {
            return Err(refused(400, "CRD003", "api_credit_group cannot be changed"));
        }
        if changes.is_empty() {
            return Err(refused(400, "CRD006", "No data to update"));
        }
        if changes.get("api_key").is_some_and(|key| key == "") {
            return Err(refused(400, "CRD010", "api_key: expected a key").at("api_key"));
        }
        credits::define(&sealer, &group, &mut changes)?;
        let mut row = Row::clone(old);
        row.extend(changes);
        let detail = json!({"before": credits::shown(old), "after": credits::shown(&row)});
        Ok(Draft::new("credit.update", format!("credit/{group}")).detail(detail).put(DEFINITIONS, group, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Credit definition updated successfully"))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let group = part(request, "name").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs(PERMISSION, "CRD001")?;
        let old = state.get(DEFINITIONS, &group);
        let old = old.ok_or_else(|| refused(400, "CRD007", "Credit group does not exist"))?;
        let detail = json!({ "before": credits::shown(old) });
        Ok(Draft::new("credit.delete", format!("credit/{group}")).detail(detail).delete(DEFINITIONS, group))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Credit definition deleted successfully"))
}

async fn definitions(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs(PERMISSION, "CRD002")?;
    let rows = caller.state.rows(DEFINITIONS);
    Ok(Reply::Data(200, lists::page(control, request, "items", rows, |(_, row)| credits::shown(row))?))
}

async fn definition(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs(PERMISSION, "CRD002")?;
    let row = caller.state.get(DEFINITIONS, part(request, "group"));
    let row = row.ok_or_else(|| refused(404, "CRD021", "Credit group does not exist"))?;
    Ok(Reply::Data(200, credits::shown(row)))
}

/// A user's accounts: what the row has and what is left of the leased block; no key.
fn shown(control: &Inner, user: &str, row: &Row) -> Value {
    let mut shown = Row::new();
    for (group, account) in leases::groups(row).into_iter().flatten() {
        let mut account = account.as_object().cloned().unwrap_or_default();
        let left = control.changes.cells.left(user, group);
        account.insert(
            "available_credits".to_owned(),
            json!(leases::available(row, group).saturating_add(left)),
        );
        let known = account.remove(USER_KEY).is_some_and(|key| key.is_string());
        account.insert("user_api_key_present".to_owned(), json!(known));
        shown.insert(group.clone(), Value::Object(account));
    }
    json!({ "username": user, "users_credits": shown })
}

async fn account(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let user = part(request, "name");
    if caller.name != user {
        caller.needs(PERMISSION, "CRD003")?;
    }
    let row = caller.state.get(ACCOUNTS, user);
    let row = row.ok_or_else(|| refused(404, "CRD017", "No credits found for the user"))?;
    Ok(Reply::Data(200, shown(control, user, row)))
}

async fn all(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs(PERMISSION, "CRD002")?;
    let query = actix_web::web::Query::<std::collections::HashMap<String, String>>::from_query(
        request.query_string(),
    );
    let search = query.ok().and_then(|query| query.get("search").map(|text| text.to_lowercase()));
    let found = |user: &str| search.as_ref().is_none_or(|search| user.to_lowercase().contains(search));
    let rows = caller.state.rows(ACCOUNTS).filter(|(user, _)| found(user));
    let page = lists::page(control, request, "user_credits", rows, |(user, row)| shown(control, user, row))?;
    Ok(Reply::Data(200, page))
}

/// What an account's groups have in their row, for the record.
fn numbers(row: &Row) -> Value {
    let groups = leases::groups(row).into_iter().flat_map(|groups| groups.keys());
    Value::Object(groups.map(|group| (group.clone(), json!(leases::available(row, group)))).collect())
}

/// Puts a user's accounts in place of those there were.
async fn give(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let given = schema::create(credits::ACCOUNT_FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let user = part(request, "name").to_owned();
    let (sealer, now_secs) = (Arc::clone(&control.sealer), control.clock.unix_ms() / 1_000);
    let make = move |state: &State, caller: &Caller| {
        caller.needs(PERMISSION, "CRD001")?;
        if given.text("username") != user {
            let text = "username: expected the name in the path";
            return Err(refused(400, "CRD014", text).at("username"));
        }
        if state.get("users", &user).is_none() {
            return Err(refused(404, "CRD017", "User does not exist"));
        }
        let none = Row::new();
        let groups = given.get(GROUPS).and_then(Value::as_object).unwrap_or(&none);
        let accounts = credits::accounts(&sealer, state, &user, groups, now_secs)?;
        let mut row = Row::new();
        row.insert("username".to_owned(), json!(user));
        row.insert(GROUPS.to_owned(), Value::Object(accounts));
        let detail =
            json!({"before": state.get(ACCOUNTS, &user).map(|old| numbers(old)), "after": numbers(&row)});
        let draft = Draft::new("credit.give", format!("user/{user}")).detail(detail);
        Ok(draft.put(ACCOUNTS, user, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Credits saved successfully"))
}

/// Gives the caller's account a new key of its own, which is answered this once.
async fn rotate(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let body = json(body)?;
    let caller = caller(control, request)?;
    let group = body.get("api_credit_group").and_then(Value::as_str).unwrap_or_default().to_owned();
    let key = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let sealed = control.sealer.seal(&credits::user_place(&caller.name, &group), &key)?;
    let make = move |state: &State, caller: &Caller| {
        let missing = || {
            let text = "api_credit_group: expected a group in which you have credits";
            refused(400, "CRD020", text).at("api_credit_group")
        };
        let mut row = state.get(ACCOUNTS, &caller.name).map(|row| Row::clone(row)).ok_or_else(missing)?;
        let account = row.get_mut(GROUPS).and_then(|groups| groups.get_mut(&group)?.as_object_mut());
        account.ok_or_else(missing)?.insert(USER_KEY.to_owned(), json!(sealed));
        let draft = Draft::new("credit.rotate_key", format!("user/{}", caller.name))
            .detail(json!({ "group": group }));
        // No number is put anew.
        Ok(draft.settling(Vec::new()).put(ACCOUNTS, caller.name.clone(), row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::Data(200, json!({ "api_key": key, "message": "API key rotated; this key is shown once" })))
}
