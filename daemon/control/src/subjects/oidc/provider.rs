//! The provider: what it says of itself (OpenID Connect Discovery), its keys, and what it gives for a code.

use super::{Claims, Refusal, verified};
use crate::Inner;
use crate::config::Oidc;
use crate::egress::{self, Ask, EgressError};
use crate::envelope::detail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use jsonwebtoken::jwk::Jwk;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Mutex;

/// How long what a provider says of itself counts, milliseconds.
const FRESH_MS: i64 = 300_000;
/// Before keys are asked for again because a token names an unknown one, milliseconds.
const AGAIN_MS: i64 = 5_000;
/// Largest answer, bytes.
const ANSWER_BYTES: usize = 262_144;
/// Keys of a provider.
const KEYS: usize = 64;

/// What is known of a provider.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    issuer: String,
    pub(crate) authorize: String,
    token: String,
    userinfo: Option<String>,
    jwks: String,
    /// The token endpoint takes the secret in the body alone.
    secret_in_body: bool,
    keys: Vec<Jwk>,
    fetched_ms: i64,
}

/// The provider as it was seen last.
#[derive(Debug, Default)]
pub(crate) struct Provider(Mutex<Arc<Known>>);

/// What stands in the way is told to operators; the browser hears that the provider is away.
fn away(why: &str) -> Problem {
    tracing::warn!(target: "oidc", why, "the OpenID provider did not answer as it should");
    detail(502, "The login provider does not answer as it should: try again later")
}

/// A form to post, and `Authorization`; without either one gets.
type Said = (Option<String>, Option<Secret<String>>);

/// Asks the provider. The operator named its issuer, which may be in a private network.
async fn ask(
    control: &Inner,
    oidc: &Oidc,
    url: &str,
    (form, authorization): Said,
) -> Result<Value, EgressError> {
    let named: Vec<_> = egress::place(&oidc.issuer).into_iter().collect();
    let ask = Ask {
        url,
        accept: "application/json",
        post: form.map(|form| ("application/x-www-form-urlencoded", Bytes::from(form))),
        authorization: authorization.as_ref(),
        most: ANSWER_BYTES,
        named: &named,
    };
    let answer = control.egress.ask(&control.config().egress_allow, ask).await?;
    serde_json::from_slice(&answer.body)
        .map_err(|error| EgressError::Broken(format!("expected JSON: {error}")))
}

/// What a provider says of itself: it must be who was asked, and no part of it less safe than the whole.
fn read(said: &Value, oidc: &Oidc) -> Result<Known, String> {
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("issuer") != oidc.issuer {
        return Err("issuer: expected the one of the settings, to the letter".to_owned());
    }
    let safe = oidc.issuer.starts_with("https://");
    let endpoint = |name: &str| {
        let url = text(name);
        match url.starts_with("https://") || (!safe && url.starts_with("http://")) {
            true => Ok(url.to_owned()),
            false => Err(format!("{name}: expected an https address")),
        }
    };
    let methods = said.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
    let has = |word: &str| methods.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(word)));
    Ok(Known {
        issuer: oidc.issuer.clone(),
        authorize: endpoint("authorization_endpoint")?,
        token: endpoint("token_endpoint")?,
        userinfo: endpoint("userinfo_endpoint").ok(),
        jwks: endpoint("jwks_uri")?,
        secret_in_body: has("client_secret_post") && !has("client_secret_basic"),
        ..Known::default()
    })
}

/// Keys of kinds that are unknown here are passed over (RFC 7517 5).
fn keys(said: &Value) -> Result<Vec<Jwk>, String> {
    let all = said.get("keys").and_then(Value::as_array).ok_or("expected a list of keys")?;
    let known = all.iter().take(KEYS).filter_map(|key| serde_json::from_value(key.clone()).ok());
    Ok(known.collect())
}

impl Provider {
    /// What is known of it, asked for anew where that is old.
    ///
    /// # Errors
    /// 502.
    pub(crate) async fn known(&self, control: &Inner, oidc: &Oidc) -> Result<Arc<Known>, Problem> {
        self.renewed(control, oidc, FRESH_MS).await
    }

    async fn renewed(&self, control: &Inner, oidc: &Oidc, fresh_ms: i64) -> Result<Arc<Known>, Problem> {
        let now_ms = control.clock.unix_ms();
        // One asks, the others wait for what it hears.
        let mut last = self.0.lock().await;
        if last.issuer == oidc.issuer && now_ms.saturating_sub(last.fetched_ms) < fresh_ms {
            return Ok(Arc::clone(&last));
        }
        let place = format!("{}/.well-known/openid-configuration", oidc.issuer.trim_end_matches('/'));
        let fetched = async {
            let said = |url| async move {
                ask(control, oidc, url, (None, None)).await.map_err(|error| error.to_string())
            };
            let mut known = read(&said(&place).await?, oidc)?;
            known.keys = keys(&said(&known.jwks).await?)?;
            Ok::<_, String>(Known { fetched_ms: now_ms, ..known })
        };
        let known = Arc::new(fetched.await.map_err(|why| away(&why))?);
        *last = Arc::clone(&known);
        Ok(known)
    }

