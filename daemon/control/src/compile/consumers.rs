//! Users, with their subscriptions and with what their role means.

use super::{Compiler, changed};
use crate::index::By;
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::is_admin;
use gatehouse_common::ids::ConsumerId;
use gatehouse_corridor::snapshot::{Consumer, Rate, Snapshot};
use imbl::OrdMap;
use std::collections::BTreeSet;
use std::sync::Arc;

type Consumers = OrdMap<String, Arc<Consumer>>;

/// Tables whose rows have a user's name for a key and are part of the consumer.
const OF_A_USER: &[&str] = &["users", "subscriptions"];

pub(super) fn all(compiler: &Compiler, state: &State, before: &Snapshot) -> Consumers {
    let one = |(name, row): (&String, &Arc<Row>)| {
        (name.clone(), Arc::new(consumer(name, row, (compiler, state), before)))
    };
    state.rows("users").map(one).collect()
}

/// Compiles anew each user who changed, in whatever table, or whose role became an administrator's or ceased to be.
pub(super) fn update(
    compiler: &Compiler,
    (old, new): (&State, &State),
    before: &Snapshot,
    consumers: &mut Consumers,
) {
    let mut touched: BTreeSet<&str> = BTreeSet::new();
    for table in OF_A_USER {
        touched.extend(changed(old, new, table).map(|row| row.key));
    }
    for role in changed(old, new, "roles").filter(|role| is_admin(old, role.key) != is_admin(new, role.key)) {
        touched.extend(new.keys_by(By::UserRole, role.key));
    }
    for name in touched {
        match new.get("users", name) {
            Some(row) => {
                let one = consumer(name, row, (compiler, new), before);
                consumers.insert(name.to_owned(), Arc::new(one));
            }
            None => drop(consumers.remove(name)),
        }
    }
}

fn consumer(name: &str, row: &Row, (compiler, state): (&Compiler, &State), before: &Snapshot) -> Consumer {
    let subscriptions = state.get("subscriptions", name).map(|row| row.list("apis")).unwrap_or_default();
    Consumer {
        id: ConsumerId::from(name),
        role: row.text("role").to_owned(),
        subscription_exempt: !compiler.enforce_admin_subscription && is_admin(state, row.text("role")),
        groups: row.list("groups"),
        subscriptions,
        active: row.flag("active"),
        revoked: row.flag("tokens_revoked"),
        token_epoch: u64::try_from(row.number("token_epoch")).unwrap_or(0),
        rate: rate(row),
        usage: before.consumers.get(name).map(|known| Arc::clone(&known.usage)).unwrap_or_default(),
        ..Consumer::default()
    }
}

/// spec/doorman.md 5.3: active if switched on or given; 0 means 60, no unit means minute.
fn rate(row: &Row) -> Option<Rate> {
    let given = u64::try_from(row.number("rate_limit_duration")).unwrap_or(0);
    if !row.flag("rate_limit_enabled") && given == 0 {
        return None;
    }
    let window_ms = match row.text("rate_limit_duration_type").trim_end_matches('s') {
        "second" => 1_000,
        "hour" => 3_600_000,
        "day" => 86_400_000,
        "week" => 604_800_000,
        "month" => 2_592_000_000,
        "year" => 31_536_000_000,
        _ => 60_000,
    };
    Some(Rate { limit: if given == 0 { 60 } else { given }, window_ms })
}
