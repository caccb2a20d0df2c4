//! The contract: an OpenAPI 3.1 document of the whole management surface, made from the operations in `docs/` and the tables
//! of fields that the handlers read by. A test holds it against what is mounted.

pub(crate) mod docs;
mod operation;
pub(crate) mod page;
mod schemas;

use docs::SECTIONS;
use operation::{Access, Body, Content, Fields, Operation, Record, Section, Shape, Taken, variables};
use serde_json::json;
use std::collections::BTreeMap;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema, SecurityRequirement,
};

const ABOUT: &str = "The management surface of the appliance. Every path is answered with and without a trailing slash, and HEAD \
    wherever GET is. Bodies are read leniently: a number may come as text, a flag as 0, 1, yes or no, and members that nobody \
    knows are passed over. With `strict_response_envelope` each JSON answer is 200 and wrapped: `status_code`, and `response` or \
    the error's members. A change with `?dry_run=true` is made, checked and not kept: it is answered 200 with a `Plan` of what it \
    would do. `If-Match` with the `ETag` of a resource refuses a change with 412 if the resource has changed since. Who calls by \
    the session's cookie sends the value of the cookie `csrf_token` as `X-CSRF-Token` with every change. What is below `/api/v1`, with \
    `/health`, `/login`, `/logout` and `/internal`, is Octoprox's surface: it is served below `/app` too, a trailing slash leads to \
    the path without it, bodies have the very types told here, and errors are `detail` alone.";
/// Extension of an operation that a test against a living daemon leaves out.
const DISRUPTIVE: &str = "x-gatehouse-disruptive";
const PERMISSION: &str = "x-gatehouse-permission";
const REFUSED: &str = "Refused";

/// Every record, some more than once.
fn records() -> Vec<(&'static str, Schema)> {
    let mut found = Vec::new();
    for operation in SECTIONS.iter().flat_map(|section| section.operations) {
        for (_, content) in operation.answers {
            if let Content::Json(shape) = content {
                schemas::records(*shape, &mut found);
            }
        }
    }
    schemas::records(PLAN, &mut found);
    found.into_iter().map(|record| (record.name, schemas::record(record))).collect()
}

/// What a dry run is answered.
const PLAN: Shape = Shape::Record(&Record {
    name: "Plan",
    fields: Fields::Table(&[]),
    without: &[],
    with: &[
        ("dry_run", Shape::Flag),
        ("actions", Shape::List(&Shape::Object(&[("action", Shape::Text), ("object", Shape::Text)]))),
        ("changes", Shape::List(&Shape::Object(&[("table", Shape::Text), ("op", Shape::Text)]))),
        ("total", Shape::Integer),
        ("routes", Shape::List(&Shape::Text)),
        ("refused", Shape::List(&Shape::Object(&[("status", Shape::Integer), ("error_code", Shape::Text)]))),
    ],
});

const CODED: Shape = Shape::Object(&[("error_code", Shape::Text), ("error_message", Shape::Text)]);
const REFUSAL: Shape = Shape::Either(&[
    CODED,
    Shape::Object(&[("error_message", Shape::Text)]),
    Shape::Object(&[("detail", Shape::Any)]),
]);
/// What a body, path or query was not.
const COMPLAINT: Shape =
    Shape::Object(&[("type", Shape::Text), ("loc", Shape::List(&Shape::Text)), ("msg", Shape::Text)]);
const DETAIL: Shape = Shape::Object(&[("detail", Shape::Text)]);
/// What does not come so far is refused by the gateway, in its own words.
const VERSIONED_REFUSAL: Shape =
    Shape::Either(&[DETAIL, Shape::Object(&[("detail", Shape::List(&COMPLAINT))]), CODED]);
const TOO_MANY: Shape = Shape::Either(&[
    Shape::Object(&[("error", Shape::Text), ("retry_after", Shape::Integer), ("detail", Shape::Text)]),
    DETAIL,
    CODED,
]);

/// Answers that operations share: name, what they say, shape, and a field of the head with its meaning.
type Shared = (&'static str, &'static str, Shape, Option<(&'static str, &'static str)>);
const SHARED: [Shared; 4] = [
    (REFUSED, "Why it was refused", REFUSAL, None),
    ("VersionedRefused", "Why it was refused", VERSIONED_REFUSAL, None),
    (
        "Unauthorized",
        "The credential is missing or counts for nothing",
        VERSIONED_REFUSAL,
        Some(("WWW-Authenticate", "`Bearer`")),
    ),
    ("TooMany", "Too many requests", TOO_MANY, Some(("Retry-After", "Seconds"))),
];

