//! `/platform/subscription` (spec/doorman.md 4.7).

use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;

pub(crate) const FIELDS: &[Field] = &[
    ("username", Kind::Text(3, 50), Absent::Required),
    ("api_name", Kind::Text(3, 50), Absent::Required),
    ("api_version", Kind::Text(1, 5), Absent::Required),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/subscription/subscribe", post => subscribe);
    resource!(config, "/subscription/unsubscribe", post => unsubscribe);
    resource!(config, "/subscription/subscriptions", get => own);
    resource!(config, "/subscription/subscriptions/{username}", get => of);
    resource!(config, "/subscription/available-apis/{username}", get => available);
}

fn self_or(caller: &Caller, name: &str, code: &str) -> Result<(), Problem> {
    if caller.name == name { Ok(()) } else { caller.needs("manage_subscriptions", code) }
}

/// The API and the user's place in one of its groups; an administrator is not exempt.
fn eligible(state: &State, name: &str, api: &str, code: &str) -> Result<(), Problem> {
    let row = state.get("apis", api).ok_or_else(|| Problem::compat(404, code, "API does not exist"))?;
    let user = state.get("users", name).ok_or_else(|| Problem::compat(404, code, "User does not exist"))?;
    let groups = user.list("groups");
    if row.list("api_allowed_groups").iter().any(|group| groups.contains(group)) {
        return Ok(());
    }
    Err(Problem::compat(401, code, "The user is in none of the API's groups"))
}

fn subscribed(state: &State, name: &str) -> Vec<String> {
    state.get("subscriptions", name).map(|row| row.list("apis")).unwrap_or_default()
}

fn row(name: &str, apis: &[String]) -> Row {
    let mut row = Row::new();
    row.insert("username".to_owned(), json!(name));
    row.insert("apis".to_owned(), json!(apis));
    row
}

async fn subscribe(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let name = asked.text("username").to_owned();
    let api = format!("{}/{}", asked.text("api_name"), asked.text("api_version"));
    let make = move |state: &State, caller: &Caller| {
        self_or(caller, &name, "SUB009")?;
        eligible(state, &name, &api, "GEN001")?;
        let mut apis = subscribed(state, &name);
        if apis.contains(&api) {
            return Err(Problem::compat(400, "SUB004", "User is already subscribed to the API"));
        }
        apis.push(api.clone());
        let draft = Draft::new("subscription.add", format!("user/{name}")).detail(json!({ "api": api }));
        Ok(draft.put("subscriptions", name.clone(), row(&name, &apis)))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Successfully subscribed to the API"))
}

async fn unsubscribe(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let asked = schema::create(FIELDS, &json(body)?)?;
    let caller = caller(control, request)?;
    let name = asked.text("username").to_owned();
    let api = format!("{}/{}", asked.text("api_name"), asked.text("api_version"));
    let make = move |state: &State, caller: &Caller| {
        self_or(caller, &name, "SUB010")?;
        let mut apis = subscribed(state, &name);
        let before = apis.len();
        apis.retain(|other| *other != api);
        if apis.len() == before {
            eligible(state, &name, &api, "GEN002")?;
            return Err(Problem::compat(400, "SUB006", "User is not subscribed to the API"));
        }
        let draft = Draft::new("subscription.remove", format!("user/{name}")).detail(json!({ "api": api }));
        Ok(draft.put("subscriptions", name.clone(), row(&name, &apis)))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Successfully unsubscribed from the API"))
}

fn listed(state: &State, name: &str) -> Reply {
    let apis = subscribed(state, name);
    Reply::Data(200, json!({"apis": apis, "subscriptions": {"apis": apis}}))
}

async fn own(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    Ok(listed(&caller.state, &caller.name))
}

async fn of(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "username");
    self_or(&caller, name, "SUB011")?;
    Ok(listed(&caller.state, name))
}

async fn available(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "username");
    self_or(&caller, name, "SUB009")?;
    let all = caller.may("manage_subscriptions");
    let groups = caller.state.get("users", name).map(|user| user.list("groups")).unwrap_or_default();
    let shares = |row: &Row| row.list("api_allowed_groups").iter().any(|group| groups.contains(group));
    let rows = caller.state.rows("apis").filter(|(_, row)| all || shares(row));
    let apis: Vec<_> = rows
        .map(|(_, row)| {
            json!({
                "api_name": row.get("api_name"), "api_version": row.get("api_version"),
                "api_description": row.get("api_description"),
            })
        })
        .collect();
    Ok(Reply::Data(200, json!({ "apis": apis })))
}
