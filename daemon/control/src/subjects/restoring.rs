//! Restoring: a backup's rows in place of the present ones, in one change. What was revoked since stays revoked,
//! whatever the backup says.

use super::{backups, roles, stored};
use crate::Inner;
use crate::change::Draft;
use crate::commands::blocking;
use crate::compile::compile;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::ids::Revision;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::Comparison;
use gatehouse_store::archive;
use gatehouse_store::tables::TABLES;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// They speak of the present, not of the past.
const KEPT: [&str; 4] = ["known_sources", "oidc_logins", "one_time_tokens", "sessions"];

type Rows = BTreeMap<(&'static str, String), Row>;
type Write = (&'static str, String, Option<Row>);

/// An archive's rows, typed; the settings text aside.
fn typed(rows: Vec<archive::Row>) -> Result<(Rows, Option<String>), Problem> {
    let bad = |text: String| Problem::new(Code::BadInput, text).at("backup");
    let (mut typed, mut settings) = (Rows::new(), None);
    for (table, key, value) in rows {
        if (table.as_str(), key.as_str()) == archive::SETTINGS {
            settings = value.as_str().map(str::to_owned);
            continue;
        }
        let known = TABLES.iter().find(|known| known.archived && known.name == table);
        let table = known.ok_or_else(|| bad(format!("unknown table {table:?}")))?.name;
        let Value::Object(row) = value else {
            return Err(bad(format!("table {table}, key {key:?}: expected an object")));
        };
        stored::check(table, &key, &row)?;
        typed.insert((table, key), row);
    }
    Ok((typed, settings))
}

/// The rows to write so that the state becomes the archive's, and how many credentials stay dead against it.
fn writes(state: &State, mut rows: Rows, now_ms: i64) -> Result<(Vec<Write>, usize), Problem> {
    rows.retain(|(table, _), _| !KEPT.contains(table));
    let mut stay = 0;
    for ((table, key), row) in &mut rows {
        match *table {
            "users" => stay += usize::from(keep_user(state, key, row, now_ms)),
            "keys" | "tokens" => stay += usize::from(keep_key(state, (table, key), row, now_ms)),
            _ => {}
        }
    }
    // A second factor stays as it is: what was used of it is used.
    for (user, row) in state.rows("second_factors") {
        if rows.contains_key(&("users", user.clone())) {
            rows.insert(("second_factors", user.clone()), Row::clone(row));
        }
    }
    for (id, row) in state.rows("revoked") {
        rows.entry(("revoked", id.clone())).or_insert_with(|| Row::clone(row));
    }
    administrable(&rows)?;
    let mut writes: Vec<Write> = Vec::new();
    for table in TABLES.iter().filter(|table| table.archived && !KEPT.contains(&table.name)) {
        let gone =
            state.rows(table.name).filter(|(key, _)| !rows.contains_key(&(table.name, (*key).clone())));
        writes.extend(gone.map(|(key, _)| (table.name, key.clone(), None)));
    }
    let differs = |table: &str, key: &str, row: &Row| state.get(table, key).is_none_or(|now| **now != *row);
    let changed = rows.into_iter().filter(|((table, key), row)| differs(table, key, row));
    writes.extend(changed.map(|((table, key), row)| (table, key, Some(row))));
    Ok((writes, stay))
}

/// A user who is there keeps the later epoch, a revocation and a deactivation; one who is not starts a new epoch,
/// since nothing tells whose tokens are still about.
fn keep_user(state: &State, name: &str, row: &mut Row, now_ms: i64) -> bool {
    let archived = row.number("token_epoch");
    let Some(now) = state.get("users", name) else {
        row.insert("token_epoch".to_owned(), json!(now_ms.max(archived)));
        return false;
    };
    let mut kept = false;
    if now.number("token_epoch") > archived {
        for field in ["token_epoch", "token_epoch_before"] {
            row.extend(now.get(field).map(|value| (field.to_owned(), value.clone())));
        }
        kept = true;
    }
    for (field, dead) in [("tokens_revoked", true), ("active", false)] {
        if now.flag(field) == dead && row.flag(field) != dead {
            row.insert(field.to_owned(), json!(dead));
            kept = true;
        }
    }
    kept
}

/// A key that was revoked since, or went with its user, stays dead.
fn keep_key(state: &State, (table, id): (&str, &str), row: &mut Row, now_ms: i64) -> bool {
    let revoked = state.get(table, id).and_then(|now| now.get("revoked_unix_ms")).cloned();
    let revoked = revoked.or_else(|| state.get("revoked", id).map(|_| json!(now_ms)));
    match revoked {
        Some(at) if !row.contains_key("revoked_unix_ms") => {
            row.insert("revoked_unix_ms".to_owned(), at);
            true
        }
        _ => false,
    }
}

/// A restored appliance that nobody can administer would be lost.
fn administrable(rows: &Rows) -> Result<(), Problem> {
    let mut state = State::default();
    for ((table, key), row) in rows.iter().filter(|((table, _), _)| ["users", "roles"].contains(table)) {
        state.set(table, key, Some(Arc::new(row.clone())));
    }
    let can = |user: &Row| user.flag("active") && roles::is_admin(&state, user.text("role"));
    if state.rows("users").any(|(_, user)| can(user)) {
        return Ok(());
    }
    let text = "after this restore no active administrator would be left";
    Err(Problem::new(Code::Conflict, text).at("backup"))
}

/// Refuses rows that the data plane would leave out.
fn loadable(control: &Inner, state: &State, writes: &[Write]) -> Result<(), Problem> {
    let mut after = state.clone();
    for (table, key, row) in writes {
        after.set(table, key, row.clone().map(Arc::new));
    }
    let config = control.config();
    let before = control.changes.published();
    let problems = (config.check)(&before, &compile(&control.changes.compiler(&config), &after));
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// What restoring would change.
pub(crate) fn compare(control: &Inner, name: &str) -> Result<Comparison, Problem> {
    let (backup, rows) = backups::read(control, name)?;
    let (rows, archived_settings) = typed(rows)?;
    let state = control.changes.state();
    let (writes, stay_revoked) = writes(&state, rows, control.clock.unix_ms())?;
    loadable(control, &state, &writes)?;
    let mut counts: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for (table, key, row) in &writes {
        let count = counts.entry(table).or_default();
        match (row.is_some(), state.get(table, key).is_some()) {
            (true, false) => count.0 += 1,
            (false, _) => count.1 += 1,
            (true, true) => count.2 += 1,
        }
    }
    let tables = counts.into_iter().map(|(table, (a, r, c))| (table.to_owned(), a, r, c)).collect();
    let settings_differ = backups::settings(control)? != archived_settings;
    Ok(Comparison { backup, tables, stay_revoked, settings_differ, revision: state.revision })
}

/// Puts rows in place of the present ones in one change, after a look whether the data plane would take them.
///
/// # Errors
/// Rows that are not what their tables hold, or that leave nobody who could administer.
pub(crate) async fn restore_rows(
    control: &Inner,
    actor: Actor,
    rows: Vec<archive::Row>,
    (action, object): (&'static str, String),
) -> Result<Revision, Problem> {
    let (rows, _) = typed(rows)?;
    let (state, now_ms) = (control.changes.state(), control.clock.unix_ms());
    let (planned, _) = writes(&state, rows.clone(), now_ms)?;
    loadable(control, &state, &planned)?;
    let make = move |state: &State| {
        let count = rows.len();
        let (writes, stay_revoked) = writes(state, rows, now_ms)?;
        let detail = json!({ "rows": count, "written": writes.len(), "stay_revoked": stay_revoked });
        let mut draft = Draft::new(action, object).detail(detail);
        draft.rows = writes;
        Ok(draft)
    };
    control.changes.submit(actor, make).await
}

/// Restores in one change, so that a crash leaves either the old rows or the new ones.
pub(crate) async fn restore(control: &Arc<Inner>, actor: Actor, name: String) -> Result<Revision, Problem> {
    let read = name.clone();
    let (backup, rows) = blocking(control, move |control| backups::read(control, &read)).await?;
    let (rows, _) = typed(rows)?;
    let now_ms = control.clock.unix_ms();
    let make = move |state: &State| {
        let (writes, stay_revoked) = writes(state, rows, now_ms)?;
        let detail = json!({ "rows": backup.rows, "of_revision": backup.revision, "written": writes.len(),
                             "stay_revoked": stay_revoked });
        let mut draft = Draft::new("backup.restore", format!("backup/{name}")).detail(detail);
        draft.rows = writes;
        Ok(draft)
    };
    control.changes.submit(actor, make).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap()
    }

    fn state(tables: &[(&'static str, &str, Value)]) -> State {
        let mut state = State::default();
        for (table, key, value) in tables {
            state.set(table, key, Some(Arc::new(row(value.clone()))));
        }
        state
    }

    fn admin(epoch: i64) -> Value {
        json!({"username": "admin", "role": "admin", "active": true, "token_epoch": epoch})
    }

    fn archived(tables: &[(&'static str, &str, Value)]) -> Rows {
        tables.iter().map(|(table, key, value)| ((*table, (*key).to_owned()), row(value.clone()))).collect()
    }

    #[test]
    fn what_was_revoked_since_stays_revoked() {
        let now = state(&[
            ("users", "admin", admin(1)),
            ("users", "ana", json!({"active": false, "tokens_revoked": true, "token_epoch": 9})),
            ("keys", "k1", json!({"username": "ana", "revoked_unix_ms": 5})),
            ("revoked", "k2", json!({"expires_unix_secs": 99})),
            ("groups", "late", json!({})),
            ("sessions", "s", json!({})),
        ]);
        let then = archived(&[
            ("users", "admin", admin(1)),
            ("users", "ana", json!({"active": true, "token_epoch": 3, "role": "user"})),
            ("users", "eva", json!({"active": true, "token_epoch": 3})),
            ("keys", "k1", json!({"username": "ana"})),
            ("keys", "k2", json!({"username": "gone"})),
            ("keys", "k3", json!({"username": "ana"})),
        ]);
        let (writes, stay) = writes(&now, then, 1_000).unwrap();
        assert_eq!(stay, 3);
        let wrote = |table: &str, key: &str| writes.iter().find(|(t, k, _)| (*t, k.as_str()) == (table, key));
        let written = |table: &str, key: &str| wrote(table, key).unwrap().2.clone().unwrap();
        assert_eq!(written("users", "ana")["token_epoch"], 9);
        assert_eq!(written("users", "ana")["active"], false);
        assert_eq!(written("users", "eva")["token_epoch"], 1_000, "tokens of one who was deleted stay dead");
        assert_eq!(written("keys", "k2")["revoked_unix_ms"], 1_000);
        assert!(!written("keys", "k3").contains_key("revoked_unix_ms"));
        assert!(wrote("keys", "k1").is_none() && wrote("users", "admin").is_none(), "they are so already");
        assert_eq!(wrote("groups", "late").unwrap().2, None, "what came later goes");
        assert!(wrote("revoked", "k2").is_none() && wrote("sessions", "s").is_none());
    }

    #[test]
    fn an_archive_without_an_administrator_is_refused() {
        let then = archived(&[("users", "ana", json!({"active": true, "role": "user"}))]);
        let problem = writes(&state(&[("users", "admin", admin(1))]), then, 1).unwrap_err();
        assert!(problem.detail.contains("administrator"), "{problem}");
    }

    proptest! {
        #[test]
        fn a_second_restore_has_nothing_to_do(epochs in proptest::collection::vec((0i64..9, 0i64..9), 1..6)) {
            let mut now = state(&[("users", "admin", admin(4))]);
            let mut then = archived(&[("users", "admin", admin(2))]);
            for (index, (a, b)) in epochs.iter().enumerate() {
                let user = row(json!({"active": a % 2 == 0, "token_epoch": a}));
                now.set("users", &format!("u{index}"), Some(Arc::new(user)));
                then.insert(("users", format!("u{index}")), row(json!({"active": true, "token_epoch": b})));
            }
            let (first, _) = writes(&now, then.clone(), 100).unwrap();
            for (table, key, row) in first {
                now.set(table, &key, row.map(Arc::new));
            }
            prop_assert!(writes(&now, then, 100).unwrap().0.is_empty());
            for (index, (a, b)) in epochs.iter().enumerate() {
                let user = now.get("users", &format!("u{index}")).unwrap();
                prop_assert!(user.number("token_epoch") >= *a.max(b));
            }
        }
    }
}
