//! Logging in: how long an account has to wait after failures, whom that cannot keep out, and the session that comes of a
//! right password.

use super::oidc::entering;
use super::passwords::Hasher;
use super::personal::digest;
use super::sessions;
use super::tokens::{self, Claims, Wanted};
use super::{authority, factors};
use crate::Inner;
use crate::change::Draft;
use crate::envelope::detail;
use crate::index::{self, By};
use crate::state::{Fields as _, Row, State};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// Addresses from which a user logged in before.
const SOURCES_TABLE: &str = "known_sources";
/// Of those, as many are kept.
const SOURCES: usize = 8;
/// Accounts remembered that failed.
const ACCOUNTS: usize = 10_000;
/// The first wait; it doubles with each failure, milliseconds.
const FIRST_MS: i64 = 5_000;
/// The longest wait, so that nobody can keep anybody out for ever; failures are forgotten after it, milliseconds.
const LONGEST_MS: i64 = 900_000;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u64,
    until_ms: i64,
    last_ms: i64,
    /// There is such an account.
    real: bool,
}

/// Failed logins in a row, by account.
#[derive(Debug, Default)]
pub(crate) struct Accounts(RwLock<HashMap<String, Failures>>);

impl Accounts {
    /// Milliseconds that an account has to wait; 0 for none.
    pub(crate) fn wait_ms(&self, account: &str, now_ms: i64) -> i64 {
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(account).map_or(0, |one| one.until_ms.saturating_sub(now_ms).max(0))
    }

    /// Counts a failure; from the `most`th on the account has to wait. 0 counts none.
    pub(crate) fn failed(&self, most: u64, (account, real): (&str, bool), now_ms: i64) {
        if most == 0 {
            return;
        }
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(account) {
            accounts.retain(|_, one| one.until_ms > now_ms);
        }
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(account) {
            // Names that are nobody's make nobody else's be forgotten.
            accounts.retain(|_, one| one.real);
        }
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(account) {
            accounts.clear();
        }
        let fresh = Failures { count: 0, until_ms: 0, last_ms: now_ms, real };
        let one = accounts.entry(account.to_owned()).or_insert(fresh);
        if now_ms.saturating_sub(one.last_ms.max(one.until_ms)) > LONGEST_MS {
            *one = fresh;
        }
        one.count = one.count.saturating_add(1);
        one.last_ms = now_ms;
        if let Some(beyond) = one.count.checked_sub(most) {
            let wait = FIRST_MS << beyond.min(20);
            one.until_ms = now_ms.saturating_add(wait.min(LONGEST_MS));
        }
    }

    /// Forgets the failures of an account.
    pub(crate) fn succeeded(&self, account: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(account);
    }
}

/// What somebody logs in with.
pub(crate) struct Given {
    /// User name or e-mail address.
    pub(crate) name: String,
    pub(crate) password: Secret<String>,
    /// Of the second factor.
    pub(crate) code: Option<String>,
}

/// Why somebody is not let in.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Unknown, or a wrong password.
    Wrong,
    /// The password is right.
    Inactive,
    /// For so many seconds.
    Wait(i64),
    /// The second step: [`factors::NEEDED`] or [`factors::WRONG`].
    Second(Problem),
    Failed(Problem),
}

/// By user name or e-mail address.
pub(crate) fn find(state: &State, name: &str) -> Option<Arc<Row>> {
    let mail = index::mail(name);
    let by_mail = || state.get("users", state.keys_by(By::UserEmail, &mail).next()?);
    state.get("users", name).or_else(by_mail).cloned()
}

/// An address as it is remembered: IPv6 by its /64.
fn neighbourhood(source: &str) -> String {
    match source.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(long)) => {
            let [a, b, c, d, ..] = long.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Ok(short) => short.to_string(),
        Err(_) => String::new(),
    }
}

/// Whether a user logged in from there before.
pub(crate) fn familiar(state: &State, user: &str, source: &str) -> bool {
    let place = neighbourhood(source);
    let known = state.get(SOURCES_TABLE, user).map(|row| row.list("sources")).unwrap_or_default();
    !place.is_empty() && known.contains(&place)
}

/// A draft that also remembers from where a user logged in.
pub(crate) fn remembering(draft: Draft, state: &State, user: &str, source: &str) -> Draft {
    let place = neighbourhood(source);
    let mut known = state.get(SOURCES_TABLE, user).map(|row| row.list("sources")).unwrap_or_default();
    if place.is_empty() || known.first() == Some(&place) {
        return draft;
    }
    known.retain(|one| *one != place);
    known.insert(0, place);
    known.truncate(SOURCES);
    let mut row = Row::new();
    row.insert("sources".to_owned(), json!(known));
    draft.put(SOURCES_TABLE, user, row)
}

