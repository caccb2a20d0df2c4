//! `/auth/oidc/login` sends a browser to the provider, `/auth/oidc/callback` takes it back.

use super::cookies;
use super::query::Query;
use crate::envelope::{Reply, answer, detail};
use crate::session::source;
use crate::subjects::oidc::entering::{self, Begun};
use crate::{Inner, whole_resource};
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::json;
use subtle::ConstantTimeEq as _;

/// Logins that one address may begin.
const TRIES: crate::config::LoginLimit =
    crate::config::LoginLimit { per_window: 20, window_secs: 60, disabled: false };

/// Below `/auth`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    whole_resource!(config, "/oidc/login", get => login);
    whole_resource!(config, "/oidc/callback", get => callback);
}

fn slowly(control: &Inner, request: &HttpRequest) -> Result<(), Problem> {
    let standing = control.oidc_tries.attempt(TRIES, &source(control, request), control.clock.unix_ms());
    match standing.refused {
        true => Err(detail(429, "Too many logins from this address: wait a minute")),
        false => Ok(()),
    }
}

async fn login(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let outcome = match slowly(&control, &request) {
        Ok(()) => entering::begin(&control, &control.provider).await,
        Err(problem) => Err(problem),
    };
    let outcome = outcome.and_then(|Begun { address, state }| {
        let place = HeaderValue::from_str(&address);
        Ok((place.map_err(|_| detail(502, "The login provider's address cannot be sent"))?, state))
    });
    match outcome {
        Ok((place, state)) => {
            let mut response = answer(&control, &request, Ok(Reply::Page(303, String::new())));
            response.headers_mut().insert(LOCATION, place);
            cookies::begin(&control, &request, &mut response, state.expose());
            response
        }
        Err(problem) => answer(&control, &request, Err(problem)),
    }
}

async fn callback(control: Data<Inner>, request: HttpRequest) -> HttpResponse {
    let outcome = came(&control, &request).await;
    let made = outcome.as_ref().ok().map(|(token, claims)| (token.clone(), claims.sid.clone()));
    let asks_json = request.headers().get("accept").and_then(|value| value.to_str().ok());
    let asks_json = asks_json.is_some_and(|accept| accept.contains("application/json"));
    let reply = outcome.map(|(token, claims)| match asks_json {
        true => {
            let told = json!({"access_token": token, "token_type": "bearer", "role": claims.role});
            Reply::Bare(200, told.to_string())
        }
        false => Reply::Page(200, super::one_time::page("You are logged in", "")),
    });
    let mut response = answer(&control, &request, reply);
    cookies::begun(&control, &request, &mut response);
    if let Some((token, sid)) = made {
        let secs = control.config().access_ttl_secs;
        cookies::set(&control, &request, &mut response, (&token, &sid), secs);
    }
    response
}

async fn came(
    control: &Inner,
    request: &HttpRequest,
) -> Result<(String, crate::subjects::tokens::Claims), Problem> {
    slowly(control, request)?;
    entering::settings(control)?;
    let query = Query::of(request);
    let state = query.text("state").unwrap_or_default();
    // The login must have begun in this very browser, or somebody could be logged in as somebody else unawares.
    let kept = cookies::state(request).unwrap_or_default();
    if state.is_empty() || !bool::from(state.as_bytes().ct_eq(kept.as_bytes())) {
        return Err(detail(400, "This login did not begin in this browser: begin again"));
    }
    let refused = || detail(401, "The provider did not let you in");
    let code = query.text("code").ok_or_else(refused)?;
    let came = (Secret::new(state.to_owned()), Secret::new(code.to_owned()));
    entering::end(control, &control.provider, came, &source(control, request)).await
}
