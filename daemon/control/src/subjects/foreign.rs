//! Tokens that an outer platform mints with the key it shares with us (spec/octoprox.md 3.5): HS256, `sub` the number of
//! a user as text or what the platform calls them, `type` access. No word of `role` counts.

use crate::state::{Fields as _, Row};
use gatehouse_corridor::snapshot::TokenKey;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

/// What such a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outer {
    /// A user's number; 0 if the platform's own id is given instead.
    pub(crate) user: i64,
    /// The platform's id of the user, a UUID.
    pub(crate) platform_user: Option<String>,
    /// Unix seconds.
    pub(crate) expires_secs: i64,
    /// Unix seconds, if it says.
    pub(crate) issued_secs: Option<i64>,
    /// Its own id, if it has one.
    pub(crate) id: Option<String>,
}

/// Checks a token; what is wrong with it, in the older manager's words.
pub(crate) fn verify(keys: &[TokenKey], token: &str, now_ms: i64) -> Result<Outer, &'static str> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false; // against our own clock, below
    validation.validate_aud = false; // refused below, whatever it says
    validation.required_spec_claims.clear();
    let decode = |key: &TokenKey| {
        let key = DecodingKey::from_secret(key.secret.expose());
        jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation).ok()
    };
    let claims = keys.iter().find_map(decode).ok_or("Invalid token")?.claims;
    checked(&claims, now_ms as f64 / 1e3)
}

fn checked(claims: &Map<String, Value>, now_secs: f64) -> Result<Outer, &'static str> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or("Invalid token"),
    };
    let (expires, issued, not_before) = (time("exp")?, time("iat")?, time("nbf")?);
    if claims.contains_key("aud") || claims.get("jti").is_some_and(|id| !id.is_string()) {
        return Err("Invalid token");
    }
    if [issued, not_before].into_iter().flatten().any(|at| at > now_secs) {
        return Err("Invalid token");
    }
    // One that never expires could never be given up.
    let expires = expires.ok_or("Invalid token")?;
    if expires <= now_secs {
        return Err("Token has expired");
    }
    if claims.get("type").and_then(Value::as_str) != Some("access") {
        return Err("Invalid token type");
    }
    let subject = match claims.get("sub") {
        None | Some(Value::Null) => return Err("Invalid token payload"),
        Some(Value::String(text)) if text.is_empty() => return Err("Invalid token payload"),
        Some(Value::String(text)) => text,
        // A number is no text.
        Some(_) => return Err("Invalid token"),
    };
    let digits = subject.bytes().all(|byte| byte.is_ascii_digit());
    let user = subject.parse::<i64>().ok().filter(|user| digits && *user > 0);
    let platform_user = uuid::Uuid::try_parse(subject).ok().map(|id| id.to_string());
    if user.is_none() && platform_user.is_none() {
        return Err("Invalid authentication credentials");
    }
    Ok(Outer {
        user: user.unwrap_or(0),
        platform_user,
        expires_secs: expires as i64,
        issued_secs: issued.map(|at| at as i64),
        id: claims.get("jti").and_then(Value::as_str).map(str::to_owned),
    })
}

/// Whether a token was made before everything of the user's was revoked. One that does not say when it was made counts as
/// older than any revocation.
pub(crate) fn before_revocation(user: &Row, issued_secs: Option<i64>) -> bool {
    let at = user.number("revoked_at_unix_ms").max(if user.contains_key("token_epoch_before") {
        user.number("token_epoch")
    } else {
        0
    });
    at > 0 && issued_secs.is_none_or(|issued| issued.saturating_mul(1_000) < at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn judged(claims: Value) -> Result<i64, &'static str> {
        checked(claims.as_object().unwrap(), 1_000.0).map(|outer| outer.user)
    }

    #[test]
    fn claims_are_as_the_table_says() {
        let id = "0b5e3c1e-7f0e-4a52-9a7c-3a2f7f1d2c11";
        for (claims, expected) in [
            (json!({"sub": "7", "type": "access", "exp": 1_001}), Ok(7)),
            (
                json!({"sub": "7", "type": "access", "exp": 1_000.5, "iat": 1_000, "nbf": 999.5, "jti": "x"}),
                Ok(7),
            ),
            (json!({"sub": id, "type": "access", "exp": 2_000}), Ok(0)),
            (json!({"sub": "7", "type": "access", "exp": 1_000}), Err("Token has expired")),
            (json!({"sub": "7", "type": "access"}), Err("Invalid token")),
            (json!({"sub": 7, "type": "access", "exp": 2_000}), Err("Invalid token")),
            (json!({"sub": "7", "type": "access", "exp": 2_000, "iat": 1_001}), Err("Invalid token")),
            (json!({"sub": "7", "type": "access", "exp": 2_000, "nbf": 1_000.5}), Err("Invalid token")),
            (json!({"sub": "7", "type": "access", "exp": 2_000, "aud": "x"}), Err("Invalid token")),
            (json!({"sub": "7", "type": "access", "exp": 2_000, "jti": 5}), Err("Invalid token")),
            (json!({"sub": "7", "type": "refresh", "exp": 2_000}), Err("Invalid token type")),
            (json!({"sub": "7", "exp": 2_000}), Err("Invalid token type")),
            (json!({"type": "access", "exp": 2_000}), Err("Invalid token payload")),
            (json!({"sub": "", "type": "access", "exp": 2_000}), Err("Invalid token payload")),
            (
                json!({"sub": "ana", "type": "access", "exp": 2_000}),
                Err("Invalid authentication credentials"),
            ),
            (json!({"sub": "+7", "type": "access", "exp": 2_000}), Err("Invalid authentication credentials")),
        ] {
            assert_eq!(judged(claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn what_was_revoked_takes_older_tokens_with_it() {
        let user = |value: Value| value.as_object().cloned().unwrap();
        let revoked = user(json!({"token_epoch": 5_000, "token_epoch_before": 1}));
        assert_eq!([Some(4), Some(5), None].map(|at| before_revocation(&revoked, at)), [true, false, true]);
        let never = user(json!({"token_epoch": 5_000}));
        assert!(!before_revocation(&never, Some(4)) && !before_revocation(&never, None));
        let ended = user(json!({"token_epoch": 2, "revoked_at_unix_ms": 9_000}));
        assert!(before_revocation(&ended, Some(8)) && !before_revocation(&ended, Some(9)));
    }

    proptest! {
        #[test]
        fn never_panics(token in ".{0,80}", sub in ".{0,20}", exp in any::<f64>()) {
            drop(verify(&[], &token, 5));
            let judged = judged(json!({"sub": sub, "type": "access", "exp": exp}));
            prop_assert!(judged.is_err() || exp > 1_000.0);
        }
    }
}
