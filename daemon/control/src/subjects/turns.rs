//! What comes into force or ends by time alone: assignments of tiers. A turn is a change like any other, so that it is
//! in the audit trail and the data plane hears of it by the one path.

use super::tiers;
use crate::Inner;
use crate::change::Draft;
use crate::state::{Row, State, Table};
use gatehouse_corridor::actor::Actor;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How often the clock is looked at.
const PERIOD: Duration = Duration::from_millis(500);
/// Assignments that turn in one change.
const TURNS: usize = 500;

/// Follows the assignments until it is dropped.
pub(crate) async fn follow(control: Arc<Inner>) {
    let mut seen_ms = control.started_unix_ms;
    // The nearest turn of a table, so that a table that stays costs nothing.
    let mut known: Option<(Table, Option<i64>)> = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let now_ms = control.clock.unix_ms();
        let state = control.changes.state();
        let table = state.table("assignments");
        if !known.as_ref().is_some_and(|(of, _)| of.ptr_eq(table)) {
            let next = table.values().filter_map(|row| tiers::next_turn(row, seen_ms)).min();
            known = Some((table.clone(), next));
        }
        if known.as_ref().and_then(|(_, next)| *next).is_none_or(|next| next > now_ms) {
            seen_ms = seen_ms.max(now_ms);
            continue;
        }
        let before = seen_ms;
        let make = move |state: &State| Ok(turned(state, before, now_ms));
        match control.changes.submit(Actor::System, make).await {
            Ok(_) => known = None,
            // A full disk, most likely: tried again with the next beat.
            Err(problem) => {
                tracing::warn!(target: "tiers", code = problem.code, "assignments wait: {problem}");
                continue;
            }
        }
        let due = due(&control.changes.state(), before, now_ms).next().is_some();
        seen_ms = if due { before } else { now_ms };
    }
}

/// Whose assignment turns after one time and up to another, and was not settled since.
fn due(state: &State, after_ms: i64, now_ms: i64) -> impl Iterator<Item = (&String, &Arc<Row>)> {
    state.rows("assignments").filter(move |(_, row)| {
        let settled = row.get("settled_unix_ms").and_then(serde_json::Value::as_i64).unwrap_or(i64::MIN);
        tiers::next_turn(row, after_ms.max(settled)).is_some_and(|at| at <= now_ms)
    })
}

fn turned(state: &State, after_ms: i64, now_ms: i64) -> Draft {
    let mut draft = Draft::new("tier.turn", "tier/assignments").passing();
    let mut users = Vec::new();
    for (user, row) in due(state, after_ms, now_ms).take(TURNS) {
        users.push(user.clone());
        draft = match tiers::settled(row, now_ms) {
            Some(mut row) => {
                // A row that differs: whoever compares rows sees that something is to be done.
                row.insert("settled_unix_ms".to_owned(), json!(now_ms));
                draft.put("assignments", user.clone(), row)
            }
            None => draft.delete("assignments", user.clone()),
        };
    }
    draft.detail(json!({ "users": users }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Fields as _;

    #[test]
    fn each_turn_comes_once() {
        let mut state = State::default();
        let mut put = |user: &str, row: Row| {
            state.set("assignments", user, Some(Arc::new(row)));
        };
        let base = tiers::assignment("ana", "free", (0, None));
        put("ana", tiers::laid_upon(Some(&base), tiers::assignment("ana", "pro", (0, Some(5_000))), 0));
        put("eva", tiers::assignment("eva", "pro", (4_000, None)));
        put("old", tiers::assignment("old", "pro", (0, Some(3_000))));
        put("far", tiers::assignment("far", "pro", (9_000, None)));
        assert_eq!(due(&state, 1_000, 2_000).count(), 0);
        let draft = turned(&state, 1_000, 5_000);
        for (table, user, row) in draft.rows {
            assert_eq!(table, "assignments");
            match (user.as_str(), row) {
                ("old", None) => drop(state.set(table, &user, None)),
                ("ana" | "eva", Some(row)) => {
                    let tier = tiers::in_force(&row, 5_000).unwrap().text("tier_id");
                    assert_eq!(tier, if user == "ana" { "free" } else { "pro" });
                    state.set(table, &user, Some(Arc::new(row)));
                }
                (user, row) => panic!("{user}: {row:?}"),
            }
        }
        assert_eq!(due(&state, 1_000, 5_000).count(), 0, "settled");
        assert_eq!(due(&state, 5_000, 9_000).map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["far"]);
    }
}
