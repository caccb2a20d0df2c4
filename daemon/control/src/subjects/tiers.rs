//! Tiers and who has which (spec/doorman.md 4.10). An assignment may lie upon earlier ones (`previous`): the topmost
//! whose time has come and is not over is in force, so that a trial falls back and an upgrade may be for later.

use super::times;
use crate::schema::{Absent, Field, Kind};
use crate::state::{Fields as _, Row, State};
use gatehouse_corridor::snapshot::consumer::Tier;
use serde_json::{Value, json};
use std::sync::Arc;

/// Assignments that may lie upon one another; deeper ones are forgotten.
const DEPTH: usize = 8;
/// From here on a limit of a second, minute, hour or day is none (spec/doorman.md 5.3).
const UNLIMITED: u64 = 999_999;
/// Fields of an assignment that answers do not show.
const HIDDEN: [&str; 2] = ["previous", "settled_unix_ms"];

pub(crate) const FIELDS: &[Field] = &[
    ("tier_id", Kind::Text(1, 100), Absent::Null),
    ("name", Kind::Text(1, 50), Absent::Required),
    ("display_name", Kind::Text(1, 100), Absent::Required),
    ("description", Kind::Text(0, 500), Absent::Null),
    ("limits", Kind::Object, Absent::Null),
    ("price_monthly", Kind::Real(0.0), Absent::Null),
    ("price_yearly", Kind::Real(0.0), Absent::Null),
    ("features", Kind::Texts, Absent::Empty),
    ("is_default", Kind::Flag, Absent::Is(false)),
    ("enabled", Kind::Flag, Absent::Is(true)),
    ("created_at", Kind::Time, Absent::Null),
    ("updated_at", Kind::Time, Absent::Null),
];

/// Limits of a tier; the same names override them in an assignment.
pub(crate) const LIMITS: &[Field] = &[
    ("requests_per_second", Kind::Int(1), Absent::Null),
    ("requests_per_minute", Kind::Int(1), Absent::Null),
    ("requests_per_hour", Kind::Int(1), Absent::Null),
    ("requests_per_day", Kind::Int(1), Absent::Null),
    ("requests_per_month", Kind::Int(1), Absent::Null),
    ("burst_per_second", Kind::Int(0), Absent::Number(0)),
    ("burst_per_minute", Kind::Int(0), Absent::Number(0)),
    ("burst_per_hour", Kind::Int(0), Absent::Number(0)),
    ("monthly_request_quota", Kind::Int(1), Absent::Null),
    ("daily_request_quota", Kind::Int(1), Absent::Null),
    ("monthly_bandwidth_quota", Kind::Int(1), Absent::Null),
    ("enable_throttling", Kind::Flag, Absent::Is(false)),
    ("max_queue_time_ms", Kind::Int(0), Absent::Number(5_000)),
];

pub(crate) const ASSIGNMENT: &[Field] = &[
    ("user_id", Kind::Text(1, 50), Absent::Required),
    ("tier_id", Kind::Text(1, 100), Absent::Required),
    ("effective_from", Kind::Time, Absent::Null),
    ("effective_until", Kind::Time, Absent::Null),
    ("override_limits", Kind::Object, Absent::Null),
    ("notes", Kind::Text(0, 500), Absent::Null),
    ("assigned_at", Kind::Time, Absent::Null),
    ("assigned_by", Kind::Text(0, 50), Absent::Null),
];

fn from(row: &Row) -> i64 {
    row.get("effective_from").and_then(times::parse).unwrap_or(i64::MIN)
}

fn until(row: &Row) -> i64 {
    row.get("effective_until").and_then(times::parse).unwrap_or(i64::MAX)
}

/// An assignment and those it lies upon, topmost first.
fn stack(row: &Row) -> impl Iterator<Item = &Row> {
    std::iter::successors(Some(row), |row| row.get("previous").and_then(Value::as_object)).take(DEPTH)
}

/// The assignment that counts at a time.
pub(crate) fn in_force(row: &Row, now_ms: i64) -> Option<&Row> {
    stack(row).find(|row| from(row) <= now_ms && now_ms < until(row))
}

