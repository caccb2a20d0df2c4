//! What an endpoint's body must be (spec/doorman.md 4.3): rules by path, or a JSON Schema of its own. A rule that could
//! not be enforced is refused, with the path of the rule in the message.

use crate::schema::{Absent, Field, Kind};
use crate::state::{Fields as _, Row, State};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::snapshot::api::Validation;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Rules inside rules, at most.
const DEPTH: usize = 16;
/// Rules of one endpoint.
const RULES: usize = 1_000;
/// Largest index of a path.
const INDEX_MAX: u32 = 100_000;

pub(crate) const FIELDS: &[Field] = &[
    ("endpoint_id", Kind::Text(0, 64), Absent::Null),
    ("validation_enabled", Kind::Flag, Absent::Is(true)),
    ("validation_schema", Kind::Object, Absent::Null),
    ("json_schema", Kind::Object, Absent::Null),
];

const RULE: &[&str] = &[
    "required",
    "type",
    "min",
    "max",
    "pattern",
    "enum",
    "format",
    "custom_validator",
    "nested_schema",
    "array_items",
];
const TYPES: [&str; 5] = ["string", "number", "boolean", "array", "object"];
const FORMATS: [&str; 5] = ["email", "url", "date", "datetime", "uuid"];

fn refused(place: &str, expected: &str) -> Problem {
    let text = format!("Validation Error: validation_schema: {place}: expected {expected}");
    Problem::compat(422, "VAL001", text).at("validation_schema")
}

/// The flat map of rules, out of the wrapper that is normal and may be missing. A rule of a field that is itself called
/// `validation_schema` has no map of rules as its members.
pub(crate) fn flat(schema: &Map<String, Value>) -> &Map<String, Value> {
    match schema.get("validation_schema").and_then(Value::as_object) {
        Some(inner) if schema.len() == 1 && inner.values().all(Value::is_object) => inner,
        _ => schema,
    }
}

/// Checks a row's rules or schema.
///
/// # Errors
/// 422 `VAL001`, naming the path of the rule and what was expected.
pub(crate) fn check(row: &Row) -> Result<(), Problem> {
    let schema = row.get("json_schema").filter(|schema| !schema.is_null());
    let rules = row.get("validation_schema").and_then(Value::as_object).map(flat);
    match (rules, schema) {
        (Some(rules), Some(_)) if !rules.is_empty() => {
            Err(refused("json_schema", "either rules or a JSON Schema, not both"))
        }
        (_, Some(schema)) => json_schema(schema),
        (Some(rules), None) => map(rules, "", &mut 0, 0),
        (None, None) => Ok(()),
    }
}

/// Longest text told of what is wrong with a schema, characters.
const TOLD_CHARS: usize = 300;

fn json_schema(schema: &Value) -> Result<(), Problem> {
    // The crate is built without the features that fetch: what lies elsewhere is refused here.
    let options = jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex());
    options.build(schema).map(drop).map_err(|error| {
        let told: String = error.to_string().chars().take(TOLD_CHARS).collect();
        let place = error.instance_path().to_string();
        let text = format!("Validation Error: json_schema: at {place:?}: {told}");
        Problem::compat(422, "VAL001", text).at("json_schema")
    })
}

fn map(rules: &Map<String, Value>, place: &str, count: &mut usize, depth: usize) -> Result<(), Problem> {
    for (path, rule) in rules {
        let place = if place.is_empty() { path.clone() } else { format!("{place}.{path}") };
        if let Some(expected) = path_problem(path) {
            return Err(refused(&place, expected));
        }
        self::rule(rule, &place, count, depth)?;
    }
    Ok(())
}

fn path_problem(path: &str) -> Option<&'static str> {
    let expected = "a path like items[0].price";
    for segment in path.split('.') {
        let (name, mut rest) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
        if name.is_empty() && rest.is_empty() || name.contains(']') {
            return Some(expected);
        }
        while let Some(inner) = rest.strip_prefix('[') {
            let Some((index, behind)) = inner.split_once(']') else { return Some(expected) };
            if index.parse::<u32>().ok().is_none_or(|index| index > INDEX_MAX) {
                return Some("an index from 0 to 100000 between the brackets");
            }
            rest = behind;
        }
        if !rest.is_empty() {
            return Some(expected);
        }
    }
    None
}

