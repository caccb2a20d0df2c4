//! Schemas of GraphQL.

use super::{Asked, Failure, Found, Kind, READS, asked, found};
use crate::api::Outcome;
use crate::envelope::Reply;
use crate::subjects::discovery::graphql::{QUESTION, Schema, read};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;

pub(super) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/{name}/{version}/graphql/schema/refresh", post => refresh);
    resource!(config, "/api/{name}/{version}/graphql/schema", get => get);
    resource!(config, "/api/{name}/{version}/graphql/types", get => types);
}

/// The usual path is the one that calls go to (spec/doorman.md 5.1).
const KIND: Kind = Kind {
    name: "graphql",
    field: "api_graphql_schema_url",
    usual: Some("/graphql"),
    no_url: "GQL001",
    no_servers: "GQL001",
    accept: "application/graphql-response+json, application/json",
    question: Some(QUESTION),
};

async fn fetched(control: &Inner, asked: &Asked, fresh: bool) -> Result<(Schema, Found), Problem> {
    // Whatever does not answer introspection is an upstream that failed.
    let failed = |failure: Failure| {
        let problem = failure.problem((502, "GQL002"), "GQL002");
        if problem.code == "GQL002" { Problem { status: 502, ..problem } } else { problem }
    };
    found(control, &asked.api, &KIND, fresh, read).await.map_err(failed)
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let (schema, found) = fetched(control, &asked, false).await?;
    Ok(Reply::Data(200, schema.shown(found.cached)))
}

async fn refresh(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let (schema, _) = fetched(control, &asked, true).await?;
    Ok(Reply::Data(200, schema.refreshed()))
}

/// Without a schema there are no types: 404, whatever keeps it.
async fn types(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let (schema, _) = fetched(control, &asked, false).await.map_err(|problem| {
        Problem::compat(404, if problem.code == "GQL001" { "GQL001" } else { "GQL003" }, problem.detail)
    })?;
    Ok(Reply::Data(200, schema.listed()))
}
