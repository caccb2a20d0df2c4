//! `/platform/security` (spec/doorman.md 4.17).

use super::{Outcome, json};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::session::{self, Caller, caller};
use crate::state::{Row, State};
use crate::subjects::security::{self, PLACE};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::shutdown::Ending;
use serde_json::{Value, json};

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/security/settings", get => get, put => put);
    resource!(config, "/security/restart", post => restart);
}

/// The settings with what an administrator wants to see beside them.
fn shown(control: &Inner, request: &HttpRequest, state: &State) -> Value {
    let bypass = control.config().localhost_bypass;
    let mut row = security::settings(state, bypass);
    let compiled = security::compiled(&row);
    let (peer, told) = session::origin(request);
    let xff = told.chain.or(told.real_ip);
    row.extend([
        ("type".to_owned(), json!("security_settings")),
        ("memory_only".to_owned(), json!(true)),
        ("allow_localhost_bypass_locked".to_owned(), json!(bypass.is_some())),
        ("security_warnings".to_owned(), json!(security::warnings(&compiled))),
        ("client_ip".to_owned(), json!(peer.map(|peer| peer.to_string()))),
        ("client_ip_xff".to_owned(), json!(xff)),
    ]);
    Value::Object(row)
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_security", "SEC001")?;
    Ok(Reply::Data(200, shown(control, request, &caller.state)))
}

async fn put(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let changes = security::changes(&json(body)?)?;
    let caller = caller(control, request)?;
    let bypass = control.config().localhost_bypass;
    let (peer, told) = session::origin(request);
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_security", "SEC002")?;
        let given = changes.get("allow_localhost_bypass").and_then(Value::as_bool);
        if bypass.is_some_and(|locked| given.is_some_and(|given| given != locked)) {
            let text =
                "allow_localhost_bypass: locked by the setting localhost_bypass; expected no other value";
            return Err(Problem::compat(400, "SEC005", text).at("allow_localhost_bypass"));
        }
        let old = state.get(PLACE.0, PLACE.1).map(|row| Row::clone(row)).unwrap_or_default();
        let mut row = old.clone();
        row.extend(changes);
        let mut after = state.clone();
        after.set(PLACE.0, PLACE.1, Some(std::sync::Arc::new(row.clone())));
        let compiled = security::compiled(&security::settings(&after, bypass));
        // Nobody could take it back once their token has expired.
        if peer.is_some_and(|peer| security::refusal(&compiled, peer, &told).is_some()) {
            let text =
                "ip_whitelist, ip_blacklist: expected lists that do not shut out the address this comes from";
            return Err(Problem::compat(400, "SEC005", text).at("ip_whitelist"));
        }
        let detail = json!({"before": old, "after": row});
        Ok(Draft::new("security.update", "settings/security").detail(detail).put(PLACE.0, PLACE.1, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::Data(200, shown(control, request, &control.changes.state())))
}

/// Drains and starts the daemon anew; the answer leaves before.
async fn restart(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    super::real(request)?;
    let make = |_: &State, caller: &Caller| {
        caller.needs("manage_security", "SEC003")?;
        Ok(Draft::new("service.restart", "appliance"))
    };
    caller.submit(control, make).await?;
    tracing::info!(target: "control", actor = %caller.actor(), "restart asked for");
    control.config().shutdown.ask(Ending::Restart);
    Ok(Reply::message(202, "The service drains and starts anew"))
}
