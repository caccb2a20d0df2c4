//! Personal access tokens (spec/agnes.md 6.3): opaque, kept as the digest of their secret, bounded by scopes, time and
//! network, and never more than their owner's rights at the time of use.

use super::addresses;
use super::scopes::Scopes;
use super::tokens::Claims;
use crate::change::Draft;
use crate::index::By;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::opaque::{self, PERSONAL};
use ipnet::IpNet;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use subtle::ConstantTimeEq as _;

/// `typ` of a caller who came with one.
pub(crate) const TYPE: &str = "pat";
/// Tokens of one user that are alive.
pub(crate) const ALIVE: usize = 100;
/// Uses remembered until they are written down.
const USES: usize = 10_000;

/// Random hex digits.
pub(crate) fn random<const N: usize>() -> String
where
    [u8; N]: AsRef<[u8]>,
    rand::distr::StandardUniform: rand::distr::Distribution<[u8; N]>,
{
    hex::encode(rand::random::<[u8; N]>())
}

/// What is kept of a secret: it has 256 random bits, so a fast hash is as good as a slow one.
pub(crate) fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Whether a secret is the one whose digest is kept.
pub(crate) fn matches(row: &Row, secret: &str) -> bool {
    digest(secret).as_bytes().ct_eq(row.text("hash").as_bytes()).into()
}

/// Networks that a token may be used from; none is everywhere. What cannot be read is nowhere.
pub(crate) fn networks(row: &Row) -> Vec<IpNet> {
    let nowhere = || IpNet::from(IpAddr::from([0, 0, 0, 0]));
    row.list("networks").iter().map(|text| addresses::network(text).unwrap_or_else(nowhere)).collect()
}

/// Whether a token counts in a state at a time.
pub(crate) fn alive(state: &State, row: &Row, now_ms: i64) -> bool {
    let user = state.get("users", row.text("username"));
    unrevoked(row)
        && row.get("expires_unix_ms").and_then(Value::as_i64).is_none_or(|at| at > now_ms)
        && user.is_some_and(|user| {
            user.flag("active")
                && !user.flag("tokens_revoked")
                && user.number("token_epoch") == row.number("epoch")
        })
}

/// Whether nobody revoked it.
pub(crate) fn unrevoked(row: &Row) -> bool {
    row.get("revoked_unix_ms").is_none_or(Value::is_null)
}

/// Who comes with a token, and what it is for; `None` where it does not count, for whatever reason.
pub(crate) fn verify(state: &State, text: &str, source: &str, now_ms: i64) -> Option<(Claims, Scopes)> {
    let shown = opaque::parse(PERSONAL, text)?;
    let row = state.get("tokens", shown.id).filter(|row| matches(row, shown.secret))?;
    let networks = networks(row);
    let from = source.parse::<IpAddr>().map(|address| address.to_canonical());
    let here = networks.is_empty()
        || from.is_ok_and(|address| networks.iter().any(|network| network.contains(&address)));
    if !here || !alive(state, row, now_ms) {
        return None;
    }
    let claims = Claims {
        sub: row.text("username").to_owned(),
        role: String::new(),
        exp: row.get("expires_unix_ms").and_then(Value::as_i64).map_or(i64::MAX, |at| at / 1_000),
        iat: row.number("created_unix_ms") / 1_000,
        jti: shown.id.to_owned(),
        sid: shown.id.to_owned(),
        epoch: u64::try_from(row.number("epoch")).unwrap_or(0),
        typ: TYPE.to_owned(),
        accesses: BTreeMap::new(),
    };
    Some((claims, Scopes::of(row)))
}

/// How many tokens of a user are alive.
pub(crate) fn count(state: &State, user: &str, now_ms: i64) -> usize {
    let rows = state.keys_by(By::TokenUser, user).filter_map(|id| state.get("tokens", id));
    rows.filter(|row| alive(state, row, now_ms)).count()
}

/// When each token was last used and from where, until it is written down.
#[derive(Debug, Default)]
pub(crate) struct Uses(RwLock<HashMap<String, (i64, String)>>);

impl Uses {
    /// Remembers a use; when too many tokens were used since the last writing, that of a further one is forgotten.
    pub(crate) fn used(&self, id: &str, source: &str, now_ms: i64) {
        let mut uses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < USES || uses.contains_key(id) {
            uses.insert(id.to_owned(), (now_ms, source.to_owned()));
        }
    }

