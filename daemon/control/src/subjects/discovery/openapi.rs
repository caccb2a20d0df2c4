//! OpenAPI documents of upstreams: 2.0, 3.0 and 3.1, in JSON or YAML. References within the document are followed as
//! far as names, types and bodies of operations need it; nothing is fetched.

use serde_json::{Map, Value, json};

/// Operations of one document.
pub(crate) const OPERATIONS: usize = 2_000;
/// References after one another.
const HOPS: usize = 16;
/// Collections within collections of a YAML document.
const DEPTH: usize = 64;
/// Parts of a YAML document.
const NODES: usize = 500_000;
/// Parts that aliases stand for; documents of this kind have few.
const REPEATED: usize = 20_000;

/// Members of a path item that are operations, and the methods they stand for.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    /// In upper case.
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) description: String,
    tags: Vec<Value>,
    parameters: Vec<Value>,
    request_body: Value,
    responses: Value,
}

/// A document, read.
#[derive(Debug)]
pub(crate) struct Spec {
    title: String,
    version: String,
    /// Where the paths begin: a URL, or a path.
    pub(crate) base: String,
    pub(crate) operations: Vec<Operation>,
}

/// The document that a text is: JSON, or else YAML.
///
/// # Errors
/// What was expected.
pub(crate) fn document(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|_| "expected text in UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    let found = if text.trim_start().starts_with(['{', '[']) {
        serde_json::from_str(text).map_err(|error| format!("expected JSON: {error}"))?
    } else {
        yaml(text)?
    };
    if Value::is_object(&found) { Ok(found) } else { Err("expected an object".to_owned()) }
}

fn yaml(text: &str) -> Result<Value, String> {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH, max_nodes: NODES, max_documents: 1 },
        with_snippet: false,
    };
    options.alias_limits.max_total_replayed_events = REPEATED;
    options.alias_limits.max_replay_stack_depth = DEPTH;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| format!("expected YAML: {error}"))
}

/// The target of a reference within the document, or the value itself.
fn resolved<'v>(document: &'v Value, mut value: &'v Value) -> &'v Value {
    for _ in 0..HOPS {
        let target = value.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        let Some(target) = target.and_then(|pointer| document.pointer(pointer)) else { return value };
        value = target;
    }
    value
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.trim().to_owned(),
        // YAML without quotes.
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Reads a document.
///
/// # Errors
/// What was expected.
pub(crate) fn read(document: &Value) -> Result<Spec, String> {
    let old = text(document.get("swagger"));
    let new = text(document.get("openapi"));
    if !(old == "2" || old.starts_with("2.") || new == "3" || new.starts_with("3.")) {
        return Err("expected `openapi: 3.x` or `swagger: \"2.0\"`".to_owned());
    }
    let none = Map::new();
    let paths = match document.get("paths") {
        Some(Value::Object(paths)) => paths,
        // 3.1: a document may hold components or webhooks alone.
        None if new.starts_with("3.1") => &none,
        _ => return Err("paths: expected an object".to_owned()),
    };
    let mut operations = Vec::new();
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        if !path.starts_with('/') {
            return Err(format!("paths: {path:?}: expected a path that begins with /"));
        }
        let item = resolved(document, item);
        for (method, one) in METHODS.iter().filter_map(|method| Some((method, item.get(*method)?))) {
            if operations.len() == OPERATIONS {
                return Err(format!("paths: expected at most {OPERATIONS} operations"));
            }
            operations.push(operation(document, (path, item), (method, resolved(document, one))));
        }
    }
    let info = document.get("info");
    let about = |name: &str| text(info.and_then(|info| info.get(name)));
    Ok(Spec { title: about("title"), version: about("version"), base: base(document), operations })
}

fn operation(document: &Value, (path, item): (&str, &Value), (method, one): (&str, &Value)) -> Operation {
    let method = method.to_uppercase();
    let said = [text(one.get("summary")), text(one.get("description"))];
    let description =
        said.into_iter().find(|said| !said.is_empty()).unwrap_or_else(|| format!("{method} {path}"));
    // An operation's own parameter takes the place of the path's of that name and place.
    let mut parameters: Vec<&Value> = Vec::new();
    for new in items(item.get("parameters")).iter().chain(items(one.get("parameters"))) {
        let new = resolved(document, new);
        let same = |old: &&Value| ["name", "in"].iter().all(|part| old.get(part) == new.get(part));
        match parameters.iter().position(same) {
            Some(at) => parameters.splice(at..=at, [new]).for_each(drop),
            None => parameters.push(new),
        }
    }
    let body = parameters.iter().find(|one| text(one.get("in")) == "body");
    let request_body = match (body, one.get("requestBody")) {
        (Some(body), _) => {
            let consumes = [one.get("consumes"), document.get("consumes")];
            let kind = consumes.into_iter().find_map(|kinds| items(kinds).first());
            let kind = kind.cloned().unwrap_or_else(|| json!("application/json"));
            json!({"content_type": kind, "schema": body.get("schema")})
        }
        (None, Some(body)) => content(resolved(document, body)),
        (None, None) => Value::Null,
    };
    let shown = parameters.iter().filter(|one| text(one.get("in")) != "body");
    Operation {
        method,
        path: path.to_owned(),
        description,
        tags: items(one.get("tags")).to_vec(),
        parameters: shown.map(|one| parameter(document, one)).collect(),
        request_body,
        responses: one.get("responses").cloned().unwrap_or_else(|| json!({})),
    }
}

/// The first of a body's content types, JSON before others, and its schema.
fn content(body: &Value) -> Value {
    let Some(kinds) = body.get("content").and_then(Value::as_object) else { return Value::Null };
    let first = kinds.get_key_value("application/json").or_else(|| kinds.iter().next());
    first.map_or(Value::Null, |(kind, media)| json!({"content_type": kind, "schema": media.get("schema")}))
}

fn parameter(document: &Value, one: &Value) -> Value {
    let schema = one.get("schema").map(|schema| resolved(document, schema));
    let kind = one.get("type").or_else(|| schema?.get("type")).cloned().unwrap_or_else(|| json!("string"));
    let required = one.get("required").and_then(Value::as_bool).unwrap_or_default();
    json!({"name": one.get("name"), "in": one.get("in"), "required": required, "type": kind})
}

/// Where the paths begin: `basePath`, or the first server, its variables at their defaults.
fn base(document: &Value) -> String {
    let old = text(document.get("basePath"));
    let Some(server) = items(document.get("servers")).first() else { return old };
    let mut url = text(server.get("url"));
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten().take(HOPS) {
        url = url.replace(&format!("{{{name}}}"), &text(variable.get("default")));
    }
    url
}

/// What a document says, as it is answered.
pub(crate) fn shown(spec: &Spec) -> Value {
    let operation = |one: &Operation| {
        json!({
            "endpoint_uri": one.path, "endpoint_method": one.method, "endpoint_description": one.description,
            "endpoint_tags": one.tags, "endpoint_parameters": one.parameters,
            "endpoint_request_body": one.request_body, "endpoint_responses": one.responses,
        })
    };
    let operations: Vec<_> = spec.operations.iter().map(operation).collect();
    json!({"title": spec.title, "version": spec.version, "endpoints_count": operations.len(), "endpoints": operations})
}

#[cfg(test)]
mod tests;
