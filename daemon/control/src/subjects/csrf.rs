//! Double submit against forged requests (spec/doorman.md 2.3): what a browser sends by itself, the session cookie, is
//! not enough to change something; the page must also send what only a page of ours can read. The value belongs to the
//! session, so that a cookie planted by a neighbouring host does not help.

use crate::config::ControlConfig;
use gatehouse_corridor::snapshot::TokenKey;
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Cookie that pages read.
pub(crate) const COOKIE: &str = "csrf_token";
/// Field that pages send.
pub(crate) const HEADER: &str = "x-csrf-token";

fn derived(key: &TokenKey, session: &str) -> Option<String> {
    let mut value = [0; 24];
    let info = format!("gatehouse csrf, 1\n{session}");
    Hkdf::<Sha256>::new(None, key.secret.expose()).expand(info.as_bytes(), &mut value).ok()?;
    Some(hex::encode(value))
}

/// The value of a session; empty without a signing key, which no session has been made with then.
pub(crate) fn value(config: &ControlConfig, session: &str) -> String {
    config.signing_keys.first().and_then(|key| derived(key, session)).unwrap_or_default()
}

/// What is missing for a change that a cookie carries, in words.
pub(crate) fn missing(
    config: &ControlConfig,
    session: &str,
    (field, cookie): (Option<&str>, Option<&str>),
) -> Option<&'static str> {
    let (Some(field), cookie) = (field.filter(|text| !text.is_empty()), cookie) else {
        return Some("the field X-CSRF-Token is missing: expected the value of the cookie csrf_token");
    };
    let Some(cookie) = cookie.filter(|text| !text.is_empty()) else {
        return Some("the cookie csrf_token is missing: log in again, and send it with X-CSRF-Token");
    };
    let same = |a: &str, b: &str| bool::from(a.as_bytes().ct_eq(b.as_bytes()));
    if !same(field, cookie) {
        return Some("X-CSRF-Token differs from the cookie csrf_token");
    }
    // After a rotation a session may still be of the older key.
    let own = config.signing_keys.iter().filter_map(|key| derived(key, session)).any(|own| same(&own, field));
    (!own).then_some("X-CSRF-Token is of another session: log in again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use gatehouse_common::secret::Secret;
    use std::path::Path;

    #[test]
    fn the_value_belongs_to_the_session_and_survives_a_rotation() {
        let key = |byte: u8| TokenKey { kid: byte.to_string(), secret: Secret::new(vec![byte; 32]) };
        let mut config = ControlConfig { signing_keys: vec![key(1)], ..config(Path::new("/none")) };
        let (own, other) = (value(&config, "s1"), value(&config, "s2"));
        assert!(own.len() == 48 && own != other);
        let missing = |config: &ControlConfig, field, cookie| {
            missing(config, "s1", (field, cookie)).map(|text| text.split(':').next().unwrap())
        };
        for (field, cookie, told) in [
            (Some(&*own), Some(&*own), None),
            (None, Some(&*own), Some("the field X-CSRF-Token is missing")),
            (Some(""), Some(&*own), Some("the field X-CSRF-Token is missing")),
            (Some(&*own), None, Some("the cookie csrf_token is missing")),
            (Some(&*own), Some(&*other), Some("X-CSRF-Token differs from the cookie csrf_token")),
            (Some(&*other), Some(&*other), Some("X-CSRF-Token is of another session")),
        ] {
            assert_eq!(missing(&config, field, cookie), told);
        }
        config.signing_keys.insert(0, key(2));
        assert_eq!(missing(&config, Some(&own), Some(&own)), None);
        config.signing_keys.pop();
        assert!(missing(&config, Some(&own), Some(&own)).is_some());
    }
}
