//! The column: a request flows from top to bottom, and whatever stops it is rescued in one place.

use crate::call::{Arrived, Call};
use crate::failure::Failure;
use crate::lane::Lane;
use crate::prepare::Prepared;
use crate::rescue::{rescue, row};
use crate::stages::admit::admit;
use crate::stages::authenticate::authenticate;
use crate::stages::authorize::authorize;
use crate::stages::forward::forward;
use crate::stages::identify::identify;
use crate::stages::record::{Followed, Record};
use crate::stages::reply::{refused, reply};
use crate::stages::route::route;
use crate::stages::shape::shape;
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use std::rc::Rc;

/// One request.
pub(crate) async fn handle(
    lane: Rc<Lane>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse<Followed> {
    let prepared = lane.snapshot(); // one revision for the whole call
    let now_ms = lane.clock.unix_ms();
    let mut record = Record::open(&lane, &request, now_ms); // written on every exit, also on cancel
    let asked = Call {
        lane: &lane,
        prepared: &prepared,
        now_ms,
        request,
        payload: payload.into_inner(),
        stage: Arrived,
    };
    match column(asked, &mut record, &prepared).await {
        Ok(response) => record.follow(response), // closes with the body's last byte or its drop
        Err(failure) => {
            let (status, code, _) = row(failure);
            record.refuse(status, code);
            let response = rescue(failure, prepared.limits.strict_envelope);
            record.follow(refused(response, &lane))
        }
    }
}

async fn column<'a>(
    call: Call<'a, Arrived>,
    record: &mut Record,
    prepared: &'a Prepared,
) -> Result<HttpResponse<crate::stages::reply::Body>, Failure> {
    identify(&call, record)?;
    if call.request.method() == Method::OPTIONS {
        return Ok(crate::stages::reply::preflight(call.lane));
    }
    let call = route(call, prepared, record)?; // before admit: limits are per route
    let call = admit(call, record)?; // before authenticate: cheap refusal first
    let call = authenticate(call)?; // tokens are hashed fast or cached; argon2 never runs here
    let call = authorize(call, record)?;
    let (outgoing, call) = shape(call, record)?;
    let answer = forward(outgoing, &call, record).await?;
    Ok(reply(answer, &call))
}
