//! `/platform/config`: export and import of the configuration, and the settings as they count (spec/doorman.md 4.16).

use super::query::Query;
use super::{Outcome, json};
use crate::envelope::{Reply, answer};
use crate::index::By;
use crate::session::{Caller, caller};
use crate::state::{Row, State};
use crate::subjects::configuration::{Import, PARTS, exported, named, shown};
use crate::subjects::roles::is_admin;
use crate::{Inner, resource, whole_resource};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::problem::{Code, Problem};
use serde_json::{Value, json};
use std::sync::Arc;

/// Largest import, bytes; read only of those who may import.
const IMPORT_BYTES: usize = 32 * 1_048_576;
/// Rows named in one record.
const NAMED: usize = 1_000;

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/config/export/all", get => all);
    resource!(config, "/config/export/apis", get => export_apis);
    resource!(config, "/config/export/roles", get => export_roles);
    resource!(config, "/config/export/groups", get => export_groups);
    resource!(config, "/config/export/routings", get => export_routings);
    resource!(config, "/config/export/endpoints", get => export_endpoints);
    whole_resource!(config, "/config/import", post => import);
    resource!(config, "/config/schema", get => schema);
    resource!(config, "/config/current", get => current);
    resource!(config, "/config/reload", post => reload);
    resource!(config, "/config/reloadable-keys", get => reloadable);
}

async fn all(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_gateway", "CFG001")?;
    let lists = PARTS.map(|part| {
        (part.list.to_owned(), Value::Array(exported(&caller.state, part.list, caller.is_admin())))
    });
    Ok(Reply::Data(200, Value::Object(Row::from_iter(lists))))
}

/// The endpoints of an API.
fn endpoints(state: &State, api: &str) -> Vec<Value> {
    let keys = state.keys_by(By::EndpointApi, api);
    keys.filter_map(|key| state.get("endpoints", key)).map(|row| json!(**row)).collect()
}

fn asked_api(request: &HttpRequest) -> Option<String> {
    let query = Query::of(request);
    Some(format!("{}/{}", query.text("api_name")?, query.text("api_version")?))
}

async fn export_apis(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_apis", "CFG002")?;
    let Some(key) = asked_api(request) else {
        return Ok(Reply::Data(200, json!({ "apis": exported(&caller.state, "apis", true) })));
    };
    let missing = || Problem::compat(404, "CFG404", "API not found");
    let row = caller.state.get("apis", &key).ok_or_else(missing)?;
    let body = json!({"api": shown("apis", row), "endpoints": endpoints(&caller.state, &key)});
    Ok(Reply::Data(200, body))
}

/// A whole list, or the one row that the query names.
fn list(
    caller: &Caller,
    request: &HttpRequest,
    (plural, singular, name): (&'static str, &str, &str),
    missing: &str,
) -> Outcome {
    let admin = caller.is_admin();
    let query = Query::of(request);
    let Some(key) = query.text(name) else {
        return Ok(Reply::Data(200, json!({ plural: exported(&caller.state, plural, admin) })));
    };
    let row = caller.state.get(plural, key);
    let row = row.filter(|_| plural != "roles" || admin || !is_admin(&caller.state, key));
    let row = row.ok_or_else(|| Problem::compat(404, missing, format!("{name}: not found")))?;
    Ok(Reply::Data(200, json!({ singular: shown(plural, row) })))
}

async fn export_roles(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_roles", "CFG003")?;
    list(&caller, request, ("roles", "role", "role_name"), "CFG405")
}

async fn export_groups(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_groups", "CFG004")?;
    list(&caller, request, ("groups", "group", "group_name"), "CFG406")
}

async fn export_routings(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_routings", "CFG005")?;
    list(&caller, request, ("routings", "routing", "client_key"), "CFG407")
}

async fn export_endpoints(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_endpoints", "CFG007")?;
    let rows = match asked_api(request) {
        Some(key) => endpoints(&caller.state, &key),
        None => exported(&caller.state, "endpoints", true),
    };
    Ok(Reply::Data(200, json!({ "endpoints": rows })))
}

/// Reads the body only once it is known that the caller may import: it may be large.
async fn import(control: Data<Inner>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let outcome = imported(&control, &request, payload).await;
    answer(&control, &request, outcome)
}

async fn imported(control: &Inner, request: &HttpRequest, payload: web::Payload) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_gateway", "CFG006")?;
    let large = |_| {
        let text = format!("body: expected at most {IMPORT_BYTES} bytes");
        Problem::compat(413, "REQ001", text).at("body")
    };
    let body = payload.to_bytes_limited(IMPORT_BYTES).await.map_err(large)?;
    let body = json(&body.map_err(|error| super::unreadable(&error))?)?;
    let sealer = Arc::clone(&control.sealer);
    let (tell, told) = tokio::sync::oneshot::channel();
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_gateway", "CFG006")?;
        let import = Import::of(state, caller, &sealer, &body)?;
        let counts = import.counts.clone();
        let (draft, before) = import.draft();
        let detail = json!({"imported": counts, "rows": named(&before, NAMED)});
        // The asker may have gone.
        tell.send((counts, !before.is_empty())).ok();
        Ok(draft.detail(detail))
    };
    let revision = caller.submit(control, make).await?;
    let (counts, changed) = told.await.map_err(|_| Problem::new(Code::Internal, "the import was lost"))?;
    // What changed nothing has nothing to take back.
    let snapshot_id = changed.then(|| revision.0.to_string());
    Ok(Reply::Data(200, json!({"imported": counts, "snapshot_id": snapshot_id})))
}

/// JSON Schema of files that declare the configuration; it tells nothing of this one.
async fn schema(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    caller(control, request)?;
    Ok(Reply::Bare(200, crate::declared::schema().to_string()))
}

async fn current(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_gateway", "CFG008")?;
    let config = control.config();
    let values = config.effective.iter().map(|one| (one.name.to_owned(), json!(one.value)));
    let sources = config.effective.iter().map(|one| (one.name.to_owned(), json!(one.source)));
    let file = config.settings_file.as_ref().map(|path| path.display().to_string());
    Ok(Reply::Data(
        200,
        json!({"config": Value::Object(values.collect()), "sources": Value::Object(sources.collect()),
               "source": file.unwrap_or_else(|| "environment".to_owned()),
               "reload_command": format!("kill -HUP {}", std::process::id())}),
    ))
}

/// As SIGHUP does; answers when the data plane serves what was read.
async fn reload(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_gateway", "CFG009")?;
    super::real(request)?;
    let busy = || Problem::compat(503, "CFG010", "The daemon is ending or already reading its settings");
    match control.config().reloader.reload().await.ok_or_else(busy)? {
        Ok(waiting) => {
            Ok(Reply::Data(200, json!({"message": "Configuration reloaded", "needs_restart": waiting})))
        }
        Err(problems) => Err(Problem::compat(400, "CFG011", problems.join("; "))),
    }
}

async fn reloadable(control: &Inner, _request: &HttpRequest, _body: &Bytes) -> Outcome {
    let config = control.config();
    let (live, start): (Vec<_>, Vec<_>) = config.effective.iter().partition(|one| one.live);
    let names = |list: Vec<&crate::config::Effective>| list.iter().map(|one| one.name).collect::<Vec<_>>();
    Ok(Reply::Data(200, json!({"reloadable_keys": names(live), "needs_restart": names(start)})))
}
