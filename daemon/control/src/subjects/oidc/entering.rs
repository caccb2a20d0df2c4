//! A login at the provider from its begin to its session. Each begin is a row of ten minutes, used up in the change that
//! makes the session; accounts that the provider vouches for are its own, and never one of somebody here.

use super::provider::Provider;
use super::{Claims, address, role};
use crate::Inner;
use crate::api::users;
use crate::change::Draft;
use crate::config::Oidc;
use crate::envelope::detail;
use crate::index::{self, By};
use crate::state::{Fields as _, Row, State};
use crate::subjects::personal::{digest, random};
use crate::subjects::{logins, sessions, tokens};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use serde_json::{Value, json};
use std::sync::Arc;

/// Begun logins, by the digest of their state.
const TABLE: &str = "oidc_logins";
/// Life of one, seconds.
const LIFE_SECS: i64 = 600;
/// Begun logins at once.
const BEGUN: usize = 10_000;
/// Word in the row of a session that began at the provider.
pub(crate) const BY: &str = "oidc";

/// Settings of the provider, and where it sends browsers back to.
///
/// # Errors
/// 404 without a provider.
pub(crate) fn settings(control: &Inner) -> Result<(Arc<Oidc>, String), Problem> {
    let identity = control.config().identity.clone();
    let (oidc, base) = identity.oidc.zip(identity.public_base_url).ok_or_else(|| detail(404, "Not Found"))?;
    Ok((oidc, format!("{base}/auth/oidc/callback")))
}

/// A login that begins: where the browser is sent to, and the state that it keeps.
pub(crate) struct Begun {
    pub(crate) address: String,
    pub(crate) state: Secret<String>,
}

/// Begins a login.
///
/// # Errors
/// 404 without a provider, 429 if too many have begun, 502 if the provider is away.
pub(crate) async fn begin(control: &Inner, provider: &Provider) -> Result<Begun, Problem> {
    let (oidc, redirect) = settings(control)?;
    let known = provider.known(control, &oidc).await?;
    let (state, nonce, verifier) = (Secret::new(random::<32>()), random::<16>(), Secret::new(random::<32>()));
    let key = digest(state.expose());
    let mut row = Row::new();
    row.insert("nonce".to_owned(), json!(nonce));
    row.insert(
        "verifier".to_owned(),
        json!(control.sealer.seal(&format!("{TABLE}/{key}"), verifier.expose())?),
    );
    let now_secs = control.clock.unix_ms() / 1_000;
    row.insert("expires_unix_secs".to_owned(), json!(now_secs + LIFE_SECS));
    let make = move |state: &State| {
        if state.table(TABLE).len() >= BEGUN {
            return Err(detail(429, "Too many logins have begun: try again in some minutes"));
        }
        // Nobody did anything yet, so nobody is told.
        let now = index::second(now_secs);
        let old = state.keys_up_to(By::OidcEnd, &now).take(100);
        Ok(old.fold(Draft::quiet(), |draft, id| draft.delete(TABLE, id)).put(TABLE, key, row))
    };
    control.changes.quietly(make).await?;
    let sent = (state.expose().as_str(), nonce.as_str(), verifier.expose().as_str());
    Ok(Begun { address: address(&known.authorize, &oidc, &redirect, sent), state })
}

fn over() -> Problem {
    detail(400, "This login is over, or was never begun here: begin again")
}

/// The row of a login that may still come to its end.
fn pending<'s>(state: &'s State, key: &str, now_ms: i64) -> Result<&'s Row, Problem> {
    let row = state.get(TABLE, key).filter(|row| row.number("expires_unix_secs") > now_ms / 1_000);
    row.map(|row| &**row).ok_or_else(over)
}

/// Ends a login: token and session of whom the provider vouches for.
///
/// # Errors
/// 400 for a login that is over, 401 and 502 of the provider, 403 for whom no role is meant or who may not come in.
pub(crate) async fn end(
    control: &Inner,
    provider: &Provider,
    (state, code): (Secret<String>, Secret<String>),
    source: &str,
) -> Result<(String, tokens::Claims), Problem> {
    let (oidc, redirect) = settings(control)?;
    let (key, now_ms) = (digest(state.expose()), control.clock.unix_ms());
    let before = control.changes.state();
    let row = pending(&before, &key, now_ms)?;
    let verifier = control.sealer.open(&format!("{TABLE}/{key}"), row.text("verifier")).ok_or_else(over)?;
    let nonce = row.text("nonce").to_owned();
    let claims = provider.claims(control, &oidc, &code, (&nonce, &verifier, &redirect)).await?;
    let role = role(&oidc, &claims)
        .ok_or_else(|| detail(403, "The provider names no group that has a role here"))?;
    let who = Who::of(&oidc, &claims, role);
    let (now_ms, from) = (control.clock.unix_ms(), source.to_owned());
    let config = control.config();
    let made = Arc::new(std::sync::OnceLock::new());
    let told = Arc::clone(&made);
    let actor = Actor::User { name: who.name.clone(), source: from.clone() };
    let make = move |state: &State| {
        pending(state, &key, now_ms)?;
        let (name, user) = who.account(state, now_ms)?;
        let sid = uuid::Uuid::new_v4().to_string();
        let wanted = tokens::Wanted { sid: &sid, typ: "access", ttl_secs: config.access_ttl_secs, now_ms };
        let (token, session) = tokens::issue(&config, state, &user, &wanted)?;
        let mut listed = sessions::row(&session, &from, now_ms);
        listed.insert("by".to_owned(), json!(BY));
        let draft = sessions::login(state, &session, &from, now_ms).put("sessions", sid.clone(), listed);
        let draft = logins::remembering(draft.delete(TABLE, key), state, &name, &from);
        let known = state.get("users", &name).is_some_and(|now| **now == user);
        told.get_or_init(|| (token, session));
        Ok(if known { draft } else { draft.put("users", name, user) })
    };
    control.changes.submit(actor, make).await?;
    made.get().cloned().ok_or_else(over)
}

