//! Documents of OpenAPI.

use super::{Asked, Failure, Found, IMPORTS, Kind, READS, asked, begun, found, given, import, permitted};
use crate::api::Outcome;
use crate::envelope::Reply;
use crate::subjects::discovery::importing;
use crate::subjects::discovery::openapi::{Spec, document, read, shown};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

pub(super) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/{name}/{version}/openapi/refresh", post => refresh);
    resource!(config, "/api/{name}/{version}/openapi/import", post => import_all);
    resource!(config, "/api/{name}/{version}/openapi", get => get);
    resource!(config, "/openapi/parse", post => parse);
}

const KIND: Kind = Kind {
    name: "openapi",
    field: "api_openapi_url",
    usual: None,
    no_url: "OPENAPI001",
    no_servers: "OPENAPI002",
    accept: "application/vnd.oai.openapi+json, application/json, application/yaml;q=0.9, */*;q=0.5",
    question: None,
};

fn whole(text: &[u8]) -> Result<(Value, Spec), String> {
    let document = document(text)?;
    let spec = read(&document)?;
    Ok((document, spec))
}

async fn fetched(control: &Inner, asked: &Asked, fresh: bool) -> Result<((Value, Spec), Found), Failure> {
    found(control, &asked.api, &KIND, fresh, whole).await
}

fn problem(failure: Failure, status: u16) -> Problem {
    failure.problem((status, "OPENAPI003"), "OPENAPI004")
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let ((document, _), _) =
        fetched(control, &asked, false).await.map_err(|failure| problem(failure, 502))?;
    Ok(Reply::Data(200, document))
}

async fn refresh(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let ((_, spec), _) = fetched(control, &asked, true).await.map_err(|failure| problem(failure, 502))?;
    let count = spec.operations.len();
    Ok(Reply::Data(
        200,
        json!({"message": "OpenAPI document refreshed successfully", "endpoints_found": count}),
    ))
}

async fn import_all(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, IMPORTS)?;
    let ((_, spec), _) = fetched(control, &asked, false).await.map_err(|failure| problem(failure, 404))?;
    let wanted = importing::of_openapi(&asked.api, &spec);
    let told = begun([("endpoints_found", json!(wanted.len()))]);
    import(control, &asked, wanted, told).await
}

async fn parse(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    permitted(control, request, READS)?;
    let (_, spec) = given(control, body, "OPENAPI004", whole).await?;
    Ok(Reply::Data(200, shown(&spec)))
}
