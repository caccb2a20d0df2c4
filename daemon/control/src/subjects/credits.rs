//! Credits (spec/doorman.md 4.9): definitions with tiers, accounts of users, and when accounts are filled again. Numbers
//! and keys of accounts are what counts here; how they reach the data plane is `leases.rs`.

#[cfg(test)]
mod tests;

use crate::leases::{ACCOUNTS, groups, set_available};
use crate::schema::{Absent, Field, Kind};
use crate::state::{Fields as _, Row, State};
use crate::subjects::sealing::Sealer;
use actix_web::cookie::time::format_description::well_known::Rfc3339;
use actix_web::cookie::time::{Date, Month, OffsetDateTime, util::days_in_month};
use actix_web::http::header::{HeaderName, HeaderValue};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::snapshot::Rate;
use serde_json::{Value, json};

/// Table of definitions, by credit group.
pub(crate) const DEFINITIONS: &str = "credits";
/// Field of an account: the user's own key, sealed.
pub(crate) const USER_KEY: &str = "user_api_key";

/// Longest key, bytes; sealed it must still fit its field.
const KEY_BYTES: usize = 2_048;

/// Fields of a definition.
pub(crate) const FIELDS: &[Field] = &[
    ("api_credit_group", Kind::Text(0, 50), Absent::Null),
    ("api_key", Kind::Text(0, 4_096), Absent::Null),
    ("api_key_header", Kind::Text(1, 128), Absent::Required),
    ("credit_tiers", Kind::Objects, Absent::Required),
    ("api_key_new", Kind::Text(0, 4_096), Absent::Null),
    ("api_key_rotation_expires", Kind::Text(0, 64), Absent::Null),
];

/// Fields of a user's accounts.
pub(crate) const ACCOUNT_FIELDS: &[Field] =
    &[("username", Kind::Text(3, 50), Absent::Required), ("users_credits", Kind::Object, Absent::Required)];

/// Where a definition's key is sealed for.
pub(crate) fn place(group: &str, field: &str) -> String {
    format!("credits/{group}/{field}")
}

/// Where a user's own key is sealed for.
pub(crate) fn user_place(user: &str, group: &str) -> String {
    format!("user_credits/{user}/{group}")
}

fn refused(code: &str, field: &str, text: &str) -> Problem {
    Problem::compat(400, code, format!("{field}: {text}")).at(field)
}

/// How often an account is filled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frequency {
    Never,
    Seconds(i64),
    Months(u8),
}

/// Reads `reset_frequency`; `None` is a word that nobody knows.
pub(crate) fn frequency(text: &str) -> Option<Frequency> {
    Some(match text.trim().to_ascii_lowercase().as_str() {
        "" | "none" | "never" => Frequency::Never,
        "minutely" | "minute" => Frequency::Seconds(60),
        "hourly" | "hour" => Frequency::Seconds(3_600),
        "daily" | "day" => Frequency::Seconds(86_400),
        "weekly" | "week" => Frequency::Seconds(604_800),
        "monthly" | "month" => Frequency::Months(1),
        "quarterly" | "quarter" => Frequency::Months(3),
        "yearly" | "annually" | "year" => Frequency::Months(12),
        _ => return None,
    })
}

impl Frequency {
    /// The first time after `now`, counted in whole steps from `from`; seconds. `None`: never.
    fn next(self, from: i64, now: i64) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::Seconds(step) if from > now => Some(from).filter(|_| step > 0),
            Self::Seconds(step) => Some(from + ((now - from) / step + 1) * step),
            Self::Months(step) => {
                let begun = OffsetDateTime::from_unix_timestamp(from).ok()?;
                // Counted from the first day, so that the 31st comes back after a shorter month.
                (0..12_000u32).map(|count| later(begun, count * u32::from(step))).find_map(|at| {
                    let secs = at?.unix_timestamp();
                    (secs > now).then_some(secs)
                })
            }
        }
    }

    /// Milliseconds of the window that an anonymous caller's credits are counted in.
    fn window_ms(self) -> u64 {
        const MONTH_MS: u64 = 2_592_000_000;
        match self {
            Self::Seconds(step) => u64::try_from(step).unwrap_or(1).saturating_mul(1_000),
            Self::Months(step) => MONTH_MS.saturating_mul(u64::from(step)),
            Self::Never => MONTH_MS,
        }
    }
}

fn later(at: OffsetDateTime, months: u32) -> Option<OffsetDateTime> {
    let month = u32::from(u8::from(at.month())) - 1 + months;
    let year = at.year() + i32::try_from(month / 12).ok()?;
    let month = Month::try_from(u8::try_from(month % 12).ok()? + 1).ok()?;
    let day = at.day().min(days_in_month(month, year));
    Some(at.replace_date(Date::from_calendar_date(year, month, day).ok()?))
}

