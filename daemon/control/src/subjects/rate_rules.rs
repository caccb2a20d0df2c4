//! Rate-limit rules (spec/doorman.md 4.11): what one must be, and how the data plane counts by it.

use crate::schema::{Absent, Field, Kind};
use crate::state::{Fields as _, Row, State};
use gatehouse_corridor::snapshot::consumer::{Rate, RateRule, RuleKind};
use serde_json::{Value, json};
use std::net::IpAddr;

pub(crate) const FIELDS: &[Field] = &[
    ("rule_id", Kind::Text(1, 100), Absent::Null),
    ("rule_type", Kind::Text(1, 20), Absent::Required),
    ("time_window", Kind::Text(1, 10), Absent::Required),
    ("limit", Kind::Int(1), Absent::Required),
    ("target_identifier", Kind::Text(0, 400), Absent::Null),
    ("burst_allowance", Kind::Int(0), Absent::Number(0)),
    ("priority", Kind::Int(i64::MIN), Absent::Number(0)),
    ("enabled", Kind::Flag, Absent::Is(true)),
    ("description", Kind::Text(0, 500), Absent::Null),
    ("created_at", Kind::Time, Absent::Null),
    ("updated_at", Kind::Time, Absent::Null),
];

/// The kinds by name; whether a target must be given.
const KINDS: [(&str, RuleKind, bool); 7] = [
    ("per_user", RuleKind::User, true),
    ("per_api", RuleKind::Api, true),
    ("per_endpoint", RuleKind::Endpoint, true),
    ("per_ip", RuleKind::Address, true),
    ("per_user_api", RuleKind::UserApi, false),
    ("per_user_endpoint", RuleKind::UserEndpoint, false),
    ("global", RuleKind::Global, false),
];

const WINDOWS: [(&str, u64); 5] = [
    ("second", 1_000),
    ("minute", 60_000),
    ("hour", 3_600_000),
    ("day", 86_400_000),
    ("month", 2_592_000_000),
];

fn kind(row: &Row) -> Option<(RuleKind, bool)> {
    let kind = KINDS.iter().find(|(name, ..)| *name == row.text("rule_type"));
    kind.map(|(_, kind, targeted)| (*kind, *targeted))
}

fn names(list: impl Iterator<Item = &'static str>) -> String {
    list.collect::<Vec<_>>().join(", ")
}

const AN_API: &str = "NAME/VERSION of an API";
const AN_ENDPOINT: &str = "METHOD/NAME/VERSION/PATH of an endpoint";

/// An API or an endpoint.
fn place(kind: RuleKind, text: &str) -> Result<String, String> {
    let text = text.trim_start_matches('/');
    if matches!(kind, RuleKind::Api | RuleKind::UserApi) {
        let parts: Vec<_> = text.split('/').collect();
        let good = parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && part.trim() == *part);
        return if good { Ok(text.to_owned()) } else { Err(format!("expected {AN_API}")) };
    }
    let expected = || format!("expected {AN_ENDPOINT}");
    let (method, rest) = text.split_once('/').ok_or_else(expected)?;
    let parts: Vec<_> = rest.splitn(3, '/').collect();
    let word = !method.is_empty() && method.chars().all(|c| c.is_ascii_alphabetic());
    let good = word && parts.len() == 3 && parts.iter().take(2).all(|part| !part.is_empty());
    if good { Ok(format!("{}/{rest}", method.to_uppercase())) } else { Err(expected()) }
}

/// `USER:PLACE`, or one of the two: a user's name has no slash, a place has.
fn of_user(kind: RuleKind, text: &str) -> Result<String, String> {
    let what = if kind == RuleKind::UserApi { AN_API } else { AN_ENDPOINT };
    let expected = |_| format!("expected USER, USER:PLACE or PLACE, which is {what}");
    match text.split_once(':') {
        Some(("", _)) => Err(expected(String::new())),
        Some((user, at)) if !user.contains('/') => {
            place(kind, at).map(|at| format!("{user}:{at}")).map_err(expected)
        }
        _ if text.contains('/') => place(kind, text).map_err(expected),
        _ => Ok(text.to_owned()),
    }
}

/// The target as the data plane compares it: no slash in front of an API, the method in upper case, an address in
/// its one spelling. `Err` says what was expected.
fn target(kind: RuleKind, text: &str) -> Result<String, String> {
    match kind {
        RuleKind::User | RuleKind::Global => Ok(text.to_owned()),
        RuleKind::Api | RuleKind::Endpoint => place(kind, text),
        RuleKind::UserApi | RuleKind::UserEndpoint => of_user(kind, text),
        RuleKind::Address => {
            let address = text.trim().parse::<IpAddr>();
            address
                .map(|address| address.to_canonical().to_string())
                .map_err(|_| "expected an IP address".to_owned())
        }
    }
}

