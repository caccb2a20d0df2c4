//! What every appliance has from its first start: role `admin`, groups `ALL` and `admin`, an administrator
//! (spec/doorman.md 3).

use crate::change::{Changes, Draft, numbers};
use crate::config::ControlConfig;
use crate::state::{Row, State};
use crate::subjects::passwords::Hasher;
use crate::subjects::roles;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::actor::Actor;
use serde_json::{Value, json};

/// Seeds what is missing; what is there stays as it is.
pub(crate) async fn seed(config: &ControlConfig, changes: &Changes, hasher: &Hasher) -> Result<(), Problem> {
    let state = changes.state();
    let known = config.bootstrap.as_ref().is_some_and(|admin| state.get("users", &admin.username).is_some());
    let user = match config.bootstrap.as_ref().filter(|_| !known) {
        Some(admin) => {
            let hash = hasher.hash(admin.password.clone()).await?;
            Some((admin.username.clone(), user(&admin.username, &admin.email, &hash, config.clock.unix_ms())))
        }
        None => None,
    };
    let missing = |state: &State| {
        let mut draft = Draft::new("bootstrap.seed", "appliance");
        if state.get("roles", "admin").is_none() {
            draft = draft.put("roles", "admin", roles::admin());
        }
        for name in ["ALL", "admin"] {
            if state.get("groups", name).is_none() {
                draft = draft.put("groups", name, group(name));
            }
        }
        // Whatever way they came by: an earlier version, an archive read in while the daemon was down.
        for (table, key, row) in numbers::without(state) {
            draft = draft.put(table, key, row);
        }
        draft
    };
    if missing(&state).rows.is_empty() && user.is_none() {
        return Ok(());
    }
    let make = move |state: &State| {
        let draft = missing(state);
        Ok(match user {
            Some((name, row)) => draft.put("users", name, row),
            None => draft,
        })
    };
    changes.submit(Actor::System, make).await.map(drop)
}

fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

fn group(name: &str) -> Row {
    row(json!({"group_name": name, "group_description": null, "api_access": []}))
}

fn user(name: &str, email: &str, hash: &str, token_epoch: i64) -> Row {
    row(json!({
        "username": name, "email": email, "password_hash": hash, "role": "admin", "groups": ["ALL", "admin"],
        "ui_access": true, "active": true, "rate_limit_duration": 1, "rate_limit_duration_type": "second",
        "throttle_duration": 1, "throttle_duration_type": "second", "throttle_queue_limit": 1,
        "throttle_wait_duration": 0, "custom_attributes": {"custom_key": "custom_value"}, "token_epoch": token_epoch,
    }))
}
