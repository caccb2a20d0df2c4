//! APIs with their endpoints.

use super::changed;
use crate::index::{By, owner};
use crate::state::{Fields as _, Row, State};
use gatehouse_common::ids::RouteId;
use gatehouse_corridor::snapshot::api::Timeouts;
use gatehouse_corridor::snapshot::{Api, Endpoint};
use imbl::OrdMap;
use std::collections::BTreeSet;
use std::sync::Arc;

type Apis = OrdMap<String, Arc<Api>>;

pub(super) fn all(state: &State) -> Apis {
    state.rows("apis").map(|(key, row)| (key.clone(), Arc::new(api(key, row, state)))).collect()
}

/// Compiles anew each API that changed, or one of whose endpoints did.
pub(super) fn update(old: &State, new: &State, apis: &mut Apis) {
    let mut touched: BTreeSet<String> = changed(old, new, "apis").map(|row| row.key.to_owned()).collect();
    for row in changed(old, new, "endpoints") {
        touched.extend(row.old.map(owner));
        touched.extend(row.new.map(owner));
    }
    for key in touched {
        match new.get("apis", &key) {
            Some(row) => drop(apis.insert(key.clone(), Arc::new(api(&key, row, new)))),
            None => drop(apis.remove(&key)),
        }
    }
}

fn api(key: &str, row: &Row, state: &State) -> Api {
    let endpoints = state.keys_by(By::EndpointApi, key).filter_map(|key| state.get("endpoints", key));
    let swap = row.text("api_authorization_field_swap");
    let millis =
        |name: &str| row.get(name).and_then(serde_json::Value::as_f64).map(|secs| (secs * 1e3) as u64);
    Api {
        id: RouteId::from(row.text("api_id")),
        name: row.text("api_name").to_owned(),
        version: row.text("api_version").to_owned(),
        active: row.flag("active"),
        public: row.flag("api_public"),
        auth_required: row.flag("api_auth_required"),
        allowed_roles: row.list("api_allowed_roles"),
        allowed_groups: row.list("api_allowed_groups"),
        servers: row.list("api_servers"),
        allowed_headers: row.list("api_allowed_headers"),
        authorization_swap: (!swap.is_empty()).then(|| swap.to_owned()),
        timeouts: Timeouts {
            connect_ms: millis("api_connect_timeout"),
            read_ms: millis("api_read_timeout"),
            ..Timeouts::default()
        },
        endpoints: endpoints.map(|endpoint| self::endpoint(endpoint)).collect(),
        ..Api::default()
    }
}

fn endpoint(row: &Row) -> Endpoint {
    Endpoint {
        method: row.text("endpoint_method").to_owned(),
        uri: row.text("endpoint_uri").to_owned(),
        servers: row.list("endpoint_servers"),
        validation: None,
    }
}
