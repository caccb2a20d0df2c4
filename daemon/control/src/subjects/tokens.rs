//! Tokens: HS256 with a `kid` derived from the key; two keys are accepted during a rotation.

use crate::config::ControlConfig;
use crate::state::{Fields as _, Row, State};
use crate::subjects::roles::PERMISSIONS;
use gatehouse_common::problem::{Code, Problem};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// What a token says (spec/doorman.md 2.4), with our `sid`, `epoch` and `typ`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    pub(crate) role: String,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) jti: String,
    pub(crate) sid: String,
    pub(crate) epoch: u64,
    pub(crate) typ: String,
    pub(crate) accesses: BTreeMap<String, bool>,
}

/// The `kid` of a key: the first 16 hex digits of its SHA-256.
#[must_use]
pub fn key_id(key: &[u8]) -> String {
    let mut digest = hex::encode(Sha256::digest(key));
    digest.truncate(16);
    digest
}

/// Life and kind of a token to be issued.
pub(crate) struct Wanted<'a> {
    pub(crate) sid: &'a str,
    pub(crate) typ: &'a str,
    pub(crate) ttl_secs: i64,
    pub(crate) now_ms: i64,
}

/// Signs a token with the first key.
pub(crate) fn issue(
    config: &ControlConfig,
    state: &State,
    user: &Row,
    wanted: &Wanted<'_>,
) -> Result<(String, Claims), Problem> {
    let role = state.get("roles", user.text("role"));
    let mut accesses: BTreeMap<String, bool> = PERMISSIONS
        .iter()
        .map(|name| ((*name).to_owned(), role.is_some_and(|role| role.flag(name))))
        .collect();
    accesses.insert("ui_access".to_owned(), user.flag("ui_access"));
    let iat = wanted.now_ms / 1_000;
    let claims = Claims {
        sub: user.text("username").to_owned(),
        role: user.text("role").to_owned(),
        exp: iat + wanted.ttl_secs,
        iat,
        jti: uuid::Uuid::new_v4().to_string(),
        sid: wanted.sid.to_owned(),
        epoch: u64::try_from(user.number("token_epoch")).unwrap_or(0),
        typ: wanted.typ.to_owned(),
        accesses,
    };
    let none = || Problem::new(Code::Internal, "there is no signing key");
    let key = config.signing_keys.first().ok_or_else(none)?;
    let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key.secret.expose()))
        .map_err(|error| Problem::new(Code::Internal, format!("signing: {error}")))?;
    Ok((token, claims))
}

/// A token's signature and life, whatever became of it since.
pub(crate) fn decode(config: &ControlConfig, token: &str, now_ms: i64) -> Option<Claims> {
    own(config, token).filter(|claims| claims.exp > now_ms / 1_000)
}

/// What a token of ours says, though it may have expired.
pub(crate) fn own(config: &ControlConfig, token: &str) -> Option<Claims> {
    let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
    let key = config.signing_keys.iter().find(|key| key.kid == kid)?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false; // against our own clock, below
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_secret(key.secret.expose());
    jsonwebtoken::decode::<Claims>(token, &key, &validation).ok().map(|token| token.claims)
}

/// A token that is valid now: its user lives, and neither it nor its session has been revoked.
pub(crate) fn verify(config: &ControlConfig, state: &State, token: &str, now_ms: i64) -> Option<Claims> {
    decode(config, token, now_ms).filter(|claims| alive(state, claims, now_ms))
}

/// Whether an API key is neither revoked nor expired.
pub(crate) fn key_counts(key: &Row, now_ms: i64) -> bool {
    let at = |name: &str| key.get(name).and_then(serde_json::Value::as_i64);
    at("revoked_unix_ms").is_none() && at("expires_unix_ms").is_none_or(|expires| expires > now_ms)
}

/// Whether a token that has not expired counts in a state; also what stands for an API key.
pub(crate) fn alive(state: &State, claims: &Claims, now_ms: i64) -> bool {
    if claims.typ == "key" && !state.get("keys", &claims.sid).is_some_and(|key| key_counts(key, now_ms)) {
        return false;
    }
    let Some(user) = state.get("users", &claims.sub) else { return false };
    let epoch = u64::try_from(user.number("token_epoch")).unwrap_or(0);
    let revoked = state.get("revoked", &claims.jti).or_else(|| state.get("revoked", &claims.sid));
    user.flag("active") && !user.flag("tokens_revoked") && claims.epoch == epoch && revoked.is_none()
}
