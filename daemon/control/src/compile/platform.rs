//! What belongs to no API and no user: routings and the platform's security settings.

use super::{Compiler, changed};
use crate::state::{Fields as _, Row, State};
use crate::subjects::security;
use gatehouse_corridor::snapshot::{Routing, Security, Snapshot};
use imbl::OrdMap;
use std::sync::Arc;

pub(super) fn routings(state: &State) -> OrdMap<String, Arc<Routing>> {
    state.rows("routings").map(|(key, row)| (key.clone(), Arc::new(routing(row)))).collect()
}

pub(super) fn security(compiler: &Compiler, state: &State) -> Arc<Security> {
    Arc::new(security::compiled(&security::settings(state, compiler.localhost_bypass)))
}

pub(super) fn update(compiler: &Compiler, old: &State, new: &State, next: &mut Snapshot) {
    for row in changed(old, new, "routings") {
        match row.new {
            Some(is) => drop(next.routings.insert(row.key.to_owned(), Arc::new(routing(is)))),
            None => drop(next.routings.remove(row.key)),
        }
    }
    if changed(old, new, security::PLACE.0).next().is_some() {
        next.security = security(compiler, new);
    }
}

fn routing(row: &Row) -> Routing {
    let mut servers = row.list("routing_servers");
    servers.retain(|server| !server.starts_with("grpc"));
    Routing {
        client_key: row.text("client_key").to_owned(),
        servers,
        server_index: usize::try_from(row.number("server_index")).unwrap_or(0),
    }
}