/// A date, or a time with an offset (RFC 3339), as seconds.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    // Times without an offset, as Python writes them, are of UTC.
    let forms = [text.to_owned(), format!("{text}Z"), format!("{text}T00:00:00Z")];
    let at = forms.iter().find_map(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    at.map(OffsetDateTime::unix_timestamp)
}

fn written(secs: i64) -> Value {
    let at = OffsetDateTime::from_unix_timestamp(secs).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).map_or(Value::Null, Value::String)
}

/// When the groups of an account are due, seconds.
pub(crate) fn resets(row: &Row) -> impl Iterator<Item = i64> {
    let dates = groups(row).into_iter().flat_map(|groups| groups.values());
    dates.filter_map(|account| seconds(account.get("reset_date")?.as_str()?))
}

/// Checks a definition and encrypts the keys that `changes` brings.
///
/// # Errors
/// `CRD009`, `CRD010`, `CRD016`, naming the field.
pub(crate) fn define(sealer: &Sealer, group: &str, changes: &mut Row) -> Result<(), Problem> {
    let tiers = changes.get("credit_tiers").and_then(Value::as_array);
    if tiers.is_some_and(Vec::is_empty) {
        return Err(refused("CRD016", "credit_tiers", "expected at least one tier"));
    }
    for tier in tiers.into_iter().flatten() {
        let name = tier.get("tier_name").and_then(Value::as_str).unwrap_or_default();
        let field = |name: &str| format!("credit_tiers.{name}");
        if !(1..=50).contains(&name.chars().count()) {
            return Err(refused("CRD016", &field("tier_name"), "expected text of 1 to 50 characters"));
        }
        for count in ["credits", "input_limit", "output_limit"] {
            let good = |value: &Value| value.is_null() || value.as_u64().is_some();
            if !tier.get(count).is_none_or(good) {
                return Err(refused("CRD016", &field(count), "expected a whole number from 0"));
            }
        }
        let often = tier.get("reset_frequency").and_then(Value::as_str).unwrap_or_default();
        if frequency(often).is_none() {
            let text = format!("{often:?}: expected hourly, daily, weekly, monthly, yearly or none");
            return Err(refused("CRD016", &field("reset_frequency"), &text));
        }
    }
    let header = changes.get("api_key_header").and_then(Value::as_str);
    if header.is_some_and(|header| HeaderName::from_bytes(header.as_bytes()).is_err()) {
        return Err(refused("CRD016", "api_key_header", "expected a header name (RFC 9110 5.1)"));
    }
    let expires = changes.get("api_key_rotation_expires").and_then(Value::as_str);
    if expires.is_some_and(|text| !text.is_empty() && seconds(text).is_none()) {
        return Err(refused(
            "CRD016",
            "api_key_rotation_expires",
            "expected a time such as 2030-01-31T00:00:00Z",
        ));
    }
    seal_keys(sealer, group, changes)
}

fn seal_keys(sealer: &Sealer, group: &str, changes: &mut Row) -> Result<(), Problem> {
    for field in ["api_key", "api_key_new"] {
        let Some(Value::String(key)) = changes.get(field) else { continue };
        if HeaderValue::from_str(key).is_err() || key.len() > KEY_BYTES {
            let text = format!("expected text that a header field can hold, at most {KEY_BYTES} bytes");
            return Err(refused("CRD016", field, &text));
        }
        // The new key takes the old one's place as it stands, so both are sealed for that.
        let sealed =
            if key.is_empty() { Value::Null } else { json!(sealer.seal(&place(group, "api_key"), key)?) };
        changes.insert(field.to_owned(), sealed);
    }
    Ok(())
}

/// A definition as it is answered: no key.
pub(crate) fn shown(row: &Row) -> Value {
    let mut row = row.clone();
    for (field, present) in [("api_key", "api_key_present"), ("api_key_new", "api_key_new_present")] {
        let known = row.remove(field).is_some_and(|key| key.is_string());
        row.insert(present.to_owned(), json!(known));
    }
    Value::Object(row)
}

fn tier<'r>(definition: &'r Row, name: &str) -> Option<&'r Value> {
    let tiers = definition.get("credit_tiers").and_then(Value::as_array)?;
    tiers.iter().find(|tier| tier.get("tier_name").and_then(Value::as_str) == Some(name))
}

fn often(tier: &Value) -> Frequency {
    let text = tier.get("reset_frequency").and_then(Value::as_str).unwrap_or_default();
    frequency(text).unwrap_or(Frequency::Never)
}

/// What each anonymous address may spend: the first tier's credits per its window.
pub(crate) fn anonymous(definition: &Row) -> Option<Rate> {
    let tier = definition.get("credit_tiers").and_then(Value::as_array)?.first()?;
    Some(Rate { limit: tier.get("credits")?.as_u64()?, window_ms: often(tier).window_ms() })
}

