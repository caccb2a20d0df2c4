//! Single-use tokens (spec/agnes.md 5.1): an invitation, a new password, a login by link. Kept as a digest; used up in the
//! very change that does what they are for, so that of many who show one at once a single one gets it.

use super::personal::{digest, matches, random};
use super::{factors, logins, sessions};
use crate::Inner;
use crate::change::Draft;
use crate::envelope::detail;
use crate::index::{self, By};
use crate::state::{Fields as _, Row, State};
use gatehouse_common::ids::ConsumerId;
use gatehouse_common::opaque::{self, ONCE};
use gatehouse_common::ops::users::Purpose;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::OneTimeLink;
use serde_json::json;
use std::sync::Arc;

/// Rows by id.
const TABLE: &str = "one_time_tokens";
const HOUR_MS: i64 = 3_600_000;

/// Word, life in milliseconds, and path of the page.
const fn traits(purpose: Purpose) -> (&'static str, i64, &'static str) {
    match purpose {
        Purpose::Reset => ("reset", 24 * HOUR_MS, "/auth/password/reset"),
        Purpose::Invite => ("invite", 7 * 24 * HOUR_MS, "/auth/password/setup"),
        Purpose::Link => ("magic", HOUR_MS, "/auth/email/verify"),
    }
}

/// The one text for every token that does not count.
pub(crate) fn invalid() -> Problem {
    detail(400, "This link is invalid, was used already or has expired")
}

/// Makes a token for a user in place of an older one of the same purpose; the link is shown to whoever asked at the ops
/// socket, and nowhere else.
///
/// # Errors
/// An unknown or inactive user.
pub(crate) async fn make(
    control: &Inner,
    actor: Actor,
    user: ConsumerId,
    purpose: Purpose,
) -> Result<OneTimeLink, Problem> {
    let (id, secret, now_ms) = (random::<8>(), random::<32>(), control.clock.unix_ms());
    let (word, life_ms, path) = traits(purpose);
    let token = opaque::print(ONCE, &id, &secret);
    let hash = digest(&secret);
    let drafted = move |state: &State| {
        let name = user.as_str();
        let unknown = || Problem::new(Code::NotFound, format!("user {name:?} does not exist")).at("user");
        let row = state.get("users", name).ok_or_else(unknown)?;
        if !row.flag("active") {
            return Err(Problem::new(Code::Conflict, format!("user {name:?} is not active")).at("user"));
        }
        let draft = Draft::new("one_time.create", format!("user/{name}")).detail(json!({ "purpose": word }));
        let older = of_user(state, name).filter(|(_, row)| row.text("purpose") == word);
        let draft = older.fold(sweep(draft, state, now_ms), |draft, (id, _)| draft.delete(TABLE, id));
        let mut row = Row::new();
        row.extend([
            ("username".to_owned(), json!(name)),
            ("purpose".to_owned(), json!(word)),
            ("hash".to_owned(), json!(hash)),
            ("created_unix_ms".to_owned(), json!(now_ms)),
            ("expires_unix_secs".to_owned(), json!((now_ms + life_ms) / 1_000)),
        ]);
        Ok(draft.put(TABLE, id, row))
    };
    control.changes.submit(actor, drafted).await?;
    let base = control.config().identity.public_base_url.clone().unwrap_or_default();
    let link = Secret::new(format!("{base}{path}?token={}", token.expose()));
    Ok(OneTimeLink { link, expires_unix_ms: now_ms + life_ms })
}

fn of_user<'s>(state: &'s State, user: &'s str) -> impl Iterator<Item = (&'s str, &'s Arc<Row>)> {
    state.keys_by(By::OnceUser, user).filter_map(|id| Some((id, state.get(TABLE, id)?)))
}

fn sweep(draft: Draft, state: &State, now_ms: i64) -> Draft {
    let now = index::second(now_ms / 1_000);
    state.keys_up_to(By::OnceEnd, &now).take(100).fold(draft, |draft, id| draft.delete(TABLE, id))
}

/// Whose token it is, if it counts: id and user.
///
/// # Errors
/// [`invalid`], whatever is wrong with it.
pub(crate) fn owner(
    state: &State,
    token: &str,
    purpose: Purpose,
    now_ms: i64,
) -> Result<(String, String), Problem> {
    let shown = opaque::parse(ONCE, token).ok_or_else(invalid)?;
    let row = state.get(TABLE, shown.id).filter(|row| matches(row, shown.secret)).ok_or_else(invalid)?;
    let user = row.text("username");
    let counts = row.text("purpose") == traits(purpose).0
        && !row.contains_key("consumed_unix_ms")
        && row.number("expires_unix_secs") > now_ms / 1_000
        && state.get("users", user).is_some_and(|user| user.flag("active"));
    if counts { Ok((shown.id.to_owned(), user.to_owned())) } else { Err(invalid()) }
}

