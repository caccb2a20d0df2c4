//! What belongs to no API and no user: credit groups, routings, rate-limit rules and the platform's security settings.

use super::{Compiler, changed};
use crate::state::{Fields as _, Row, State};
use crate::subjects::{credits, rate_rules, security};
use gatehouse_corridor::snapshot::{CreditGroup, RateRule, Routing, Security, Snapshot};
use imbl::OrdMap;
use std::sync::Arc;

pub(super) fn routings(state: &State) -> OrdMap<String, Arc<Routing>> {
    state.rows("routings").map(|(key, row)| (key.clone(), Arc::new(routing(row)))).collect()
}

/// A group whose key cannot be opened (another encryption key) is left out: no call is sent without its key.
pub(super) fn credit_groups(compiler: &Compiler, state: &State) -> OrdMap<String, Arc<CreditGroup>> {
    let one = |(name, row): (&String, &Arc<Row>)| {
        credit_group(compiler, name, row).map(|group| (name.clone(), group))
    };
    state.rows("credits").filter_map(one).collect()
}

fn credit_group(compiler: &Compiler, name: &str, row: &Row) -> Option<Arc<CreditGroup>> {
    let key = compiler.sealer.open(&credits::place(name, "api_key"), row.text("api_key"));
    if key.is_none() {
        tracing::error!(target: "credits", group = name, "the key of the credit group cannot be decrypted");
    }
    Some(Arc::new(CreditGroup {
        name: name.to_owned(),
        header: row.text("api_key_header").to_owned(),
        key: key?,
        anonymous: credits::anonymous(row),
    }))
}

pub(super) fn rules(state: &State) -> Arc<Vec<RateRule>> {
    Arc::new(rate_rules::rules(state))
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
    for row in changed(old, new, "credits") {
        match row.new.and_then(|is| credit_group(compiler, row.key, is)) {
            Some(group) => drop(next.credit_groups.insert(row.key.to_owned(), group)),
            None => drop(next.credit_groups.remove(row.key)),
        }
    }
    // They are ranked among one another, so one that changes puts all in order anew.
    if changed(old, new, "rate_rules").next().is_some() {
        next.rules = rules(new);
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