fn shared((_, about, shape, field): Shared) -> Response {
    let content = ContentBuilder::new().schema(Some(schemas::answer(shape))).build();
    let mut builder = ResponseBuilder::new().description(about).content("application/json", content);
    if let Some((name, about)) = field {
        builder = builder.header(name, HeaderBuilder::new().description(Some(about)).build());
    }
    builder.build()
}

/// The answers of a section's operations that each of them may give.
fn refusals(section: &Section) -> &'static [(&'static str, &'static str)] {
    match section.versioned() {
        true => &[
            ("401", "Unauthorized"),
            ("429", "TooMany"),
            ("4XX", "VersionedRefused"),
            ("5XX", "VersionedRefused"),
        ],
        false => &[("4XX", REFUSED), ("5XX", REFUSED)],
    }
}

fn answer(status: u16, content: Content) -> Response {
    let builder = ResponseBuilder::new().description(match status {
        201 => "Made",
        300..400 => "Look there",
        400.. => "Refused",
        _ => "Done",
    });
    match content {
        Content::Empty(None) => builder.build(),
        Content::Empty(Some(field)) => builder.header(field, HeaderBuilder::new().build()).build(),
        Content::Json(shape) => {
            let content = ContentBuilder::new().schema(Some(schemas::answer(shape))).build();
            builder.content("application/json", content).build()
        }
        Content::File(kinds) => {
            let content = |shape| ContentBuilder::new().schema(Some(schemas::answer(shape))).build();
            kinds
                .iter()
                .fold(builder, |builder, (kind, shape)| builder.content(*kind, content(*shape)))
                .build()
        }
    }
}

/// Who may call, in words.
fn access(access: Access) -> String {
    match access {
        Access::Everybody => "Needs no credential.".to_owned(),
        Access::User => "Needs a credential.".to_owned(),
        Access::Permission(name) => format!("Needs the permission `{name}`."),
        Access::SelfOr(name) => format!("For oneself; for others with the permission `{name}`."),
    }
}

fn id(operation: &Operation, path: &str) -> String {
    let word = |part: &str| part.trim_matches(['{', '}']).replace(['-', '.'], "_");
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).map(word).collect();
    format!("{}_{}", operation.method, parts.join("_"))
}

fn parameters(operation: &Operation, path: &str) -> Vec<utoipa::openapi::path::Parameter> {
    let variable = |name: &str| {
        let taken = match name {
            "user_id" | "key_id" => Taken::Between(1, i64::MAX),
            _ => Taken::Text,
        };
        let text = schemas::parameter(taken);
        let builder = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        builder.required(Required::True).schema(Some(text)).build()
    };
    let asked = operation.query.iter().map(|(name, taken, about)| {
        let required = if operation.asked.contains(name) { Required::True } else { Required::False };
        let builder = ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query);
        builder.required(required).description(Some(*about)).schema(Some(schemas::parameter(*taken))).build()
    });
    variables(path).map(variable).chain(asked).collect()
}

/// What it takes beside its path and its query, under each media type.
fn body(body: Body) -> Option<utoipa::openapi::request_body::RequestBody> {
    let content = ContentBuilder::new().schema(Some(schemas::body(body)?)).build();
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let kinds = match body {
        Body::Form(_) => &[json, form][..],
        Body::OnlyForm(_) => &[form],
        Body::Upload(_) => &["multipart/form-data"],
        Body::Raw(kinds) => kinds,
        _ => &[json],
    };
    let optional = matches!(body, Body::Maybe(_) | Body::MaybeExact(_));
    let needed = if optional { Required::False } else { Required::True };
    let builder = RequestBodyBuilder::new().required(Some(needed));
    Some(kinds.iter().fold(builder, |builder, kind| builder.content(*kind, content.clone())).build())
}

fn told(section: &Section, operation: &Operation, path: &str) -> utoipa::openapi::path::Operation {
    let careful = operation.disruptive.map(|why| format!(" Careful: {why}."));
    let about = access(operation.access) + &careful.unwrap_or_default();
    let mut builder = OperationBuilder::new()
        .tag(section.tag)
        .summary(Some(operation.summary))
        .description(Some(about))
        .operation_id(Some(id(operation, path)));
    for parameter in parameters(operation, path) {
        builder = builder.parameter(parameter);
    }
    if operation.method != "get" {
        let plan = ParameterBuilder::new().name(crate::api::DRY_RUN).parameter_in(ParameterIn::Query);
        let about = Some("`true` asks what it would do: the answer is a `Plan`");
        builder = builder.parameter(plan.description(about).schema(Some(schemas::parameter(Taken::Flag))));
    }
    if let Some(body) = body(operation.body) {
        builder = builder.request_body(Some(body));
    }
    for (status, content) in operation.answers {
        builder = builder.response(status.to_string(), answer(*status, *content));
    }
    for (status, name) in refusals(section) {
        if operation.answers.iter().all(|(own, _)| own.to_string() != *status) {
            builder = builder.response(*status, RefOr::<Response>::Ref(Ref::from_response_name(*name)));
        }
    }
    let none: [&str; 0] = [];
    if operation.access == Access::Everybody {
        builder = builder.securities(Some([]));
    } else {
        builder = builder.security(SecurityRequirement::new("bearer", none));
        let cookie = if section.versioned() { "session" } else { "cookie" };
        builder = builder.security(SecurityRequirement::new(cookie, none));
    }
    let mut extensions = ExtensionsBuilder::new();
    if let Access::Permission(name) | Access::SelfOr(name) = operation.access {
        extensions = extensions.add(PERMISSION, json!(name));
    }
    if operation.disruptive.is_some() {
        extensions = extensions.add(DISRUPTIVE, json!(true));
    }
    builder.extensions(Some(extensions.build())).build()
}

