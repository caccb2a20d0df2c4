//! Authenticate: cookie, bearer token or API key to a consumer. A public route looks at none of them
//! (spec/doorman.md 5.2).

use crate::call::{Admitted, Call, Known};
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::prepare::Prepared;
use crate::prepare::route::Access;
use crate::prepare::who::Who;
use crate::tokens::Verified;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

const COOKIE_NAME: &str = "access_token_cookie";
const KEY_PREFIX: &str = "mcp_";

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    jti: String,
    #[serde(default)]
    sid: String,
    #[serde(default)]
    epoch: u64,
}

pub(crate) fn authenticate<'a>(call: Call<'a, Admitted<'a>>) -> Result<Call<'a, Known<'a>>, Failure> {
    let access = call.stage.0.route.access;
    let who = match (access, credential(&call)) {
        (Access::Public, _) | (Access::Anonymous, None) => None,
        (Access::Known, None) => return Err(Failure::Unauthenticated),
        // Who shows a credential wants it to count: a bad one is refused also where none is needed.
        (_, Some(credential)) => {
            let who = match credential.strip_prefix(KEY_PREFIX) {
                Some(_) => by_key(call.prepared, credential, call.now_ms),
                None => by_token(&call, credential),
            };
            Some(who.ok_or(Failure::Unauthenticated)?)
        }
    };
    Ok(call.on(|Admitted(routed)| Known { routed, who }))
}

/// The cookie comes first, as older clients expect (spec/doorman.md 2.2).
fn credential<'c>(call: &'c Call<'_, Admitted<'_>>) -> Option<&'c str> {
    let head = call.head;
    let cookies = head.all(Name::Cookie).filter_map(|line| std::str::from_utf8(line).ok());
    let cookie = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME);
    if let Some((_, value)) = cookie.filter(|(_, value)| !value.is_empty()) {
        return Some(value);
    }
    if let Some(key) = head.get_text(Name::ApiKey) {
        return Some(key);
    }
    let value = head.get_text(Name::Authorization)?;
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        Some(_) => return None,
        None => value,
    };
    Some(token.trim())
}

fn by_key<'a>(prepared: &'a Prepared, key: &str, now_ms: i64) -> Option<&'a Who> {
    let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let key = prepared.api_keys.get(&hash)?;
    if key.expires_unix_ms.is_some_and(|expires| expires <= now_ms) {
        return None;
    }
    key.used.touch(now_ms);
    prepared.consumers.get(key.consumer.as_str()).filter(|who| who.alive()).map(|who| &**who)
}

fn by_token<'a>(call: &Call<'a, Admitted<'a>>, token: &str) -> Option<&'a Who> {
    let (prepared, route) = (call.prepared, call.stage.0.route);
    let now_secs = call.now_ms / 1_000;
    // Several APIs may trust one issuer, so each remembers by itself what it found.
    let issuer = || route.external.as_ref().map(|_| &route.api.id);
    let known = call.lane.verified(prepared.identity.0, |tokens| {
        tokens.get(token, None).or_else(|| tokens.get(token, Some(issuer()?))).cloned()
    });
    let verified = match known {
        Some(verified) => Some(verified).filter(|verified| verified.expires_secs > now_secs)?,
        None => {
            let verified = own(prepared, token, now_secs).or_else(|| foreign(call, token))?;
            call.lane.remember(token, verified.clone());
            verified
        }
    };
    Some(call.seat.get_or_init(|| verified.who))
}

/// A token of ours.
fn own(prepared: &Prepared, token: &str, now_secs: i64) -> Option<Verified> {
    let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false; // against our own clock, below
    validation.required_spec_claims.clear();
    let claims =
        jsonwebtoken::decode::<Claims>(token, prepared.token_keys.get(&kid)?, &validation).ok()?.claims;
    let who = prepared.consumers.get(claims.sub.as_str()).filter(|who| who.alive())?;
    let revoked =
        prepared.revoked_tokens.contains(&claims.jti) || prepared.revoked_tokens.contains(&claims.sid);
    if claims.exp <= now_secs || revoked || claims.epoch != who.consumer.token_epoch {
        return None;
    }
    Some(Verified { who: Arc::clone(who), expires_secs: claims.exp, route: None })
}

/// One of the issuer that the API trusts; it counts for this API alone.
fn foreign(call: &Call<'_, Admitted<'_>>, token: &str) -> Option<Verified> {
    let route = call.stage.0.route;
    let identity = match route.external.as_ref()?.verify(token, call.now_ms) {
        Ok(identity) => identity,
        Err(refusal) => {
            tracing::debug!(target: "authenticate", route = route.name, %refusal, "a token of the issuer");
            return None;
        }
    };
    let who = call.prepared.consumers.get(identity.user.as_str()).filter(|who| who.alive())?;
    Some(Verified {
        who: Arc::clone(who),
        expires_secs: identity.expires_secs,
        route: Some(route.api.id.clone()),
    })
}
