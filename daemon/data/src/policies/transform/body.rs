//! Changes to a JSON body. Only what a path leads through is taken apart; the rest stays the text that came, so that
//! numbers, order and doubled keys beside it survive.

use super::path::{Path, Step};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use std::fmt;

/// Changes of one kind, each a piece of work for every body.
const CHANGES: usize = 64;

/// Why a body could not be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is not JSON.
    #[error("the body is not JSON")]
    NotJson,
    /// The result would be longer than allowed.
    #[error("the changed body is too long")]
    TooLong,
}

/// Compiled changes, in the order of their application.
#[derive(Debug, Default)]
pub(crate) struct BodyChanges {
    wrap: Option<String>,
    remove: Vec<Path>,
    rename: Vec<(Path, Path)>,
    set: Vec<(Path, Box<RawValue>)>,
}

/// A value, taken apart as far as a path led.
#[derive(Debug)]
enum Node<'a> {
    Text(&'a str),
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
}

/// An object's fields as they came, doubled ones too.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl BodyChanges {
    /// # Errors
    /// What is wrong, with the key it stands at.
    pub(crate) fn compile(rules: &Map<String, Value>) -> Result<Self, String> {
        let mut changes = Self::default();
        for (key, value) in rules {
            let at = |error: String| format!("body.{key}: {error}");
            match (key.as_str(), value) {
                (_, Value::Null) => {}
                ("wrap", Value::String(name)) => changes.wrap = Some(name.clone()),
                ("wrap", _) => return Err(at("expected a name".into())),
                ("remove", Value::Array(paths)) => {
                    let texts = paths.iter().map(|path| path.as_str().unwrap_or_default());
                    changes.remove = texts.map(inner).collect::<Result<_, _>>().map_err(at)?;
                }
                ("remove", _) => return Err(at("expected a list of paths".into())),
                ("rename", Value::Object(paths)) => {
                    let both = paths
                        .iter()
                        .map(|(from, to)| Ok((inner(from)?, inner(to.as_str().unwrap_or_default())?)));
                    changes.rename = both.collect::<Result<_, _>>().map_err(at)?;
                }
                ("rename", _) => return Err(at("expected paths by path".into())),
                ("set", Value::Object(values)) => {
                    let both = values.iter().map(|(path, value)| {
                        Ok((inner(path)?, to_raw_value(value).map_err(|error| error.to_string())?))
                    });
                    changes.set = both.collect::<Result<_, _>>().map_err(at)?;
                }
                ("set", _) => return Err(at("expected values by path".into())),
                _ => return Err(at("expected wrap, remove, rename or set".into())),
            }
        }
        if [changes.remove.len(), changes.rename.len(), changes.set.len()]
            .iter()
            .any(|count| *count > CHANGES)
        {
            return Err(format!("body: expected at most {CHANGES} changes of a kind"));
        }
        Ok(changes)
    }

    /// The body after all changes, of at most `most` bytes.
    pub(crate) fn apply(&self, body: &[u8], most: usize) -> Result<Vec<u8>, BodyError> {
        let text: &RawValue = serde_json::from_slice(body).map_err(|_| BodyError::NotJson)?;
        let mut root = Node::Text(text.get());
        if let Some(name) = &self.wrap {
            root = Node::Object(vec![(name.clone(), root)]);
        }
        for path in &self.remove {
            drop(root.take(&path.0));
        }
        for (from, to) in &self.rename {
            if let Some(node) = root.take(&from.0) {
                root.set(&to.0, node);
            }
        }
        for (path, value) in &self.set {
            root.set(&path.0, Node::Text(value.get()));
        }
        let mut out = Vec::with_capacity(body.len().min(most));
        root.write(&mut out, most)?;
        Ok(out)
    }
}

/// A path that leads below the whole body.
fn inner(text: &str) -> Result<Path, String> {
    let path = Path::parse(text)?;
    if path.0.is_empty() { Err(format!("{text:?}: expected a path below $")) } else { Ok(path) }
}

