//! Authenticate: cookie, bearer token or API key to a consumer. A public route looks at none of them
//! (spec/doorman.md 5.2).

use crate::call::{Admitted, Call, Known, Routed};
use crate::client::head::Head;
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::lane::Lane;
use crate::prepare::Prepared;
use crate::prepare::route::{Access, Route};
use crate::prepare::who::Who;
use crate::stages::record::Record;
use crate::tokens::Verified;
use gatehouse_common::opaque::{self, PERSONAL};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::cell::OnceCell;
use std::net::IpAddr;
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

/// A request that shows a credential, or none.
pub(crate) struct Asked<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) prepared: &'a Prepared,
    pub(crate) route: &'a Route,
    pub(crate) head: &'a Head,
    /// From where, through the proxies that are trusted.
    pub(crate) client: IpAddr,
    pub(crate) now_ms: i64,
    pub(crate) seat: &'a OnceCell<Arc<Who>>,
}

pub(crate) fn authenticate<'a>(
    call: Call<'a, Admitted<'a>>,
    record: &mut Record<'a>,
) -> Result<Call<'a, Known<'a>>, Failure> {
    let Routed { route, client, .. } = call.stage.0;
    let Call { lane, prepared, head, now_ms, seat, .. } = call;
    record.client = client;
    let who = who(&Asked { lane, prepared, route, head, client, now_ms, seat })?;
    Ok(call.on(|Admitted(routed)| Known { routed, who }))
}

/// Who asks; `None` is nobody in particular.
pub(crate) fn who<'a>(asked: &Asked<'a>) -> Result<Option<&'a Who>, Failure> {
    Ok(match (asked.route.access, credential(asked.head)) {
        (Access::Public, _) | (Access::Anonymous, None) => None,
        (Access::Known, None) => return Err(Failure::Unauthenticated),
        // Who shows a credential wants it to count: a bad one is refused also where none is needed.
        (_, Some(credential)) => {
            let opaque = credential.starts_with(KEY_PREFIX) || credential.starts_with(PERSONAL);
            let who = if opaque { by_key(asked, credential) } else { by_token(asked, credential) };
            Some(who.ok_or(Failure::Unauthenticated)?)
        }
    })
}

/// The cookie comes first, as older clients expect (spec/doorman.md 2.2).
fn credential(head: &Head) -> Option<&str> {
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

/// An API key, or a personal access token with the scope to call APIs.
fn by_key<'a>(asked: &Asked<'a>, key: &str) -> Option<&'a Who> {
    let kept = if key.starts_with(PERSONAL) { opaque::parse(PERSONAL, key)?.secret } else { key };
    let hash: [u8; 32] = Sha256::digest(kept.as_bytes()).into();
    let key = asked.prepared.api_keys.get(&hash)?;
    let client = asked.client.to_canonical();
    let elsewhere = !key.networks.is_empty() && !key.networks.iter().any(|network| network.contains(&client));
    if elsewhere || key.expires_unix_ms.is_some_and(|expires| expires <= asked.now_ms) {
        return None;
    }
    let who = asked.prepared.consumers.get(key.consumer.as_str()).filter(|who| who.alive())?;
    let counts = key.epoch.is_none_or(|epoch| epoch == who.consumer.token_epoch);
    counts.then(|| {
        key.used.touch(asked.now_ms);
        &**who
    })
}

fn by_token<'a>(asked: &Asked<'a>, token: &str) -> Option<&'a Who> {
    let (prepared, route) = (asked.prepared, asked.route);
    let now_secs = asked.now_ms / 1_000;
    // Several APIs may trust one issuer, so each remembers by itself what it found.
    let issuer = || route.external.as_ref().map(|_| &route.api.id);
    let known = asked.lane.verified(prepared.identity.0, |tokens| {
        tokens.get(token, None).or_else(|| tokens.get(token, Some(issuer()?))).cloned()
    });
    let verified = match known {
        Some(verified) => Some(verified).filter(|verified| verified.expires_secs > now_secs)?,
        None => {
            let verified = own(prepared, token, now_secs).or_else(|| foreign(asked, token))?;
            asked.lane.remember(token, verified.clone());
            verified
        }
    };
    Some(asked.seat.get_or_init(|| verified.who))
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
fn foreign(asked: &Asked<'_>, token: &str) -> Option<Verified> {
    let route = asked.route;
    let identity = match route.external.as_ref()?.verify(token, asked.now_ms) {
        Ok(identity) => identity,
        Err(refusal) => {
            tracing::debug!(target: "authenticate", route = route.name, %refusal, "a token of the issuer");
            return None;
        }
    };
    let who = asked.prepared.consumers.get(identity.user.as_str()).filter(|who| who.alive())?;
    Some(Verified {
        who: Arc::clone(who),
        expires_secs: identity.expires_secs,
        route: Some(route.api.id.clone()),
    })
}