/// Those whose time is yet to come, as answers show them.
pub(crate) fn scheduled(row: &Row, now_ms: i64) -> Vec<Value> {
    stack(row).filter(|row| from(row) > now_ms).map(shown).collect()
}

/// When, after a time, another assignment may come into force.
pub(crate) fn next_turn(row: &Row, now_ms: i64) -> Option<i64> {
    stack(row).flat_map(|row| [from(row), until(row)]).filter(|at| *at > now_ms && *at != i64::MAX).min()
}

/// Without those that can never count again; `None` when none is left.
pub(crate) fn settled(row: &Row, now_ms: i64) -> Option<Row> {
    let mut kept: Vec<Row> = Vec::new();
    for row in stack(row).filter(|row| until(row) > now_ms) {
        let mut row = row.clone();
        row.remove("previous");
        let covers = from(&row) <= now_ms && until(&row) == i64::MAX;
        kept.push(row);
        if covers {
            break;
        }
    }
    kept.into_iter().rev().reduce(|below, mut row| {
        row.insert("previous".to_owned(), Value::Object(below));
        row
    })
}

/// A new assignment upon what there is; one without an end that begins at once replaces it.
pub(crate) fn laid_upon(old: Option<&Row>, mut new: Row, now_ms: i64) -> Row {
    let below = old.and_then(|old| settled(old, now_ms));
    if let Some(below) = below {
        new.insert("previous".to_owned(), Value::Object(below));
    }
    settled(&new, now_ms).unwrap_or(new)
}

/// An assignment as answers show it.
pub(crate) fn shown(row: &Row) -> Value {
    let fields = row.iter().filter(|(name, _)| !HIDDEN.contains(&name.as_str()));
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The tiers of an assignment and of those below it.
pub(crate) fn mentioned(row: &Row) -> impl Iterator<Item = &str> {
    stack(row).map(|row| row.text("tier_id"))
}

/// A tier's limits with an assignment's own in front of them.
pub(crate) fn limits(tier: &Row, assignment: &Row) -> Row {
    let mut limits = tier.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
    let own = assignment.get("override_limits").and_then(Value::as_object);
    let given = own.into_iter().flatten().filter(|(_, value)| !value.is_null());
    limits.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    limits
}

fn compiled(id: &str, limits: &Row) -> Tier {
    let most = |name: &str| limits.get(name).and_then(Value::as_u64).filter(|most| *most > 0);
    let short = |name: &str| most(name).filter(|most| *most < UNLIMITED);
    let burst = |name: &str| limits.get(name).and_then(Value::as_u64).unwrap_or(0);
    Tier {
        id: id.to_owned(),
        per_second: short("requests_per_second"),
        per_minute: short("requests_per_minute"),
        per_hour: short("requests_per_hour"),
        per_day: short("requests_per_day"),
        per_month: most("requests_per_month"),
        burst_per_second: burst("burst_per_second"),
        burst_per_minute: burst("burst_per_minute"),
        burst_per_hour: burst("burst_per_hour"),
        daily_quota: most("daily_request_quota"),
        monthly_quota: most("monthly_request_quota"),
        monthly_bytes: most("monthly_bandwidth_quota"),
        queue_ms: if limits.flag("enable_throttling") { burst("max_queue_time_ms") } else { 0 },
    }
}

/// The row of a user's tier at a time, and the assignment that says so.
pub(crate) fn row_of<'s>(state: &'s State, user: &str, now_ms: i64) -> Option<(&'s Row, &'s Row)> {
    let assignment = in_force(state.get("assignments", user)?, now_ms)?;
    Some((state.get("tiers", assignment.text("tier_id"))?, assignment))
}

/// A user's tier at a time, as the data plane counts by it.
pub(crate) fn tier_of(state: &State, user: &str, now_ms: i64) -> Option<Arc<Tier>> {
    let (tier, assignment) = row_of(state, user, now_ms)?;
    Some(Arc::new(compiled(tier.text("tier_id"), &limits(tier, assignment))))
}

