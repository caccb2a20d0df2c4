//! JSON as validation reads it: a doubled key is refused, since the upstream may take the other one.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

struct Strict(Value);

struct Any;

/// Parses; at most 128 levels deep.
///
/// # Errors
/// What was expected, without the text.
pub(super) fn parse(body: &[u8]) -> Result<Value, &'static str> {
    match serde_json::from_slice::<Strict>(body) {
        Ok(Strict(value)) => Ok(value),
        Err(error) if error.is_data() => Err("each key of an object once"),
        Err(_) => Err("JSON"),
    }
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Any.deserialize(deserializer).map(Self)
    }
}

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(Any)? {
            found.push(item);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if found.insert(key, fields.next_value_seed(Any)?).is_some() {
                return Err(A::Error::custom("doubled key"));
            }
        }
        Ok(Value::Object(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubled_keys_are_refused() {
        for (text, expected) in [
            (r#"{"a":1,"a":2}"#, Err("each key of an object once")),
            (r#"[{"b":{"a":1,"\u0061":2}}]"#, Err("each key of an object once")),
            (r#"{"a":{"a":1}}"#, Ok(())),
            ("1 2", Err("JSON")),
            ("", Err("JSON")),
            ("\"\\ud800\"", Err("JSON")),
        ] {
            assert_eq!(parse(text.as_bytes()).map(drop), expected, "{text}");
        }
        assert_eq!(parse("[".repeat(100_000).as_bytes()), Err("JSON"));
    }

    proptest! {
        #[test]
        fn never_panics_and_agrees_with_the_plain_parser(text in r#"[{}\[\]",:ab01.eE\-\\ tnul]{0,40}"#) {
            match (parse(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                (Ok(strict), Ok(plain)) => prop_assert_eq!(strict, plain),
                (Err(expected), Ok(_)) => prop_assert_eq!(expected, "each key of an object once"),
                (strict, Err(_)) => prop_assert!(strict.is_err()),
            }
        }
    }
}
