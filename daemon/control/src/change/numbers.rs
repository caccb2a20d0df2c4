//! Numbers of users and keys (spec/octoprox.md 2: ids are integers). Each row is given the next one in the transaction
//! that makes it, and keeps it; none is given twice, since the last one given is kept beside the rows. Also when a user
//! was made and changed last.

use crate::index::{self, By};
use crate::state::{Fields as _, Row, State};
use gatehouse_store::Batch;
use serde_json::json;

/// Tables whose rows have a number, and the index that finds them by it.
const NUMBERED: [(&str, By); 2] = [("keys", By::KeyNumber), ("users", By::UserNumber)];
/// When a row was made and changed, unix milliseconds.
pub(crate) const CREATED: &str = "created_unix_ms";
pub(crate) const UPDATED: &str = "updated_unix_ms";

fn numbered(table: &str) -> Option<(&'static str, By)> {
    NUMBERED.into_iter().find(|(name, _)| *name == table)
}

/// Key in `meta` of the last number given in a table.
pub(crate) fn place(table: &str) -> String {
    format!("last_number/{table}")
}

/// The tables that have numbers.
pub(crate) fn tables() -> impl Iterator<Item = (&'static str, By)> {
    NUMBERED.into_iter()
}

/// The number that the next row of a table gets.
pub(crate) fn next(state: &State, table: &str) -> i64 {
    state.numbers.get(table).copied().unwrap_or(0) + 1
}

/// Rows that an earlier version, or an archive of one, left without a number; the oldest first.
pub(crate) fn without(state: &State) -> Vec<(&'static str, String, Row)> {
    let mut found: Vec<_> = tables()
        .flat_map(|(table, _)| state.rows(table).map(move |(key, row)| (table, key, row)))
        .filter(|(_, _, row)| row.number("id") <= 0)
        .map(|(table, key, row)| (table, key.clone(), Row::clone(row)))
        .collect();
    // A user's epoch is the moment it was made, or later.
    found.sort_by_key(|(_, key, row)| (row.number(CREATED).max(row.number("token_epoch")), key.clone()));
    found
}

/// The row as it is to be kept, if it has more than the draft gave: a number that no other row has, and its times.
pub(super) fn complete(
    (state, batch): (&mut State, &mut Batch),
    (table, key): (&str, &str),
    row: &Row,
    now_ms: i64,
) -> Option<Row> {
    let (table, by) = numbered(table)?;
    let old = state.get(table, key).cloned();
    let mut row = row.clone();
    let free = |number: i64| state.keys_by(by, &index::second(number)).all(|other| other == key);
    let given = Some(row.number("id")).filter(|number| *number > 0 && free(*number));
    let kept = old.as_ref().map(|old| old.number("id")).filter(|number| *number > 0);
    let number = given.or(kept).unwrap_or_else(|| next(state, table));
    row.insert("id".to_owned(), json!(number));
    if number > state.numbers.get(table).copied().unwrap_or(0) {
        state.numbers.insert(table, number);
        batch.put("meta", &place(table), number.to_string().into_bytes());
    }
    if table == "users" {
        let made = old.as_ref().and_then(|old| old.get(CREATED)).cloned().unwrap_or_else(|| json!(now_ms));
        row.entry(CREATED).or_insert(made);
        // A draft that brings a time of its own speaks of the past: a backup, another appliance's rows.
        if row.get(UPDATED) == old.as_ref().and_then(|old| old.get(UPDATED)) {
            row.insert(UPDATED.to_owned(), json!(now_ms));
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::sync::Arc;

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap()
    }

    fn put(state: &mut State, key: &str, value: Value, now_ms: i64) -> Row {
        let mut batch = Batch::default();
        let row = complete((state, &mut batch), ("users", key), &row(value), now_ms).unwrap();
        state.set("users", key, Some(Arc::new(row.clone())));
        row
    }

    #[test]
    fn a_number_is_given_once_and_kept() {
        let mut state = State::default();
        assert_eq!(put(&mut state, "ana", json!({}), 5), row(json!({"id": 1, CREATED: 5, UPDATED: 5})));
        assert_eq!(put(&mut state, "bob", json!({}), 6)["id"], 2);
        state.set("users", "bob", None);
        assert_eq!(put(&mut state, "bob", json!({}), 7)["id"], 3, "another user of the same name");
        assert_eq!(put(&mut state, "eva", json!({"id": 40}), 7)["id"], 40, "an imported one keeps its own");
        assert_eq!(put(&mut state, "kim", json!({"id": 40}), 7)["id"], 41, "unless somebody has it");
        let ana = put(&mut state, "ana", json!({"role": "x", CREATED: 5, UPDATED: 5}), 9);
        assert_eq!(ana, row(json!({"role": "x", "id": 1, CREATED: 5, UPDATED: 9})));
        let restored = put(&mut state, "ana", json!({"id": 1, CREATED: 5, UPDATED: 5}), 11);
        assert_eq!(restored[UPDATED], 5);
        let mut batch = Batch::default();
        assert!(complete((&mut state, &mut batch), ("apis", "a"), &Row::new(), 1).is_none());
    }

    #[test]
    fn the_oldest_without_a_number_come_first() {
        let mut state = State::default();
        for (table, key, value) in [
            ("users", "new", json!({"token_epoch": 9})),
            ("users", "old", json!({"token_epoch": 1})),
            ("users", "has", json!({"token_epoch": 1, "id": 7})),
            ("keys", "k", json!({CREATED: 5})),
        ] {
            state.set(table, key, Some(Arc::new(row(value))));
        }
        let keys: Vec<_> = without(&state).into_iter().map(|(_, key, _)| key).collect();
        assert_eq!(keys, ["old", "k", "new"]);
    }
}