/// Uses a token up: its row says when and from where, until it would have expired.
fn consumed(draft: Draft, state: &State, id: &str, (source, now_ms): (&str, i64)) -> Draft {
    let mut row = state.get(TABLE, id).map(|row| Row::clone(row)).unwrap_or_default();
    row.insert("consumed_unix_ms".to_owned(), json!(now_ms));
    row.insert("consumed_from".to_owned(), json!(source));
    draft.put(TABLE, id, row)
}

/// Sets a password by a token: every session and token of the user ends with it, other links too.
///
/// # Errors
/// [`invalid`], and what keeps it from the disk.
pub(crate) async fn set_password(
    control: &Inner,
    (token, purpose): (Secret<String>, Purpose),
    hash: String,
    source: &str,
) -> Result<(), Problem> {
    let now_ms = control.clock.unix_ms();
    let (_, user) = owner(&control.changes.state(), token.expose(), purpose, now_ms)?;
    let actor = Actor::User { name: user, source: source.to_owned() };
    let source = source.to_owned();
    let make = move |state: &State| {
        let (id, user) = owner(state, token.expose(), purpose, now_ms)?;
        let mut row = state.get("users", &user).map(|row| Row::clone(row)).ok_or_else(invalid)?;
        row.insert("password_hash".to_owned(), json!(hash));
        let epoch = row.number("token_epoch").saturating_add(1);
        row.insert("token_epoch".to_owned(), json!(epoch.max(now_ms)));
        let draft =
            Draft::new("user.password", format!("user/{user}")).detail(json!({ "by": traits(purpose).0 }));
        let others = of_user(state, &user).filter(|(other, _)| **other != *id);
        let draft = others.fold(draft, |draft, (other, _)| draft.delete(TABLE, other));
        let draft = consumed(draft, state, &id, (&source, now_ms));
        Ok(draft.put("users", user, row))
    };
    control.changes.submit(actor, make).await.map(drop)
}

/// Logs in by a token; a user with a second factor still needs it.
///
/// # Errors
/// [`invalid`], those of [`factors::second_step`], and what keeps it from the disk.
pub(crate) async fn log_in(
    control: &Inner,
    token: Secret<String>,
    code: Option<String>,
    source: &str,
) -> Result<(String, super::tokens::Claims), Problem> {
    let now_ms = control.clock.unix_ms();
    let state = control.changes.state();
    let (_, name) = owner(&state, token.expose(), Purpose::Link, now_ms)?;
    logins::codes_wait(control, &name)?;
    let user = state.get("users", &name).ok_or_else(invalid)?;
    let (made, claims) = logins::session(control, &state, user, now_ms)?;
    let actor = Actor::User { name: name.clone(), source: source.to_owned() };
    let (sealer, session, from) = (Arc::clone(&control.sealer), claims.clone(), source.to_owned());
    let make = move |state: &State| {
        let (id, user) = owner(state, token.expose(), Purpose::Link, now_ms)?;
        let row = factors::second_step(&sealer, state, &user, code.as_deref(), now_ms)?;
        let draft = consumed(sessions::login(state, &session, &from, now_ms), state, &id, (&from, now_ms));
        let draft = row.into_iter().fold(draft, |draft, row| draft.put(factors::TABLE, user.clone(), row));
        Ok(logins::remembering(draft, state, &user, &from))
    };
    let outcome = control.changes.submit(actor, make).await;
    if outcome.as_ref().is_err_and(|problem| problem.code == factors::WRONG) {
        logins::wrong_code(control, &name);
    }
    outcome?;
    control.accounts.succeeded(&name);
    Ok((made, claims))
}

