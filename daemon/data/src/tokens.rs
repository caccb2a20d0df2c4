//! Tokens that one worker has verified under the present revision.

use crate::prepare::who::Who;
use gatehouse_common::ids::RouteId;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// Tokens kept; when full the cache starts anew, which costs one verification each.
const MOST: usize = 4_096;
/// Longer ones are verified each time, so that what is kept has a bound in bytes too.
const LONGEST_BYTES: usize = 4_096;

/// A token that was verified.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) who: Arc<Who>,
    /// Unix seconds.
    pub(crate) expires_secs: i64,
    /// The one API that it counts for; `None`: all.
    pub(crate) route: Option<RouteId>,
}

/// The cache. A quick hash: a client chooses what is looked up here, but not what lies here.
#[derive(Default)]
pub(crate) struct Tokens {
    revision: u64,
    known: FxHashMap<u128, (Box<str>, Verified)>,
}

/// The end of a token lies in its signature: as good as random, and short to hash. What counts for one API has a place of
/// its own for each, so that two APIs that trust one issuer do not take each other's.
fn mark(token: &str, route: Option<&RouteId>) -> Option<u128> {
    let end = u128::from_ne_bytes(*token.as_bytes().last_chunk()?);
    Some(end ^ route.map_or(0, |route| u128::from(FxBuildHasher.hash_one(route))))
}

impl Tokens {
    /// Forgets all if they were verified under another revision.
    pub(crate) fn under(&mut self, revision: u64) {
        if std::mem::replace(&mut self.revision, revision) != revision {
            self.known.clear();
        }
    }

    /// What is known of a token, for all APIs or for this one.
    pub(crate) fn get(&self, token: &str, route: Option<&RouteId>) -> Option<&Verified> {
        let (whole, verified) = self.known.get(&mark(token, route)?)?;
        (**whole == *token && verified.route.as_ref() == route).then_some(verified)
    }

    /// Remembers a token.
    pub(crate) fn put(&mut self, token: &str, verified: Verified) {
        let Some(mark) = mark(token, verified.route.as_ref()).filter(|_| token.len() <= LONGEST_BYTES) else {
            return;
        };
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(mark, (token.into(), verified));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::snapshot::Consumer;

    fn verified(route: Option<&str>) -> Verified {
        let who = Arc::new(
            Who::compile(&Arc::new(Consumer { id: "ana".into(), ..Consumer::default() }), None).unwrap(),
        );
        Verified { who, expires_secs: 1, route: route.map(RouteId::from) }
    }

    #[test]
    fn a_token_counts_where_it_was_verified_and_nowhere_else() {
        let (mut tokens, token) = (Tokens::default(), "head.claims.signature-of-it");
        let (one, two) = (RouteId::from("1"), RouteId::from("2"));
        tokens.put(token, verified(Some("1")));
        assert!(tokens.get(token, Some(&one)).is_some());
        assert!(tokens.get(token, Some(&two)).is_none() && tokens.get(token, None).is_none());
        tokens.put(token, verified(Some("2")));
        assert!(tokens.get(token, Some(&one)).is_some(), "it keeps its place beside the other's");
        assert!(tokens.get(token, Some(&two)).is_some());
        tokens.put(token, verified(None));
        assert!(tokens.get(token, None).is_some() && tokens.get(token, Some(&one)).is_some());
        assert!(tokens.get("other.claims.signature-of-it", None).is_none(), "the same end, another token");
        tokens.under(1);
        assert!(tokens.get(token, None).is_none(), "another revision");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut tokens = Tokens::default();
        let token = |number: usize| format!("{number:0>20}");
        (0..=MOST).for_each(|number| tokens.put(&token(number), verified(None)));
        assert!(tokens.known.len() <= MOST && tokens.get(&token(MOST), None).is_some());
        let long = "x".repeat(LONGEST_BYTES + 1);
        tokens.put(&long, verified(None));
        tokens.put("short", verified(None));
        assert!(tokens.get(&long, None).is_none() && tokens.get("short", None).is_none());
    }
}
