//! `/platform/proto/{api}/{ver}` (spec/doorman.md 4.14): upload, look, replace, remove.

use super::{Outcome, part};
use crate::change::Draft;
use crate::envelope::{Reply, answer};
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::protos::{self, TABLE};
use crate::{Inner, whole_resource};
use actix_multipart::Multipart;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{Error, HttpRequest};
use futures_util::StreamExt as _;
use gatehouse_common::limits::{PROTO_BYTES, PROTO_UPLOAD_BYTES};
use gatehouse_common::problem::{Code, Problem};
use serde_json::json;

pub(crate) fn routes(config: &mut ServiceConfig) {
    whole_resource!(
        config,
        "/proto/{name}/{version}",
        post => |control: Data<Inner>, request: HttpRequest, body: web::Payload| async move {
            let outcome = uploaded(&control, &request, whole(body).await, &CREATES).await;
            answer(&control, &request, outcome)
        },
        put => |control: Data<Inner>, request: HttpRequest, body: web::Payload| async move {
            let outcome = uploaded(&control, &request, whole(body).await, &REPLACES).await;
            answer(&control, &request, outcome)
        },
        get => |control: Data<Inner>, request: HttpRequest| async move {
            answer(&control, &request, get(&control, &request))
        },
        delete => |control: Data<Inner>, request: HttpRequest| async move {
            let outcome = delete(&control, &request).await;
            answer(&control, &request, outcome)
        },
    );
}

/// The body of an upload, which may be larger than others.
async fn whole(body: web::Payload) -> Result<Bytes, Error> {
    match body.to_bytes_limited(PROTO_UPLOAD_BYTES).await {
        Ok(bytes) => bytes,
        Err(_) => Err(PayloadError::Overflow.into()),
    }
}

/// What the two ways of uploading differ in.
struct Way {
    field: &'static str,
    code: &'static str,
    done: &'static str,
}

const CREATES: Way = Way { field: "file", code: "AUTH001", done: "Proto file uploaded successfully" };
const REPLACES: Way = Way { field: "proto_file", code: "API008", done: "Proto file updated successfully" };

fn key(request: &HttpRequest) -> String {
    format!("{}/{}", part(request, "name"), part(request, "version"))
}

fn refused(text: impl Into<String>) -> Problem {
    Problem::compat(400, "REQ003", text)
}

fn large() -> Problem {
    let text =
        format!("expected a file of at most {PROTO_BYTES} bytes in a body of at most {PROTO_UPLOAD_BYTES}");
    Problem::compat(413, "REQ002", text)
}

async fn uploaded(
    control: &Inner,
    request: &HttpRequest,
    body: Result<Bytes, Error>,
    way: &'static Way,
) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_apis", way.code)?;
    let body = body.map_err(|error| match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => large(),
        _ => refused("body: it ended early or is not encoded as announced"),
    })?;
    let text = file(request, body, way.field).await?;
    let (name, version) = (part(request, "name").to_owned(), part(request, "version").to_owned());
    for (value, most, field) in [(&name, 64, "api"), (&version, 8, "ver")] {
        super::addressable(value, &[], "REQ003", field)?;
        if value.chars().count() > most {
            return Err(refused(format!("{field}: expected at most {most} characters")).at(field));
        }
    }
    let work = move || protos::compile(&text).map(|compiled| protos::row(&name, &version, &text, &compiled));
    let lost = |error| Problem::new(Code::Internal, format!("the work ended early: {error}"));
    let row = web::block(work).await.map_err(lost)?;
    let row =
        row.map_err(|why| refused(format!("{}: it does not compile: {why}", way.field)).at(way.field))?;
    let key = key(request);
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_apis", way.code)?;
        let before = state.get(TABLE, &key).map(|old| protos::summary(old));
        let told = json!({"before": before, "after": protos::summary(&row)});
        Ok(Draft::new("proto.put", format!("proto/{key}")).detail(told).put(TABLE, key, row))
    };
    caller.submit(control, make).await?;
    Ok(Reply::message(200, way.done))
}

/// The text of the file in a multipart body: the field of the way, or else the other one's.
async fn file(request: &HttpRequest, body: Bytes, field: &str) -> Result<String, Problem> {
    let stream = futures_util::stream::once(std::future::ready(Ok::<_, PayloadError>(body)));
    let mut parts = Multipart::new(request.headers(), Box::pin(stream));
    let broken = |error: &dyn std::fmt::Display| {
        refused(format!("body: expected multipart/form-data with the field {field}: {error}"))
    };
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|error| broken(&error))?;
        let name = part.name().unwrap_or_default().to_owned();
        if ![CREATES.field, REPLACES.field].contains(&name.as_str()) {
            continue;
        }
        let given = part.content_disposition().and_then(|told| told.get_filename()).unwrap_or_default();
        if !given.to_ascii_lowercase().ends_with(".proto") {
            return Err(refused(format!("{name}: expected a file whose name ends in .proto")).at(name));
        }
        let bytes = part.bytes(PROTO_BYTES).await.map_err(|_| large())?;
        let bytes = bytes.map_err(|error| broken(&error))?;
        let text = String::from_utf8(bytes.to_vec());
        return text.map_err(|_| refused(format!("{name}: expected text in UTF-8")).at(name));
    }
    Err(refused(format!("{field}: expected a file in this field")).at(field))
}

fn get(control: &Inner, request: &HttpRequest) -> Outcome {
    let caller = caller(control, request)?;
    caller.needs("manage_apis", "API008")?;
    let missing = || Problem::compat(404, "API002", "Proto file does not exist for the requested API");
    let row: &Row = caller.state.get(TABLE, &key(request)).ok_or_else(missing)?;
    Ok(Reply::Data(200, json!({ "content": row.text("content") })))
}

/// Answers 200 also where there is none.
async fn delete(control: &Inner, request: &HttpRequest) -> Outcome {
    let caller = caller(control, request)?;
    let key = key(request);
    let make = move |state: &State, caller: &Caller| {
        caller.needs("manage_apis", "API008")?;
        let none = || Problem::compat(200, "", "there is none");
        let told = json!({ "before": protos::summary(state.get(TABLE, &key).ok_or_else(none)?) });
        Ok(Draft::new("proto.delete", format!("proto/{key}")).detail(told).delete(TABLE, key))
    };
    match caller.submit(control, make).await {
        Err(problem) if problem.status != 200 => Err(problem),
        _ => Ok(Reply::message(200, "Proto file deleted successfully")),
    }
}
