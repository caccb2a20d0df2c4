//! API keys that are alive, and what ended before it expired.

use super::{Compiler, changed};
use crate::state::{Fields as _, Row, State};
use gatehouse_common::ids::{ConsumerId, TokenId};
use gatehouse_corridor::snapshot::{ApiKey, Snapshot};
use imbl::OrdMap;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn keys(compiler: &Compiler, state: &State) -> OrdMap<[u8; 32], Arc<ApiKey>> {
    let alive = state.rows("keys").filter_map(|(id, row)| key(compiler, id, row));
    alive.map(|key| (key.hash, Arc::new(key))).collect()
}

pub(super) fn update(compiler: &Compiler, old: &State, new: &State, next: &mut Snapshot) {
    // All that was first: a hash may have gone from one row to another.
    let changes: Vec<_> = changed(old, new, "keys").collect();
    for was in changes.iter().filter_map(|row| key(compiler, row.key, row.old?)) {
        next.api_keys.remove(&was.hash);
    }
    for is in changes.iter().filter_map(|row| key(compiler, row.key, row.new?)) {
        next.api_keys.insert(is.hash, Arc::new(is));
    }
    for row in changed(old, new, "revoked") {
        match row.new {
            Some(_) => drop(next.revoked_tokens.insert(row.key.to_owned())),
            None => drop(next.revoked_tokens.remove(row.key)),
        }
    }
}

fn key(compiler: &Compiler, id: &str, row: &Row) -> Option<ApiKey> {
    if row.get("revoked_unix_ms").is_some_and(|at| !at.is_null()) {
        return None;
    }
    let hash = hex::decode(row.text("hash")).ok()?.try_into().ok()?;
    let expires_unix_ms = row.get("expires_unix_ms").and_then(Value::as_i64);
    Some(ApiKey {
        hash,
        id: TokenId::from(id),
        consumer: ConsumerId::from(row.text("username")),
        expires_unix_ms,
        used: compiler.usages.keys.of(id),
    })
}