/// Somebody, as the provider tells of them.
struct Who {
    /// Issuer and subject: who they are, whatever they are called.
    subject: String,
    name: String,
    /// A name that nobody would choose.
    made: String,
    /// Empty if there is none.
    email: String,
    role: String,
}

impl Who {
    fn of(oidc: &Oidc, claims: &Claims, role: &str) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let subject = format!("{}|{}", oidc.issuer, text("sub"));
        let made = format!("oidc-{}", digest(&subject).get(..12).unwrap_or_default());
        let fits = |name: &str| {
            (3..=50).contains(&name.chars().count())
                && name.chars().all(|c| c.is_alphanumeric() || "._-@+".contains(c))
                && !users::TAKEN.contains(&name)
        };
        let local = text("email").split('@').next().unwrap_or_default();
        let name = [text(&oidc.user_claim), local].into_iter().find(|name| fits(name));
        let email = Some(text("email")).filter(|email| email.contains('@') && email.chars().count() <= 127);
        Self {
            name: name.unwrap_or(&made).to_owned(),
            made,
            email: email.unwrap_or_default().to_owned(),
            subject,
            role: role.to_owned(),
        }
    }

    /// Their account: the one of before, with the role of now, or a new one.
    fn account(&self, state: &State, now_ms: i64) -> Result<(String, Row), Problem> {
        if state.get("roles", &self.role).is_none() && self.role != "user" {
            return Err(detail(403, "The role that the settings give this group does not exist"));
        }
        if let Some(name) = state.keys_by(By::UserSubject, &self.subject).next() {
            let mut user = state.get("users", name).map(|user| Row::clone(user)).ok_or_else(over)?;
            if !user.flag("active") || user.flag("tokens_revoked") {
                return Err(detail(403, "This account is not active"));
            }
            user.insert("role".to_owned(), json!(self.role));
            return Ok((name.to_owned(), user));
        }
        // Who was here first keeps name and address; whoever comes is known by the subject, whatever the name.
        let free = |name: &&String| state.get("users", name).is_none();
        let name = [&self.name, &self.made]
            .into_iter()
            .find(free)
            .ok_or_else(|| detail(403, "There is an account of this name here that is not the provider's"))?;
        let own = format!("{}@localhost.invalid", self.made);
        let email = if self.email.is_empty() || users::email_taken(state, &self.email, "") {
            &own
        } else {
            &self.email
        };
        let mut user = users::plain(name, email, "none", now_ms);
        // No password belongs to it.
        user.insert("password_hash".to_owned(), json!(""));
        user.insert("role".to_owned(), json!(self.role));
        user.insert("groups".to_owned(), json!(["ALL"]));
        user.insert("oidc_subject".to_owned(), json!(self.subject));
        Ok((name.clone(), user))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::oidc;
    use super::*;

    fn who(claims: &Value, role: &str) -> Who {
        Who::of(&oidc(), claims.as_object().unwrap(), role)
    }

    #[test]
    fn names_are_made_where_none_fits() {
        for (claims, name) in [
            (json!({"sub": "1", "preferred_username": "ana", "email": "a@x"}), "ana"),
            (json!({"sub": "1", "preferred_username": "a/b", "email": "eva@x"}), "eva"),
            (json!({"sub": "1", "preferred_username": "me"}), "oidc-"),
            (json!({"sub": "1", "preferred_username": "all", "email": "x@x"}), "oidc-"),
            (json!({"sub": "1", "preferred_username": "\u{0}abc"}), "oidc-"),
        ] {
            assert!(who(&claims, "user").name.starts_with(name), "{claims}");
        }
    }

    #[test]
    fn nobody_becomes_somebody_else() {
        let mut state = State::default();
        let put =
            |state: &mut State, name: &str, user: Row| drop(state.set("users", name, Some(Arc::new(user))));
        put(&mut state, "admin", users::plain("admin", "admin@x", "hash", 1));
        let claims = |sub: &str, name: &str, email: &str| json!({"sub": sub, "preferred_username": name, "email": email});
        for (name, email) in [("admin", "z@x"), ("ana", "Admin@x"), ("admin", "admin@x")] {
            let (name, user) = who(&claims("1", name, email), "user").account(&state, 5).unwrap();
            assert!(name != "admin" && !user.text("email").eq_ignore_ascii_case("admin@x"), "{user:?}");
        }
        let (name, user) = who(&claims("1", "ana", "ana@x"), "user").account(&state, 5).unwrap();
        assert_eq!((name.as_str(), user.text("role"), user.text("password_hash")), ("ana", "user", ""));
        assert_eq!((user.text("username"), user.flag("active")), ("ana", true));
        put(&mut state, "ana", user);
        // Whatever they are called now, the subject is who they are.
        let renamed = who(&claims("1", "admin", "admin@x"), "user").account(&state, 9).unwrap();
        assert_eq!((renamed.0.as_str(), renamed.1.number("token_epoch")), ("ana", 5));
        assert!(who(&claims("2", "ana", "ana@x"), "user").account(&state, 5).unwrap().0.starts_with("oidc-"));
        assert_eq!(who(&claims("1", "ana", "ana@x"), "gone").account(&state, 5).unwrap_err().status, 403);
        let mut idle = Row::clone(state.get("users", "ana").unwrap());
        idle.insert("active".to_owned(), json!(false));
        put(&mut state, "ana", idle);
        assert_eq!(who(&claims("1", "ana", "ana@x"), "user").account(&state, 5).unwrap_err().status, 403);
    }
}