fn method(operation: &Operation) -> HttpMethod {
    match operation.method {
        "post" => HttpMethod::Post,
        "put" => HttpMethod::Put,
        "delete" => HttpMethod::Delete,
        "patch" => HttpMethod::Patch,
        _ => HttpMethod::Get,
    }
}

/// The whole document.
fn document() -> OpenApi {
    let mut paths = Paths::new();
    for section in SECTIONS {
        for operation in section.operations {
            let path = section.path(operation);
            paths.add_path_operation(&path, vec![method(operation)], told(section, operation, &path));
        }
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of a login, a personal access token, or below /api/v1 a key"));
    let cookie = ApiKeyValue::with_description(crate::session::COOKIE, "The same token, as login sets it");
    let session =
        ApiKeyValue::with_description(crate::subjects::browser::SESSION, "As the form at /login sets it");
    let mut components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer.build()))
        .security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    for answer in SHARED {
        components = components.response(answer.0, shared(answer));
    }
    for (name, schema) in BTreeMap::from_iter(records()) {
        components = components.schema(name, schema);
    }
    let info =
        InfoBuilder::new().title("Gatehouse").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let tag =
        |section: &Section| TagBuilder::new().name(section.tag).description(Some(section.about)).build();
    let mut tags: Vec<_> = SECTIONS.iter().map(tag).collect();
    tags.dedup_by(|a, b| a.name == b.name);
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

/// The OpenAPI document of the management surface as JSON, one member a line; `docs/openapi.json`.
#[must_use]
pub fn text() -> String {
    // By way of a value, whose members are in order: extensions lie in a map that has none. Of maps with text for keys: this
    // cannot fail.
    let value = serde_json::to_value(document()).unwrap_or_default();
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// As they are mounted: with the patterns of their variables, without their scope.
    fn documented() -> BTreeSet<(String, String)> {
        let all = SECTIONS.iter().flat_map(|section| section.operations);
        all.map(|operation| (operation.method.to_owned(), operation.path.to_owned())).collect()
    }

    #[test]
    fn what_is_mounted_is_documented_and_the_other_way_round() {
        let mounted: BTreeSet<_> = crate::api::mounted::all().into_iter().collect();
        assert!(mounted.len() > 100, "they are collected");
        let hint = "add a line to daemon/control/src/openapi/docs/";
        let missing: Vec<_> = mounted.difference(&documented()).cloned().collect();
        assert!(missing.is_empty(), "mounted, not documented ({hint}): {missing:?}");
        let gone: Vec<_> = documented().difference(&mounted).cloned().collect();
        assert!(gone.is_empty(), "documented, not mounted: {gone:?}");
    }

    #[test]
    fn the_document_is_written_the_same_each_time() {
        let first = text();
        assert!((0..4).all(|_| text() == first));
    }

    #[test]
    fn ids_and_the_names_of_records_are_unique() {
        let mut records_ = BTreeMap::new();
        for (name, schema) in records() {
            let schema = serde_json::to_string(&schema).unwrap();
            assert_eq!(
                records_.entry(name).or_insert(schema.clone()),
                &schema,
                "two records are called {name}"
            );
        }
        let mut ids = BTreeSet::new();
        for section in SECTIONS {
            for operation in section.operations {
                let id = id(operation, &section.path(operation));
                assert!(ids.insert(id.clone()), "{id}");
                assert!(operation.summary.len() > 3 && !operation.summary.ends_with('.'), "{id}");
            }
        }
        let tags: Vec<_> = SECTIONS.iter().map(|section| section.tag).collect();
        let mut grouped = tags.clone();
        grouped.dedup();
        assert_eq!(
            grouped.len(),
            tags.iter().collect::<BTreeSet<_>>().len(),
            "sections of a tag stand together"
        );
    }
}
