//! `/auth/totp`: the second factor of the caller: set up, confirm, take away. For others an administrator takes it away.

use super::tokens::administrator;
use super::{Outcome, json, part};
use crate::change::Draft;
use crate::envelope::{Reply, detail};
use crate::session::{Caller, caller, caller_enrolling};
use crate::state::{Fields as _, Row, State};
use crate::subjects::factors::{self, TABLE};
use crate::subjects::logins;
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use std::sync::Arc;

/// Below `/auth`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/totp", get => get);
    resource!(config, "/totp/enrol", post => enrol);
    resource!(config, "/totp/confirm", post => confirm);
    resource!(config, "/totp/disable", post => disable);
    resource!(config, "/admin/totp/{username}", delete => delete_any);
}

fn bare(status: u16, value: &Value) -> Reply {
    Reply::Bare(status, value.to_string())
}

/// The shape of errors below `/auth`.
pub(super) fn plain(problem: Problem) -> Problem {
    let shaped = detail(problem.status, &problem.detail);
    problem.field.into_iter().fold(shaped, Problem::at)
}

fn who(control: &Inner, request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = caller_enrolling(control, request)?;
    caller.interactive()?;
    Ok(caller)
}

async fn get(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller_enrolling(control, request)?;
    let row = factors::confirmed(&caller.state, &caller.name);
    let left = row.map(|row| row.list("recovery").len());
    Ok(bare(200, &json!({"enrolled": row.is_some(), "recovery_codes_left": left})))
}

/// A new secret, which counts once it is confirmed.
async fn enrol(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = who(control, request)?;
    let (row, secret) = factors::made(&control.sealer, &caller.name, control.clock.unix_ms())?;
    let make = move |state: &State, caller: &Caller| {
        if factors::confirmed(state, &caller.name).is_some() {
            return Err(detail(409, "There is a second factor: disable it first"));
        }
        let draft = Draft::new("totp.enrol", format!("user/{}", caller.name));
        Ok(draft.put(TABLE, caller.name.clone(), row))
    };
    caller.submit(control, make).await?;
    let link = factors::link(&caller.name, &secret);
    Ok(bare(201, &json!({"secret": secret.expose(), "otpauth_url": link.expose()})))
}

fn code(body: &Value, names: &[&str]) -> Result<String, Problem> {
    let code = names.iter().find_map(|name| body.get(*name)?.as_str()).filter(|code| !code.is_empty());
    let expected = || detail(422, "code: expected the six digits that the authenticator shows").at("code");
    code.map(str::to_owned).ok_or_else(expected)
}

/// Counts from now on; answers the recovery codes, once.
async fn confirm(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let caller = who(control, request)?;
    let code = code(&json(body)?, &["code", "totp_code"])?;
    let (now_ms, sealer) = (control.clock.unix_ms(), Arc::clone(&control.sealer));
    let (shown, kept) = factors::recovery();
    let make = move |state: &State, caller: &Caller| {
        if factors::confirmed(state, &caller.name).is_some() {
            return Err(detail(409, "The second factor is confirmed already"));
        }
        let begun = state.get(TABLE, &caller.name);
        let begun = begun.ok_or_else(|| detail(409, "There is nothing to confirm: enrol first"))?;
        let mut row = factors::spent(&sealer, (&caller.name, begun), &code, now_ms).map_err(plain)?;
        row.insert("confirmed_unix_ms".to_owned(), json!(now_ms));
        row.insert("recovery".to_owned(), kept);
        let draft = Draft::new("totp.confirm", format!("user/{}", caller.name));
        Ok(draft.put(TABLE, caller.name.clone(), row))
    };
    guarded(control, &caller, make).await?;
    Ok(bare(200, &json!({ "recovery_codes": shown })))
}

/// Takes a code, so that a session left open is not enough.
async fn disable(control: &Inner, request: &HttpRequest, body: &Bytes) -> Outcome {
    let caller = who(control, request)?;
    let code = code(&json(body)?, &["code", "totp_code", "recovery_code"])?;
    let (now_ms, sealer) = (control.clock.unix_ms(), Arc::clone(&control.sealer));
    let make = move |state: &State, caller: &Caller| {
        let row: &Row = factors::confirmed(state, &caller.name)
            .ok_or_else(|| detail(409, "There is no second factor"))?;
        factors::spent(&sealer, (&caller.name, row), &code, now_ms).map_err(plain)?;
        Ok(Draft::new("totp.disable", format!("user/{}", caller.name)).delete(TABLE, caller.name.clone()))
    };
    guarded(control, &caller, make).await?;
    Ok(Reply::Bare(204, String::new()))
}

/// A change that takes a code: guessing it has to wait, as at the login.
async fn guarded(
    control: &Inner,
    caller: &Caller,
    make: impl FnOnce(&State, &Caller) -> Result<Draft, Problem> + Send + 'static,
) -> Result<(), Problem> {
    logins::codes_wait(control, &caller.name)?;
    let outcome = caller.submit(control, make).await;
    // A session that ended meanwhile is no guess.
    if outcome.as_ref().is_err_and(|problem| problem.status == 401 && problem.field.is_some()) {
        logins::wrong_code(control, &caller.name);
    }
    outcome.map(drop)
}

async fn delete_any(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    caller.interactive()?;
    administrator(&caller)?;
    let name = part(request, "username").to_owned();
    let make = move |state: &State, caller: &Caller| {
        administrator(caller)?;
        if state.get(TABLE, &name).is_none() {
            return Err(detail(404, "This user has no second factor"));
        }
        Ok(Draft::new("totp.remove", format!("user/{name}")).delete(TABLE, name))
    };
    caller.submit(control, make).await?;
    Ok(Reply::Bare(204, String::new()))
}
