//! Sessions: what revokes them, and how often an address may try to log in.

use crate::change::Draft;
use crate::config::LoginLimit;
use crate::index::{self, By};
use crate::state::{Fields as _, Row, State};
use crate::subjects::tokens::Claims;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Addresses remembered; when full, those that are not refused are forgotten.
const ADDRESSES: usize = 10_000;

/// Fixed windows per address, aligned to the epoch (spec/doorman.md 2.5).
#[derive(Default)]
pub(crate) struct LoginLimiter {
    counts: RwLock<HashMap<String, (i64, u64)>>,
}

/// Where an address stands.
pub(crate) struct Standing {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// Unix seconds of the window's end.
    pub(crate) reset: i64,
    pub(crate) refused: bool,
}

impl LoginLimiter {
    /// Counts an attempt.
    pub(crate) fn attempt(&self, limit: LoginLimit, address: &str, now_ms: i64) -> Standing {
        let window_secs = i64::try_from(limit.window_secs.max(1)).unwrap_or(i64::MAX);
        let window = now_ms / 1_000 / window_secs;
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ADDRESSES {
            // Who is refused stays refused, however many addresses are sent to make us forget.
            counts.retain(|_, (of, count)| *of == window && *count > limit.per_window);
        }
        if counts.len() >= ADDRESSES {
            counts.clear();
        }
        let entry = counts.entry(address.to_owned()).or_insert((window, 0));
        if entry.0 != window {
            *entry = (window, 0);
        }
        entry.1 += 1;
        Standing {
            limit: limit.per_window,
            remaining: if limit.disabled {
                limit.per_window
            } else {
                limit.per_window.saturating_sub(entry.1)
            },
            reset: (window + 1) * window_secs,
            refused: !limit.disabled && entry.1 > limit.per_window,
        }
    }
}

/// A row of `revoked`: kept until the last token it speaks of would have expired anyway.
pub(crate) fn revoked_row(expires_secs: i64) -> Row {
    let mut row = Row::new();
    row.insert("expires_unix_secs".to_owned(), json!(expires_secs));
    row
}

/// Ends all sessions and tokens of a user who is switched off: who is switched on again begins anew.
pub(crate) fn ended(user: &mut Row, off: bool) {
    if off {
        let epoch = user.number("token_epoch").saturating_add(1);
        user.insert("token_epoch".to_owned(), json!(epoch));
    }
}

/// A session as it is listed: whose, since when, from where, until when, under which epoch of the user.
pub(crate) fn row(claims: &Claims, source: &str, now_ms: i64) -> Row {
    let mut row = Row::new();
    row.extend([
        ("username".to_owned(), json!(claims.sub)),
        ("source".to_owned(), json!(source)),
        ("created_unix_ms".to_owned(), json!(now_ms)),
        ("expires_unix_secs".to_owned(), json!(claims.exp)),
        ("epoch".to_owned(), json!(claims.epoch)),
    ]);
    row
}

/// A login: its session's row, and the expired ones swept.
pub(crate) fn login(state: &State, claims: &Claims, source: &str, now_ms: i64) -> Draft {
    let mut draft = Draft::new("session.login", format!("user/{}", claims.sub));
    let now = index::second(now_ms / 1_000);
    for id in state.keys_up_to(By::SessionEnd, &now).take(100) {
        draft = draft.delete("sessions", id);
    }
    draft.put("sessions", claims.sid.clone(), row(claims, source, now_ms))
}

/// A refreshed session lives as long as its newest token.
pub(crate) fn extend(draft: Draft, state: &State, fresh: &Claims) -> Draft {
    let Some(row) = state.get("sessions", &fresh.sid) else { return draft };
    let mut row = Row::clone(row);
    row.insert("expires_unix_secs".to_owned(), json!(fresh.exp));
    draft.put("sessions", fresh.sid.clone(), row)
}

/// Removes rows of `revoked` that no longer matter, so that the table stays as small as what is alive.
pub(crate) fn sweep(mut draft: Draft, state: &State, now_ms: i64) -> Draft {
    let now = index::second(now_ms / 1_000);
    for id in state.keys_up_to(By::RevokedEnd, &now).take(100) {
        draft = draft.delete("revoked", id);
    }
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_anew() {
        let limit = LoginLimit { per_window: 2, window_secs: 10, disabled: false };
        let limiter = LoginLimiter::default();
        let refused = |now_ms| limiter.attempt(limit, "a", now_ms).refused;
        assert_eq!([refused(0), refused(1), refused(2), refused(10_000)], [false, false, true, false]);
        assert!(!limiter.attempt(limit, "b", 3).refused);
        for _ in 0..3 {
            limiter.attempt(limit, "blocked", 20_000);
        }
        for address in 0..2 * ADDRESSES {
            limiter.attempt(limit, &address.to_string(), 20_000);
        }
        assert!(limiter.attempt(limit, "blocked", 20_000).refused, "a flood of addresses frees nobody");
    }
}
