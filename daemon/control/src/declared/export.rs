//! The configuration as a file that declares it. Secrets are left out: applied where they are, they stay; elsewhere each
//! needs a reference.

use super::shapes::{self, Section};
use crate::index::By;
use crate::leases::{ACCOUNTS, groups};
use crate::schema::{Absent, Field};
use crate::state::{Fields as _, Row, State};
use crate::subjects::{security, tiers};
use gatehouse_common::problem::{Code, Problem};
use serde_json::{Map, Value, json};

/// The declared fields of a row that are not as they are by default.
fn declared(fields: &[Field], row: &Row) -> Map<String, Value> {
    let kept = |(name, _, absent): &&Field| {
        let value = row.get(*name).unwrap_or(&Value::Null);
        let usual = match absent {
            Absent::Required => false,
            Absent::Null => value.is_null(),
            Absent::Empty => value.as_array().is_some_and(Vec::is_empty),
            Absent::Is(flag) => value.as_bool() == Some(*flag),
            Absent::Text(text) => value.as_str() == Some(*text),
            Absent::Number(number) => value.as_i64() == Some(*number),
        };
        !usual && !value.is_null() && !shapes::SECRETS.contains(name)
    };
    let value = |(name, ..): &Field| Some(((*name).to_owned(), without_nulls(row.get(*name)?)));
    fields.iter().filter(kept).filter_map(value).collect()
}

/// A value as TOML can hold it, which knows no null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(there.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn api(state: &State, key: &str, item: &mut Map<String, Value>) {
    if let Some(Value::Object(security)) = item.get_mut("api_ws_security") {
        security.remove("password");
    }
    let endpoint = |key: &str| {
        let row = state.get("endpoints", key)?;
        let mut endpoint = declared(&shapes::endpoint(), row);
        if let Some(row) = state.get("validations", row.text("endpoint_id")) {
            endpoint.insert("validation".to_owned(), Value::Object(declared(&shapes::validation(), row)));
        }
        Some(Value::Object(endpoint))
    };
    let endpoints: Vec<Value> = state.keys_by(By::EndpointApi, key).filter_map(endpoint).collect();
    if !endpoints.is_empty() {
        item.insert("endpoints".to_owned(), Value::Array(endpoints));
    }
}

fn user(state: &State, name: &str, now_ms: i64, item: &mut Map<String, Value>) {
    if let Some(row) = state.get("subscriptions", name) {
        item.insert("subscriptions".to_owned(), json!(row.list("apis")));
    }
    if let Some(row) = state.get("assignments", name).and_then(|row| tiers::in_force(row, now_ms)) {
        item.insert("tier".to_owned(), json!(row.text("tier_id")));
    }
    if let Some(groups) = state.get(ACCOUNTS, name).and_then(|row| groups(row)) {
        let account = |(group, account): (&String, &Value)| {
            let account = declared(shapes::ACCOUNT, account.as_object()?);
            Some((group.clone(), Value::Object(account)))
        };
        item.insert("credits".to_owned(), Value::Object(groups.iter().filter_map(account).collect()));
    }
}

fn section(state: &State, section: &Section, now_ms: i64) -> Option<Value> {
    if section.name == "security" {
        let row = state.get(security::PLACE.0, security::PLACE.1)?;
        return Some(Value::Object(declared(&section.fields, row)));
    }
    let item = |(key, row): (&String, &std::sync::Arc<Row>)| {
        let mut item = declared(&section.fields, row);
        match section.name {
            "apis" => api(state, key, &mut item),
            "users" => user(state, key, now_ms, &mut item),
            _ => {}
        }
        Value::Object(item)
    };
    let items: Vec<Value> = state.rows(section.table).map(item).collect();
    Some(Value::Array(items)).filter(|items| items.as_array().is_some_and(|items| !items.is_empty()))
}

/// The configuration of a state as text: TOML, or YAML.
///
/// # Errors
/// [`Code::Internal`] for what cannot be written, which no row should be.
pub(crate) fn text(state: &State, yaml: bool, now_ms: i64) -> Result<String, Problem> {
    let sections = shapes::sections();
    let of = |one: &Section| Some((one.name.to_owned(), section(state, one, now_ms)?));
    let whole: Map<String, Value> = sections.iter().filter_map(of).collect();
    let failed = |text: String| Problem::new(Code::Internal, format!("export: {text}"));
    let head = "# Gatehouse configuration; secrets are not in it. See docs/configuration.md.\n\n";
    let text = match yaml {
        true => serde_saphyr::to_string(&whole).map_err(|error| failed(error.to_string()))?,
        false => toml::to_string_pretty(&whole).map_err(|error| failed(error.to_string()))?,
    };
    Ok(format!("{head}{text}"))
}
