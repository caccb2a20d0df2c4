//! The OpenAPI document and its page, open to everybody (spec/doorman.md 4.22): they tell what the surface is, and nothing of
//! what it holds.

use crate::envelope::decorate;
use crate::openapi::{page, text};
use crate::{Inner, whole_resource};
use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use actix_web::web::{Bytes, Data, ServiceConfig};
use std::sync::OnceLock;

pub(crate) fn routes(config: &mut ServiceConfig) {
    whole_resource!(config, "/openapi.json", get => document);
    whole_resource!(config, "/api/openapi.json", get => document);
}

/// Below `/platform`.
pub(crate) fn platform(config: &mut ServiceConfig) {
    whole_resource!(config, "/openapi.json", get => document);
    whole_resource!(config, "/docs", get => docs);
    whole_resource!(config, "/redoc", get => docs);
}

/// Document and page, made when somebody asks for the first time: everybody may ask, and often.
#[derive(Default)]
pub(crate) struct Contract {
    document: OnceLock<Bytes>,
    page: OnceLock<(Bytes, String)>,
}

async fn document(control: Data<Inner>) -> HttpResponse {
    let text = control.contract.document.get_or_init(|| Bytes::from(text()));
    let mut response = HttpResponse::Ok().content_type("application/json").body(text.clone());
    decorate(&mut response);
    response
}

async fn docs(control: Data<Inner>) -> HttpResponse {
    let (page, policy) = control.contract.page.get_or_init(|| {
        let (page, policy) = page::text();
        (Bytes::from(page), policy)
    });
    let mut response = HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page.clone());
    decorate(&mut response);
    if let Ok(policy) = HeaderValue::from_str(policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}
