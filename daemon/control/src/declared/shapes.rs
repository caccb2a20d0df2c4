//! THE LIST of sections of a file: the table of each, what names its items, and the fields that may be declared. The
//! JSON Schema is made of it.

use crate::api::{endpoints, groups, roles, routings, users};
use crate::schema::{Absent, Field, Kind};
use crate::subjects::{apis, credits, rate_rules, security, tiers, validations};
use serde_json::{Map, Value, json};

/// One section.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) table: &'static str,
    pub(super) fields: Vec<Field>,
    /// What an item holds beside its fields: name, and its schema.
    pub(super) more: Vec<(&'static str, Value)>,
}

/// Fields that are references to secrets (`file:`, `env:`, `vault:`).
pub(super) const SECRETS: [&str; 5] = ["api_key", "api_key_new", "password", "value", "user_api_key"];
/// Fields that the daemon sets.
const OWN: [&str; 5] = ["api_id", "api_path", "endpoint_id", "created_at", "updated_at"];

fn fields(all: &[Field], but: &[&str]) -> Vec<Field> {
    all.iter().filter(|(name, ..)| !OWN.contains(name) && !but.contains(name)).copied().collect()
}

/// Fields of an endpoint within its API.
pub(super) fn endpoint() -> Vec<Field> {
    let described = |(name, kind, absent): Field| match name {
        "endpoint_description" => (name, kind, Absent::Null),
        _ => (name, kind, absent),
    };
    fields(endpoints::FIELDS, &["api_name", "api_version"]).into_iter().map(described).collect()
}

/// Fields of an endpoint's validation.
pub(super) fn validation() -> Vec<Field> {
    fields(validations::FIELDS, &["endpoint_id"])
}

/// Fields of a user's account in one credit group.
pub(super) const ACCOUNT: &[Field] = &[
    ("tier_name", Kind::Text(1, 50), Absent::Required),
    ("available_credits", Kind::Int(0), Absent::Number(0)),
    ("user_api_key", Kind::Text(1, 4_096), Absent::Null),
];

const VAULT: &[Field] = &[
    ("username", Kind::Text(1, 50), Absent::Required),
    ("key_name", Kind::Text(1, 255), Absent::Required),
    ("value", Kind::Text(1, 4_096), Absent::Null),
    ("description", Kind::Text(0, 500), Absent::Null),
];

/// Every section, in the order in which one may speak of another.
pub(super) fn sections() -> Vec<Section> {
    let plain = |name, table, fields| Section { name, table, fields, more: Vec::new() };
    let endpoint = object(&endpoint(), vec![("validation", object(&validation(), Vec::new()))]);
    let credits = json!({"type": "object", "additionalProperties": object(ACCOUNT, Vec::new())});
    vec![
        plain("roles", "roles", roles::fields()),
        plain("groups", "groups", fields(groups::FIELDS, &[])),
        plain("credits", credits::DEFINITIONS, fields(credits::FIELDS, &[])),
        plain("tiers", "tiers", fields(tiers::FIELDS, &[])),
        Section {
            name: "apis",
            table: "apis",
            fields: fields(apis::FIELDS, &[]),
            more: vec![("endpoints", json!({"type": "array", "items": endpoint}))],
        },
        Section {
            name: "users",
            table: "users",
            fields: fields(users::FIELDS, &["password"]),
            more: vec![
                ("password", reference()),
                ("password_hash", json!({"type": "string", "pattern": "^\\$argon2"})),
                ("subscriptions", json!({"type": "array", "items": {"type": "string"}})),
                ("tier", json!({"type": "string"})),
                ("credits", credits),
            ],
        },
        plain("routings", "routings", fields(routings::FIELDS, &["server_index"])),
        plain("rate_rules", "rate_rules", fields(rate_rules::FIELDS, &[])),
        plain("vault", "vault", VAULT.to_vec()),
        plain("security", security::PLACE.0, fields(security::FIELDS, &[])),
    ]
}

/// The schema of a reference to a secret.
fn reference() -> Value {
    json!({"type": "string", "pattern": "^(file|env|vault):"})
}

fn text_of(kind: &Kind) -> Value {
    match kind {
        Kind::Text(least, most) => json!({"type": "string", "minLength": least, "maxLength": most}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Int(least) => json!({"type": "integer", "minimum": least}),
        Kind::Between(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Seconds => json!({"type": "number", "minimum": 0.001, "maximum": 86_400}),
        Kind::Real(least) => json!({"type": "number", "minimum": least}),
        Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Object => json!({"type": "object"}),
        Kind::Objects => json!({"type": "array", "items": {"type": "object"}}),
    }
}

fn object(fields: &[Field], more: Vec<(&'static str, Value)>) -> Value {
    let mut properties: Map<String, Value> = Map::new();
    let mut required = Vec::new();
    for (name, kind, absent) in fields {
        let default = match absent {
            Absent::Required => {
                required.push(*name);
                None
            }
            Absent::Is(flag) => Some(json!(flag)),
            Absent::Text(text) => Some(json!(text)),
            Absent::Number(number) => Some(json!(number)),
            Absent::Null | Absent::Empty => None,
        };
        let mut schema = if SECRETS.contains(name) { reference() } else { text_of(kind) };
        if let Some(schema) = schema.as_object_mut() {
            schema.extend(default.map(|default| ("default".to_owned(), default)));
        }
        properties.insert((*name).to_owned(), schema);
    }
    properties.extend(more.into_iter().map(|(name, schema)| (name.to_owned(), schema)));
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// JSON Schema of a file.
pub(crate) fn schema() -> Value {
    let mut properties: Map<String, Value> = Map::new();
    for section in sections() {
        let item = object(&section.fields, section.more);
        let whole = if section.name == "security" { item } else { json!({"type": "array", "items": item}) };
        properties.insert(section.name.to_owned(), whole);
    }
    json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Gatehouse configuration",
           "type": "object", "properties": properties, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_one_and_knows_what_may_be_declared() {
        let schema = jsonschema::validator_for(&schema()).unwrap();
        let api = json!({"api_name": "a", "api_version": "v1", "api_servers": ["http://x"],
                         "endpoints": [{"endpoint_method": "GET", "endpoint_uri": "/"}]});
        for (file, good) in [
            (json!({}), true),
            (json!({"apis": [api]}), true),
            (json!({"apis": [{"api_name": "a"}]}), false),
            (json!({"aips": []}), false),
            (json!({"groups": [{"group_name": "g", "groop": 1}]}), false),
            (
                json!({"users": [{"username": "ana", "email": "a@x", "role": "user", "password": "env:PW"}]}),
                true,
            ),
            (
                json!({"users": [{"username": "ana", "email": "a@x", "role": "user", "password": "clear"}]}),
                false,
            ),
        ] {
            assert_eq!(schema.is_valid(&file), good, "{file}");
        }
    }
}
