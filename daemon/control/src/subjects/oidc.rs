//! Login at an OpenID provider (authorization code with PKCE, RFC 7636): what is asked, and what of the answer is believed.
//! Signatures are looked at by the crate that also verifies our own tokens.

pub(crate) mod entering;
pub(crate) mod provider;

use crate::config::Oidc;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How far the provider's clock may be off, seconds.
const LEEWAY_SECS: f64 = 60.0;
/// Keys that a token without a key's name may be tried against.
const TRIES: usize = 4;
/// Bytes of a token.
const TOKEN_BYTES: usize = 65_536;

/// Claims about somebody.
pub(crate) type Claims = Map<String, Value>;

/// The value that goes ahead of a verifier (RFC 7636 4.2, S256).
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Where a browser is sent to.
pub(crate) fn address(
    endpoint: &str,
    oidc: &Oidc,
    redirect: &str,
    (state, nonce, verifier): (&str, &str, &str),
) -> String {
    let query = Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", &oidc.client_id)
        .append_pair("redirect_uri", redirect)
        .append_pair("scope", &oidc.scopes)
        .append_pair("state", state)
        .append_pair("nonce", nonce)
        .append_pair("code_challenge", &challenge(verifier))
        .append_pair("code_challenge_method", "S256")
        .finish();
    let mark = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{mark}{query}")
}

/// Why an id token does not count; nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No token.
    #[error("it cannot be read")]
    Malformed,
    /// `none`, or a secret shared with the provider.
    #[error("its algorithm does not count")]
    Algorithm,
    /// The provider may have new keys.
    #[error("no key of this name and algorithm")]
    UnknownKey,
    /// Of none of the keys.
    #[error("its signature is wrong")]
    Signature,
    /// `iss`.
    #[error("it is of another issuer")]
    Issuer,
    /// `aud`, `azp`.
    #[error("it is for another client")]
    Audience,
    /// `exp`, `iat`.
    #[error("it has expired, or is of the future")]
    Time,
    /// `nonce`.
    #[error("it answers another login")]
    Nonce,
    /// `sub`.
    #[error("it names nobody")]
    Subject,
}

/// Whether a key may have made a signature of this kind; a key that says its algorithm, for that one alone.
fn fits(key: &Jwk, algorithm: Algorithm, id: Option<&str>) -> bool {
    let own = key.common.key_algorithm.is_none_or(|own| own.to_string() == format!("{algorithm:?}"));
    let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    let named = id.is_none() || key.common.key_id.is_none() || key.common.key_id.as_deref() == id;
    let kind = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512
        ),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => algorithm == Algorithm::ES256,
            EllipticCurve::P384 => algorithm == Algorithm::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
        _ => false,
    };
    own && signs && named && kind
}

/// The claims, if one of the keys has signed them.
fn signed(token: &str, keys: &[Jwk]) -> Result<Claims, Refusal> {
    if token.len() > TOKEN_BYTES {
        return Err(Refusal::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
    if matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
        return Err(Refusal::Algorithm);
    }
    let mut refusal = Refusal::UnknownKey;
    let fitting = keys.iter().filter(|key| fits(key, header.alg, header.kid.as_deref())).take(TRIES);
    for key in fitting.filter_map(|key| DecodingKey::from_jwk(key).ok()) {
        let mut validation = Validation::new(header.alg);
        // Against our own clock and rules, by the caller.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
            Ok(decoded) => return Ok(decoded.claims),
            Err(_) => refusal = Refusal::Signature,
        }
    }
    Err(refusal)
}

fn text<'c>(claims: &'c Claims, name: &str) -> &'c str {
    claims.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whom an id token names (OpenID Connect Core 3.1.3.7).
///
/// # Errors
/// Why it does not count.
pub(crate) fn verified(
    token: &str,
    keys: &[Jwk],
    oidc: &Oidc,
    nonce: &str,
    now_ms: i64,
) -> Result<Claims, Refusal> {
    let claims = signed(token, keys)?;
    if text(&claims, "iss") != oidc.issuer {
        return Err(Refusal::Issuer);
    }
    let client = oidc.client_id.as_str();
    let (meant, alone) = match claims.get("aud") {
        Some(Value::String(one)) => (one == client, true),
        Some(Value::Array(many)) => (many.iter().any(|one| one.as_str() == Some(client)), many.len() == 1),
        _ => (false, false),
    };
    let party = claims.get("azp").map(|party| party.as_str() == Some(client));
    if !meant || party == Some(false) || (!alone && party.is_none()) {
        return Err(Refusal::Audience);
    }
    let now = now_ms as f64 / 1_000.0;
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let lives = time("exp").is_some_and(|end| end + LEEWAY_SECS > now);
    if !lives || time("iat").is_none_or(|made| made - LEEWAY_SECS > now) {
        return Err(Refusal::Time);
    }
    if !bool::from(text(&claims, "nonce").as_bytes().ct_eq(nonce.as_bytes())) {
        return Err(Refusal::Nonce);
    }
    match text(&claims, "sub") {
        "" => Err(Refusal::Subject),
        subject if subject.len() > 255 => Err(Refusal::Subject),
        _ => Ok(claims),
    }
}