    /// All that is remembered, and no longer.
    pub(crate) fn take(&self) -> Vec<(String, (i64, String))> {
        let mut uses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        uses.drain().collect()
    }
}

/// Writes uses down. A use from another address than the last one's leaves a record, others none.
pub(crate) fn written(state: &State, uses: Vec<(String, (i64, String))>) -> Draft {
    let (mut rows, mut moved) = (Vec::new(), Vec::new());
    for (id, (at, source)) in uses {
        let Some(row) = state.get("tokens", &id) else { continue };
        let mut row = Row::clone(row);
        let before = row.text("last_used_from").to_owned();
        if !before.is_empty() && before != source {
            moved.push(json!({"token": id, "user": row.text("username"), "from": source, "before": before}));
        }
        row.insert("last_used_unix_ms".to_owned(), json!(at));
        row.insert("last_used_from".to_owned(), json!(source));
        rows.push(("tokens", id, Some(row)));
    }
    let mut draft = match moved.is_empty() {
        true => Draft::quiet(),
        false => Draft::new("token.used_elsewhere", "tokens").detail(json!({ "uses": moved })),
    };
    draft.rows = rows;
    draft
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn row(value: Value) -> Option<Arc<Row>> {
        value.as_object().cloned().map(Arc::new)
    }

    #[test]
    fn a_token_counts_only_as_it_was_made() {
        let (id, secret) = (random::<8>(), random::<32>());
        let token = opaque::print(PERSONAL, &id, &secret);
        let user = json!({"username": "ana", "active": true, "token_epoch": 3});
        let made = json!({"username": "ana", "hash": digest(&secret), "scopes": ["admin"], "epoch": 3,
                          "expires_unix_ms": 1_000, "networks": ["10.0.0.0/8"]});
        let verified = |user: &Value, made: &Value, source: &str, now_ms: i64| {
            let mut state = State::default();
            state.set("users", "ana", row(user.clone()));
            state.set("tokens", &id, row(made.clone()));
            verify(&state, token.expose(), source, now_ms).is_some()
        };
        let with = |value: &Value, field: &str, new: Value| {
            let mut value = value.clone();
            value[field] = new;
            value
        };
        assert!(verified(&user, &made, "10.1.2.3", 999));
        assert!(verified(&user, &made, "::ffff:10.1.2.3", 999));
        assert!(verified(&user, &with(&made, "expires_unix_ms", Value::Null), "10.1.2.3", i64::MAX));
        for (user, made, source, now_ms) in [
            (user.clone(), made.clone(), "11.1.2.3", 0),
            (user.clone(), made.clone(), "", 0),
            (user.clone(), made.clone(), "10.1.2.3", 1_000),
            (user.clone(), with(&made, "hash", json!(digest("other"))), "10.1.2.3", 0),
            (user.clone(), with(&made, "revoked_unix_ms", json!(5)), "10.1.2.3", 0),
            (user.clone(), with(&made, "epoch", json!(2)), "10.1.2.3", 0),
            (user.clone(), with(&made, "username", json!("eva")), "10.1.2.3", 0),
            (user.clone(), with(&made, "networks", json!(["nonsense"])), "10.1.2.3", 0),
            (with(&user, "active", json!(false)), made.clone(), "10.1.2.3", 0),
            (with(&user, "tokens_revoked", json!(true)), made.clone(), "10.1.2.3", 0),
            (with(&user, "token_epoch", json!(4)), made.clone(), "10.1.2.3", 0),
        ] {
            assert!(!verified(&user, &made, source, now_ms), "{user} {made} {source} {now_ms}");
        }
    }

    #[test]
    fn uses_are_written_together_and_a_new_address_is_told() {
        let mut state = State::default();
        for id in ["a", "b"] {
            state.set("tokens", id, row(json!({"username": "ana", "last_used_from": "1.1.1.1"})));
        }
        let uses = Uses::default();
        for (id, from, at) in [("a", "1.1.1.1", 5), ("b", "1.1.1.1", 6), ("gone", "1.1.1.1", 7)] {
            uses.used(id, from, at);
        }
        let draft = written(&state, uses.take());
        assert_eq!((draft.rows.len(), draft.action), (2, ""));
        uses.used("a", "2.2.2.2", 8);
        let draft = written(&state, uses.take());
        assert_eq!((draft.rows.len(), draft.action), (1, "token.used_elsewhere"));
        assert_eq!(draft.detail["uses"][0]["from"], "2.2.2.2");
        assert!(uses.take().is_empty());
    }
}
