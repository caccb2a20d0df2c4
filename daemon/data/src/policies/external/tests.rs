//! Keys and tokens in `tests.json` were made by another library; no private key is kept.

use super::*;
use proptest::prelude::*;

const NOW_MS: i64 = 1_900_000_000_000;

fn fixture() -> Value {
    serde_json::from_str(include_str!("tests.json")).unwrap()
}

fn issuer(audience: Option<&str>, user_claim: &str, jwks: Option<&str>) -> Issuer {
    Issuer {
        name: "https://issuer.test".into(),
        jwks_url: "https://issuer.test/keys".into(),
        audience: audience.map(str::to_owned),
        user_claim: user_claim.into(),
        jwks: jwks.map(Into::into),
    }
}

fn external(fixture: &Value, user_claim: &str) -> External {
    External::compile(&issuer(Some("gatehouse"), user_claim, Some(&fixture["jwks"].to_string()))).unwrap()
}

#[test]
fn tokens_are_verified() {
    let fixture = fixture();
    let external = external(&fixture, "sub");
    assert_eq!(external.keys.len(), 5, "the weak, secret, unknown and encrypting ones are passed over");
    let refused = [
        ("pinned_other", Refusal::UnknownKey),
        ("unknown_kid", Refusal::UnknownKey),
        ("wrong_kid", Refusal::UnknownKey),
        ("small", Refusal::UnknownKey),
        ("enc", Refusal::UnknownKey),
        ("wrong_key", Refusal::Signature),
        ("hs_public_key", Refusal::Algorithm),
        ("hs_oct", Refusal::Algorithm),
        ("none", Refusal::Algorithm),
        ("none_no_kid", Refusal::Algorithm),
        ("crit", Refusal::Malformed),
        ("typ_logout", Refusal::Malformed),
        ("iss", Refusal::Issuer),
        ("iss_none", Refusal::Issuer),
        ("iss_list", Refusal::Issuer),
        ("aud", Refusal::Audience),
        ("aud_none", Refusal::Audience),
        ("aud_empty", Refusal::Audience),
        ("exp_none", Refusal::Expired),
        ("exp_text", Refusal::Expired),
        ("nbf", Refusal::NotYet),
        ("nbf_text", Refusal::NotYet),
        ("sub_none", Refusal::User),
        ("sub_empty", Refusal::User),
        ("sub_number", Refusal::User),
        ("sub_control", Refusal::User),
        ("sub_long", Refusal::User),
    ];
    let tokens = fixture["tokens"].as_object().unwrap();
    for (name, token) in tokens {
        let found = external.verify(token.as_str().unwrap(), NOW_MS).map(|identity| identity.user);
        let expected = match refused.iter().find(|(refused, _)| refused == name) {
            Some((_, refusal)) => Err(*refusal),
            None => Ok("alice".to_owned()),
        };
        assert_eq!(found, expected, "{name}");
    }
    assert!(refused.iter().all(|(name, _)| tokens.contains_key(*name)));
}

#[test]
fn time_audience_and_claim() {
    let fixture = fixture();
    let external = external(&fixture, "sub");
    let token = |name: &str| fixture["tokens"][name].as_str().unwrap().to_owned();
    let good = token("EdDSA");
    let expires_ms = 2_000_000_060_000;
    assert_eq!(external.verify(&good, expires_ms - 1_000).unwrap().expires_secs, 2_000_000_060);
    assert_eq!(external.verify(&good, expires_ms), Err(Refusal::Expired));
    assert_eq!(external.verify(&token("exp_huge"), i64::MAX / 2).unwrap().expires_secs, i64::MAX);
    assert_eq!(external.verify(&token("nbf"), 1_999_998_939_000), Err(Refusal::NotYet));
    assert!(external.verify(&token("nbf"), 1_999_998_940_000).is_ok());
    let by_mail = self::external(&fixture, "email");
    assert_eq!(by_mail.verify(&token("email"), NOW_MS).unwrap().user, "bob@issuer.test");
    assert_eq!(by_mail.verify(&good, NOW_MS), Err(Refusal::User));
    let any = External::compile(&issuer(None, "sub", Some(&fixture["jwks"].to_string()))).unwrap();
    assert!(any.verify(&token("aud"), NOW_MS).is_ok() && any.verify(&token("aud_none"), NOW_MS).is_ok());
    let unfetched = External::compile(&issuer(None, "sub", None)).unwrap();
    assert_eq!(unfetched.verify(&good, NOW_MS), Err(Refusal::UnknownKey));
    assert!(format!("{external:?}").contains("keys: 5"));
}

#[test]
fn a_changed_token_does_not_count() {
    let fixture = fixture();
    let external = external(&fixture, "sub");
    let good = fixture["tokens"]["EdDSA"].as_str().unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let other: Vec<&str> = fixture["tokens"]["email"].as_str().unwrap().split('.').collect();
    assert_eq!(
        external.verify(&format!("{}.{}.{}", parts[0], other[1], parts[2]), NOW_MS),
        Err(Refusal::Signature)
    );
    assert!(external.verify(&format!("{}.{}.", parts[0], parts[1]), NOW_MS).is_err());
    assert_eq!(external.verify("", NOW_MS), Err(Refusal::Malformed));
    assert_eq!(external.verify(&"a".repeat(20_000), NOW_MS), Err(Refusal::Malformed));
}

#[test]
fn says_what_is_wrong() {
    let many = serde_json::json!({"keys": vec![0; 65]}).to_string();
    for (issuer, part) in [
        (Issuer { name: String::new(), ..issuer(None, "sub", None) }, "issuer: expected"),
        (issuer(None, "", None), "user_claim: expected"),
        (issuer(None, "sub", Some("{")), "jwks: expected"),
        (issuer(None, "sub", Some("{}")), "jwks: expected"),
        (issuer(None, "sub", Some(&many)), "jwks: expected"),
        (issuer(None, "sub", Some(&format!("{{\"keys\":[]}}{}", " ".repeat(JWKS_BYTES)))), "jwks: expected"),
    ] {
        let error = External::compile(&issuer).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn never_panics(token in r"\PC{0,60}|[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}", jwks in r#"\PC{0,30}|\{"keys":\[\{"kty":"(RSA|EC|OKP)","crv":"(P-256|Ed25519)","[nx]":"[A-Za-z0-9=]{0,9}","[ey]":"AQAB"\}\]\}"#) {
        if let Ok(external) = External::compile(&issuer(None, "sub", Some(&jwks))) {
            prop_assert!(external.verify(&token, NOW_MS).is_err());
        }
    }
}
