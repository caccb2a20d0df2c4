//! Whether a request's body is what its endpoint asks for (spec/doorman.md 4.3): field rules, or a JSON Schema, of
//! JSON and of XML. A body of another type is refused, since an upstream may look at the body alone.

mod formats;
mod json;
mod rules;
mod xml;

use super::transform::is_json;
use gatehouse_corridor::snapshot::api;
use jsonschema::PatternOptions;
use rules::Rules;
use serde_json::Value;

/// Bytes of one error text.
const ERROR_BYTES: usize = 200;
/// Bytes a pattern of a schema may take when compiled.
const PATTERN_BYTES: usize = 1_048_576;

/// What a body violates; neither part repeats a value of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}expected {expected}", path, if path.is_empty() { "" } else { ": " })]
pub(crate) struct Invalid {
    /// Where; empty is the whole body.
    pub(crate) path: String,
    /// What should be there.
    pub(crate) expected: String,
}

impl Invalid {
    fn new(path: impl AsRef<str>, expected: impl AsRef<str>) -> Self {
        Self { path: short(path.as_ref()), expected: short(expected.as_ref()) }
    }
}

/// Compiled rules of one endpoint.
#[derive(Debug)]
pub(crate) struct Validator(Kind);

#[derive(Debug)]
enum Kind {
    Rules(Rules),
    Schema(Box<jsonschema::Validator>),
}

impl Validator {
    /// # Errors
    /// The field and what was expected.
    pub(crate) fn compile(validation: &api::Validation) -> Result<Self, String> {
        let named = |error: String| format!("validation_schema: {error}");
        match validation {
            api::Validation::Rules(rules) => Ok(Self(Kind::Rules(Rules::compile(rules).map_err(named)?))),
            api::Validation::Schema(schema) => {
                let patterns =
                    PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
                let built = jsonschema::options()
                    .offline()
                    .with_pattern_options(patterns)
                    .should_validate_formats(true)
                    .build(schema);
                let schema = built.map_err(|error| {
                    named(format!("expected a JSON Schema: {}", short(&error.to_string())))
                })?;
                Ok(Self(Kind::Schema(Box::new(schema))))
            }
        }
    }

    /// Checks a body by its type. An empty one without a type is as good as none: only what is required is missed.
    ///
    /// # Errors
    /// The first violation.
    pub(crate) fn body(&self, content_type: Option<&str>, body: &[u8]) -> Result<(), Invalid> {
        let whole = |expected: &str| Invalid::new("", expected);
        if content_type.is_some_and(|kind| !is_utf8(kind)) {
            return Err(whole("a body in UTF-8"));
        }
        let value = match content_type {
            None if body.is_empty() => Value::Null,
            Some(kind) if is_xml(kind) => xml::parse(body).map_err(whole)?,
            Some(kind) if !is_json(kind) => return Err(whole("a body of JSON or XML")),
            _ => json::parse(body).map_err(whole)?,
        };
        self.value(&value)
    }

    /// Checks a parsed body.
    ///
    /// # Errors
    /// The first violation.
    pub(crate) fn value(&self, value: &Value) -> Result<(), Invalid> {
        match &self.0 {
            Kind::Rules(rules) => rules.check(value, ""),
            Kind::Schema(schema) => schema.validate(value).map_err(|error| {
                Invalid::new(
                    error.instance_path().as_str(),
                    format!("what the schema says: {}", error.masked()),
                )
            }),
        }
    }
}

/// Whether a media type is XML: `application/xml`, `text/xml`, `application/soap+xml` and such.
pub(crate) fn is_xml(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/xml" | "text/xml") || essence.ends_with("+xml")
}

/// Whether a media type leaves the characters as they are read here. By another table the upstream would see another
/// document.
fn is_utf8(content_type: &str) -> bool {
    let parameters = content_type.split(';').skip(1).filter_map(|one| one.split_once('='));
    let mut tables =
        parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset")).map(|(_, table)| table);
    let known = ["utf-8", "utf8", "us-ascii", "ascii"];
    tables.all(|table| {
        let table = table.trim().trim_matches(['"', '\'']);
        known.iter().any(|known| table.eq_ignore_ascii_case(known))
    })
}

