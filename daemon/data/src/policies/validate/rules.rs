//! Field rules (spec/doorman.md 4.3): path by path, what a value must be.

use super::Invalid;
use super::formats::Format;
use crate::policies::transform::path::{Path, Step};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// Rules within rules.
const DEPTH: usize = 16;
/// Bytes a compiled pattern may take.
const PATTERN_BYTES: usize = 1_048_576;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Number,
    Boolean,
    Array,
    Object,
}

impl Kind {
    const ALL: [(&str, Self); 5] = [
        ("string", Self::String),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("array", Self::Array),
        ("object", Self::Object),
    ];

    fn has(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// One rule.
#[derive(Debug, Default)]
struct Rule {
    required: bool,
    kind: Option<Kind>,
    min: Option<f64>,
    max: Option<f64>,
    pattern: Option<Regex>,
    one_of: Option<Vec<Value>>,
    format: Option<Format>,
    nested: Option<Rules>,
    items: Option<Box<Self>>,
}

/// Rules by path.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<(Path, Rule)>);

impl Rules {
    /// # Errors
    /// What is wrong, with the path it stands at.
    pub(super) fn compile(rules: &Value) -> Result<Self, String> {
        Self::within(rules, 0)
    }

    fn within(rules: &Value, depth: usize) -> Result<Self, String> {
        if depth > DEPTH {
            return Err(format!("expected at most {DEPTH} rules within each other"));
        }
        let rules = rules.as_object().ok_or("expected rules by path")?;
        let compiled = rules.iter().map(|(path, rule)| {
            let compiled = Rule::compile(rule, depth).map_err(|error| format!("{path}: {error}"))?;
            Ok::<_, String>((Path::parse(path)?, compiled))
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// # Errors
    /// The first violation; `at` is where the value itself stands.
    pub(super) fn check(&self, value: &Value, at: &str) -> Result<(), Invalid> {
        for (path, rule) in &self.0 {
            let here = || match (at, path.to_string()) {
                ("", path) => path,
                (at, path) if path.starts_with('[') || path.is_empty() => format!("{at}{path}"),
                (at, path) => format!("{at}.{path}"),
            };
            // Null is as good as missing.
            match find(value, path).filter(|found| !found.is_null()) {
                Some(found) => rule.check(found, &here)?,
                None if rule.required => return Err(Invalid::new(here(), "a value")),
                None => {}
            }
        }
        Ok(())
    }
}

fn find<'v>(value: &'v Value, path: &Path) -> Option<&'v Value> {
    path.0.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Item(index) => value.get(index),
    })
}

impl Rule {
    fn compile(rule: &Value, depth: usize) -> Result<Self, String> {
        let fields: &Map<String, Value> = rule.as_object().ok_or("expected a rule")?;
        let mut compiled = Self::default();
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let wrong = |expected: &str| format!("{key}: expected {expected}");
            match key.as_str() {
                "required" => compiled.required = value.as_bool().ok_or_else(|| wrong("a boolean"))?,
                "type" => {
                    let kind = Kind::ALL.iter().find(|(name, _)| value.as_str() == Some(name));
                    let (_, kind) = kind.ok_or_else(|| wrong("string, number, boolean, array or object"))?;
                    compiled.kind = Some(*kind);
                }
                "min" => compiled.min = Some(value.as_f64().ok_or_else(|| wrong("a number"))?),
                "max" => compiled.max = Some(value.as_f64().ok_or_else(|| wrong("a number"))?),
                "pattern" => {
                    let text = value.as_str().unwrap_or_default();
                    let regex = RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
                    compiled.pattern =
                        Some(regex.map_err(|_| {
                            wrong("a regular expression without look-around or back-references")
                        })?);
                }
                "enum" => {
                    compiled.one_of = Some(value.as_array().ok_or_else(|| wrong("a list"))?.clone());
                }
                "format" => {
                    let format = value.as_str().and_then(Format::named);
                    compiled.format =
                        Some(format.ok_or_else(|| wrong("email, url, date, datetime or uuid"))?);
                }
                "nested_schema" => compiled.nested = Some(Rules::within(value, depth + 1)?),
                "array_items" if depth >= DEPTH => return Err(wrong("fewer rules within each other")),
                "array_items" => compiled.items = Some(Box::new(Self::compile(value, depth + 1)?)),
                "custom_validator" => return Err(wrong("nothing: there are none")),
                "description" => {}
                _ => return Err(format!("{key}: expected a key that rules have")),
            }
        }
        Ok(compiled)
    }

