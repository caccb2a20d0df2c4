//! Rate-limit rules (spec/doorman.md 4.11): all that apply must let a call pass; of those that refuse the one with the
//! highest priority is told. Rules with a target lie under it, so a call meets only those that could apply.

use crate::policies::standing::{Standing, window_ends};
use crate::policies::table::Table;
use gatehouse_corridor::meter::Meter;
use gatehouse_corridor::snapshot::consumer::{RateRule, RuleKind};
use rustc_hash::FxHashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Sets of the table of a rule that counts each of its kind: 1 MiB, 57,000 keys within a window.
const SETS: usize = 8_192;
/// Most rules of that sort, which bounds the memory.
const MOST_TABLES: usize = 32;

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// User name, if one is known.
    pub(crate) user: Option<&'a str>,
    /// `name/version`.
    pub(crate) api: &'a str,
    /// `METHOD/name/version/uri` with the endpoint's own URI, as it was compiled.
    pub(crate) endpoint: &'a str,
    /// The client's.
    pub(crate) address: IpAddr,
}

/// The rule that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused<'a> {
    /// Its id.
    pub(crate) rule: &'a str,
    /// Its numbers.
    pub(crate) standing: Standing,
}

#[derive(Debug)]
enum Cells {
    /// One count.
    One(Meter),
    /// One for each key.
    Each(Table),
}

/// A rule, compiled.
#[derive(Debug)]
struct Rule {
    row: RateRule,
    /// The one user it is for.
    user: Option<String>,
    /// The one API or endpoint it is for.
    place: Option<String>,
    /// The one address it is for.
    address: Option<IpAddr>,
    cells: Arc<Cells>,
}

/// All rules; the place in `all` is the rank.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    all: Box<[Rule]>,
    always: Vec<usize>,
    users: FxHashMap<String, Vec<usize>>,
    /// APIs and endpoints; an endpoint's name begins with its method and has more slashes.
    places: FxHashMap<String, Vec<usize>>,
    addresses: FxHashMap<IpAddr, Vec<usize>>,
}

/// The network that stands for a client: v6 clients own a /64.
pub(crate) fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

impl Rule {
    fn compile(row: &RateRule, before: Option<&Rule>) -> Result<Self, String> {
        let name = &row.id;
        if row.rate.limit == 0 || row.rate.window_ms == 0 {
            return Err(format!("rate limit rule {name}: limit: expected at least 1 in a window"));
        }
        let target = row.target.as_deref().map(str::trim).filter(|target| !target.is_empty());
        let (mut user, mut place, mut address) = (None, None, None);
        match (row.kind, target) {
            (RuleKind::Global, _) | (_, None) => {}
            (RuleKind::User, Some(target)) => user = Some(target.to_owned()),
            (RuleKind::Api | RuleKind::Endpoint, Some(target)) => place = Some(target.to_owned()),
            (RuleKind::Address, Some(target)) => {
                let wrong = || format!("target_identifier: rule {name}: {target:?}: expected an address");
                address = Some(target.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical());
            }
            // `user:place`, or one of the two; a user's name has no slash, a place has.
            (RuleKind::UserApi | RuleKind::UserEndpoint, Some(target)) => match target.split_once(':') {
                Some((one, at)) if !one.contains('/') => (user, place) = (Some(one.into()), Some(at.into())),
                _ if target.contains('/') => place = Some(target.to_owned()),
                _ => user = Some(target.to_owned()),
            },
        }
        let one = match row.kind {
            RuleKind::Global => true,
            RuleKind::UserApi | RuleKind::UserEndpoint => user.is_some() && place.is_some(),
            _ => target.is_some(),
        };
        let same = |rule: &&Rule| {
            (rule.row.kind, rule.row.rate.window_ms) == (row.kind, row.rate.window_ms)
                && rule.row.target == row.target
        };
        let cells = match before.filter(same) {
            Some(rule) => Arc::clone(&rule.cells),
            None if one => Arc::new(Cells::One(Meter::default())),
            None => Arc::new(Cells::Each(Table::new(SETS, row.rate.window_ms))),
        };
        Ok(Self { row: row.clone(), user, place, address, cells })
    }

