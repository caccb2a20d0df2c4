//! Bodies to rows: one table of fields for each resource gives checking, lenient coercion and defaults
//! (spec/doorman.md 1.2: unknown fields are ignored, `"5"` is 5, `0.1` is the integer 0, `1` is "1").

use crate::state::Row;
use crate::subjects::times;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

/// What a field takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Characters, least and most.
    Text(usize, usize),
    Texts,
    /// Whole number, least.
    Int(i64),
    /// Whole number, least and most.
    Between(i64, i64),
    Seconds,
    /// Number, whole or not, least.
    Real(f64),
    /// A point in time, kept as [`times::text`] writes it.
    Time,
    Flag,
    Object,
    Objects,
}

/// What an absent field becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Absent {
    Required,
    Null,
    Empty,
    Is(bool),
    Text(&'static str),
    Number(i64),
}

/// One field.
pub(crate) type Field = (&'static str, Kind, Absent);

fn refused(field: &str, expected: &str) -> Problem {
    Problem::compat(422, "VAL001", format!("Validation Error: {field}: expected {expected}")).at(field)
}

/// Reads a whole resource.
///
/// # Errors
/// 422 `VAL001`, naming the field and what was expected.
pub(crate) fn create(fields: &[Field], body: &Value) -> Result<Row, Problem> {
    let object = body.as_object().ok_or_else(|| refused("body", "a JSON object"))?;
    let mut row = Row::new();
    for (name, kind, absent) in fields {
        let value = match object.get(*name).filter(|value| !value.is_null()) {
            Some(value) => coerce(name, *kind, value)?,
            None => default(*absent).ok_or_else(|| refused(name, "a value"))?,
        };
        row.insert((*name).to_owned(), value);
    }
    Ok(row)
}

/// What an absent field becomes; `None`: it may not be absent.
fn default(absent: Absent) -> Option<Value> {
    Some(match absent {
        Absent::Required => return None,
        Absent::Null => Value::Null,
        Absent::Empty => json!([]),
        Absent::Is(flag) => json!(flag),
        Absent::Text(text) => json!(text),
        Absent::Number(number) => json!(number),
    })
}

/// A row with the default of every field that it was stored without: an earlier version may not have known it.
pub(crate) fn complete(fields: &[Field], row: &Row) -> Row {
    let mut whole = row.clone();
    for (name, _, absent) in fields {
        if let Some(value) = default(*absent) {
            whole.entry(*name).or_insert(value);
        }
    }
    whole
}

/// Reads the fields that are there; `null` sets one back to its default, and is passed over where there is none.
///
/// # Errors
/// As [`create`].
pub(crate) fn update(fields: &[Field], body: &Value) -> Result<Row, Problem> {
    let object = body.as_object().ok_or_else(|| refused("body", "a JSON object"))?;
    let mut row = Row::new();
    for (name, kind, absent) in fields {
        let value = match object.get(*name) {
            Some(Value::Null) => default(*absent),
            Some(value) => Some(coerce(name, *kind, value)?),
            None => None,
        };
        row.extend(value.map(|value| ((*name).to_owned(), value)));
    }
    Ok(row)
}

/// Whether a field that an update sets back to its default stands there anyway, so that nothing is asked for.
pub(crate) fn idle(body: &Value, old: &Row, name: &str, value: &Value) -> bool {
    body.get(name).is_some_and(Value::is_null) && old.get(name).unwrap_or(&Value::Null) == value
}

/// Checks a row that is said to be a resource as it is stored: every field that is there has its own type.
///
/// # Errors
/// As [`create`].
pub(crate) fn stored(fields: &[Field], row: &Row) -> Result<(), Problem> {
    for (name, kind, absent) in fields {
        match row.get(*name).filter(|value| !value.is_null()) {
            Some(value) if coerce(name, *kind, value)? == *value => {}
            Some(_) => return Err(refused(name, "a value of the type it is stored with")),
            None if matches!(absent, Absent::Required) && *name != "password" => {
                return Err(refused(name, "a value"));
            }
            None => {}
        }
    }
    Ok(())
}

fn coerce(name: &str, kind: Kind, value: &Value) -> Result<Value, Problem> {
    match kind {
        Kind::Text(least, most) => {
            let text = text(value).ok_or_else(|| refused(name, "text"))?;
            let length = text.chars().count();
            if length < least || length > most {
                return Err(refused(name, &format!("{least} to {most} characters")));
            }
            Ok(json!(text))
        }
        Kind::Texts => {
            let items = value.as_array().ok_or_else(|| refused(name, "a list of texts"))?;
            let items: Option<Vec<String>> = items.iter().map(text).collect();
            items.map(|items| json!(items)).ok_or_else(|| refused(name, "a list of texts"))
        }
        Kind::Int(least) => {
            let number = number(value).filter(|number| *number >= least);
            number
                .map(|number| json!(number))
                .ok_or_else(|| refused(name, &format!("a whole number from {least}")))
        }
        Kind::Between(least, most) => {
            let number = number(value).filter(|number| (least..=most).contains(number));
            number
                .map(|number| json!(number))
                .ok_or_else(|| refused(name, &format!("a whole number from {least} to {most}")))
        }
        Kind::Seconds => {
            let seconds = value.as_f64().filter(|seconds| (0.001..=86_400.0).contains(seconds));
            seconds.map(|seconds| json!(seconds)).ok_or_else(|| refused(name, "seconds from 0.001 to 86400"))
        }
        Kind::Real(least) => {
            real(value, least).ok_or_else(|| refused(name, &format!("a number from {least}")))
        }
        Kind::Time => times::parse(value)
            .map(|at| json!(times::text(at)))
            .ok_or_else(|| refused(name, "a time like 2026-01-31T12:00:00Z")),
        Kind::Flag => flag(value).map(|flag| json!(flag)).ok_or_else(|| refused(name, "true or false")),
        Kind::Objects => match value.as_array() {
            Some(items) if items.iter().all(Value::is_object) => Ok(value.clone()),
            _ => Err(refused(name, "a list of objects")),
        },
        Kind::Object => match value {
            Value::Object(_) => Ok(value.clone()),
            _ => Err(refused(name, "an object")),
        },
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A number stays as it came; text that is one becomes one.
fn real(value: &Value, least: f64) -> Option<Value> {
    let number = match value {
        Value::Number(_) => value.clone(),
        Value::String(text) => json!(text.trim().parse::<f64>().ok()?),
        _ => return None,
    };
    number.as_f64().filter(|number| number.is_finite() && *number >= least).map(|_| number)
}

/// Yes or no in the words of older clients.
pub(crate) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIELDS: &[Field] = &[
        ("name", Kind::Text(1, 5), Absent::Required),
        ("count", Kind::Int(0), Absent::Null),
        ("on", Kind::Flag, Absent::Is(true)),
        ("tags", Kind::Texts, Absent::Empty),
    ];

    #[test]
    fn coerces_as_older_clients_expect() {
        let row = create(FIELDS, &json!({"name": 1, "count": "5", "tags": [1, "b"], "other": {}})).unwrap();
        assert_eq!(Value::Object(row), json!({"name": "1", "count": 5, "on": true, "tags": ["1", "b"]}));
        assert_eq!(update(FIELDS, &json!({"count": 0.1})).unwrap()["count"], 0);
    }

    #[test]
    fn null_sets_back_what_has_a_default() {
        let row = update(FIELDS, &json!({"name": null, "count": null, "on": null, "tags": null})).unwrap();
        assert_eq!(Value::Object(row), json!({"count": null, "on": true, "tags": []}));
        let old = json!({"count": 5}).as_object().cloned().unwrap();
        let body = json!({"count": null, "on": null, "name": null});
        assert!(!idle(&body, &old, "count", &Value::Null));
        assert!(idle(&body, &old, "name", &Value::Null));
        assert!(!idle(&json!({"count": 5}), &old, "count", &json!(5)), "given, even if it is so already");
        assert_eq!(Value::Object(complete(FIELDS, &old)), json!({"count": 5, "on": true, "tags": []}));
    }

    #[test]
    fn names_the_field() {
        for (body, field) in [
            (json!({}), "name"),
            (json!({"name": ""}), "name"),
            (json!({"name": "a", "count": -1}), "count"),
            (json!({"name": "a", "on": "perhaps"}), "on"),
            (json!([]), "body"),
        ] {
            let problem = create(FIELDS, &body).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (422, Some(field)));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}", number in any::<f64>()) {
            let body = json!({"name": text, "count": number, "on": text, "tags": text});
            prop_assert!(create(FIELDS, &body).is_err() || update(FIELDS, &body).is_ok());
        }
    }
}
