//! Rows as they may be shown: no secret, not even sealed or hashed. For the history, for plans and for what is declared.

use crate::change::history::Turned;
use crate::session::Caller;
use crate::state::{Fields as _, Row};
use crate::subjects::roles::is_admin;
use gatehouse_common::secret::MASK;
use serde_json::{Value, json};
use std::sync::Arc;

/// How a sealed value begins.
const SEALED: &str = "gh1:";
/// What a secret field's name has in it. Names that only count or tell of a secret are none.
const SECRET: [&str; 9] = [
    "password",
    "passphrase",
    "secret",
    "hash",
    "private_key",
    "authorization",
    "api-key",
    "apikey",
    "cookie",
];
const PLAIN: [&str; 2] = ["password_present", "api_authorization_field_swap"];

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    !PLAIN.contains(&name.as_str()) && SECRET.iter().any(|word| name.contains(word))
}

/// A value without its secrets.
pub(crate) fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with(SEALED) => json!(MASK),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(fields) => Value::Object(row(fields)),
        other => other.clone(),
    }
}

/// A row without its secrets.
pub(crate) fn row(fields: &Row) -> Row {
    let shown = fields.iter().map(|(name, value)| {
        let secret = is_secret(name) && !matches!(value, Value::Null | Value::Bool(_));
        (name.clone(), if secret { json!(MASK) } else { masked(value) })
    });
    shown.collect()
}

/// The permission that a table's rows need; `None`: each user's own, seen by administrators alone.
pub(crate) fn permission(table: &str) -> Option<&'static str> {
    Some(match table {
        "apis" => "manage_apis",
        "endpoints" | "validations" => "manage_endpoints",
        "users" | "keys" => "manage_users",
        "groups" => "manage_groups",
        "roles" => "manage_roles",
        "subscriptions" => "manage_subscriptions",
        "routings" => "manage_routings",
        "credits" | "user_credits" => "manage_credits",
        "tiers" | "assignments" => "manage_tiers",
        "rate_rules" => "manage_rate_limits",
        "settings" => "manage_security",
        "declared" => "manage_gateway",
        _ => return None,
    })
}

/// Whether a caller may see and change such a row: the permission of its table, and of administrators and their roles only
/// an administrator.
pub(crate) fn may(caller: &Caller, turned: &Turned) -> bool {
    if caller.is_admin() {
        return true;
    }
    let rows = || [&turned.before, &turned.after].into_iter().flatten();
    let of_admins = match turned.table.as_str() {
        "users" => rows().any(|row| is_admin(&caller.state, row.text("role"))),
        "roles" => is_admin(&caller.state, &turned.key) || rows().any(|row| row.flag("platform_admin")),
        "keys" | "subscriptions" | "user_credits" | "assignments" => {
            let user = caller.state.get("users", rows().next().map_or("", |row| row.text("username")));
            user.is_some_and(|user| is_admin(&caller.state, user.text("role")))
        }
        _ => false,
    };
    permission(&turned.table).is_some_and(|permission| caller.may(permission)) && !of_admins
}

/// What happened to a row.
pub(crate) fn op(turned: &Turned) -> &'static str {
    match (&turned.before, &turned.after) {
        (None, _) => "create",
        (_, None) => "delete",
        _ => "update",
    }
}

/// A row that a change turned, as it is shown: of an update the fields that differ, and of a secret only that it does.
pub(crate) fn shown(turned: &Turned) -> Value {
    let (before, after) = (turned.before.as_deref(), turned.after.as_deref());
    let fields = |one: Option<&Row>, other: Option<&Row>| {
        let mut fields = one.map(row);
        if let (Some(fields), Some(one), Some(other)) = (&mut fields, one, other) {
            fields.retain(|name, _| one.get(name) != other.get(name));
        }
        fields
    };
    json!({"table": turned.table, "key": turned.key, "op": op(turned),
           "before": fields(before, after), "after": fields(after, before)})
}

/// As [`shown`], or only that there is something, for a caller who may not see it.
pub(crate) fn shown_to(caller: &Caller, turned: &Turned) -> Value {
    if may(caller, turned) {
        return shown(turned);
    }
    json!({"table": turned.table, "key": null, "op": op(turned), "hidden": true})
}

/// As [`shown_to`], and rows of the caller's own are shown.
pub(crate) fn planned(caller: &Caller, turned: &Turned) -> Value {
    let own = |row: &Arc<Row>| row.text("username") == caller.name;
    let mine = turned.before.iter().chain(&turned.after).all(own);
    if mine { shown(turned) } else { shown_to(caller, turned) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row_of(value: Value) -> Arc<Row> {
        Arc::new(value.as_object().cloned().unwrap())
    }

    proptest! {
        #[test]
        fn no_secret_is_shown(secret in "[a-zA-Z0-9]{12,30}") {
            let fields = json!({
                "username": "ana", "password_hash": secret, "hash": secret, "value": format!("gh1:{secret}"),
                "api_ws_security": {"username": "u", "password": format!("gh1:{secret}")},
                "users_credits": {"g": {"available_credits": 5, "user_api_key": format!("gh1:{secret}")}},
                "list": [{"client_secret": secret}],
            });
            let turned = Turned {
                table: "users".to_owned(), key: "ana".to_owned(), before: None, after: Some(row_of(fields)),
            };
            let text = shown(&turned).to_string();
            prop_assert!(!text.contains(&secret), "{}", text);
            prop_assert!(text.contains("\"available_credits\":5") && text.contains("ana"));
        }
    }

    #[test]
    fn an_update_shows_what_differs() {
        let turned = Turned {
            table: "users".to_owned(),
            key: "ana".to_owned(),
            before: Some(row_of(json!({"role": "user", "active": true, "password_hash": "a"}))),
            after: Some(row_of(json!({"role": "ops", "active": true, "password_hash": "b"}))),
        };
        let shown = shown(&turned);
        assert_eq!(shown["op"], "update");
        assert_eq!(shown["before"], json!({"role": "user", "password_hash": MASK}));
        assert_eq!(shown["after"], json!({"role": "ops", "password_hash": MASK}));
    }
}