/// Puts a rule's target into its one spelling.
///
/// # Errors
/// Everything that is wrong, each naming its field.
pub(crate) fn checked(mut row: Row) -> Result<Row, Vec<String>> {
    let mut errors = Vec::new();
    let window = row.text("time_window");
    if !WINDOWS.iter().any(|(name, _)| *name == window) {
        let known = names(WINDOWS.iter().map(|(name, _)| *name));
        errors.push(format!("time_window: {window:?}: expected one of {known}"));
    }
    let given = row.text("target_identifier").to_owned();
    match kind(&row) {
        None => {
            let known = names(KINDS.iter().map(|(name, ..)| *name));
            errors.push(format!("rule_type: {:?}: expected one of {known}", row.text("rule_type")));
        }
        Some((_, true)) if given.is_empty() => {
            let text = format!("target_identifier: expected a target for a {} rule", row.text("rule_type"));
            errors.push(text);
        }
        Some(_) if given.is_empty() => drop(row.insert("target_identifier".to_owned(), Value::Null)),
        Some((kind, _)) => match target(kind, &given) {
            Ok(text) => drop(row.insert("target_identifier".to_owned(), json!(text))),
            Err(expected) => errors.push(format!("target_identifier: {given:?}: {expected}")),
        },
    }
    if errors.is_empty() { Ok(row) } else { Err(errors) }
}

fn compiled(id: &str, row: &Row) -> Option<RateRule> {
    let (kind, _) = kind(row)?;
    let (_, window_ms) = WINDOWS.iter().find(|(name, _)| *name == row.text("time_window"))?;
    let target = row.text("target_identifier");
    let target = (!target.is_empty() && kind != RuleKind::Global).then(|| target.to_owned());
    let limit = u64::try_from(row.number("limit")).ok()?;
    let burst = u64::try_from(row.number("burst_allowance")).unwrap_or(0);
    let rate = Rate { limit, window_ms: *window_ms };
    Some(RateRule { id: id.to_owned(), kind, target, rate, burst, priority: row.number("priority") })
}

/// The rules that are switched on, the highest priority first.
pub(crate) fn rules(state: &State) -> Vec<RateRule> {
    let on = state.rows("rate_rules").filter(|(_, row)| row.flag("enabled"));
    let mut rules: Vec<_> = on.filter_map(|(id, row)| compiled(id, row)).collect();
    rules.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.id.cmp(&b.id)));
    rules
}

/// Whether a rule may count calls of this user; a rule without a user in it may count anybody's.
pub(crate) fn applies(row: &Row, user: &str) -> bool {
    let target = row.text("target_identifier");
    row.flag("enabled") && (row.text("rule_type") != "per_user" || target == user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn rule(kind: &str, target: &str) -> Row {
        let row = json!({"rule_type": kind, "time_window": "minute", "limit": 5, "target_identifier": target,
                         "burst_allowance": 2, "priority": 1, "enabled": true});
        row.as_object().cloned().unwrap()
    }

    #[test]
    fn a_target_has_one_spelling() {
        for (kind, given, kept) in [
            ("per_user", "ana", Some("ana")),
            ("per_user", "", None),
            ("per_api", "/shop/v1", Some("shop/v1")),
            ("per_api", "shop", None),
            ("per_endpoint", "get/shop/v1/items/{id}", Some("GET/shop/v1/items/{id}")),
            ("per_endpoint", "/items", None),
            ("per_ip", "::ffff:10.0.0.1", Some("10.0.0.1")),
            ("per_ip", "10.0.0.0/8", None),
            ("per_user_api", "", Some("")),
            ("per_user_api", "ana", Some("ana")),
            ("per_user_api", "ana:/shop/v1", Some("ana:shop/v1")),
            ("per_user_api", "shop/v1", Some("shop/v1")),
            ("per_user_api", "ana:shop", None),
            ("per_user_endpoint", "ana:get/shop/v1/a:b", Some("ana:GET/shop/v1/a:b")),
            ("per_user_endpoint", "GET/shop/v1/a:b", Some("GET/shop/v1/a:b")),
            ("per_user_endpoint", ":GET/shop/v1/a", None),
            ("global", "", Some("")),
            ("hourly", "x", None),
        ] {
            let checked = checked(rule(kind, given));
            let target = checked.as_ref().ok().map(|row| row.text("target_identifier"));
            assert_eq!(target, kept, "{kind} {given:?}: {checked:?}");
        }
    }

    #[test]
    fn what_is_off_is_not_there_and_the_highest_comes_first() {
        let mut state = State::default();
        for (id, priority, enabled) in [("a", 1, true), ("b", 9, true), ("c", 5, false), ("d", 9, true)] {
            let mut row = rule("global", "");
            row.insert("priority".to_owned(), json!(priority));
            row.insert("enabled".to_owned(), json!(enabled));
            state.set("rate_rules", id, Some(Arc::new(row)));
        }
        let rules = rules(&state);
        assert_eq!(rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["b", "d", "a"]);
        assert_eq!((rules[0].rate, rules[0].burst), (Rate { limit: 5, window_ms: 60_000 }, 2));
    }

    proptest! {
        #[test]
        fn never_panics_and_a_spelling_stays(index in 0usize..7, text in "[a-zA-Z0-9/:.{}]{0,30}") {
            let kind = KINDS[index].0;
            if let Ok(row) = checked(rule(kind, &text)) {
                prop_assert_eq!(checked(row.clone()), Ok(row));
            }
        }
    }
}
