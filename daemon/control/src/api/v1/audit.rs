//! `GET /api/v1/audit` (spec/octoprox.md 12): the trail, newest first, under the names that older readers look for.

use super::Outcome;
use super::answers::{self, admins_only};
use super::credential::caller;
use crate::api::query::Query;
use crate::commands::blocking;
use crate::state::{Fields as _, State};
use crate::subjects::{logs, times};
use crate::{Inner, versioned};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, Data, ServiceConfig};
use gatehouse_common::ops::audit::AuditRecord;
use serde_json::{Value, json};

/// Records looked at in one look.
const LOOK: usize = 20_000;

pub(crate) fn routes(config: &mut ServiceConfig) {
    versioned!(config, "/audit", get => list);
}

/// The older manager's name of an action; ours where it had none.
fn action(name: &str) -> &str {
    match name {
        "session.login" => "auth_success",
        "session.refused" => "auth_failed",
        "key.create" => "api_key_created",
        "key.revoke" => "api_key_deleted",
        "user.create" | "user.register" => "user_created",
        "user.update" => "user_updated",
        "user.disable" | "user.delete" => "user_deactivated",
        "user.enable" => "user_activated",
        "user.password" => "user_password_changed",
        "database.backup" => "database_backup_created",
        "database.verify" => "database_schema_verified",
        "database.health" => "database_health_checked",
        "session.end" => "auth_ended",
        own => own,
    }
}

/// `user:5` for `user/ana`, as long as there is one.
fn resource(state: &State, record: &AuditRecord) -> String {
    let object = record.entry.object.as_str();
    let number = |table: &str, key: &str| {
        let known = state.get(table, key).map(|row| row.number("id"));
        known.or_else(|| record.entry.detail.get("id")?.as_i64())
    };
    match object.split_once('/') {
        Some(("user", _)) if record.entry.action.starts_with("session.") => Some("authentication".to_owned()),
        Some(("user", name)) => number("users", name).map(|id| format!("user:{id}")),
        Some(("key", key)) => number("keys", key).map(|id| format!("api_key:{id}")),
        _ => None,
    }
    .unwrap_or_else(|| object.to_owned())
}

fn shown(state: &State, record: &AuditRecord) -> Value {
    let entry = &record.entry;
    let user = state.get("users", &entry.actor).map(|user| user.number("id"));
    json!({
        "id": record.seq, "timestamp": times::text(entry.at_unix_ms), "user_id": user, "username": entry.actor,
        "action": action(&entry.action), "gateway_action": entry.action, "resource": resource(state, record),
        "object": entry.object, "ip": entry.source, "outcome": entry.outcome, "details": entry.detail,
        "hash": record.hash,
    })
}

/// What is asked for; a field that is not given asks for nothing.
struct Asked {
    texts: Vec<(&'static str, String)>,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
}

impl Asked {
    fn of(query: &Query) -> Result<Self, gatehouse_common::problem::Problem> {
        let names = ["action", "resource", "username", "ip", "outcome", "user_id"];
        let texts = names.into_iter().filter_map(|name| Some((name, query.text(name)?.to_owned()))).collect();
        let time = |name: &str| {
            let Some(text) = query.text(name) else { return Ok(None) };
            let refused = || {
                answers::invalid(&["query", name], "datetime_parsing", "Input should be a time", &json!(text))
            };
            times::parse(&json!(text)).map(Some).ok_or_else(refused)
        };
        Ok(Self { texts, since_ms: time("since")?, until_ms: time("until")? })
    }

    fn matches(&self, at_ms: i64, record: &Value) -> bool {
        let same = |(name, wanted): &(&str, String)| match record.get(*name) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Number(number)) => number.to_string() == *wanted,
            _ => false,
        };
        let own = |pair: &(&str, String)| {
            pair.0 == "action" && record.get("gateway_action") == Some(&json!(pair.1))
        };
        self.texts.iter().all(|pair| same(pair) || own(pair))
            && self.since_ms.is_none_or(|since| at_ms >= since)
            && self.until_ms.is_none_or(|until| at_ms < until)
    }
}

async fn list(control: &Data<Inner>, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request).await?;
    if !caller.is_admin() {
        return Err(admins_only());
    }
    let query = Query::of(request);
    let (page, asked, state) = (answers::page(&query)?, Asked::of(&query)?, caller.state.clone());
    let found = blocking(control, move |control| {
        let folder = control.config().data_dir.join("audit");
        let records = logs::trail(&folder).take(LOOK);
        let shown = records.map(|record| (record.entry.at_unix_ms, shown(&state, &record)));
        let fresh = shown.take_while(|(at, _)| asked.since_ms.is_none_or(|since| *at >= since));
        let rows: Vec<Value> =
            fresh.filter(|(at, row)| asked.matches(*at, row)).map(|(_, row)| row).collect();
        Ok(rows)
    })
    .await?;
    Ok(answers::listed("audit", page, found.into_iter(), |row| row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::ids::Revision;
    use gatehouse_common::ops::audit::AuditEntry;
    use std::sync::Arc;

    #[test]
    fn older_names_and_numbers() {
        let mut state = State::default();
        let row = |value: Value| Some(Arc::new(value.as_object().cloned().unwrap()));
        state.set("users", "ana", row(json!({"id": 7})));
        for (name, object, detail, expected) in [
            ("user.create", "user/ana", json!({}), ("user_created", "user:7")),
            ("user.delete", "user/bob", json!({"id": 9}), ("user_deactivated", "user:9")),
            ("session.login", "user/ana", json!({}), ("auth_success", "authentication")),
            ("key.create", "key/u-u", json!({"id": 3}), ("api_key_created", "api_key:3")),
            ("key.create", "key/u-u", json!({}), ("api_key_created", "key/u-u")),
            ("api.update", "api/a/v1", json!({}), ("api.update", "api/a/v1")),
        ] {
            let entry = AuditEntry {
                at_unix_ms: 5,
                actor: "ana".to_owned(),
                source: "::1".to_owned(),
                action: name.to_owned(),
                object: object.to_owned(),
                outcome: "ok".to_owned(),
                detail,
                revision: Revision(1),
            };
            let record = AuditRecord { seq: 1, entry, previous: String::new(), hash: String::new() };
            let shown = shown(&state, &record);
            assert_eq!((&shown["action"], &shown["resource"]), (&json!(expected.0), &json!(expected.1)));
            let asked = |name, wanted: &str| Asked {
                texts: vec![(name, wanted.to_owned())],
                since_ms: None,
                until_ms: Some(6),
            };
            assert!(
                asked("action", expected.0).matches(5, &shown) && asked("action", name).matches(5, &shown)
            );
            assert!(asked("user_id", "7").matches(5, &shown) && !asked("user_id", "8").matches(5, &shown));
            assert!(!asked("action", expected.0).matches(6, &shown));
        }
    }
}