/// Takes a user's second factor away, for whoever lost it; asked for at the ops socket.
///
/// # Errors
/// A user without one.
pub(crate) async fn forget_factor(control: &Inner, actor: Actor, user: ConsumerId) -> Result<(), Problem> {
    let make = move |state: &State| {
        let name = user.as_str();
        if state.get(factors::TABLE, name).is_none() {
            let text = format!("user {name:?} has no second factor");
            return Err(Problem::new(Code::NotFound, text).at("user"));
        }
        Ok(Draft::new("totp.remove", format!("user/{name}")).delete(factors::TABLE, name))
    };
    control.changes.submit(actor, make).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Control;
    use crate::config::ControlConfig;
    use crate::config::tests::config;
    use gatehouse_corridor::snapshot::{self, TokenKey};
    use gatehouse_store::Store;
    use proptest::prelude::*;

    /// A control plane with the user `ana`, whose data plane acknowledges everything.
    async fn house(folder: &std::path::Path) -> Control {
        let (publisher, subscriber) = snapshot::door();
        subscriber.acknowledge(gatehouse_common::ids::Revision(u64::MAX));
        let key = TokenKey { kid: "k".to_owned(), secret: Secret::new(vec![7; 32]) };
        let config = ControlConfig { signing_keys: vec![key], ..config(folder) };
        let control = Control::start(config, Store::memory().unwrap(), publisher).await.unwrap();
        for name in ["ana", "eva"] {
            let row =
                json!({"username": name, "email": "a@x", "role": "user", "active": true, "token_epoch": 1});
            let draft = Draft::new("test", name).put("users", name, row.as_object().cloned().unwrap());
            control.0.changes.submit(Actor::System, move |_| Ok(draft)).await.unwrap();
        }
        control
    }

    async fn made(control: &Control, purpose: Purpose) -> Secret<String> {
        let link = make(&control.0, Actor::System, ConsumerId::from("ana"), purpose).await.unwrap().link;
        Secret::new(link.expose().split_once("?token=").unwrap().1.to_owned())
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn of_many_at_once_one_gets_it(consumers in 2usize..12, purpose in 0usize..3) {
            let purpose = [Purpose::Reset, Purpose::Invite, Purpose::Link][purpose];
            let folder = tempfile::tempdir().unwrap();
            let (won, hash, epoch) = runtime().block_on(async {
                let control = house(folder.path()).await;
                let token = made(&control, purpose).await;
                let tries = (0..consumers).map(async |number| {
                    let token = token.clone();
                    let outcome = match purpose {
                        Purpose::Link => log_in(&control.0, token, None, "1.1.1.1").await.map(drop),
                        _ => set_password(&control.0, (token, purpose), number.to_string(), "1.1.1.1").await,
                    };
                    outcome.map(|()| number)
                });
                let outcomes = futures_util::future::join_all(tries).await;
                let won: Vec<usize> = outcomes.into_iter().filter_map(Result::ok).collect();
                let user = Arc::clone(control.0.changes.state().get("users", "ana").unwrap());
                (won, user.text("password_hash").to_owned(), user.number("token_epoch"))
            });
            prop_assert_eq!(won.len(), 1);
            if purpose == Purpose::Link {
                prop_assert_eq!(epoch, 1);
            } else {
                prop_assert_eq!(hash, won[0].to_string());
                prop_assert!(epoch > 1, "what was open has ended");
            }
        }
    }

    #[tokio::test]
    async fn a_token_is_for_one_thing_one_user_and_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let control = house(folder.path()).await;
        let (reset, invite) = (made(&control, Purpose::Reset).await, made(&control, Purpose::Invite).await);
        let state = control.0.changes.state();
        let now_ms = control.0.clock.unix_ms();
        let counts = |state: &State, token: &Secret<String>, purpose, at| {
            owner(state, token.expose(), purpose, at).is_ok()
        };
        assert!(counts(&state, &reset, Purpose::Reset, now_ms));
        assert!(counts(&state, &reset, Purpose::Reset, now_ms + 24 * HOUR_MS - 1_000));
        assert!(!counts(&state, &reset, Purpose::Reset, now_ms + 24 * HOUR_MS));
        assert!(
            !counts(&state, &reset, Purpose::Link, now_ms)
                && !counts(&state, &reset, Purpose::Invite, now_ms)
        );
        let mut idle = State::clone(&state);
        let mut row = Row::clone(idle.get("users", "ana").unwrap());
        row.insert("active".to_owned(), json!(false));
        idle.set("users", "ana", Some(Arc::new(row)));
        assert!(!counts(&idle, &reset, Purpose::Reset, now_ms), "the user was switched off");
        let newer = made(&control, Purpose::Reset).await;
        let state = control.0.changes.state();
        assert!(!counts(&state, &reset, Purpose::Reset, now_ms), "superseded");
        assert!(
            counts(&state, &newer, Purpose::Reset, now_ms)
                && counts(&state, &invite, Purpose::Invite, now_ms)
        );
        set_password(&control.0, (newer, Purpose::Reset), "h".to_owned(), "").await.unwrap();
        let state = control.0.changes.state();
        assert!(!counts(&state, &invite, Purpose::Invite, now_ms), "went with the old password");
        assert!(
            !json!(state.rows(TABLE).map(|(_, row)| (**row).clone()).collect::<Vec<_>>())
                .to_string()
                .contains(invite.expose())
        );
        let unknown = make(&control.0, Actor::System, ConsumerId::from("nobody"), Purpose::Reset).await;
        assert_eq!(unknown.unwrap_err().status, 404);
    }
}
