//! The schema of a GraphQL upstream, as its introspection tells it.

use serde_json::{Map, Value, json};

/// Types of one schema.
const TYPES: usize = 20_000;

/// The question; type references seven levels deep, as clients that build schemas ask it.
pub(crate) const QUESTION: &str = "query IntrospectionQuery{__schema{description queryType{name} mutationType{name} \
subscriptionType{name} types{...FullType} directives{name description locations args{...InputValue}}}} \
fragment FullType on __Type{kind name description fields(includeDeprecated:true){name description args{...InputValue} \
type{...TypeRef} isDeprecated deprecationReason} inputFields{...InputValue} interfaces{...TypeRef} \
enumValues(includeDeprecated:true){name description isDeprecated deprecationReason} possibleTypes{...TypeRef}} \
fragment InputValue on __InputValue{name description type{...TypeRef} defaultValue} \
fragment TypeRef on __Type{kind name ofType{kind name ofType{kind name ofType{kind name ofType{kind name ofType{kind \
name ofType{kind name ofType{kind name}}}}}}}}";

/// A schema, read.
#[derive(Debug)]
pub(crate) struct Schema {
    /// `{"__schema": …}`, as it came.
    whole: Value,
    operations: Map<String, Value>,
    types: Vec<Value>,
}

impl Schema {
    fn subscriptions(&self) -> bool {
        self.operations.contains_key("subscription")
    }

    /// The schema as it is answered.
    pub(crate) fn shown(&self, cached: bool) -> Value {
        json!({"schema": self.whole, "cached": cached, "operation_types": self.operations,
               "has_subscriptions": self.subscriptions()})
    }

    /// What a refresh answers.
    pub(crate) fn refreshed(&self) -> Value {
        json!({"message": "GraphQL schema refreshed successfully", "types_count": self.types.len(),
               "has_subscriptions": self.subscriptions()})
    }

    /// The types, without those of introspection itself.
    pub(crate) fn listed(&self) -> Value {
        json!({"types": self.types, "types_count": self.types.len()})
    }
}

/// Reads an answer to [`QUESTION`].
///
/// # Errors
/// What was expected.
pub(crate) fn read(text: &[u8]) -> Result<Schema, String> {
    let answer: Value = serde_json::from_slice(text).map_err(|error| format!("expected JSON: {error}"))?;
    // A static file may hold the schema without the envelope of an answer.
    let whole = answer.get("data").unwrap_or(&answer);
    let Some(schema) = whole.get("__schema").and_then(Value::as_object) else {
        let first = answer.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or("no __schema");
        let first: String = first.chars().take(200).collect();
        return Err(format!("expected an answer to introspection: {first}"));
    };
    let roots = [("query", "queryType"), ("mutation", "mutationType"), ("subscription", "subscriptionType")];
    let root = |member: &str| Some(schema.get(member)?.get("name").filter(|name| name.is_string())?.clone());
    let operations: Map<_, _> =
        roots.iter().filter_map(|(name, member)| Some(((*name).to_owned(), root(member)?))).collect();
    let types = schema.get("types").and_then(Value::as_array).ok_or("__schema.types: expected a list")?;
    if types.len() > TYPES {
        return Err(format!("__schema.types: expected at most {TYPES}"));
    }
    let own = types
        .iter()
        .filter(|one| one.get("name").and_then(Value::as_str).is_some_and(|name| !name.starts_with("__")));
    let types = own.map(listed).collect();
    Ok(Schema { operations, types, whole: whole.clone() })
}

fn listed(one: &Value) -> Value {
    let names = |member: &str| {
        let items = one.get(member).and_then(Value::as_array);
        items.map(|items| items.iter().filter_map(|item| item.get("name").cloned()).collect::<Vec<_>>())
    };
    let fields = names("fields").or_else(|| names("inputFields"));
    json!({"name": one.get("name"), "kind": one.get("kind"), "description": one.get("description"),
           "fields": fields.unwrap_or_default(), "values": names("enumValues").unwrap_or_default()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer() -> Value {
        json!({"data": {"__schema": {
            "queryType": {"name": "Query"}, "mutationType": null, "subscriptionType": {"name": "Feed"},
            "types": [
                {"kind": "OBJECT", "name": "Query", "description": "Root", "fields": [{"name": "hello"}]},
                {"kind": "ENUM", "name": "Color", "enumValues": [{"name": "RED"}]},
                {"kind": "OBJECT", "name": "__Type", "fields": []},
            ],
        }}})
    }

    #[test]
    fn what_introspection_tells() {
        let schema = read(answer().to_string().as_bytes()).unwrap();
        let shown = schema.shown(true);
        assert_eq!(shown["operation_types"], json!({"query": "Query", "subscription": "Feed"}));
        assert_eq!((&shown["has_subscriptions"], &shown["cached"]), (&json!(true), &json!(true)));
        assert_eq!(shown["schema"], answer()["data"]);
        assert_eq!(schema.refreshed()["types_count"], 2);
        let types = schema.listed();
        assert_eq!(types["types"][0]["fields"], json!(["hello"]));
        assert_eq!(types["types"][1]["values"], json!(["RED"]));
        assert!(read(answer()["data"].to_string().as_bytes()).is_ok(), "without an envelope");
        for (text, expected) in [
            ("<html>", "expected JSON"),
            ("{}", "no __schema"),
            (r#"{"data":null,"errors":[{"message":"introspection is off"}]}"#, "introspection is off"),
            (r#"{"data":{"__schema":{"types":5}}}"#, "types: expected a list"),
            (&"[".repeat(10_000), "expected JSON"),
        ] {
            let found = read(text.as_bytes()).unwrap_err();
            assert!(found.contains(expected), "{text:.60}: {found}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), name in any::<Option<u8>>()) {
            drop(read(&bytes));
            let odd = json!({"__schema": {"queryType": name, "types": [name, {"name": "a", "fields": [name]}]}});
            prop_assert!(read(odd.to_string().as_bytes()).is_ok());
        }
    }
}
