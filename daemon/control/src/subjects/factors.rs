//! The second factor: codes by time (TOTP, RFC 6238) and recovery codes. The secret is sealed at rest; a code of one step and
//! a recovery code each count once, decided in the change that lets somebody in.

use super::personal::{digest, random};
use super::sealing::Sealer;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use totp_rs::{Builder, Totp};

/// Rows by user.
pub(crate) const TABLE: &str = "second_factors";
/// Recovery codes given out at once.
const RECOVERY: usize = 10;
/// Errors of the second step: none was sent; it was wrong.
pub(crate) const NEEDED: &str = "AUTH010";
pub(crate) const WRONG: &str = "AUTH011";

fn place(user: &str) -> String {
    format!("{TABLE}/{user}")
}

/// The factor of a user that counts.
pub(crate) fn confirmed<'s>(state: &'s State, user: &str) -> Option<&'s Row> {
    state.get(TABLE, user).map(|row| &**row).filter(|row| row.number("confirmed_unix_ms") > 0)
}

fn totp(sealer: &Sealer, user: &str, row: &Row) -> Result<Totp, Problem> {
    let internal = |text: &str| Problem::new(Code::Internal, format!("the second factor {text}"));
    let sealed = sealer.open(&place(user), row.text("sealed"));
    let sealed = sealed.ok_or_else(|| internal("cannot be decrypted: the encryption key is another one"))?;
    let secret = totp_rs::Secret::try_from_base32(sealed.expose()).map_err(|_| internal("cannot be read"))?;
    Builder::new().with_secret(secret).build().map_err(|_| internal("is too short"))
}

/// A factor to be confirmed, and its secret in base32.
///
/// # Errors
/// When it cannot be sealed.
pub(crate) fn made(sealer: &Sealer, user: &str, now_ms: i64) -> Result<(Row, Secret<String>), Problem> {
    let secret = totp_rs::Secret::new_stack(rand::random::<[u8; 20]>());
    let text = Secret::new(secret.to_base32());
    let mut row = Row::new();
    row.insert("sealed".to_owned(), json!(sealer.seal(&place(user), text.expose())?));
    row.insert("created_unix_ms".to_owned(), json!(now_ms));
    Ok((row, text))
}

/// What authenticators read, as a link or a picture.
pub(crate) fn link(user: &str, secret: &Secret<String>) -> Secret<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let coded = user.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    let user: String = coded.collect();
    Secret::new(format!(
        "otpauth://totp/Gatehouse:{user}?secret={}&issuer=Gatehouse&algorithm=SHA1&digits=6&period=30",
        secret.expose()
    ))
}

/// New recovery codes: what is shown, and what is kept.
pub(crate) fn recovery() -> (Vec<String>, Value) {
    let codes: Vec<String> = (0..RECOVERY).map(|_| random::<10>()).collect();
    let kept = codes.iter().map(|code| digest(code)).collect::<Vec<_>>();
    let shown = codes.iter().map(|code| {
        let parts: Vec<_> =
            code.as_bytes().chunks(5).filter_map(|part| std::str::from_utf8(part).ok()).collect();
        parts.join("-")
    });
    (shown.collect(), json!(kept))
}

fn wrong() -> Problem {
    let text = "The code is wrong, or was used before: expected the six digits that the authenticator shows now, or \
                an unused recovery code";
    Problem::compat(401, WRONG, text).at("totp_code")
}

/// The row of a factor after a code has been spent on it.
///
/// # Errors
/// 401 [`WRONG`].
pub(crate) fn spent(
    sealer: &Sealer,
    (user, row): (&str, &Row),
    code: &str,
    now_ms: i64,
) -> Result<Row, Problem> {
    let code: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    let mut row = row.clone();
    if code.len() == 6 {
        let now_secs = u64::try_from(now_ms / 1_000).unwrap_or(0);
        let step = totp(sealer, user, &row)?.check(&code, now_secs).and_then(|step| i64::try_from(step).ok());
        let step = step.filter(|step| *step > row.number("last_step")).ok_or_else(wrong)?;
        row.insert("last_step".to_owned(), json!(step));
        return Ok(row);
    }
    let shown = digest(&code.to_ascii_lowercase());
    let mut left = row.list("recovery");
    let before = left.len();
    left.retain(|kept| !bool::from(kept.as_bytes().ct_eq(shown.as_bytes())));
    if left.len() == before {
        return Err(wrong());
    }
    row.insert("recovery".to_owned(), json!(left));
    Ok(row)
}

