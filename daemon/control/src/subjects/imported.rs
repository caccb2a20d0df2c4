//! Cells of rows that were read from somebody else's tables: of whatever type they are, they are read as what is wanted, or
//! are absent.

use super::times;
use gatehouse_common::ops::imports::ImportRow;
use serde_json::{Value, json};

/// Longest text told again, characters.
const TOLD_CHARS: usize = 60;

/// A row that was given.
pub(crate) struct Given<'r>(pub(crate) &'r ImportRow);

impl Given<'_> {
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    pub(crate) fn whole(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Unix milliseconds; what is no time is none.
    pub(crate) fn time(&self, name: &str) -> Option<i64> {
        times::parse(self.0.get(name)?)
    }

    /// A value that stands as JSON text; text that is none stays text.
    pub(crate) fn json(&self, name: &str) -> Value {
        match self.0.get(name) {
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            Some(Value::Null) | None => json!({}),
            Some(other) => other.clone(),
        }
    }
}

/// Why a row was not taken, naming it by what people know it by.
pub(crate) fn note_of(kind: &str, row: &ImportRow, name: &str, why: &str) -> String {
    let given = Given(row);
    let id = given.text("id").unwrap_or_else(|| "none".to_owned());
    let known: String = given.text(name).unwrap_or_default().chars().take(TOLD_CHARS).collect();
    format!("{kind} {known:?} (id {id}): not taken: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_read_leniently() {
        let row = json!({"id": "7", "name": 5, "at": "2026-01-31 12:30:00.000001", "bad": "soon", "m": "[1]", "n": "x", "z": null});
        let row = row.as_object().cloned().unwrap();
        let given = Given(&row);
        assert_eq!(
            (given.whole("id"), given.text("name"), given.whole("bad")),
            (Some(7), Some("5".to_owned()), None)
        );
        assert_eq!(
            (given.time("at"), given.time("bad"), given.time("z")),
            (Some(1_769_862_600_000), None, None)
        );
        assert_eq!((given.json("m"), given.json("n"), given.json("z")), (json!([1]), json!("x"), json!({})));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}", number in any::<i64>()) {
            let row = json!({"a": text, "b": number}).as_object().cloned().unwrap();
            for name in ["a", "b", "c"] {
                let given = Given(&row);
                let _all = (given.text(name), given.whole(name), given.time(name), given.json(name));
                prop_assert!(note_of("x", &row, name, "y").contains("not taken"));
            }
        }
    }
}
