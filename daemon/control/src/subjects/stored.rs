//! What a row of each table must look like, for rows that come from outside: a backup may be of another version, or
//! edited by hand.

use crate::api::{endpoints, groups, roles, routings, users, vault};
use crate::leases::ACCOUNTS;
use crate::schema;
use crate::state::{Fields as _, Row};
use crate::subjects::{apis, credits, rate_rules, security, tiers, validations};
use gatehouse_common::problem::{Code, Problem};
use serde_json::Value;

/// Checks one row.
///
/// # Errors
/// Naming table, key and field.
pub(crate) fn check(table: &str, key: &str, row: &Row) -> Result<(), Problem> {
    let (shape, own) = match table {
        "apis" => {
            let name = format!("{}/{}", row.text("api_name"), row.text("api_version"));
            (schema::stored(apis::FIELDS, row), name)
        }
        "endpoints" => {
            let parts =
                ["endpoint_method", "api_name", "api_version", "endpoint_uri"].map(|name| row.text(name));
            let [method, name, version, uri] = parts;
            (schema::stored(endpoints::FIELDS, row), endpoints::key(method, name, version, uri))
        }
        "users" => (schema::stored(&users::stored_fields(), row), row.text("username").to_owned()),
        "groups" => (schema::stored(groups::FIELDS, row), row.text("group_name").to_owned()),
        "roles" => (schema::stored(&roles::fields(), row), row.text("role_name").to_owned()),
        "routings" => (schema::stored(routings::FIELDS, row), row.text("client_key").to_owned()),
        "settings" if key == security::PLACE.1 => (schema::stored(security::FIELDS, row), key.to_owned()),
        "credits" => (schema::stored(credits::FIELDS, row), row.text("api_credit_group").to_owned()),
        ACCOUNTS => (schema::stored(credits::ACCOUNT_FIELDS, row), row.text("username").to_owned()),
        "tiers" => (schema::stored(tiers::FIELDS, row), row.text("tier_id").to_owned()),
        "assignments" => (schema::stored(tiers::ASSIGNMENT, row), row.text("user_id").to_owned()),
        "rate_rules" => (rule(row), row.text("rule_id").to_owned()),
        "validations" => {
            let shape = schema::stored(validations::FIELDS, row).and_then(|()| validations::check(row));
            (shape, row.text("endpoint_id").to_owned())
        }
        "vault" => {
            (schema::stored(vault::FIELDS, row), vault::key(row.text("username"), row.text("key_name")))
        }
        "keys" => (texts(row, &["username", "prefix", secret_of(row)]), key.to_owned()),
        "subscriptions" => (list(row, "apis"), key.to_owned()),
        _ => (Ok(()), key.to_owned()),
    };
    let refused = |field: Option<String>, text: &str| {
        let problem = Problem::new(Code::BadInput, format!("table {table}, key {key:?}: {text}"));
        problem.at(field.unwrap_or_else(|| "backup".to_owned()))
    };
    shape
        .map_err(|problem| refused(problem.field, problem.detail.trim_start_matches("Validation Error: ")))?;
    if own == key {
        Ok(())
    } else {
        Err(refused(None, &format!("expected the key {own:?} of its own fields")))
    }
}

fn rule(row: &Row) -> Result<(), Problem> {
    schema::stored(rate_rules::FIELDS, row)?;
    let checked = rate_rules::checked(row.clone());
    checked.map(drop).map_err(|errors| Problem::compat(422, "", errors.join("; ")))
}

/// Imported keys have a slow hash until they are used for the first time.
fn secret_of(key: &Row) -> &'static str {
    if key.contains_key("phc") { "phc" } else { "hash" }
}

fn texts(row: &Row, names: &[&str]) -> Result<(), Problem> {
    let missing = names.iter().find(|name| row.text(name).is_empty());
    missing.map_or(Ok(()), |name| Err(Problem::compat(422, "", format!("{name}: expected text")).at(*name)))
}

fn list(row: &Row, name: &str) -> Result<(), Problem> {
    let items = row.get(name).and_then(Value::as_array);
    match items {
        Some(items) if items.iter().all(Value::is_string) => Ok(()),
        _ => Err(Problem::compat(422, "", format!("{name}: expected a list of texts")).at(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_of_the_wrong_type_is_named() {
        let row = |value: Value| value.as_object().cloned().unwrap();
        for (table, key, value, part) in [
            (
                "apis",
                "a/v1",
                json!({"api_name": "a", "api_version": "v1", "api_servers": "x"}),
                "api_servers",
            ),
            ("apis", "b/v1", json!({"api_name": "a", "api_version": "v1"}), "\"a/v1\""),
            (
                "users",
                "ana",
                json!({"username": "ana", "email": "a@x", "role": "user", "active": "yes"}),
                "active",
            ),
            ("groups", "g", json!({"group_name": 5}), "group_name"),
            ("keys", "k", json!({"username": "ana"}), "prefix"),
            ("subscriptions", "ana", json!({"apis": [1]}), "apis"),
        ] {
            let problem = check(table, key, &row(value)).unwrap_err();
            assert!(problem.detail.contains(part) && problem.detail.contains(key), "{table}: {problem}");
        }
        assert!(check("groups", "g", &row(json!({"group_name": "g", "api_access": []}))).is_ok());
    }
}