/// The second step of a login: the row to write; `None` for a user without a factor.
///
/// # Errors
/// 401 [`NEEDED`], 401 [`WRONG`].
pub(crate) fn second_step(
    sealer: &Sealer,
    state: &State,
    user: &str,
    code: Option<&str>,
    now_ms: i64,
) -> Result<Option<Row>, Problem> {
    let Some(row) = confirmed(state, user) else { return Ok(None) };
    let needed = || {
        let text = "A second factor is needed: send the same again with totp_code, the six digits that the \
                    authenticator shows, or recovery_code";
        Problem::compat(401, NEEDED, text).at("totp_code")
    };
    spent(sealer, (user, row), code.ok_or_else(needed)?, now_ms).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn sealer() -> Sealer {
        Sealer::new(&Secret::new("0123456789abcdefghijklmnopqrstuvwxyz".to_owned())).unwrap()
    }

    fn enrolled(sealer: &Sealer) -> (Row, Totp) {
        let (mut row, secret) = made(sealer, "ana", 1).unwrap();
        row.insert("confirmed_unix_ms".to_owned(), json!(1));
        assert!(!json!(row).to_string().contains(secret.expose()));
        (row.clone(), totp(sealer, "ana", &row).unwrap())
    }

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six of its eight digits.
        let totp = Builder::new().with_secret(b"12345678901234567890".to_vec()).build().unwrap();
        for (secs, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(totp.check(code, secs), Some(secs / 30));
        }
    }

    #[test]
    fn a_code_counts_within_a_step_and_once() {
        let sealer = sealer();
        let (row, totp) = enrolled(&sealer);
        let at = 1_700_000_010_i64;
        let code = |secs: i64| totp.generate(u64::try_from(secs).unwrap()).to_string();
        let spend = |row: &Row, code: &str| spent(&sealer, ("ana", row), code, at * 1_000);
        for (secs, counts) in
            [(at - 60, false), (at - 30, true), (at, true), (at + 30, true), (at + 60, false)]
        {
            assert_eq!(spend(&row, &code(secs)).is_ok(), counts, "{secs}");
        }
        let after = spend(&row, &code(at)).unwrap();
        assert!(spend(&after, &code(at)).is_err() && spend(&after, &code(at - 30)).is_err(), "replayed");
        assert!(spend(&after, &code(at + 30)).is_ok());
        let split = code(at);
        assert!(spend(&row, &format!(" {} {} ", &split[..3], &split[3..])).is_ok());
        assert!(spent(&sealer, ("eva", &row), &code(at), at * 1_000).is_err(), "sealed for another");
    }

    #[test]
    fn a_recovery_code_counts_once() {
        let sealer = sealer();
        let (mut row, _) = enrolled(&sealer);
        let (shown, kept) = recovery();
        assert!(!kept.to_string().contains(&shown[0].replace('-', "")));
        row.insert("recovery".to_owned(), kept);
        let after = spent(&sealer, ("ana", &row), &shown[3].to_uppercase(), 0).unwrap();
        assert_eq!(after.list("recovery").len(), RECOVERY - 1);
        assert!(spent(&sealer, ("ana", &after), &shown[3], 0).is_err());
        assert!(spent(&sealer, ("ana", &after), &shown[4], 0).is_ok());
    }

    #[test]
    fn the_second_step_is_asked_of_who_has_one() {
        let sealer = sealer();
        let mut state = State::default();
        let step =
            |state: &State, code| second_step(&sealer, state, "ana", code, 0).map_err(|problem| problem.code);
        assert_eq!(step(&state, None), Ok(None));
        let (mut row, _) = enrolled(&sealer);
        state.set(TABLE, "ana", Some(Arc::new(row.clone())));
        assert_eq!(step(&state, None).unwrap_err(), NEEDED);
        assert_eq!(step(&state, Some("")).unwrap_err(), WRONG);
        row.remove("confirmed_unix_ms");
        state.set(TABLE, "ana", Some(Arc::new(row)));
        assert_eq!(step(&state, None), Ok(None), "not confirmed yet");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_panics(code in ".{0,40}|[0-9 -]{0,9}", now_ms in any::<i64>()) {
            let sealer = sealer();
            let (row, _) = enrolled(&sealer);
            // A guess may be right once in a while; it may not break anything.
            drop(spent(&sealer, ("ana", &row), &code, now_ms));
        }
    }
}