/// Whether the password is the user's. An unknown user costs as much as a known one, and waits as one.
///
/// # Errors
/// All but [`Refusal::Second`].
pub(crate) async fn prove(control: &Inner, given: &Given, source: &str) -> Result<Arc<Row>, Refusal> {
    let (state, now_ms) = (control.changes.state(), control.clock.unix_ms());
    let user = find(&state, &given.name);
    // A name that is nobody's may be of any length.
    let nobody = || digest(&index::mail(&given.name));
    let account = user.as_ref().map_or_else(nobody, |user| user.text("username").to_owned());
    // Whoever logged in from here before cannot be locked out by others.
    let free = user.is_some() && familiar(&state, &account, source);
    let wait = |now_ms: i64| match control.accounts.wait_ms(&account, now_ms) {
        wait_ms if wait_ms > 0 && !free => Err(Refusal::Wait(wait_ms / 1_000 + 1)),
        _ => Ok(()),
    };
    wait(now_ms)?;
    let matches = proven(&control.hasher, given, user.as_deref()).await.map_err(Refusal::Failed)?;
    // Many at once do not get more tries than one after another: what others failed meanwhile counts.
    let now_ms = control.clock.unix_ms();
    wait(now_ms)?;
    match user.filter(|_| matches) {
        Some(user) if user.flag("active") => Ok(user),
        Some(_) => Err(Refusal::Inactive),
        None => {
            let real = state.get("users", &account).is_some();
            control.accounts.failed(control.config().identity.account_failures, (&account, real), now_ms);
            Err(Refusal::Wrong)
        }
    }
}

async fn proven(hasher: &Hasher, given: &Given, user: Option<&Row>) -> Result<bool, Problem> {
    let phc = user.map(|user| user.text("password_hash").to_owned()).filter(|phc| !phc.is_empty());
    hasher.verify(given.password.clone(), phc).await
}

/// Lets a user in who has proved a password: a token, and its session.
///
/// # Errors
/// As [`enter`].
pub(crate) async fn let_in(
    control: &Inner,
    user: &Row,
    code: Option<String>,
    source: &str,
) -> Result<(String, Claims), Refusal> {
    let (state, now_ms) = (control.changes.state(), control.clock.unix_ms());
    let (token, claims) = session(control, &state, user, now_ms).map_err(Refusal::Failed)?;
    let (begun, from) = (claims.clone(), source.to_owned());
    let make = move |state: &State| sessions::login(state, &begun, &from, now_ms);
    match enter(control, user, (code, source), make).await {
        // Whoever comes to free a full disk must be let in.
        Err(Refusal::Failed(problem)) => {
            tracing::error!(target: "authorization", code = problem.code, "the session is not listed: {problem}");
        }
        entered => entered?,
    }
    Ok((token, claims))
}

/// Begins the session of a user who has proved a password, in one change with what the second step spends.
///
/// # Errors
/// [`Refusal::Wait`], [`Refusal::Second`] and [`Refusal::Failed`].
pub(crate) async fn enter(
    control: &Inner,
    user: &Row,
    (code, source): (Option<String>, &str),
    session: impl FnOnce(&State) -> Draft + Send + 'static,
) -> Result<(), Refusal> {
    let (state, now_ms) = (control.changes.state(), control.clock.unix_ms());
    let name = user.text("username").to_owned();
    match control.accounts.wait_ms(&codes(&name), now_ms) {
        wait_ms if wait_ms > 0 => return Err(Refusal::Wait(wait_ms / 1_000 + 1)),
        _ => {}
    }
    let check = factors::second_step(&control.sealer, &state, &name, code.as_deref(), now_ms);
    if let Err(problem) = check {
        if problem.code == factors::WRONG {
            wrong_code(control, &name);
        }
        return Err(Refusal::Second(problem));
    }
    let actor = Actor::User { name: name.clone(), source: source.to_owned() };
    let (sealer, from, whose) = (Arc::clone(&control.sealer), source.to_owned(), name.clone());
    let make = move |state: &State| {
        let row = factors::second_step(&sealer, state, &whose, code.as_deref(), now_ms)?;
        let draft =
            row.into_iter().fold(session(state), |draft, row| draft.put(factors::TABLE, whose.clone(), row));
        Ok(remembering(draft, state, &whose, &from))
    };
    let entered = control.changes.submit(actor, make).await;
    if let Err(problem) = &entered
        && [factors::NEEDED, factors::WRONG].contains(&problem.code.as_str())
    {
        return Err(Refusal::Second(problem.clone()));
    }
    control.accounts.succeeded(&name);
    control.accounts.succeeded(&codes(&name));
    entered.map(drop).map_err(Refusal::Failed)
}

/// Under which wrong codes of a user are counted: they are short, so that guessing them waits wherever it comes from.
fn codes(user: &str) -> String {
    format!("{user}\ncodes")
}

