//! Rules of users as the surface below `/api/v1` changes them (spec/octoprox.md 3.7, 3.8, 5.1): nobody demotes or
//! deactivates themselves, and the last administrator stays.

use crate::envelope::detail;
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::{is_admin, last_admin};
use gatehouse_common::problem::Problem;
use serde_json::json;

/// Longest name, characters.
pub(crate) const NAME_CHARS: usize = 64;

/// A user with the default of every field.
pub(crate) fn plain(name: &str, email: &str, hash: &str, (role, now_ms): (&str, i64)) -> Row {
    // The other surface's bounds of names and addresses are not this one's.
    let mut row = crate::api::users::plain("user", "user@localhost", hash, now_ms);
    row.insert("username".to_owned(), json!(name));
    row.insert("email".to_owned(), json!(email));
    row.insert("role".to_owned(), json!(role));
    let administers = role == "admin";
    row.insert("ui_access".to_owned(), json!(administers));
    if email.is_empty() {
        row.remove("email");
    }
    row
}

/// The same user, whose tokens and sessions have ended.
pub(crate) fn ended(user: &Row, now_ms: i64) -> Row {
    let mut row = user.clone();
    row.insert("token_epoch".to_owned(), json!(now_ms.max(user.number("token_epoch") + 1)));
    row.insert("revoked_at_unix_ms".to_owned(), json!(now_ms));
    row
}

/// A user with another role (whether an administrator's) and in another state (whether active); `None` leaves alone.
///
/// # Errors
/// 400 for oneself, and for the last active administrator.
pub(crate) fn changed(
    state: &State,
    old: &Row,
    (admin, active): (Option<bool>, Option<bool>),
    (own, now_ms): (bool, i64),
) -> Result<Row, Problem> {
    let was_admin = is_admin(state, old.text("role"));
    let demoted = was_admin && admin == Some(false);
    let lives = old.flag("active") && !old.flag("tokens_revoked");
    let stopped = lives && active == Some(false);
    if own && demoted {
        return Err(detail(400, "You cannot demote yourself"));
    }
    if own && active == Some(false) {
        return Err(detail(400, "You cannot deactivate yourself"));
    }
    if (demoted || stopped) && last_admin(state, old.text("username")) {
        let text = "The last active administrator can neither be demoted nor deactivated";
        return Err(detail(400, text));
    }
    let mut row = if stopped { ended(old, now_ms) } else { old.clone() };
    // A role that is already of the kind asked for stays: there are more of them than this surface knows.
    match admin {
        Some(true) if !was_admin => drop(row.insert("role".to_owned(), json!("admin"))),
        Some(false) if was_admin => drop(row.insert("role".to_owned(), json!("user"))),
        _ => {}
    }
    if let Some(active) = active {
        row.insert("active".to_owned(), json!(active));
        if active {
            row.insert("tokens_revoked".to_owned(), json!(false));
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn user(name: &str, role: &str, active: bool) -> Row {
        let row = json!({"username": name, "role": role, "active": active, "token_epoch": 7});
        row.as_object().cloned().unwrap()
    }

    fn state(users: &[(&str, &str, bool)]) -> State {
        let mut state = State::default();
        for (name, role, active) in users {
            state.set("users", name, Some(Arc::new(user(name, role, *active))));
        }
        state
    }

    #[test]
    fn oneself_and_the_last_administrator_stay() {
        let two = state(&[("a", "admin", true), ("b", "admin", true), ("c", "ops", true)]);
        let one = state(&[("a", "admin", true), ("b", "admin", false), ("c", "ops", true)]);
        let word = |state: &State, name: &str, change, own| {
            let old = state.get("users", name).unwrap();
            changed(state, old, change, (own, 99)).map_err(|problem| problem.detail)
        };
        assert!(word(&two, "a", (Some(false), None), true).unwrap_err().contains("demote"));
        assert!(word(&two, "a", (None, Some(false)), true).unwrap_err().contains("deactivate yourself"));
        assert_eq!(word(&two, "a", (Some(false), None), false).unwrap()["role"], "user");
        for change in [(Some(false), None), (None, Some(false))] {
            assert!(word(&one, "a", change, false).unwrap_err().contains("last"));
        }
        let stopped = word(&two, "b", (None, Some(false)), false).unwrap();
        assert_eq!((&stopped["active"], &stopped["token_epoch"]), (&json!(false), &json!(99)));
        assert_eq!(word(&one, "b", (None, Some(false)), false).unwrap()["token_epoch"], 7, "again");
        assert_eq!(
            word(&one, "c", (Some(false), Some(true)), false).unwrap()["role"],
            "ops",
            "a user already"
        );
        assert_eq!(word(&one, "c", (Some(true), None), false).unwrap()["role"], "admin");
    }

    proptest! {
        #[test]
        fn an_administrator_is_always_left(
            steps in proptest::collection::vec((0usize..3, any::<Option<bool>>(), any::<Option<bool>>(), 0usize..3), 1..40),
        ) {
            let names = ["a", "b", "c"];
            let mut state = state(&[("a", "admin", true), ("b", "user", true), ("c", "user", true)]);
            for (target, admin, active, who) in steps {
                let old = Arc::clone(state.get("users", names[target]).unwrap());
                if let Ok(row) = changed(&state, &old, (admin, active), (target == who, 1)) {
                    state.set("users", names[target], Some(Arc::new(row)));
                }
                let can = |row: &Row| row.flag("active") && is_admin(&state, row.text("role"));
                prop_assert!(state.rows("users").any(|(_, row)| can(row)));
            }
        }
    }
}