/// Checks the accounts that a body gives a user, encrypts keys, and says when each is due first. A key that was masked in
/// an earlier answer (`user_api_key_present`) and is not given stays.
///
/// # Errors
/// `CRD016`, naming the field.
pub(crate) fn accounts(
    sealer: &Sealer,
    state: &State,
    user: &str,
    given: &Row,
    now_secs: i64,
) -> Result<Row, Problem> {
    let old = state.get(ACCOUNTS, user);
    let mut made = Row::new();
    for (group, account) in given {
        let field = |name: &str| format!("users_credits.{group}.{name}");
        let expected = |name: &str, text: &str| refused("CRD016", &field(name), text);
        let account = account.as_object().ok_or_else(|| expected("", "expected an object"))?;
        let available = match account.get("available_credits") {
            Some(count) => count.as_u64().or_else(|| count.as_str()?.parse().ok()),
            None => Some(0),
        };
        let available =
            available.ok_or_else(|| expected("available_credits", "expected a whole number from 0"))?;
        let name = account.text("tier_name");
        let date = account.text("reset_date");
        let tier = state.get(DEFINITIONS, group).and_then(|definition| tier(definition, name));
        let reset = match (seconds(date), tier) {
            (Some(_), _) => json!(date),
            (None, _) if !date.is_empty() => {
                return Err(expected("reset_date", "expected a date such as 2030-01-31"));
            }
            (None, Some(tier)) => often(tier).next(now_secs, now_secs).map_or(Value::Null, written),
            (None, None) => Value::Null,
        };
        let kept = || {
            old.and_then(|old| groups(old)?.get(group)?.get(USER_KEY))
                .filter(|_| account.flag("user_api_key_present"))
        };
        let key = match account.get(USER_KEY).and_then(Value::as_str) {
            Some("") | None => kept().cloned().unwrap_or(Value::Null),
            Some(key) if HeaderValue::from_str(key).is_ok() && key.len() <= KEY_BYTES => {
                json!(sealer.seal(&user_place(user, group), key)?)
            }
            Some(_) => return Err(expected(USER_KEY, "expected text that a header field can hold")),
        };
        made.insert(
            group.clone(),
            json!({"tier_name": name, "available_credits": available, "reset_date": reset, USER_KEY: key}),
        );
    }
    Ok(made)
}

/// Whether two rows of accounts differ in what a snapshot holds of them: groups and keys, not numbers.
pub(crate) fn differ(old: Option<&Row>, new: Option<&Row>) -> bool {
    let keys = |row: Option<&Row>| -> Option<Vec<(String, Value)>> {
        let key = |account: &Value| account.get(USER_KEY).cloned().unwrap_or(Value::Null);
        Some(groups(row?)?.iter().map(|(group, account)| (group.clone(), key(account))).collect())
    };
    keys(old) != keys(new)
}

/// What fills one user's due accounts again: the number of their tier, and the next date. One whose tier is gone or is
/// never filled loses its date. With the groups that were due.
pub(crate) fn refill(state: &State, user: &str, now_secs: i64) -> Option<(Row, Vec<String>)> {
    let mut row = Row::clone(state.get(ACCOUNTS, user)?);
    let mut due = Vec::new();
    for (group, account) in groups(&row.clone())? {
        let date = account.get("reset_date").and_then(Value::as_str).and_then(seconds);
        let Some(date) = date.filter(|date| *date <= now_secs) else { continue };
        let name = account.get("tier_name").and_then(Value::as_str).unwrap_or_default();
        let tier = state.get(DEFINITIONS, group).and_then(|definition| tier(definition, name));
        let next = tier.and_then(|tier| often(tier).next(date, now_secs));
        if let (Some(tier), Some(_)) = (tier, next) {
            set_available(&mut row, group, tier.get("credits").and_then(Value::as_u64).unwrap_or(0));
            due.push(group.clone());
        }
        let place = row.get_mut("users_credits").and_then(|groups| groups.get_mut(group)?.as_object_mut());
        if let Some(place) = place {
            place.insert("reset_date".to_owned(), next.map_or(Value::Null, written));
        }
    }
    Some((row, due))
}

/// A definition whose new key is to take the old one's place by now.
pub(crate) fn rotated(row: &Row, now_secs: i64) -> Option<Row> {
    let new = row.get("api_key_new").filter(|key| key.is_string())?.clone();
    let expires = seconds(row.text("api_key_rotation_expires"));
    if expires.is_some_and(|at| at > now_secs) {
        return None;
    }
    let mut row = row.clone();
    row.insert("api_key".to_owned(), new);
    for field in ["api_key_new", "api_key_rotation_expires"] {
        row.insert(field.to_owned(), Value::Null);
    }
    Some(row)
}