    /// Who came, for the code that they brought.
    ///
    /// # Errors
    /// 502 if the provider cannot be asked, 401 if it does not vouch for them.
    pub(crate) async fn claims(
        &self,
        control: &Inner,
        oidc: &Oidc,
        code: &Secret<String>,
        (nonce, verifier, redirect): (&str, &Secret<String>, &str),
    ) -> Result<Claims, Problem> {
        let refused = |why: &str| {
            tracing::warn!(target: "oidc", why, "a login at the OpenID provider does not count");
            detail(401, "The login at the provider does not count: begin again")
        };
        let known = self.known(control, oidc).await?;
        let said = exchange(&known, oidc, code, (verifier, redirect));
        let given = ask(control, oidc, &known.token, said).await.map_err(|error| match error {
            EgressError::Status(status) => refused(&format!("the code was answered with {status}")),
            error => away(&error.to_string()),
        })?;
        let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
        let check =
            |known: &Known| verified(text("id_token"), &known.keys, oidc, nonce, control.clock.unix_ms());
        let mut claims = match check(&known) {
            // Its keys may have been changed since.
            Err(Refusal::UnknownKey) => check(&*self.renewed(control, oidc, AGAIN_MS).await?),
            other => other,
        }
        .map_err(|why| refused(&why.to_string()))?;
        let more = known.userinfo.as_deref().filter(|_| !claims.contains_key(&oidc.group_claim));
        if let Some(place) = more {
            let bearer = Secret::new(format!("Bearer {}", text("access_token")));
            let asked = ask(control, oidc, place, (None, Some(bearer))).await;
            let said = asked.map_err(|error| away(&error.to_string()))?;
            // It speaks of the same one (OpenID Connect Core 5.3.2), and changes nothing of what was signed.
            let same = said.get("sub").is_some() && said.get("sub") == claims.get("sub");
            for (name, value) in said.as_object().filter(|_| same).into_iter().flatten() {
                claims.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        Ok(claims)
    }
}

fn exchange(
    known: &Known,
    oidc: &Oidc,
    code: &Secret<String>,
    (verifier, redirect): (&Secret<String>, &str),
) -> Said {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code.expose())
        .append_pair("redirect_uri", redirect)
        .append_pair("code_verifier", verifier.expose());
    let mut authorization = None;
    match &oidc.client_secret {
        Some(secret) if !known.secret_in_body => {
            // RFC 6749 2.3.1: both are encoded as in a form first.
            let coded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", coded(&oidc.client_id), coded(secret.expose()));
            authorization = Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))));
        }
        secret => {
            form.append_pair("client_id", &oidc.client_id);
            if let Some(secret) = secret {
                form.append_pair("client_secret", secret.expose());
            }
        }
    }
    (Some(form.finish()), authorization)
}

#[cfg(test)]
mod tests {
    use super::super::tests::oidc;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_provider_is_who_was_asked_and_safe_throughout() {
        let good = json!({"issuer": "https://idp", "authorization_endpoint": "https://idp/a",
                          "token_endpoint": "https://idp/t", "jwks_uri": "https://idp/k"});
        let with = |field: &str, value: Value| {
            let mut said = good.clone();
            said[field] = value;
            said
        };
        for (said, part) in [
            (good.clone(), ""),
            (with("issuer", json!("https://idp/")), "issuer"),
            (with("token_endpoint", json!("http://idp/t")), "token_endpoint"),
            (with("jwks_uri", Value::Null), "jwks_uri"),
            (with("authorization_endpoint", json!("javascript:x")), "authorization_endpoint"),
        ] {
            let found = read(&said, &oidc()).err().unwrap_or_default();
            assert!(found.starts_with(part) && found.is_empty() == part.is_empty(), "{part}: {found}");
        }
        let local = Oidc { issuer: "http://127.0.0.1:1".to_owned(), ..oidc() };
        let said = json!({"issuer": local.issuer, "authorization_endpoint": "http://127.0.0.1:1/a",
                          "token_endpoint": "http://127.0.0.1:1/t", "jwks_uri": "http://127.0.0.1:1/k"});
        assert!(read(&said, &local).is_ok());
    }

    #[test]
    fn the_secret_goes_as_the_provider_takes_it() {
        let secret = Oidc { client_secret: Some(Secret::new("a b:c".to_owned())), ..oidc() };
        let asked = |oidc: &Oidc, secret_in_body: bool| {
            let known = Known { token: "https://idp/t".to_owned(), secret_in_body, ..Known::default() };
            let (code, verifier) = (Secret::new("c".to_owned()), Secret::new("v".to_owned()));
            let (_, authorization) = exchange(&known, oidc, &code, (&verifier, "https://g/cb"));
            let basic = authorization.map(|value| value.expose().clone());
            basic.and_then(|basic| {
                String::from_utf8(STANDARD.decode(basic.strip_prefix("Basic ")?).ok()?).ok()
            })
        };
        assert_eq!(asked(&secret, false).as_deref(), Some("gate:a+b%3Ac"));
        assert_eq!((asked(&secret, true), asked(&oidc(), false)), (None, None));
    }
}