impl<'a> Node<'a> {
    /// Takes a text apart by one level; a scalar stays.
    fn open(&mut self) {
        let Self::Text(text) = self else { return };
        // The text was checked as a whole, so an error here is a scalar's.
        if text.starts_with('{') {
            if let Ok(Pairs(pairs)) = serde_json::from_str::<Pairs<'a>>(text) {
                *self = Self::Object(
                    pairs.into_iter().map(|(name, raw)| (name, Node::Text(raw.get()))).collect(),
                );
            }
        } else if text.starts_with('[')
            && let Ok(items) = serde_json::from_str::<Vec<&'a RawValue>>(text)
        {
            *self = Self::Array(items.into_iter().map(|raw| Node::Text(raw.get())).collect());
        }
    }

    /// Removes what a path leads to. Of a doubled key all go, and the last one counts.
    fn take(&mut self, steps: &[Step]) -> Option<Self> {
        let (step, rest) = steps.split_first()?;
        self.open();
        match (self, step) {
            (Self::Object(fields), Step::Field(name)) if rest.is_empty() => {
                let mut taken = None;
                for (_, node) in fields.extract_if(.., |(key, _)| key == name) {
                    taken = Some(node);
                }
                taken
            }
            (Self::Object(fields), Step::Field(name)) => {
                let mut taken = None;
                for (_, node) in fields.iter_mut().filter(|(key, _)| key == name) {
                    taken = node.take(rest).or(taken);
                }
                taken
            }
            (Self::Array(items), Step::Item(index)) if rest.is_empty() => {
                (*index < items.len()).then(|| items.remove(*index))
            }
            (Self::Array(items), Step::Item(index)) => items.get_mut(*index)?.take(rest),
            _ => None,
        }
    }

    /// Puts a value where a path leads; what is missing on the way is made, a scalar on the way gives way.
    fn set(&mut self, steps: &[Step], value: Self) {
        let Some((step, rest)) = steps.split_first() else {
            *self = value;
            return;
        };
        self.open();
        match step {
            Step::Field(name) => {
                if !matches!(self, Self::Object(_)) {
                    *self = Self::Object(Vec::new());
                }
                let Self::Object(fields) = self else { return };
                let found = fields.iter().rposition(|(key, _)| key == name);
                let at = found.unwrap_or(fields.len());
                if found.is_none() {
                    fields.push((name.clone(), Node::Text("null")));
                }
                if let Some((_, node)) = fields.get_mut(at) {
                    node.set(rest, value);
                }
                // Readers differ in which of a doubled key they take.
                let mut index = 0;
                fields.retain(|(key, _)| {
                    index += 1;
                    key != name || index == at + 1
                });
            }
            Step::Item(index) => {
                if !matches!(self, Self::Array(_)) {
                    *self = Self::Array(Vec::new());
                }
                let Self::Array(items) = self else { return };
                while items.len() <= *index {
                    items.push(Node::Text("null"));
                }
                if let Some(node) = items.get_mut(*index) {
                    node.set(rest, value);
                }
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>, most: usize) -> Result<(), BodyError> {
        match self {
            Self::Text(text) => put(out, text.as_bytes(), most),
            Self::Object(fields) => {
                put(out, b"{", most)?;
                for (index, (name, node)) in fields.iter().enumerate() {
                    if index > 0 {
                        put(out, b",", most)?;
                    }
                    put(out, &serde_json::to_vec(name).map_err(|_| BodyError::NotJson)?, most)?;
                    put(out, b":", most)?;
                    node.write(out, most)?;
                }
                put(out, b"}", most)
            }
            Self::Array(items) => {
                put(out, b"[", most)?;
                for (index, node) in items.iter().enumerate() {
                    if index > 0 {
                        put(out, b",", most)?;
                    }
                    node.write(out, most)?;
                }
                put(out, b"]", most)
            }
        }
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8], most: usize) -> Result<(), BodyError> {
    if out.len() + bytes.len() > most {
        return Err(BodyError::TooLong);
    }
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn changes(rules: &Value) -> BodyChanges {
        BodyChanges::compile(rules.as_object().unwrap()).unwrap()
    }

    #[test]
    fn bodies_change() {
        for (rules, body, expected) in [
            (json!({}), r#" {"z": 1.50, "a":[ ]} "#, r#"{"z": 1.50, "a":[ ]}"#),
            (json!({"wrap": "data"}), "[1, 2]", r#"{"data":[1, 2]}"#),
            (
                json!({"remove": ["$.a"]}),
                r#"{"b":123456789012345678901234567890,"a":1,"c":{ }}"#,
                r#"{"b":123456789012345678901234567890,"c":{ }}"#,
            ),
            (json!({"remove": ["$.a"]}), r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2}"#),
            (
                json!({"remove": ["$.a[0].x", "$.no.such", "$.b[9]"]}),
                r#"{"a":[{"x":1,"y":2}],"b":[]}"#,
                r#"{"a":[{"y":2}],"b":[]}"#,
            ),
            (json!({"rename": {"$.a": "$.b.c"}}), r#"{"a":1e400,"b":{"d":0}}"#, r#"{"b":{"d":0,"c":1e400}}"#),
            (json!({"rename": {"$.a": "$.a.b"}}), r#"{"a":1}"#, r#"{"a":{"b":1}}"#),
            (json!({"rename": {"$.x": "$.y"}}), r#"{"a":1}"#, r#"{"a":1}"#),
            (json!({"set": {"$.a.b[1].c": {"n": null}}}), "{}", r#"{"a":{"b":[null,{"c":{"n":null}}]}}"#),
            (json!({"set": {"$.a.b": 1}}), r#"{"a":"text"}"#, r#"{"a":{"b":1}}"#),
            (json!({"set": {"$.a": 1}}), r#"{"a":0,"b":2,"a":3}"#, r#"{"b":2,"a":1}"#),
            (json!({"set": {"$[0]": 1}}), "[5,6]", "[1,6]"),
            (
                json!({"wrap": "d", "remove": ["$.d.p"], "rename": {"$.d.q": "$.r"}, "set": {"$.s": true}}),
                r#"{"p":1,"q":2}"#,
                r#"{"d":{},"r":2,"s":true}"#,
            ),
        ] {
            let changed = changes(&rules).apply(body.as_bytes(), 1_000).unwrap();
            assert_eq!(String::from_utf8(changed).unwrap(), expected, "{rules}");
        }
    }

    #[test]
    fn errors_are_values() {
        let wrap = changes(&json!({"wrap": "d"}));
        for body in ["", "{", "{\"a\":}", "text", "{} {}", "\u{0}"] {
            assert_eq!(wrap.apply(body.as_bytes(), 99), Err(BodyError::NotJson), "{body}");
        }
        assert_eq!(wrap.apply(b"\"\xff\"", 99), Err(BodyError::NotJson));
        assert_eq!(wrap.apply(b"12345", 10), Err(BodyError::TooLong));
        assert_eq!(wrap.apply(b"12345", 11).unwrap().len(), 11);
        for (rules, part) in [
            (json!({"wrap": 1}), "body.wrap: expected a name"),
            (json!({"remove": ["$"]}), "below $"),
            (json!({"remove": [1]}), "body.remove"),
            (json!({"rename": {"a": 1}}), "body.rename"),
            (json!({"set": [1]}), "values by path"),
            (json!({"sett": {}}), "expected wrap"),
        ] {
            let error = BodyChanges::compile(rules.as_object().unwrap()).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let rules = changes(&json!({"set": {"$[0][0][0]": 1}}));
        assert_eq!(rules.apply(deep.as_bytes(), 300_000).unwrap(), b"[[[1]]]");
        assert_eq!(changes(&json!({})).apply(deep.as_bytes(), 300_000).unwrap().len(), 200_000);
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_json(
            body in r#"[{}\[\]",:a01 \\]{0,30}|\{"a":[0-9]{1,3},"b":\[1,\{"a":2\}\]\}"#,
            path in r"\$(\.[ab]|\[[0-3]\]){1,3}", other in r"\$(\.[ab]|\[[0-3]\]){1,3}", most in 0usize..80,
        ) {
            let rules = changes(&json!({"remove": [path.clone()], "rename": {path: other.clone()}, "set": {other: 7}}));
            match rules.apply(body.as_bytes(), most) {
                Ok(changed) => {
                    prop_assert!(changed.len() <= most);
                    prop_assert!(serde_json::from_slice::<&RawValue>(&changed).is_ok());
                }
                Err(BodyError::NotJson) => prop_assert!(serde_json::from_str::<Value>(&body).is_err()),
                Err(BodyError::TooLong) => {}
            }
        }
    }
}
