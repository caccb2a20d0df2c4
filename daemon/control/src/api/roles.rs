//! `/platform/role` (spec/doorman.md 4.5).

use super::{Outcome, json, lists, part};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema::{self, Absent, Field, Kind};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::{PERMISSIONS, is_admin};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/role/all", get => list);
    resource!(config, "/role/{role}", get => get, put => put, delete => delete);
    resource!(config, "/role", post => post, get => list);
}

pub(crate) fn fields() -> Vec<Field> {
    let own: [Field; 3] = [
        ("role_name", Kind::Text(1, 50), Absent::Required),
        ("role_description", Kind::Text(0, 255), Absent::Null),
        ("platform_admin", Kind::Flag, Absent::Is(false)),
    ];
    own.into_iter().chain(PERMISSIONS.map(|name| (name, Kind::Flag, Absent::Is(false)))).collect()
}

fn refused(status: u16, code: &str, text: &str) -> Problem {
    Problem::compat(status, code, text)
}

async fn post(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let row = schema::create(&fields(), &json(body)?)?;
    let caller = caller(control, request)?;
    let name = row.text("role_name").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_roles", "ROLE009")?;
        super::addressable(&name, &["all"], "ROLE001", "role_name")?;
        if !caller.is_admin() && (is_admin(state, &name) || row.flag("platform_admin")) {
            return Err(refused(403, "ROLE013", "Only an administrator may create an administrator role"));
        }
        if state.get("roles", &name).is_some() {
            return Err(refused(400, "ROLE001", "Role already exists"));
        }
        Ok(Draft::new("role.create", format!("role/{name}")).detail(json!(row)).put("roles", name, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(201, "Role created successfully"))
}

async fn list(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let admin = caller.is_admin();
    let seen = caller.state.rows("roles").filter(|(name, _)| admin || !is_admin(&caller.state, name));
    let page = lists::page(control, request, "roles", seen, |(_, row)| json!(**row))?;
    Ok(Reply::Data(200, if admin { page } else { json!({ "roles": page.get("roles") }) }))
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "role");
    let row = caller.state.get("roles", name).filter(|_| caller.is_admin() || !is_admin(&caller.state, name));
    let row = row.ok_or_else(|| refused(404, "ROLE004", "Role does not exist"))?;
    Ok(Reply::Data(200, json!(**row)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = schema::update(&fields(), &json(body)?)?;
    let caller = caller(control, request)?;
    let key = part(request, "role").to_owned();
    let name = key.clone();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_roles", "ROLE010")?;
        let admin = caller.is_admin();
        let old = state.get("roles", &name).ok_or_else(|| refused(400, "ROLE004", "Role does not exist"))?;
        if !admin && is_admin(state, &name) {
            return Err(refused(403, "ROLE014", "Only an administrator may modify this role"));
        }
        if !admin && changes.contains_key("platform_admin") {
            return Err(refused(403, "ROLE015", "Only an administrator may change platform_admin"));
        }
        if changes.get("role_name").is_some_and(|new| new != name.as_str()) {
            return Err(refused(400, "ROLE005", "role_name cannot be changed"));
        }
        if changes.is_empty() {
            return Err(refused(400, "ROLE007", "No data to update"));
        }
        let mut row = Row::clone(old);
        row.extend(changes);
        let detail = json!({"before": **old, "after": row});
        Ok(Draft::new("role.update", format!("role/{name}")).detail(detail).put("roles", name, row))
    };
    caller.submit(control, make).await?;
    let row = control.changes.state().get("roles", &key).cloned().unwrap_or_default();
    Ok(Reply::Data(200, json!(*row)))
}

async fn delete(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let name = part(request, "role").to_owned();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_roles", "ROLE011")?;
        let old = state.get("roles", &name).ok_or_else(|| refused(400, "ROLE004", "Role does not exist"))?;
        // Without the built-in role nobody could give it back.
        if name == "admin" || (!caller.is_admin() && is_admin(state, &name)) {
            return Err(refused(403, "ROLE016", "This role cannot be deleted"));
        }
        let draft = Draft::new("role.delete", format!("role/{name}")).detail(json!({ "before": **old }));
        Ok(draft.delete("roles", name))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, "Role deleted successfully"))
}