    fn at<'a>(&self, caller: &Caller<'a>) -> &'a str {
        match self.row.kind {
            RuleKind::Endpoint | RuleKind::UserEndpoint => caller.endpoint,
            _ => caller.api,
        }
    }

    fn applies(&self, caller: &Caller<'_>) -> bool {
        let of_users = matches!(self.row.kind, RuleKind::User | RuleKind::UserApi | RuleKind::UserEndpoint);
        (!of_users || caller.user.is_some())
            && self.user.as_deref().is_none_or(|user| caller.user == Some(user))
            && self.place.as_deref().is_none_or(|place| self.at(caller) == place)
            && self.address.is_none_or(|address| caller.address.to_canonical() == address)
    }

    fn most(&self) -> u64 {
        self.row.rate.limit.saturating_add(self.row.burst)
    }

    fn mark(&self, table: &Table, caller: &Caller<'_>) -> crate::policies::table::Mark {
        match self.row.kind {
            RuleKind::Address => table.mark(owner(caller.address)),
            RuleKind::User => table.mark(caller.user),
            RuleKind::UserApi | RuleKind::UserEndpoint => table.mark((caller.user, self.at(caller))),
            RuleKind::Api | RuleKind::Endpoint | RuleKind::Global => table.mark(self.at(caller)),
        }
    }

    fn used(&self, caller: &Caller<'_>, now_ms: i64) -> u64 {
        match &*self.cells {
            Cells::One(meter) => meter.used(now_ms, self.row.rate.window_ms),
            Cells::Each(table) => table.used(self.mark(table, caller), now_ms),
        }
    }

    fn take(&self, caller: &Caller<'_>, now_ms: i64) -> Option<u64> {
        match &*self.cells {
            Cells::One(meter) => meter.take(self.most(), now_ms, self.row.rate.window_ms),
            Cells::Each(table) => table.take(self.mark(table, caller), self.most(), now_ms),
        }
    }

    fn refused(&self, now_ms: i64) -> Refused<'_> {
        let reset_ms = window_ends(now_ms, self.row.rate.window_ms);
        let standing = Standing::new(self.row.rate.limit, self.row.burst, self.most(), reset_ms);
        Refused { rule: &self.row.id, standing }
    }
}

impl Rules {
    /// Compiles the rules that are switched on; an error names the rule and the field. Rules that count the same as
    /// `before` go on where they stood; without it all begin anew.
    pub(crate) fn compile(rows: &[RateRule], before: Option<&Self>) -> Result<Self, String> {
        let old: FxHashMap<&str, &Rule> =
            before.iter().flat_map(|rules| &rules.all).map(|rule| (rule.row.id.as_str(), rule)).collect();
        let mut sorted: Vec<&RateRule> = rows.iter().collect();
        sorted.sort_by_key(|row| std::cmp::Reverse(row.priority));
        let mut rules = Self::default();
        let mut all = Vec::with_capacity(sorted.len());
        for (rank, row) in sorted.into_iter().enumerate() {
            let rule = Rule::compile(row, old.get(row.id.as_str()).copied())?;
            match (&rule.address, &rule.user, &rule.place) {
                (Some(address), ..) => rules.addresses.entry(*address).or_default().push(rank),
                (_, Some(user), _) => rules.users.entry(user.clone()).or_default().push(rank),
                (.., Some(place)) => rules.places.entry(place.clone()).or_default().push(rank),
                _ => rules.always.push(rank),
            }
            all.push(rule);
        }
        let tables = all.iter().filter(|rule| matches!(*rule.cells, Cells::Each(_))).count();
        if tables > MOST_TABLES {
            return Err(format!(
                "target_identifier: {tables} rules count each of their kind: expected at most {MOST_TABLES}"
            ));
        }
        rules.all = all.into();
        Ok(rules)
    }