/// The role that groups give: of the first line of the mapping that names one of them; else the one for everybody.
pub(crate) fn role<'o>(oidc: &'o Oidc, claims: &Claims) -> Option<&'o str> {
    let groups: Vec<&str> = match claims.get(&oidc.group_claim) {
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    };
    let mapped = oidc.roles.iter().find(|(group, _)| groups.contains(&group.as_str()));
    mapped.map(|(_, role)| role.as_str()).or(oidc.default_role.as_deref())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::json;

    pub(crate) fn oidc() -> Oidc {
        Oidc {
            issuer: "https://idp".to_owned(),
            client_id: "gate".to_owned(),
            client_secret: None,
            scopes: "openid email".to_owned(),
            user_claim: "preferred_username".to_owned(),
            group_claim: "groups".to_owned(),
            roles: vec![("admins".to_owned(), "admin".to_owned()), ("staff".to_owned(), "user".to_owned())],
            default_role: None,
        }
    }

    /// Key of RFC 8037, appendix A, as PKCS 8.
    const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn keys(kid: &str) -> Vec<Jwk> {
        let key =
            json!({"kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "kid": kid, "alg": "EdDSA", "use": "sig"});
        vec![serde_json::from_value(key).unwrap()]
    }

    fn token(claims: &Value) -> String {
        let header =
            jsonwebtoken::Header { kid: Some("k".to_owned()), ..jsonwebtoken::Header::new(Algorithm::EdDSA) };
        let key = jsonwebtoken::EncodingKey::from_ed_der(&STANDARD.decode(KEY).unwrap());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    #[test]
    fn the_challenge_is_the_rfcs() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let at = address("https://idp/a?x=1", &oidc(), "https://g/cb?a=b&c", ("s t", "n", verifier));
        assert!(at.starts_with("https://idp/a?x=1&response_type=code&client_id=gate"), "{at}");
        assert!(
            at.contains("redirect_uri=https%3A%2F%2Fg%2Fcb%3Fa%3Db%26c&") && at.contains("state=s+t"),
            "{at}"
        );
        assert!(
            at.contains("code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
                && !at.contains(verifier)
        );
    }

    #[test]
    fn only_what_the_provider_said_to_us_now_counts() {
        let good =
            json!({"iss": "https://idp", "aud": "gate", "exp": 1_000, "iat": 900, "nonce": "n", "sub": "s"});
        let with = |field: &str, value: Value| {
            let mut claims = good.clone();
            claims[field] = value;
            claims
        };
        let check = |claims: &Value, now: i64| {
            verified(&token(claims), &keys("k"), &oidc(), "n", now * 1_000).map(drop)
        };
        for (claims, now, wanted) in [
            (good.clone(), 950, Ok(())),
            (good.clone(), 1_059, Ok(())),
            (good.clone(), 1_060, Err(Refusal::Time)),
            (good.clone(), 839, Err(Refusal::Time)),
            (with("exp", Value::Null), 950, Err(Refusal::Time)),
            (with("iss", json!("https://idp/")), 950, Err(Refusal::Issuer)),
            (with("aud", json!("other")), 950, Err(Refusal::Audience)),
            (with("aud", json!(["gate"])), 950, Ok(())),
            (with("aud", json!(["gate", "other"])), 950, Err(Refusal::Audience)),
            (with("azp", json!("other")), 950, Err(Refusal::Audience)),
            (with("azp", json!("gate")), 950, Ok(())),
            (with("nonce", json!("m")), 950, Err(Refusal::Nonce)),
            (with("nonce", Value::Null), 950, Err(Refusal::Nonce)),
            (with("sub", json!("")), 950, Err(Refusal::Subject)),
        ] {
            assert_eq!(check(&claims, now), wanted, "{claims} {now}");
        }
        let text = token(&good);
        let of = |text: &str, keys: &[Jwk]| verified(text, keys, &oidc(), "n", 950_000).map(drop);
        assert_eq!(of(&text, &keys("other")), Err(Refusal::UnknownKey));
        assert_eq!(of(&text, &[]), Err(Refusal::UnknownKey));
        let (head, rest) = text.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
        assert_eq!(of(&format!("{forged}.{body}.AAAA"), &keys("k")), Err(Refusal::Signature));
        let secret = jsonwebtoken::EncodingKey::from_secret(PUBLIC.as_bytes());
        let confused =
            jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::HS256), &good, &secret).unwrap();
        assert_eq!(of(&confused, &keys("k")), Err(Refusal::Algorithm));
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert!(of(&format!("{none}.{body}."), &keys("k")).is_err() && of(head, &keys("k")).is_err());
    }

    #[test]
    fn the_first_line_of_the_mapping_counts() {
        let claims = |groups: Value| json!({ "groups": groups }).as_object().cloned().unwrap();
        let mut oidc = oidc();
        for (groups, wanted) in [
            (json!(["staff", "admins"]), Some("admin")),
            (json!(["staff"]), Some("user")),
            (json!("staff"), Some("user")),
            (json!(["others", 5]), None),
            (Value::Null, None),
        ] {
            assert_eq!(role(&oidc, &claims(groups)), wanted);
        }
        oidc.default_role = Some("guest".to_owned());
        assert_eq!(role(&oidc, &claims(json!([]))), Some("guest"));
    }

    proptest! {
        #[test]
        fn never_panics(token in "[A-Za-z0-9_=-]{0,60}(\\.[A-Za-z0-9_=-]{0,60}){0,3}|\\PC{0,40}") {
            prop_assert!(verified(&token, &keys("k"), &oidc(), "", 0).is_err());
        }
    }
}