/// A new assignment's row.
pub(crate) fn assignment(user: &str, tier: &str, (from_ms, until_ms): (i64, Option<i64>)) -> Row {
    let mut row = Row::new();
    row.insert("user_id".to_owned(), json!(user));
    row.insert("tier_id".to_owned(), json!(tier));
    row.insert("effective_from".to_owned(), json!(times::text(from_ms)));
    row.insert("effective_until".to_owned(), json!(until_ms.map(times::text)));
    for name in ["override_limits", "notes"] {
        row.insert(name.to_owned(), Value::Null);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400_000;

    fn state(assignment: Row, limits: Value) -> State {
        let mut state = State::default();
        let tier = json!({"tier_id": "pro", "limits": limits});
        let mut put = |table, key, row: Row| drop(state.set(table, key, Some(Arc::new(row))));
        put("tiers", "pro", tier.as_object().cloned().unwrap());
        put("assignments", "ana", assignment);
        state
    }

    #[test]
    fn a_trial_falls_back_and_an_upgrade_waits_for_its_day() {
        let base = laid_upon(None, assignment("ana", "free", (0, None)), 0);
        let trial = laid_upon(Some(&base), assignment("ana", "pro", (10 * DAY, Some(24 * DAY))), 10 * DAY);
        let later = laid_upon(Some(&trial), assignment("ana", "max", (20 * DAY, None)), 11 * DAY);
        for (row, day, tier) in [
            (&base, 0, "free"),
            (&trial, 10, "pro"),
            (&trial, 23, "pro"),
            (&trial, 24, "free"),
            (&later, 11, "pro"),
            (&later, 20, "max"),
            (&later, 30, "max"),
        ] {
            assert_eq!(in_force(row, day * DAY).unwrap().text("tier_id"), tier, "day {day}");
        }
        assert_eq!(next_turn(&later, 11 * DAY), Some(20 * DAY));
        assert_eq!(scheduled(&later, 11 * DAY).len(), 1);
        assert!(!settled(&later, 20 * DAY).unwrap().contains_key("previous"), "nothing below counts again");
        let only = assignment("ana", "pro", (0, Some(5 * DAY)));
        assert_eq!((settled(&only, 5 * DAY), in_force(&only, 5 * DAY)), (None, None));
    }

    #[test]
    fn overrides_lie_in_front_and_large_limits_are_none() {
        let limits = json!({"requests_per_minute": 10, "requests_per_hour": 999_999, "burst_per_minute": 2,
                            "monthly_request_quota": 1_000_000, "enable_throttling": true, "max_queue_time_ms": 700});
        let mut own = assignment("ana", "pro", (5, None));
        own.insert("override_limits".to_owned(), json!({"requests_per_minute": 3, "requests_per_day": null}));
        let state = state(own, limits);
        let tier = tier_of(&state, "ana", 5).unwrap();
        let wanted = Tier {
            id: "pro".to_owned(),
            per_minute: Some(3),
            burst_per_minute: 2,
            monthly_quota: Some(1_000_000),
            queue_ms: 700,
            ..Tier::default()
        };
        assert_eq!(*tier, wanted);
        assert_eq!((tier_of(&state, "ana", 4), tier_of(&state, "eva", 9)), (None, None));
    }

    proptest! {
        #[test]
        fn settling_changes_nothing_that_is_to_come(
            moves in proptest::collection::vec((0i64..20, proptest::option::of(1i64..20)), 1..6),
            now in 0i64..20, later in 0i64..30,
        ) {
            let mut row = None;
            for (index, (start, length)) in moves.iter().enumerate() {
                let span = (start * DAY, length.map(|days| (start + days) * DAY));
                row = Some(laid_upon(row.as_ref(), assignment("ana", &index.to_string(), span), 0));
            }
            let row = row.unwrap();
            let later = (now + later) * DAY;
            let id = |row: Option<&Row>| row.map(|row| row.text("tier_id").to_owned());
            let kept = settled(&row, now * DAY);
            prop_assert_eq!(id(kept.as_ref().and_then(|row| in_force(row, later))), id(in_force(&row, later)));
        }
    }
}