    /// The rules that apply, with their ranks.
    fn applying<'r>(&'r self, caller: &Caller<'_>) -> impl Iterator<Item = (usize, &'r Rule)> {
        let user = caller.user.and_then(|user| self.users.get(user));
        let api = Self::under(&self.places, caller.api);
        let endpoint = Self::under(&self.places, caller.endpoint);
        let address = match self.addresses.is_empty() {
            true => None,
            false => self.addresses.get(&caller.address.to_canonical()),
        };
        let ranks = self.always.iter().chain([user, api, endpoint, address].into_iter().flatten().flatten());
        let rules = ranks.filter_map(|rank| self.all.get(*rank).map(|rule| (*rank, rule)));
        rules.filter(|(_, rule)| rule.applies(caller))
    }

    fn under<'r>(places: &'r FxHashMap<String, Vec<usize>>, key: &str) -> Option<&'r Vec<usize>> {
        if places.is_empty() { None } else { places.get(key) }
    }

    /// Counts a call with all rules that apply, or refuses it; then it counts with none, unless another call was
    /// quicker.
    pub(crate) fn decide<'r>(&'r self, caller: &Caller<'_>, now_ms: i64) -> Result<(), Refused<'r>> {
        if self.all.is_empty() {
            return Ok(());
        }
        // One alone needs no look before: it counts only what it lets pass.
        if self.applying(caller).nth(1).is_some() {
            let over = self.applying(caller).filter(|(_, rule)| rule.used(caller, now_ms) >= rule.most());
            if let Some((_, rule)) = over.min_by_key(|(rank, _)| *rank) {
                return Err(rule.refused(now_ms));
            }
        }
        match self.applying(caller).find(|(_, rule)| rule.take(caller, now_ms).is_none()) {
            Some((_, rule)) => Err(rule.refused(now_ms)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::snapshot::Rate;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn rule(id: &str, kind: RuleKind, target: Option<&str>, limit: u64) -> RateRule {
        let rate = Rate { limit, window_ms: 60_000 };
        RateRule { id: id.into(), kind, target: target.map(str::to_owned), rate, burst: 0, priority: 0 }
    }

    fn caller<'a>(user: &'a str, api: &'a str, endpoint: &'a str, address: &str) -> Caller<'a> {
        let user = (!user.is_empty()).then_some(user);
        Caller { user, api, endpoint, address: address.parse().unwrap() }
    }

    fn ann() -> Caller<'static> {
        caller("ann", "a/v1", "GET/a/v1/x", "1.2.3.4")
    }

    #[test]
    fn kinds_and_targets() {
        use RuleKind::{Address, Api, Endpoint, Global, User, UserApi, UserEndpoint};
        let bob = caller("bob", "a/v1", "GET/a/v1/x", "1.2.3.5");
        let other_api = caller("ann", "b/v1", "GET/b/v1/x", "1.2.3.4");
        let nobody = caller("", "a/v1", "POST/a/v1/x", "2001:db8::1");
        // After a call of Ann's: which of (Ann, Bob, Ann elsewhere, nobody) are refused.
        for (kind, target, wanted) in [
            (User, Some("ann"), [true, false, true, false]),
            (User, None, [true, false, true, false]),
            (User, Some("eve"), [false; 4]),
            (Api, Some("a/v1"), [true, true, false, true]),
            (Api, None, [true, true, false, true]),
            (Endpoint, Some("GET/a/v1/x"), [true, true, false, false]),
            (Endpoint, None, [true, true, false, false]),
            (Address, Some("1.2.3.4"), [true, false, true, false]),
            (Address, Some("::ffff:1.2.3.4"), [true, false, true, false]),
            (Address, None, [true, false, true, false]),
            (UserApi, None, [true, false, false, false]),
            (UserApi, Some("ann"), [true, false, false, false]),
            (UserApi, Some("a/v1"), [true, false, false, false]),
            (UserApi, Some("ann:a/v1"), [true, false, false, false]),
            (UserApi, Some("bob:a/v1"), [false; 4]),
            (UserEndpoint, Some("ann:GET/a/v1/x"), [true, false, false, false]),
            (UserEndpoint, Some("GET/a/v1/x:y"), [false; 4]),
            (UserEndpoint, None, [true, false, false, false]),
            (Global, None, [true; 4]),
        ] {
            let rules = Rules::compile(&[rule("r", kind, target, 1)], None).unwrap();
            rules.decide(&ann(), 0).unwrap();
            let found = [ann(), bob, other_api, nobody].map(|one| rules.decide(&one, 0).is_err());
            assert_eq!(found, wanted, "{kind:?} {target:?}");
            assert!(rules.decide(&ann(), 60_000).is_ok(), "a new window");
        }
    }

    #[test]
    fn an_address_of_v6_is_its_64() {
        let rules = Rules::compile(&[rule("r", RuleKind::Address, None, 1)], None).unwrap();
        let from = |address| rules.decide(&caller("", "a/v1", "", address), 0).is_ok();
        assert_eq!(
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "1.1.1.1", "1.1.1.2"].map(from),
            [true, false, true, true, true]
        );
    }

    #[test]
    fn the_highest_that_refuses_is_told_and_no_other_counts() {
        let low = rule("low", RuleKind::Global, None, 1);
        let high = RateRule { priority: 5, burst: 1, ..rule("high", RuleKind::User, Some("ann"), 1) };
        let wide = rule("wide", RuleKind::Api, Some("a/v1"), 3);
        let rules = Rules::compile(&[low.clone(), high.clone(), wide], None).unwrap();
        rules.decide(&ann(), 0).unwrap();
        assert_eq!(rules.decide(&ann(), 0).unwrap_err().rule, "low");
        let rules = Rules::compile(&[low, high], None).unwrap();
        rules.decide(&ann(), 0).unwrap();
        let all = rules.all.iter().map(|rule| (rule.row.id.as_str(), rule.used(&ann(), 0)));
        assert_eq!(all.collect::<Vec<_>>(), [("high", 1), ("low", 1)]);
        rules.all[0].take(&ann(), 0).unwrap();
        let refused = rules.decide(&ann(), 0).unwrap_err();
        assert_eq!((refused.rule, refused.standing.burst), ("high", Some((1, 0))));
        assert_eq!(refused.standing.retry_after_secs(0), 60);
        let first = RateRule { priority: 9, ..rule("first", RuleKind::Global, None, 1) };
        let rules = Rules::compile(&[rule("user", RuleKind::User, Some("ann"), 1), first], None).unwrap();
        rules.decide(&ann(), 0).unwrap();
        assert_eq!(rules.decide(&ann(), 0).unwrap_err().rule, "first");
    }

    #[test]
    fn counts_go_on_if_what_they_count_is_the_same() {
        let row = rule("r", RuleKind::User, None, 1);
        let first = Rules::compile(std::slice::from_ref(&row), None).unwrap();
        first.decide(&ann(), 0).unwrap();
        let higher = RateRule { rate: Rate { limit: 2, ..row.rate }, ..row.clone() };
        for (next, before, passes) in [
            (row.clone(), Some(&first), 0),
            (higher, Some(&first), 1),
            (row.clone(), None, 1),
            (rule("other", RuleKind::User, None, 1), Some(&first), 1),
            (rule("r", RuleKind::Api, None, 1), Some(&first), 1),
        ] {
            let rules = Rules::compile(std::slice::from_ref(&next), before).unwrap();
            assert_eq!((0..5).filter(|_| rules.decide(&ann(), 0).is_ok()).count(), passes, "{next:?}");
        }
    }

    #[test]
    fn what_cannot_be_enforced_is_refused_by_name() {
        let many: Vec<_> = (0..33).map(|id| rule(&id.to_string(), RuleKind::User, None, 1)).collect();
        for (rows, words) in [
            (vec![rule("r", RuleKind::Address, Some("10.0.0.0/8"), 1)], "expected an address"),
            (vec![rule("r", RuleKind::Global, None, 0)], "rule r: limit: expected"),
            (many, "expected at most 32"),
        ] {
            let error = Rules::compile(&rows, None).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn many_threads_never_get_more_than_a_rule_lets() {
        let rows = [rule("all", RuleKind::Global, None, 300), rule("each", RuleKind::Address, None, 100)];
        let (rules, passed) = (Rules::compile(&rows, None).unwrap(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let went = rules.decide(&ann(), 0).is_ok();
                        passed.fetch_add(u64::from(went), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 100);
    }

    proptest! {
        #[test]
        fn never_more_than_allowed_in_a_window(
            (limit, burst) in (1u64..10, 0u64..5),
            calls in proptest::collection::vec((0u8..4, 0i64..10_000), 1..200),
        ) {
            let row = RateRule { burst, ..rule("r", RuleKind::Address, Some("10.0.0.1"), limit) };
            let rules = Rules::compile(&[row], None).unwrap();
            let (mut now, mut counts) = (0, std::collections::BTreeMap::<(u8, i64), u64>::new());
            for (host, gap) in calls {
                now += gap;
                let one = Caller { address: IpAddr::from([10, 0, 0, host]), ..ann() };
                if rules.decide(&one, now).is_ok() {
                    *counts.entry((host, now / 60_000)).or_default() += 1;
                }
            }
            prop_assert!(counts.iter().all(|((host, _), count)| *host != 1 || *count <= limit + burst));
        }
    }
}
