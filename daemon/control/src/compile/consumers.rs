//! Users, with their subscriptions, their tier and what their role means.

use super::{Compiler, changed};
use crate::index::By;
use crate::leases::{self, ACCOUNTS};
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::is_admin;
use crate::subjects::{credits, tiers};
use gatehouse_common::ids::ConsumerId;
use gatehouse_corridor::snapshot::consumer::{Account, Throttle};
use gatehouse_corridor::snapshot::{Consumer, Rate};
use imbl::OrdMap;
use std::collections::BTreeSet;
use std::sync::Arc;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

type Consumers = OrdMap<String, Arc<Consumer>>;

/// Tables whose rows have a user's name for a key and are part of the consumer.
const OF_A_USER: &[&str] = &["users", "subscriptions", "assignments"];

pub(super) fn all(compiler: &Compiler, state: &State) -> Consumers {
    let now_ms = compiler.clock.unix_ms();
    let one = |(name, row): (&String, &Arc<Row>)| {
        (name.clone(), Arc::new(consumer(name, row, (compiler, state), now_ms)))
    };
    state.rows("users").map(one).collect()
}

/// Compiles anew each user who changed, in whatever table, whose tier did, or whose role became an administrator's or
/// ceased to be. That an assignment's time comes is a change of its row.
pub(super) fn update(compiler: &Compiler, (old, new): (&State, &State), consumers: &mut Consumers) {
    let now_ms = compiler.clock.unix_ms();
    let mut touched: BTreeSet<&str> = BTreeSet::new();
    for table in OF_A_USER {
        touched.extend(changed(old, new, table).map(|row| row.key));
    }
    let accounts = changed(old, new, ACCOUNTS).filter(|row| credits::differ(row.old, row.new));
    touched.extend(accounts.map(|row| row.key));
    for tier in changed(old, new, "tiers") {
        touched.extend(new.keys_by(By::AssignedTier, tier.key));
    }
    for role in changed(old, new, "roles").filter(|role| is_admin(old, role.key) != is_admin(new, role.key)) {
        touched.extend(new.keys_by(By::UserRole, role.key));
    }
    for name in touched {
        match new.get("users", name) {
            Some(row) => {
                let one = consumer(name, row, (compiler, new), now_ms);
                consumers.insert(name.to_owned(), Arc::new(one));
            }
            None => drop(consumers.remove(name)),
        }
    }
}

fn consumer(name: &str, row: &Row, (compiler, state): (&Compiler, &State), now_ms: i64) -> Consumer {
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
        throttle: throttle(row),
        bandwidth: bandwidth(row),
        tier: tiers::tier_of(state, name, now_ms),
        credits: accounts(compiler, name, state),
        usage: compiler.usages.of(name),
    }
}

/// What a user may spend: the cells are the same ones in every snapshot.
fn accounts(compiler: &Compiler, name: &str, state: &State) -> Vec<Account> {
    let Some(row) = state.get(ACCOUNTS, name) else { return Vec::new() };
    let one = |(group, account): (&String, &serde_json::Value)| {
        let sealed = account.get(credits::USER_KEY).and_then(serde_json::Value::as_str);
        Account {
            credit: compiler.cells.of(name, group, leases::available(row, group)),
            key: sealed.and_then(|sealed| compiler.sealer.open(&credits::user_place(name, group), sealed)),
            group: group.clone(),
        }
    };
    leases::groups(row).into_iter().flatten().map(one).collect()
}

/// Milliseconds of a unit, spec/doorman.md 5.3; `usual` for none, a minute for one that nobody knows.
fn unit_ms(unit: &str, usual: u64) -> u64 {
    match unit.trim_end_matches('s') {
        "" => usual,
        "second" => SECOND_MS,
        "hour" => 3_600_000,
        "day" => DAY_MS,
        "week" => 604_800_000,
        "month" => 2_592_000_000,
        "year" => 31_536_000_000,
        _ => MINUTE_MS,
    }
}

/// A whole number that is not negative, or what 0 stands for.
fn count(row: &Row, name: &str, usual: u64) -> u64 {
    u64::try_from(row.number(name)).ok().filter(|count| *count > 0).unwrap_or(usual)
}

/// spec/doorman.md 5.3: active if switched on or given; 0 means 60, no unit means minute.
fn rate(row: &Row) -> Option<Rate> {
    let active = row.flag("rate_limit_enabled") || row.number("rate_limit_duration") > 0;
    let window_ms = unit_ms(row.text("rate_limit_duration_type"), MINUTE_MS);
    active.then(|| Rate { limit: count(row, "rate_limit_duration", 60), window_ms })
}

/// spec/doorman.md 5.3: active if switched on, or if calls or queue are given; 0 of either means 10, no wait means half a
/// second.
fn throttle(row: &Row) -> Option<Throttle> {
    let given = |name: &str| row.number(name) > 0;
    let active = row.flag("throttle_enabled") || given("throttle_duration") || given("throttle_queue_limit");
    let window_ms = unit_ms(row.text("throttle_duration_type"), SECOND_MS);
    let unit = unit_ms(row.text("throttle_wait_duration_type"), SECOND_MS);
    let wait = count(row, "throttle_wait_duration", 0).saturating_mul(unit);
    active.then(|| Throttle {
        rate: Rate { limit: count(row, "throttle_duration", 10), window_ms },
        queue: count(row, "throttle_queue_limit", 10),
        wait_ms: if wait == 0 { 500 } else { wait },
    })
}

/// spec/doorman.md 5.3: 0 bytes are no limit, nor is one that is switched off.
pub(crate) fn bandwidth(row: &Row) -> Option<Rate> {
    let off = row.get("bandwidth_limit_enabled").is_some_and(|on| *on == serde_json::Value::Bool(false));
    let limit = count(row, "bandwidth_limit_bytes", 0);
    let window_ms = unit_ms(row.text("bandwidth_limit_window"), DAY_MS);
    (limit > 0 && !off).then_some(Rate { limit, window_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_as_the_older_gateway_reads_them() {
        let row = |value: serde_json::Value| value.as_object().cloned().unwrap();
        let calls = |limit, window_ms| Rate { limit, window_ms };
        for (value, rate_, throttle_, bandwidth_) in [
            (json!({}), None, None, None),
            (json!({"rate_limit_enabled": true}), Some(calls(60, 60_000)), None, None),
            (
                json!({"rate_limit_duration": 2, "rate_limit_duration_type": "hours", "throttle_enabled": true}),
                Some(calls(2, 3_600_000)),
                Some(Throttle { rate: calls(10, 1_000), queue: 10, wait_ms: 500 }),
                None,
            ),
            (
                json!({"throttle_duration": 1, "throttle_duration_type": "minute", "throttle_wait_duration": 2,
                       "throttle_queue_limit": 3, "bandwidth_limit_bytes": 100}),
                None,
                Some(Throttle { rate: calls(1, 60_000), queue: 3, wait_ms: 2_000 }),
                Some(calls(100, 86_400_000)),
            ),
            (json!({"bandwidth_limit_bytes": 100, "bandwidth_limit_enabled": false}), None, None, None),
            (
                json!({"bandwidth_limit_bytes": 9, "bandwidth_limit_window": "second"}),
                None,
                None,
                Some(calls(9, 1_000)),
            ),
        ] {
            let row = row(value);
            assert_eq!(
                (rate(&row), throttle(&row), bandwidth(&row)),
                (rate_, throttle_, bandwidth_),
                "{row:?}"
            );
        }
    }
}
