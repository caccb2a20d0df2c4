//! Documents good and bad.

use super::*;
use proptest::prelude::*;

const PETS: &str = r##"
openapi: 3.0.3
info: {title: Pets, version: 1.2}
servers:
  - url: https://{host}/api/{stage}
    variables: {host: {default: pets.example}, stage: {default: v3}}
paths:
  x-note: [anything]
  /pets/{id}:
    parameters:
      - $ref: '#/components/parameters/Id'
      - {name: lang, in: query, schema: {type: string}}
    get:
      summary: One pet
      tags: [pets]
      parameters: [{name: lang, in: query, required: true, schema: {$ref: '#/components/schemas/Lang'}}]
      responses: {200: {description: ok}}
    put:
      description: |
        Puts it.
      requestBody: {$ref: '#/components/requestBodies/Pet'}
  /health: {$ref: '#/x-items/health'}
x-items: {health: {head: {}}}
components:
  parameters: {Id: {name: id, in: path, required: true, schema: {type: integer}}}
  schemas: {Lang: {type: string}, Pet: {type: object, properties: {mother: {$ref: '#/components/schemas/Pet'}}}}
  requestBodies:
    Pet: {content: {text/csv: {}, application/json: {schema: {$ref: '#/components/schemas/Pet'}}}}
"##;

#[test]
fn a_document_in_yaml() {
    let spec = read(&document(PETS.as_bytes()).unwrap()).unwrap();
    assert_eq!(spec.base, "https://pets.example/api/v3");
    let shown = shown(&spec);
    assert_eq!(
        (&shown["title"], &shown["version"], &shown["endpoints_count"]),
        (&json!("Pets"), &json!("1.2"), &json!(3))
    );
    let by = |method: &str| {
        let all = shown["endpoints"].as_array().unwrap();
        all.iter().find(|one| one["endpoint_method"] == method).unwrap().clone()
    };
    let get = by("GET");
    assert_eq!(get["endpoint_uri"], "/pets/{id}");
    assert_eq!((&get["endpoint_description"], &get["endpoint_tags"]), (&json!("One pet"), &json!(["pets"])));
    assert_eq!(
        get["endpoint_parameters"],
        json!([
            {"name": "id", "in": "path", "required": true, "type": "integer"},
            {"name": "lang", "in": "query", "required": true, "type": "string"},
        ])
    );
    assert_eq!(get["endpoint_responses"]["200"]["description"], "ok");
    assert_eq!(get["endpoint_request_body"], Value::Null);
    let put = by("PUT");
    assert_eq!(put["endpoint_description"], "Puts it.");
    assert_eq!(
        put["endpoint_request_body"],
        json!({"content_type": "application/json", "schema": {"$ref": "#/components/schemas/Pet"}})
    );
    assert_eq!(by("HEAD")["endpoint_description"], "HEAD /health");
}

#[test]
fn an_older_document_in_json() {
    let text = json!({
        "swagger": "2.0", "info": {"title": "Old", "version": "1"}, "basePath": "/v2", "consumes": ["text/xml"],
        "paths": {"/a": {"post": {"parameters": [
            {"name": "body", "in": "body", "schema": {"type": "object"}},
            {"name": "n", "in": "header", "type": "integer"},
        ]}}},
    });
    let spec = read(&document(text.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(spec.base, "/v2");
    let shown = shown(&spec)["endpoints"][0].clone();
    assert_eq!(
        shown["endpoint_request_body"],
        json!({"content_type": "text/xml", "schema": {"type": "object"}})
    );
    assert_eq!(
        shown["endpoint_parameters"],
        json!([{"name": "n", "in": "header", "required": false, "type": "integer"}])
    );
}

#[test]
fn what_is_no_document_is_told() {
    let many: Map<String, Value> = (0..=OPERATIONS).map(|n| (format!("/{n}"), json!({"get": {}}))).collect();
    for (text, expected) in [
        ("", "expected an object"),
        ("[]", "expected an object"),
        ("{", "expected JSON"),
        ("a: [", "expected YAML"),
        ("--- {}\n--- {}", "expected YAML"),
        ("\u{0}", "expected YAML"),
        ("{\"openapi\": \"4.0\"}", "openapi: 3.x"),
        ("{\"openapi\": \"3.0.0\"}", "paths: expected an object"),
        ("{\"openapi\": \"3.0.0\", \"paths\": {\"a\": {}}}", "begins with /"),
        (&json!({"openapi": "3.0.0", "paths": many}).to_string(), "at most 2000"),
    ] {
        let found = document(text.as_bytes()).and_then(|document| read(&document)).unwrap_err();
        assert!(found.contains(expected), "{text:.40}: {found}");
    }
    assert!(read(&json!({"openapi": "3.1.0"})).unwrap().operations.is_empty());
}

#[test]
fn anchors_that_grow_are_refused() {
    let mut text = "openapi: 3.0.0\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let again = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{again}]\n"));
    }
    text.push_str("paths: {}\n");
    let told = document(text.as_bytes()).unwrap_err();
    assert!(told.contains("expected YAML") && told.contains("20000"), "{told}");
    for deep in [
        "[".repeat(100_000),
        format!("a: {}", "[".repeat(100_000)),
        "- ".repeat(10_000),
        "{\"a\":".repeat(100_000),
    ] {
        assert!(document(deep.as_bytes()).is_err());
    }
}

#[test]
fn references_in_a_circle_end() {
    let text = json!({"openapi": "3.0.0", "paths": {
        "/a": {"$ref": "#/paths/~1b"}, "/b": {"$ref": "#/paths/~1a"},
        "/c": {"get": {"parameters": [{"$ref": "#/paths/~1c/get/parameters/0"}]}},
        "/d": {"get": {"parameters": [{"$ref": "http://169.254.169.254/x"}]}},
    }});
    assert_eq!(read(&text).unwrap().operations.len(), 2);
}

proptest! {
    #[test]
    fn never_panics(text in "(openapi: 3.0.0\npaths: )?[-a-z0-9{}\\[\\]&*!:,'\"#$/ \n]{0,120}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        for text in [text.as_bytes(), &bytes] {
            if let Ok(spec) = document(text).and_then(|document| read(&document)) {
                prop_assert!(shown(&spec).is_object());
            }
        }
    }
}