fn rule(rule: &Value, place: &str, count: &mut usize, depth: usize) -> Result<(), Problem> {
    *count += 1;
    if depth > DEPTH || *count > RULES {
        return Err(refused(place, &format!("at most {DEPTH} levels and {RULES} rules")));
    }
    let object = rule.as_object().ok_or_else(|| refused(place, "a rule, an object"))?;
    let given = |name: &str| object.get(name).filter(|value| !value.is_null());
    if let Some(name) = object.keys().find(|name| !RULE.contains(&name.as_str())) {
        return Err(refused(&format!("{place}: {name}"), &format!("one of {}", RULE.join(", "))));
    }
    let fail = |name: &str, expected: &str| Err(refused(&format!("{place}: {name}"), expected));
    if given("required").is_some_and(|value| !value.is_boolean()) {
        return fail("required", "true or false");
    }
    for (name, known) in [("type", &TYPES), ("format", &FORMATS)] {
        if given(name).is_some_and(|value| value.as_str().is_none_or(|word| !known.contains(&word))) {
            return fail(name, &format!("one of {}", known.join(", ")));
        }
    }
    for name in ["min", "max"] {
        if given(name).is_some_and(|value| !value.is_number()) {
            return fail(name, "a number");
        }
    }
    let bound = |name: &str| given(name).and_then(Value::as_f64);
    if bound("min").zip(bound("max")).is_some_and(|(min, max)| min > max) {
        return fail("max", "a number not below min");
    }
    if let Some(pattern) = given("pattern") {
        let Some(pattern) = pattern.as_str() else { return fail("pattern", "a regular expression, text") };
        if let Err(error) = regex::Regex::new(&format!("^(?:{pattern})")) {
            let last = error.to_string();
            let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            return fail("pattern", &format!("a regular expression without look-around ({last})"));
        }
    }
    if given("enum").is_some_and(|value| value.as_array().is_none_or(Vec::is_empty)) {
        return fail("enum", "a list that is not empty");
    }
    if given("custom_validator").is_some() {
        return fail("custom_validator", "nothing: there are no custom validators");
    }
    match given("nested_schema") {
        Some(Value::Object(nested)) => map(flat(nested), place, count, depth + 1)?,
        Some(_) => return fail("nested_schema", "a map of path to rule"),
        None => {}
    }
    given("array_items").map_or(Ok(()), |items| self::rule(items, &format!("{place}[]"), count, depth + 1))
}

/// What the data plane is to check an endpoint's bodies by.
pub(crate) fn validation_of(state: &State, endpoint_id: &str) -> Option<Validation> {
    let row = state.get("validations", endpoint_id).filter(|row| row.flag("validation_enabled"))?;
    if let Some(schema) = row.get("json_schema").filter(|schema| !schema.is_null()) {
        return Some(Validation::Schema(Arc::new(schema.clone())));
    }
    let rules = flat(row.get("validation_schema")?.as_object()?);
    Some(Validation::Rules(Arc::new(Value::Object(rules.clone()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn row(rules: Value) -> Row {
        json!({"endpoint_id": "e", "validation_enabled": true, "validation_schema": rules})
            .as_object()
            .cloned()
            .unwrap()
    }

    #[test]
    fn a_bad_rule_is_named_by_its_path() {
        for (rules, named) in [
            (json!({"a..b": {}}), "a..b"),
            (json!({"items[x].price": {}}), "items[x].price"),
            (json!({"a": {"type": "int"}}), "a: type"),
            (json!({"a": {"min": 3, "max": 2}}), "a: max"),
            (json!({"a": {"pattern": "(?=x)"}}), "a: pattern"),
            (json!({"a": {"requierd": true}}), "a: requierd"),
            (json!({"a": {"custom_validator": "iban"}}), "a: custom_validator"),
            (json!({"a": {"enum": []}}), "a: enum"),
            (json!({"a": {"nested_schema": {"b": {"format": "phone"}}}}), "a.b: format"),
            (json!({"a": {"array_items": {"nested_schema": {"b": 1}}}}), "a[].b"),
        ] {
            let problem = check(&row(json!({ "validation_schema": rules }))).unwrap_err();
            assert!(problem.detail.contains(named), "{named}: {problem}");
            assert_eq!(
                check(&row(rules)).unwrap_err().detail,
                problem.detail,
                "with and without the wrapper"
            );
        }
        let good = json!({"items[0].price": {"required": true, "type": "number", "min": 0, "format": null},
                          "a": {"array_items": {"type": "string", "pattern": "a+"}}});
        assert_eq!(check(&row(good)), Ok(()));
    }

    #[test]
    fn a_bad_or_foreign_schema_is_refused() {
        let schema = |schema: Value| {
            let mut row = row(Value::Null);
            row.insert("json_schema".to_owned(), schema);
            check(&row)
        };
        assert_eq!(
            schema(json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}})),
            Ok(())
        );
        for bad in [
            json!({"type": "nothing"}),
            json!({"properties": {"a": {"minimum": "x"}}}),
            json!({"$ref": "https://example.org/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$schema": "https://example.org/unknown"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"pattern": "(?=x)x"}),
        ] {
            let problem = schema(bad.clone()).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some("json_schema"), "{bad}");
        }
    }

    #[test]
    fn what_is_off_is_not_there() {
        let mut state = State::default();
        let mut put = |id: &str, row: Row| {
            state.set("validations", id, Some(Arc::new(row)));
        };
        put("on", row(json!({"validation_schema": {"a": {"required": true}}})));
        let mut off = row(json!({"a": {}}));
        off.insert("validation_enabled".to_owned(), json!(false));
        put("off", off);
        let Some(Validation::Rules(rules)) = validation_of(&state, "on") else { panic!("rules") };
        assert_eq!(*rules, json!({"a": {"required": true}}));
        assert!(validation_of(&state, "off").is_none() && validation_of(&state, "none").is_none());
    }

    proptest! {
        #[test]
        fn never_panics(path in ".{0,20}", pattern in ".{0,20}", depth in 0usize..40) {
            let mut rule = json!({ "pattern": pattern });
            for _ in 0..depth {
                rule = json!({ "array_items": rule });
            }
            let checked = check(&row(json!({ path: rule })));
            prop_assert!(depth <= DEPTH || checked.is_err());
        }
    }
}
