//! Services of gRPC, by the proto file that was uploaded and by the lists of the API; and what of gRPC there is here.

use super::{READS, asked};
use crate::api::Outcome;
use crate::envelope::Reply;
use crate::session::caller;
use crate::state::Fields as _;
use crate::subjects::protos;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

pub(super) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/api/{name}/{version}/grpc/services", get => services);
    resource!(config, "/tools/grpc/check", get => check);
}

async fn services(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let asked = asked(control, request, READS)?;
    let allowed = asked.api.list("api_grpc_allowed_services");
    let proto = asked.caller.state.get(protos::TABLE, &asked.key);
    let grpc = asked.api.text("api_type").eq_ignore_ascii_case("grpc");
    if proto.is_none() && allowed.is_empty() && !grpc {
        return Err(Problem::compat(404, "GRPC001", "The API is not of type GRPC and has no proto file"));
    }
    let compiled = proto.and_then(|row| row.get("services")).and_then(Value::as_array).cloned();
    let compiled = compiled.unwrap_or_default();
    let listed = |service: &Value| {
        let name = service.get("name").and_then(Value::as_str).unwrap_or_default();
        // The lists name services without their package (spec/doorman.md 5.12).
        let short = name.rsplit('.').next().unwrap_or(name);
        allowed.is_empty() || allowed.iter().any(|known| known == name || known == short)
    };
    let methods: Vec<_> = compiled.iter().filter(|service| listed(service)).cloned().collect();
    let names = methods.iter().filter_map(|service| service.get("name").cloned());
    let names: Vec<Value> =
        if compiled.is_empty() { allowed.iter().map(|name| json!(name)).collect() } else { names.collect() };
    let note = match (compiled.is_empty(), allowed.is_empty()) {
        (false, true) => "of the uploaded proto file",
        (false, false) => "of the uploaded proto file, as far as api_grpc_allowed_services lists them",
        (true, false) => "of api_grpc_allowed_services; there is no proto file",
        (true, true) => "there is no proto file",
    };
    Ok(Reply::Data(
        200,
        json!({"services": names, "methods": methods, "reflection_enabled": false, "note": note}),
    ))
}

async fn check(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_security", "TLS001")?;
    let files = caller.state.table(protos::TABLE).len();
    // The compiler is shown to work rather than said to.
    let compiles = protos::compile("syntax = \"proto3\"; import \"google/protobuf/empty.proto\";").is_ok();
    Ok(Reply::Data(
        200,
        json!({
            "available": {"grpc": false, "grpc_tools_protoc": compiles}, "reflection_enabled": false,
            "notes": ["proto files are compiled in the process, without protoc", "gRPC calls are not served yet"],
            "details": {"proto_files": files, "well_known_imports": compiles},
        }),
    ))
}
