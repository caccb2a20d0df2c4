//! State to snapshot: whole at the start, then what a change touched. Pure but for the clock, which says whose tier is in
//! force, and for the cells that consumers count in, which are the same ones in every snapshot.

mod apis;
pub(crate) mod consumers;
mod credentials;
mod platform;
#[cfg(test)]
mod tests;

pub(crate) use apis::KeySets;

use crate::config::ControlConfig;
use crate::leases::Cells;
use crate::state::{Row, State};
use crate::subjects::sealing::Sealer;
use crate::subjects::usage::Usages;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::snapshot::{GatewayLimits, Snapshot, TokenKey};
use imbl::ordmap::DiffItem;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What settings add to the rows.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    token_keys: Vec<TokenKey>,
    limits: Arc<GatewayLimits>,
    /// How often counters were set back since the start.
    pub(crate) counters: u64,
    enforce_admin_subscription: bool,
    localhost_bypass: Option<bool>,
    sealer: Arc<Sealer>,
    cells: Arc<Cells>,
    usages: Arc<Usages>,
    clock: Clock,
    /// Keys of external issuers, as they were fetched last.
    pub(crate) jwks: KeySets,
}

impl Compiler {
    pub(crate) fn new(
        config: &ControlConfig,
        sealer: &Arc<Sealer>,
        cells: &Arc<Cells>,
        usages: &Arc<Usages>,
    ) -> Self {
        Self {
            token_keys: config.signing_keys.clone(),
            limits: Arc::new(config.limits.clone()),
            counters: 0,
            enforce_admin_subscription: config.enforce_admin_subscription,
            localhost_bypass: config.localhost_bypass,
            sealer: Arc::clone(sealer),
            cells: Arc::clone(cells),
            usages: Arc::clone(usages),
            clock: config.clock.clone(),
            jwks: KeySets::new(),
        }
    }
}

/// Compiles all rows.
pub(crate) fn compile(compiler: &Compiler, state: &State) -> Snapshot {
    Snapshot {
        revision: state.revision,
        apis: apis::all(state, &compiler.jwks),
        consumers: consumers::all(compiler, state),
        api_keys: credentials::keys(compiler, state),
        token_keys: compiler.token_keys.clone(),
        revoked_tokens: state.rows("revoked").map(|(id, _)| id.clone()).collect(),
        credit_groups: platform::credit_groups(compiler, state),
        routings: platform::routings(state),
        rules: platform::rules(state),
        security: platform::security(compiler, state),
        limits: Arc::clone(&compiler.limits),
        counters: compiler.counters,
    }
}

/// Compiles what differs between two states; `before` is of the old one, by the same settings but for the issuers' keys
/// that were `fetched` since.
pub(crate) fn update(
    compiler: &Compiler,
    old: &State,
    new: &State,
    before: &Snapshot,
    fetched: &BTreeSet<String>,
) -> Snapshot {
    let mut next = before.clone();
    next.revision = new.revision;
    next.counters = compiler.counters;
    apis::update((old, new), &compiler.jwks, fetched, &mut next.apis);
    consumers::update(compiler, (old, new), &mut next.consumers);
    credentials::update(compiler, old, new, &mut next);
    platform::update(compiler, old, new, &mut next);
    next
}

/// A row that differs: its key, how it was, how it is.
struct Changed<'s> {
    key: &'s str,
    old: Option<&'s Row>,
    new: Option<&'s Row>,
}

/// The rows of a table that differ; costs what differs, not what there is.
fn changed<'s>(old: &'s State, new: &'s State, table: &str) -> impl Iterator<Item = Changed<'s>> {
    old.table(table).diff(new.table(table)).map(|item| match item {
        DiffItem::Add(key, row) => Changed { key, old: None, new: Some(row) },
        DiffItem::Update { old: (_, was), new: (key, row) } => {
            Changed { key, old: Some(was), new: Some(row) }
        }
        DiffItem::Remove(key, row) => Changed { key, old: Some(row), new: None },
    })
}