/// Cut at a length, without control characters.
fn short(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > ERROR_BYTES {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

    fn rules(rules: Value) -> Validator {
        Validator::compile(&api::Validation::Rules(Arc::new(rules))).unwrap()
    }

    fn schema(schema: Value) -> Result<Validator, String> {
        Validator::compile(&api::Validation::Schema(Arc::new(schema)))
    }

    fn verdict(validator: &Validator, content_type: &str, body: &str) -> String {
        let content_type = (!content_type.is_empty()).then_some(content_type);
        validator
            .body(content_type, body.as_bytes())
            .map_or_else(|invalid| invalid.to_string(), |()| "ok".into())
    }

    #[test]
    fn by_type() {
        let name = rules(json!({"name": {"required": true, "type": "string", "min": 2}}));
        for (content_type, body, expected) in [
            ("application/json", r#"{"name":"ab"}"#, "ok"),
            ("application/json; charset=utf-8", r#"{"name":"a"}"#, "name: expected length of at least 2"),
            ("", r#"{"name":"a"}"#, "name: expected length of at least 2"),
            ("", "", "name: expected a value"),
            ("application/json", "", "expected JSON"),
            ("application/json", r#"{"name":"ab","name":""}"#, "expected each key of an object once"),
            ("text/xml", "<r><name>ab</name></r>", "ok"),
            (
                "application/soap+xml",
                "<e:Envelope><e:Body><r><name>a</name></r></e:Body></e:Envelope>",
                "name: expected length of at least 2",
            ),
            ("text/xml", "<a/>", "name: expected a value"),
            ("text/xml", "<a>", "expected one root element, closed"),
            ("text/xml; charset=utf-7", "<r><name>ab</name></r>", "expected a body in UTF-8"),
            ("text/xml;a=b; Charset = \"UTF-8\"", "<r><name>ab</name></r>", "ok"),
            ("application/json;charset=utf-8;charset=utf-16", r#"{"name":"ab"}"#, "expected a body in UTF-8"),
            ("text/plain", r#"{"name":"a"}"#, "expected a body of JSON or XML"),
            ("application/x-www-form-urlencoded", "name=a", "expected a body of JSON or XML"),
        ] {
            assert_eq!(verdict(&name, content_type, body), expected, "{content_type} {body}");
        }
        assert_eq!(verdict(&rules(json!({"name": {"min": 2}})), "", ""), "ok");
        assert_eq!(verdict(&rules(json!({"name": {"type": "string"}})), "text/xml", "<a/>"), "ok");
    }

    #[test]
    fn schemas() {
        let order = schema(json!({
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "integer"}, "code": {"pattern": "^[a-z]+$"}, "at": {"format": "date"}},
            "additionalProperties": false,
        }))
        .unwrap();
        assert_eq!(verdict(&order, "application/json", r#"{"id":1,"code":"ab"}"#), "ok");
        for (body, part) in [
            (r#"{"id":"hunter2"}"#, "/id: expected what the schema says"),
            (r#"{"id":1,"code":"HUNTER2"}"#, "/code: expected"),
            (r#"{"code":"ab"}"#, "required"),
            (r#"{"id":1,"x":1}"#, "expected"),
        ] {
            let found = verdict(&order, "application/json", body);
            assert!(found.contains(part) && !found.to_lowercase().contains("hunter2"), "{found}");
        }
        for bad in [
            json!({"type": "nonsense"}),
            json!({"$ref": "http://127.0.0.1:1/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"pattern": "(?=a)"}),
            json!([]),
        ] {
            let error = schema(bad).unwrap_err();
            assert!(error.starts_with("validation_schema: expected a JSON Schema"), "{error}");
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn schemas_that_lead_to_themselves() {
        for own in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        ] {
            if let Ok(validator) = schema(own) {
                let _either = validator.value(&json!({"a": 1}));
            }
        }
        let tree = schema(json!({"properties": {"next": {"$ref": "#"}}, "type": "object"})).unwrap();
        assert_eq!(verdict(&tree, "", r#"{"next":{"next":{}}}"#), "ok");
        assert!(verdict(&tree, "", r#"{"next":{"next":1}}"#).starts_with("/next/next: expected"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn never_panics_nor_repeats_a_value(text in "[A-Z]{8,40}", kind in "(application|text)/(json|xml|plain)") {
            let validators = [
                rules(json!({"a": {"max": 3, "pattern": "[0-9]"}, "b": {"format": "email"}})),
                schema(json!({"properties": {"a": {"maxLength": 3}, "b": {"enum": [1]}, "c": {"const": 1}}})).unwrap(),
            ];
            let json = json!({"a": text.clone(), "b": text.clone(), "c": text.clone()}).to_string();
            let xml = format!("<r><a>{text}</a></r>");
            for validator in validators {
                for body in [&json, &xml, &text] {
                    if let Err(invalid) = validator.body(Some(&kind), body.as_bytes()) {
                        prop_assert!(!invalid.to_string().contains(&text), "{invalid}");
                    }
                }
            }
        }
    }
}
