//! Tokens of an external issuer (RFC 7519, 8725), verified by the keys that control has fetched (JWKS, RFC 7517). A key
//! says which algorithms count with it, the token only which key; secrets shared with the issuer and `none` never count.

use gatehouse_corridor::snapshot::api::Issuer;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

/// Bytes of a token.
const TOKEN_BYTES: usize = 16_384;
/// Bytes of a key set, and keys of it.
const JWKS_BYTES: usize = 262_144;
const KEYS: usize = 64;
/// Keys that one token may be tried against.
const TRIES: usize = 4;
/// Characters of an RSA modulus in base64: 2048 to 4096 bits, which is what can be verified in reasonable time.
const MODULUS: std::ops::RangeInclusive<usize> = 342..=683;
/// How far the issuer's clock may be off, seconds.
const LEEWAY_SECS: f64 = 60.0;
/// Bytes of a user name.
const USER_BYTES: usize = 256;

/// Why a token does not count. None repeats anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No token, or one with parts that would have to be understood.
    #[error("not a token that can be read")]
    Malformed,
    /// `none`, a shared secret, or an algorithm unknown here.
    #[error("an algorithm that does not count")]
    Algorithm,
    /// The issuer may have new keys: worth fetching them.
    #[error("no key of this name and algorithm")]
    UnknownKey,
    /// The signature is of none of the keys.
    #[error("a wrong signature")]
    Signature,
    /// `iss`.
    #[error("another issuer")]
    Issuer,
    /// `aud`.
    #[error("another audience")]
    Audience,
    /// `exp`, also a missing one.
    #[error("expired")]
    Expired,
    /// `nbf`.
    #[error("not valid yet")]
    NotYet,
    /// The claim that names the user.
    #[error("no user name")]
    User,
}

/// Whom a token names, and until when (Unix seconds, leeway included).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) expires_secs: i64,
}

struct Key {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// Compiled issuer of one API.
pub(crate) struct External {
    issuer: String,
    audience: Option<String>,
    user_claim: String,
    keys: Vec<Key>,
}

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("External")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl External {
    /// Keys of kinds that are unknown here are passed over; without any no token counts.
    ///
    /// # Errors
    /// The field and what was expected.
    pub(crate) fn compile(issuer: &Issuer) -> Result<Self, String> {
        if issuer.name.is_empty() {
            return Err("issuer: expected the value of iss".into());
        }
        if issuer.user_claim.is_empty() {
            return Err("user_claim: expected the name of a claim, mostly sub".into());
        }
        let keys = issuer.jwks.as_deref().map_or(Ok(Vec::new()), keys)?;
        Ok(Self {
            issuer: issuer.name.clone(),
            audience: issuer.audience.clone(),
            user_claim: issuer.user_claim.clone(),
            keys,
        })
    }

    /// Whom a token names.
    ///
    /// # Errors
    /// Why it does not count.
    pub(crate) fn verify(&self, token: &str, now_ms: i64) -> Result<Identity, Refusal> {
        let claims = self.signed(token)?;
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Refusal::Issuer);
        }
        if self.audience.as_deref().is_some_and(|wanted| !is_for(claims.get("aud"), wanted)) {
            return Err(Refusal::Audience);
        }
        let now = seconds(now_ms / 1_000);
        let expires = claims.get("exp").and_then(Value::as_f64).ok_or(Refusal::Expired)? + LEEWAY_SECS;
        if expires <= now {
            return Err(Refusal::Expired);
        }
        match claims.get("nbf").map(Value::as_f64) {
            None => {}
            Some(Some(begins)) if begins - LEEWAY_SECS <= now => {}
            Some(_) => return Err(Refusal::NotYet),
        }
        let user = claims.get(&self.user_claim).and_then(Value::as_str).ok_or(Refusal::User)?;
        if user.is_empty() || user.len() > USER_BYTES || user.chars().any(char::is_control) {
            return Err(Refusal::User);
        }
        Ok(Identity { user: user.to_owned(), expires_secs: whole(expires) })
    }

    /// The claims, if one of the keys has signed them.
    fn signed(&self, token: &str) -> Result<Map<String, Value>, Refusal> {
        if token.len() > TOKEN_BYTES {
            return Err(Refusal::Malformed);
        }
        let header = match jsonwebtoken::decode_header(token) {
            Ok(header) => header,
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::Json(_)) => {
                // `none` and what else the library does not know.
                return Err(Refusal::Algorithm);
            }
            Err(_) => return Err(Refusal::Malformed),
        };
        // Tokens that are made for another purpose say so (RFC 8725 3.11).
        let typ = header.typ.as_deref().unwrap_or("JWT");
        let known = ["JWT", "at+jwt", "application/at+jwt", "application/jwt"];
        if header.crit.is_some() || !known.iter().any(|known| typ.eq_ignore_ascii_case(known)) {
            return Err(Refusal::Malformed);
        }
        if matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
            return Err(Refusal::Algorithm);
        }
        let fits = |key: &&Key| {
            let named = header.kid.is_none() || key.id.is_none() || key.id == header.kid;
            named && key.algorithms.contains(&header.alg)
        };
        let mut refusal = Refusal::UnknownKey;
        for key in self.keys.iter().filter(fits).take(TRIES) {
            let mut validation = Validation::new(header.alg);
            // Against our own clock and rules, by the caller.
            (validation.validate_exp, validation.validate_aud) = (false, false);
            validation.required_spec_claims.clear();
            match jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(_) => refusal = Refusal::Signature,
            }
        }
        Err(refusal)
    }
}

fn keys(text: &str) -> Result<Vec<Key>, String> {
    let wrong = "jwks: expected a key set as of RFC 7517, of at most 256 KiB and 64 keys";
    let set: Value = serde_json::from_str(text).ok().filter(|_| text.len() <= JWKS_BYTES).ok_or(wrong)?;
    let keys = set.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= KEYS).ok_or(wrong)?;
    Ok(keys
        .iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok())
        .filter_map(key)
        .collect())
}

/// `None`: not a key that verifies signatures here.
fn key(jwk: Jwk) -> Option<Key> {
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && jwk.common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if MODULUS.contains(&rsa.n.len()) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let algorithms = match jwk.common.key_algorithm {
        None => of_kind,
        Some(named) => {
            let at = of_kind.iter().position(|algorithm| names(*algorithm) == Some(named))?;
            of_kind.get(at..=at)?
        }
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    signs.then_some(Key { id: jwk.common.key_id, algorithms, key: decoding })
}

fn names(algorithm: Algorithm) -> Option<KeyAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::RS384 => KeyAlgorithm::RS384,
        Algorithm::RS512 => KeyAlgorithm::RS512,
        Algorithm::PS256 => KeyAlgorithm::PS256,
        Algorithm::PS384 => KeyAlgorithm::PS384,
        Algorithm::PS512 => KeyAlgorithm::PS512,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        Algorithm::ES384 => KeyAlgorithm::ES384,
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        _ => return None,
    })
}

fn is_for(audience: Option<&Value>, wanted: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(wanted)),
        _ => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact up to the year 285 million")]
fn seconds(secs: i64) -> f64 {
    secs as f64
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn whole(secs: f64) -> i64 {
    secs as i64
}

#[cfg(test)]
mod tests;