/// Counts a wrong code.
pub(crate) fn wrong_code(control: &Inner, user: &str) {
    let most = control.config().identity.account_failures;
    control.accounts.failed(most, (&codes(user), true), control.clock.unix_ms());
}

/// Refuses while codes of a user have to wait.
pub(crate) fn codes_wait(control: &Inner, user: &str) -> Result<(), Problem> {
    match control.accounts.wait_ms(&codes(user), control.clock.unix_ms()) {
        0 => Ok(()),
        wait_ms => Err(detail(429, &format!("Too many wrong codes: wait {} seconds", wait_ms / 1_000 + 1))),
    }
}

/// An access token of a new session; nothing is kept of it yet.
pub(crate) fn session(
    control: &Inner,
    state: &State,
    user: &Row,
    now_ms: i64,
) -> Result<(String, Claims), Problem> {
    let sid = uuid::Uuid::new_v4().to_string();
    let wanted = Wanted { sid: &sid, typ: "access", ttl_secs: control.config().access_ttl_secs, now_ms };
    tokens::issue(&control.config(), state, user, &wanted)
}

/// Whether a user must set up a second factor before anything else. Of who comes from the provider, that asks for it.
pub(crate) fn factor_due(control: &Inner, state: &State, user: &Row, session: &str) -> bool {
    control.config().identity.require_totp
        && authority::administers(state, user)
        && factors::confirmed(state, user.text("username")).is_none()
        && state.get("sessions", session).is_none_or(|row| row.text("by") != entering::BY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_and_end() {
        let accounts = Accounts::default();
        let fail = |now_ms| {
            accounts.failed(3, ("ana", true), now_ms);
            accounts.wait_ms("ana", now_ms)
        };
        assert_eq!([fail(0), fail(0), fail(0), fail(5_000), fail(15_000)], [0, 0, 5_000, 10_000, 20_000]);
        for _ in 0..100 {
            assert!(fail(15_000) <= LONGEST_MS);
        }
        assert_eq!(fail(15_000), LONGEST_MS);
        assert_eq!(accounts.wait_ms("ana", 15_000 + LONGEST_MS), 0);
        assert_eq!(fail(15_001 + 2 * LONGEST_MS), 0, "forgotten");
        for _ in 0..2 {
            fail(15_001 + 2 * LONGEST_MS);
        }
        assert!(accounts.wait_ms("ana", 15_001 + 2 * LONGEST_MS) > 0);
        accounts.succeeded("ana");
        assert_eq!(accounts.wait_ms("ana", 15_001 + 2 * LONGEST_MS), 0);
        accounts.failed(0, ("eva", true), 0);
        assert_eq!(accounts.wait_ms("eva", 0), 0, "switched off");
    }

    #[test]
    fn a_flood_of_names_frees_nobody_and_grows_nothing() {
        let accounts = Accounts::default();
        accounts.failed(1, ("ana", true), 0);
        for name in 0..2 * ACCOUNTS {
            accounts.failed(1, (&name.to_string(), false), 1);
        }
        assert!(accounts.wait_ms("ana", 1) > 0);
        assert!(accounts.0.read().unwrap().len() <= ACCOUNTS);
    }

    #[test]
    fn places_are_remembered_newest_first() {
        let mut state = State::default();
        let mut log_in = |from: &str| {
            let draft = remembering(Draft::quiet(), &state, "ana", from);
            for (table, key, row) in draft.rows {
                state.set(table, &key, row.map(Arc::new));
            }
            familiar(&state, "ana", "10.0.0.1")
        };
        assert!(log_in("10.0.0.1") && log_in("::ffff:10.0.0.1") && log_in("nonsense"));
        for place in 2..=8 {
            assert!(log_in(&format!("10.0.0.{place}")));
        }
        assert!(log_in("10.0.0.1") && log_in("10.0.0.9"), "used again, so among the newest");
        assert!(log_in("2001:db8::1") && familiar(&state, "ana", "2001:db8::2"));
        assert!(!familiar(&state, "ana", "2001:db8:0:1::2") && !familiar(&state, "ana", ""));
        assert!(!familiar(&state, "eva", "10.0.0.1"));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_longest(steps in proptest::collection::vec((0i64..2_000_000, any::<bool>()), 0..60)) {
            let (accounts, mut now_ms) = (Accounts::default(), 0);
            for (step, fails) in steps {
                now_ms += step;
                if fails {
                    accounts.failed(5, ("ana", true), now_ms);
                }
                prop_assert!((0..=LONGEST_MS).contains(&accounts.wait_ms("ana", now_ms)));
            }
            prop_assert_eq!(accounts.wait_ms("ana", now_ms + LONGEST_MS), 0);
        }
    }
}
