//! Dates, tiers, keys.

use super::*;
use gatehouse_common::secret::Secret;
use proptest::prelude::*;
use std::sync::Arc;

fn row(value: Value) -> Row {
    value.as_object().cloned().unwrap()
}

fn at(text: &str) -> i64 {
    seconds(text).unwrap()
}

fn state() -> State {
    let mut state = State::default();
    let definition = json!({"api_credit_group": "gold", "credit_tiers": [
        {"tier_name": "free", "credits": 10, "reset_frequency": "monthly"},
        {"tier_name": "once", "credits": 99, "reset_frequency": "none"},
    ]});
    state.set(DEFINITIONS, "gold", Some(Arc::new(row(definition))));
    state
}

fn sealer() -> Sealer {
    Sealer::new(&Secret::new("one key of thirty-two characters".to_owned())).unwrap()
}

#[test]
fn the_next_date_is_a_whole_step_from_the_last() {
    for (word, from, now, next) in [
        ("daily", "2024-01-01", "2024-01-01", "2024-01-02"),
        ("daily", "2024-01-01", "2024-03-05T12:00:00Z", "2024-03-06"),
        ("hourly", "2024-01-01", "2024-01-01T05:59:59Z", "2024-01-01T06:00:00Z"),
        ("weekly", "2024-01-01", "2024-01-09", "2024-01-15"),
        ("monthly", "2024-01-31", "2024-02-01", "2024-02-29"),
        ("monthly", "2024-01-31", "2024-02-29", "2024-03-31"),
        ("monthly", "2023-12-05T08:00:00", "2024-06-05T08:00:00", "2024-07-05T08:00:00"),
        ("yearly", "2024-02-29", "2024-03-01", "2025-02-28"),
    ] {
        let found = frequency(word).unwrap().next(at(from), at(now));
        assert_eq!(found, Some(at(next)), "{word} {from} {now}");
    }
    assert_eq!(frequency("none").unwrap().next(0, 5), None);
    assert!(frequency("sometimes").is_none() && seconds("soon").is_none());
}

#[test]
fn due_accounts_are_filled_to_their_tier_and_others_stay() {
    let mut state = state();
    let account = json!({"username": "ana", "users_credits": {
        "gold": {"tier_name": "free", "available_credits": 2, "reset_date": "2024-01-31"},
        "gone": {"tier_name": "free", "available_credits": 3, "reset_date": "2024-01-31"},
        "late": {"tier_name": "free", "available_credits": 4, "reset_date": "2099-01-31"},
    }});
    state.set(ACCOUNTS, "ana", Some(Arc::new(row(account))));
    let now = at("2024-02-10");
    assert_eq!(state.keys_up_to(crate::index::By::AccountReset, &crate::index::second(now)).count(), 1);
    let (row, due) = refill(&state, "ana", now).unwrap();
    let groups = &row["users_credits"];
    assert_eq!(due, ["gold"]);
    assert_eq!(
        (&groups["gold"]["available_credits"], &groups["gold"]["reset_date"]),
        (&json!(10), &json!("2024-02-29T00:00:00Z"))
    );
    assert_eq!(
        (&groups["gone"]["available_credits"], &groups["gone"]["reset_date"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!(groups["late"]["available_credits"], 4);
    state.set(ACCOUNTS, "ana", Some(Arc::new(row)));
    assert!(state.keys_up_to(crate::index::By::AccountReset, &crate::index::second(now)).next().is_none());
}

#[test]
fn keys_are_sealed_and_a_masked_one_is_kept() {
    let (mut state, sealer) = (state(), sealer());
    let given = row(json!({"gold": {"tier_name": "free", "available_credits": "7", "user_api_key": "mine"}}));
    let made = accounts(&sealer, &state, "ana", &given, at("2024-01-31")).unwrap();
    let sealed = made["gold"][USER_KEY].as_str().unwrap().to_owned();
    assert_eq!(sealer.open(&user_place("ana", "gold"), &sealed).unwrap().expose(), "mine");
    assert_eq!(
        (&made["gold"]["available_credits"], &made["gold"]["reset_date"]),
        (&json!(7), &json!("2024-02-29T00:00:00Z"))
    );
    let kept = json!({"username": "ana", "users_credits": made});
    state.set(ACCOUNTS, "ana", Some(Arc::new(row(kept))));
    for (flag, key) in [(true, json!(sealed)), (false, Value::Null)] {
        let given = row(json!({"gold": {"tier_name": "once", "user_api_key_present": flag}}));
        let made = accounts(&sealer, &state, "ana", &given, 0).unwrap();
        assert_eq!(made["gold"][USER_KEY], key);
    }
    for bad in [
        json!({"gold": 5}),
        json!({"gold": {"available_credits": -1}}),
        json!({"gold": {"available_credits": "many"}}),
        json!({"gold": {"reset_date": "soon"}}),
        json!({"gold": {"user_api_key": "a\nb"}}),
    ] {
        let problem = accounts(&sealer, &state, "ana", &row(bad), 0).unwrap_err();
        assert!(
            problem.detail.contains("users_credits.gold") && problem.detail.contains("expected"),
            "{problem}"
        );
    }
}

#[test]
fn a_new_key_waits_for_the_old_ones_end() {
    let sealer = sealer();
    let mut definition = row(json!({
        "api_key": "old", "api_key_new": "new", "api_key_rotation_expires": "2024-01-31T00:00:00Z",
        "api_key_header": "x-key", "credit_tiers": [{"tier_name": "a"}],
    }));
    define(&sealer, "gold", &mut definition).unwrap();
    assert!(!shown(&definition).to_string().contains("gh1:"));
    assert!(rotated(&definition, at("2024-01-30")).is_none());
    let after = rotated(&definition, at("2024-01-31")).unwrap();
    let key = sealer.open(&place("gold", "api_key"), after.text("api_key")).unwrap();
    assert_eq!(key.expose(), "new");
    assert!(rotated(&after, i64::MAX).is_none(), "once");
}

#[test]
fn definitions_name_what_is_wrong() {
    for (value, field) in [
        (json!({"credit_tiers": []}), "credit_tiers"),
        (json!({"credit_tiers": [{"tier_name": ""}]}), "credit_tiers.tier_name"),
        (json!({"credit_tiers": [{"tier_name": "a", "credits": -1}]}), "credit_tiers.credits"),
        (
            json!({"credit_tiers": [{"tier_name": "a", "reset_frequency": "x"}]}),
            "credit_tiers.reset_frequency",
        ),
        (json!({"api_key_header": "a b"}), "api_key_header"),
        (json!({"api_key_rotation_expires": "x"}), "api_key_rotation_expires"),
        (json!({"api_key": "a\nb"}), "api_key"),
        (json!({"api_key_new": "k".repeat(2_049)}), "api_key_new"),
    ] {
        let problem = define(&sealer(), "gold", &mut row(value)).unwrap_err();
        assert_eq!(problem.field.as_deref(), Some(field), "{problem}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_the_next_date_is_later(text in ".{0,30}", from in 0i64..4_000_000_000, pause in 0i64..400_000_000) {
        prop_assert!(seconds(&text).is_none() || !text.is_empty());
        for word in ["hourly", "daily", "weekly", "monthly", "quarterly", "yearly"] {
            let next = frequency(word).unwrap().next(from, from + pause).unwrap();
            prop_assert!(next > from + pause && next <= from + pause + 366 * 86_400, "{word}");
        }
    }
}