    fn check(&self, value: &Value, here: &dyn Fn() -> String) -> Result<(), Invalid> {
        let invalid = |expected: &str| Err(Invalid::new(here(), expected));
        if let Some(kind) = self.kind.filter(|kind| !kind.has(value)) {
            let name = Kind::ALL.iter().find(|(_, other)| *other == kind).map_or("", |(name, _)| name);
            return invalid(&format!("type {name}"));
        }
        let (size, what) = match value {
            Value::String(text) => (count(text.chars().count()), "length"),
            Value::Array(items) => (count(items.len()), "number of items"),
            Value::Number(number) => (number.as_f64(), "value"),
            _ => (None, ""),
        };
        if let Some(min) = self.min.filter(|min| size.is_some_and(|size| size < *min)) {
            return invalid(&format!("{what} of at least {min}"));
        }
        if let Some(max) = self.max.filter(|max| size.is_some_and(|size| size > *max)) {
            return invalid(&format!("{what} of at most {max}"));
        }
        if self.one_of.as_ref().is_some_and(|list| !list.iter().any(|one| equal(one, value))) {
            return invalid("one of the listed values");
        }
        if let Some(pattern) = &self.pattern {
            // The leftmost match begins at the start if any does.
            let matches =
                value.as_str().and_then(|text| pattern.find(text)).is_some_and(|found| found.start() == 0);
            if !matches {
                return invalid("text that matches the pattern");
            }
        }
        if let Some(format) =
            self.format.filter(|format| !value.as_str().is_some_and(|text| format.has(text)))
        {
            return invalid(&format!("format {}", format.name()));
        }
        if let Some(nested) = &self.nested {
            if !value.is_object() {
                return invalid("type object");
            }
            nested.check(value, &here())?;
        }
        if let Some(rule) = &self.items {
            let Some(items) = value.as_array() else { return invalid("type array") };
            for (index, item) in items.iter().enumerate() {
                let item_here = || format!("{}[{index}]", here());
                match item {
                    Value::Null if rule.required => return Err(Invalid::new(item_here(), "a value")),
                    Value::Null => {}
                    _ => rule.check(item, &item_here)?,
                }
            }
        }
        Ok(())
    }
}

fn count(number: usize) -> Option<f64> {
    u32::try_from(number).ok().map(f64::from)
}

