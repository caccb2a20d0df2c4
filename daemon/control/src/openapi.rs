//! The contract: an OpenAPI 3.1 document of the whole management surface, made from the operations in `docs/` and the tables
//! of fields that the handlers read by. A test holds it against what is mounted.

pub(crate) mod docs;
mod operation;
pub(crate) mod page;
mod schemas;

use docs::SECTIONS;
use operation::{Access, Body, Content, Operation, Section, Shape, variables};
use serde_json::json;
use std::collections::BTreeMap;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema, SecurityRequirement,
};

const ABOUT: &str = "The management surface of the appliance. Every path is answered with and without a trailing slash, and HEAD \
    wherever GET is. Bodies are read leniently: a number may come as text, a flag as 0, 1, yes or no, and members that nobody \
    knows are passed over. With `strict_response_envelope` each JSON answer is 200 and wrapped: `status_code`, and `response` or \
    the error's members.";
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
    found.into_iter().map(|record| (record.name, schemas::record(record))).collect()
}

fn refusal() -> Response {
    let shape = |members| schemas::answer(Shape::Object(members));
    let either = AnyOfBuilder::new()
        .item(shape(&[("error_code", Shape::Text), ("error_message", Shape::Text)]))
        .item(shape(&[("error_message", Shape::Text)]))
        .item(shape(&[("detail", Shape::Any)]));
    let content = ContentBuilder::new().schema(Some(Schema::AnyOf(either.build()))).build();
    ResponseBuilder::new().description("Why it was refused").content("application/json", content).build()
}

fn answer(status: u16, content: Content) -> Response {
    let builder = ResponseBuilder::new().description(if status == 201 { "Made" } else { "Done" });
    match content {
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
        let text = schemas::parameter(operation::Taken::Text);
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
    if let Some(schema) = schemas::body(operation.body) {
        let needed = if matches!(operation.body, Body::Maybe(_)) { Required::False } else { Required::True };
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(needed));
        builder = builder.request_body(Some(body.build()));
    }
    for (status, content) in operation.answers {
        builder = builder.response(status.to_string(), answer(*status, *content));
    }
    for status in ["4XX", "5XX"] {
        builder = builder.response(status, RefOr::<Response>::Ref(Ref::from_response_name(REFUSED)));
    }
    let none: [&str; 0] = [];
    if operation.access == Access::Everybody {
        builder = builder.securities(Some([]));
    } else {
        builder = builder.security(SecurityRequirement::new("bearer", none));
        builder = builder.security(SecurityRequirement::new("cookie", none));
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
        .description(Some("The token of POST /platform/authorization"));
    let cookie = ApiKeyValue::with_description(crate::session::COOKIE, "The same token, as login sets it");
    let mut components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer.build()))
        .security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .response(REFUSED, refusal());
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
    // Of maps with text for keys: this cannot fail.
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
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
