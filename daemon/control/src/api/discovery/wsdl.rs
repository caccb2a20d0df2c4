//! Documents of WSDL.

use super::{Asked, Failure, Found, IMPORTS, Kind, READS, asked, begun, found, given, import, permitted};
use crate::api::Outcome;
use crate::envelope::Reply;
use crate::subjects::discovery::importing;
use crate::subjects::discovery::wsdl::{Wsdl, read, shown};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::json;

pub(super) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/{name}/{version}/wsdl/refresh", post => refresh);
    resource!(config, "/api/{name}/{version}/wsdl/import", post => import_all);
    resource!(config, "/api/{name}/{version}/wsdl", get => get);
    resource!(config, "/wsdl/parse", post => parse);
}

const KIND: Kind = Kind {
    name: "wsdl",
    field: "api_wsdl_url",
    usual: None,
    no_url: "WSDL001",
    no_servers: "WSDL002",
    accept: "application/wsdl+xml, text/xml, application/xml, */*;q=0.5",
    question: None,
};

async fn fetched(control: &Inner, asked: &Asked, fresh: bool) -> Result<(Wsdl, Found), Problem> {
    let failed = |failure: Failure| failure.problem((502, "WSDL003"), "WSDL004");
    found(control, &asked.api, &KIND, fresh, read).await.map_err(failed)
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let (_, found) = fetched(control, &asked, false).await?;
    let text = String::from_utf8_lossy(&found.text);
    Ok(Reply::Data(200, json!({"wsdl": text, "cached": found.cached})))
}

async fn refresh(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let (wsdl, _) = fetched(control, &asked, true).await?;
    Ok(Reply::Data(
        200,
        json!({"message": "WSDL refreshed successfully", "service_name": wsdl.service,
               "operations_found": wsdl.operations.len()}),
    ))
}

async fn import_all(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, IMPORTS)?;
    let (wsdl, found) = fetched(control, &asked, false).await?;
    let wanted = importing::of_wsdl(&asked.api, &wsdl, &found.url);
    let told = begun([
        ("service_name", json!(wsdl.service)),
        ("operations_found", json!(wsdl.operations.len())),
        ("endpoints_found", json!(wanted.len())),
    ]);
    import(control, &asked, wanted, told).await
}

async fn parse(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    permitted(control, request, READS)?;
    let wsdl = given(control, body, "WSDL004", read).await?;
    Ok(Reply::Data(200, shown(&wsdl)))
}