/// 1 and 1.0 are the same number.
fn equal(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && other.is_number() && one.as_f64() == other.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn values_are_checked() {
        for (rule, value, expected) in [
            (json!({"required": true}), json!({}), "x: expected a value"),
            (json!({"required": true}), json!({"x": null}), "x: expected a value"),
            (json!({"type": "string"}), json!({}), ""),
            (json!({"type": "string"}), json!({"x": 1}), "x: expected type string"),
            (json!({"type": "number"}), json!({"x": true}), "x: expected type number"),
            (json!({"type": "number"}), json!({"x": "1"}), "x: expected type number"),
            (json!({"type": "boolean", "min": 5}), json!({"x": true}), ""),
            (json!({"min": 3}), json!({"x": "äö"}), "x: expected length of at least 3"),
            (json!({"min": 2}), json!({"x": "äö"}), ""),
            (json!({"max": 2.5}), json!({"x": 2.6}), "x: expected value of at most 2.5"),
            (json!({"max": 1}), json!({"x": [1, 2]}), "x: expected number of items of at most 1"),
            (json!({"pattern": "[a-z]+"}), json!({"x": "abc1"}), ""),
            (json!({"pattern": "[a-z]+"}), json!({"x": "1abc"}), "x: expected text that matches the pattern"),
            (json!({"pattern": "a|bc"}), json!({"x": "xbc"}), "x: expected text that matches the pattern"),
            (json!({"pattern": "(?x) a # )"}), json!({"x": "ab"}), ""),
            (json!({"pattern": "1"}), json!({"x": 1}), "x: expected text that matches the pattern"),
            (json!({"enum": [1, "b"]}), json!({"x": 1.0}), ""),
            (json!({"enum": [1, "b"]}), json!({"x": "1"}), "x: expected one of the listed values"),
            (json!({"format": "uuid"}), json!({"x": "secret"}), "x: expected format uuid"),
            (json!({"format": "date"}), json!({"x": 20260101}), "x: expected format date"),
            (
                json!({"nested_schema": {"y.z": {"required": true}}}),
                json!({"x": {"y": {}}}),
                "x.y.z: expected a value",
            ),
            (json!({"nested_schema": {}}), json!({"x": []}), "x: expected type object"),
            (
                json!({"array_items": {"type": "object", "nested_schema": {"p": {"min": 1}}}}),
                json!({"x": [{"p": 1}, {"p": 0}]}),
                "x[1].p: expected value of at least 1",
            ),
            (json!({"array_items": {"required": true}}), json!({"x": [1, null]}), "x[1]: expected a value"),
            (json!({"array_items": {}}), json!({"x": {}}), "x: expected type array"),
        ] {
            let rules = Rules::compile(&json!({"x": rule})).unwrap();
            let found =
                rules.check(&value, "").map_or_else(|invalid| invalid.to_string(), |()| String::new());
            assert_eq!(found, expected, "{rule} {value}");
        }
        let deep = Rules::compile(&json!({"items[0].price": {"type": "number", "required": true}})).unwrap();
        assert!(deep.check(&json!({"items": [{"price": 1}]}), "").is_ok());
        assert_eq!(
            deep.check(&json!({"items": []}), "").unwrap_err().to_string(),
            "items[0].price: expected a value"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (rules, part) in [
            (json!([]), "expected rules by path"),
            (json!({"x": 1}), "x: expected a rule"),
            (json!({"x[": {}}), "closing"),
            (json!({"x": {"type": "integer"}}), "x: type: expected string"),
            (json!({"x": {"required": "yes"}}), "x: required: expected a boolean"),
            (json!({"x": {"min": "1"}}), "x: min: expected a number"),
            (json!({"x": {"pattern": "(?=a)"}}), "x: pattern: expected a regular expression"),
            (json!({"x": {"pattern": "a{1000}{1000}{1000}"}}), "x: pattern"),
            (json!({"x": {"enum": 1}}), "x: enum: expected a list"),
            (json!({"x": {"format": "ipv4"}}), "x: format: expected email"),
            (json!({"x": {"nested_schema": {"y": {"kind": 1}}}}), "x: y: kind: expected a key"),
            (json!({"x": {"custom_validator": "f"}}), "x: custom_validator"),
        ] {
            let error = Rules::compile(&rules).unwrap_err();
            assert!(error.contains(part), "{rules}: {error}");
        }
        let deep = (0..40).fold(json!({}), |inner, _| json!({"array_items": inner}));
        assert!(Rules::compile(&json!({"x": deep})).is_err());
        let nested = (0..40).fold(json!({}), |inner, _| json!({"x": {"nested_schema": inner}}));
        assert!(Rules::compile(&nested).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(path in r"[ab.\[\]0]{1,6}", pattern in r"[ab()*+?\[\]|^$\\]{0,8}", text in r"[ab]{0,8}") {
            let rule = json!({"type": "string", "pattern": pattern, "min": 2, "max": 4});
            if let Ok(rules) = Rules::compile(&json!({path: rule})) {
                let _either = rules.check(&json!({"a": {"b": text.clone()}, "b": [text]}), "");
            }
        }
    }
}
