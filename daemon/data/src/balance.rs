//! Which of an API's servers takes a call: in turn, the less busy of two, or by the hash of a header. Servers that are
//! out are passed over; if all are out, any is told rather than none: probes may err, and a breaker that is open still
//! refuses by itself.

use gatehouse_corridor::snapshot::api::Balance;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Servers and how one is chosen; servers are told by their place in the list.
#[derive(Debug)]
pub(crate) struct Balancer {
    way: Way,
    turn: AtomicUsize,
    /// One for each server, from its text: the same in every process.
    seeds: Box<[u64]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Way {
    Turn,
    LeastRequest,
    /// Lower-case name of the header.
    Hash(String),
}

/// Spreads the bits of a number over all of them (splitmix64's finish).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// FNV-1a, then mixed: the same in every process, and keys are short.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

impl Balancer {
    /// Compiles; `first`: the server whose turn is first (a routing's `server_index`). An error names the field.
    pub(crate) fn compile(balance: &Balance, servers: &[String], first: usize) -> Result<Self, String> {
        let way = match balance {
            Balance::RoundRobin => Way::Turn,
            Balance::LeastRequest => Way::LeastRequest,
            Balance::HashHeader(name) => match http::HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => Way::Hash(name.as_str().to_owned()),
                Err(_) => return Err(format!("api_balance: {name:?}: expected the name of a header")),
            },
        };
        // A server that is listed twice takes two shares.
        let seed = |(at, server): (usize, &String)| {
            let before = servers.iter().take(at).filter(|other| *other == server).count();
            hash(server.as_bytes()) ^ mixed(u64::try_from(before).unwrap_or_default())
        };
        let seeds = servers.iter().enumerate().map(seed).collect();
        Ok(Self { way, turn: AtomicUsize::new(first), seeds })
    }

    /// The header whose value [`Balancer::choose`] is to be given.
    pub(crate) fn header(&self) -> Option<&str> {
        if let Way::Hash(name) = &self.way { Some(name) } else { None }
    }

    /// Takes over whose turn it is, so that a change elsewhere does not begin with the first server again.
    pub(crate) fn follow(&self, before: &Self) {
        self.turn.store(before.turn.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A server for a call; `None` only if there are none. `out`: whether a server is to be passed over, because its
    /// breaker is open, its probes fail or this call has asked it before.
    pub(crate) fn choose(
        &self,
        key: Option<&[u8]>,
        out: impl Fn(usize) -> bool,
        in_flight: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        let servers = self.seeds.len();
        if servers < 2 {
            return (servers == 1).then_some(0);
        }
        if let (Way::Hash(_), Some(key)) = (&self.way, key) {
            let all = 0..servers;
            let found = self.highest(key, all.clone().filter(|server| !out(*server)));
            return found.or_else(|| self.highest(key, all));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let live = (0..servers).filter(|server| !out(*server)).count();
        if live == 0 {
            return Some(turn % servers);
        }
        // Counted among those that are in: else the one behind a server that is out would take its share too.
        let nth = |number: usize| (0..servers).filter(|server| !out(*server)).nth(number);
        // A breaker that opened between the two looks leaves fewer.
        let any = || turn % servers;
        if self.way != Way::LeastRequest || live == 1 {
            return Some(nth(turn % live).unwrap_or_else(any));
        }
        let (one, other) = pair(turn, live);
        let (one, other) = (nth(one).unwrap_or_else(any), nth(other).unwrap_or_else(any));
        Some(if in_flight(other) < in_flight(one) { other } else { one })
    }

    /// Rendezvous: of the server with the highest score for this key. If one goes, only its keys move.
    fn highest(&self, key: &[u8], among: impl Iterator<Item = usize>) -> Option<usize> {
        let key = hash(key);
        let score = |server: &usize| self.seeds.get(*server).map(|seed| mixed(seed ^ key));
        among.max_by_key(score)
    }
}

/// Two different numbers below `live`, as good as by chance.
fn pair(turn: usize, live: usize) -> (usize, usize) {
    let chance = mixed(u64::try_from(turn).unwrap_or_default());
    let below = |number: u64, bound: usize| {
        let scaled = (number & 0xffff_ffff) * u64::try_from(bound).unwrap_or_default();
        usize::try_from(scaled >> 32).unwrap_or_default()
    };
    let one = below(chance, live);
    let step = 1 + below(chance >> 32, live - 1);
    (one, (one + step) % live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn servers(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("http://10.0.0.{number}:80")).collect()
    }

    fn balancer(balance: &Balance, count: usize) -> Balancer {
        Balancer::compile(balance, &servers(count), 0).unwrap()
    }

    fn by_header() -> Balance {
        Balance::HashHeader("X-Session".into())
    }

    #[test]
    fn in_turn_from_the_first_told() {
        let balancer = Balancer::compile(&Balance::RoundRobin, &servers(3), 2).unwrap();
        let next = || balancer.choose(None, |_| false, |_| 0).unwrap();
        assert_eq!([next(), next(), next(), next()], [2, 0, 1, 2]);
        let after = self::balancer(&Balance::RoundRobin, 3);
        after.follow(&balancer);
        assert_eq!(after.choose(None, |_| false, |_| 0), Some(0));
    }

    #[test]
    fn those_that_are_in_share_what_one_that_is_out_would_take() {
        for balance in [Balance::RoundRobin, Balance::LeastRequest] {
            let (balancer, mut counts) = (balancer(&balance, 4), [0; 4]);
            for _ in 0..3_000 {
                counts[balancer.choose(None, |server| server == 1, |_| 0).unwrap()] += 1;
            }
            assert_eq!(counts[1], 0);
            let fair = |count: &i32| (800..=1_200).contains(count);
            assert!(
                counts.iter().enumerate().all(|(server, count)| server == 1 || fair(count)),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn the_less_busy_of_two() {
        let (balancer, mut in_flight) = (balancer(&Balance::LeastRequest, 5), [0u64; 5]);
        in_flight[3] = 500;
        for _ in 0..1_000 {
            let chosen = balancer.choose(None, |_| false, |server| in_flight[server]).unwrap();
            in_flight[chosen] += 1;
        }
        assert_eq!(in_flight[3], 500, "always the busier of the two");
        // Two choices keep the fullest within a few of the mean (Mitzenmacher 2001).
        assert!(
            in_flight.iter().enumerate().all(|(s, count)| s == 3 || count.abs_diff(250) < 15),
            "{in_flight:?}"
        );
    }

    #[test]
    fn all_out_is_any_and_none_is_none() {
        for balance in [Balance::RoundRobin, Balance::LeastRequest, by_header()] {
            for count in 1..4 {
                let balancer = balancer(&balance, count);
                let keys = [None, Some(b"a".as_slice())];
                assert!(keys.iter().all(|key| balancer.choose(*key, |_| true, |_| 0).unwrap() < count));
            }
            assert_eq!(balancer(&balance, 0).choose(None, |_| false, |_| 0), None);
        }
    }

    #[test]
    fn keys_are_spread_and_without_one_it_goes_in_turn() {
        let (balancer, mut counts) = (balancer(&by_header(), 4), [0; 4]);
        assert_eq!(balancer.header(), Some("x-session"));
        for key in 0..4_000 {
            counts[balancer.choose(Some(format!("user-{key}").as_bytes()), |_| false, |_| 0).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        let turns: Vec<_> = (0..4).filter_map(|_| balancer.choose(None, |_| false, |_| 0)).collect();
        assert_eq!(turns, [0, 1, 2, 3]);
        let twice = [servers(2), servers(1)].concat();
        let (balancer, mut counts) = (Balancer::compile(&by_header(), &twice, 0).unwrap(), [0; 3]);
        for key in 0..3_000u32 {
            counts[balancer.choose(Some(&key.to_be_bytes()), |_| false, |_| 0).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "two shares: {counts:?}");
        let error = Balancer::compile(&Balance::HashHeader("a b".into()), &servers(1), 0).unwrap_err();
        assert!(error.contains("expected the name of a header"), "{error}");
    }

    proptest! {
        /// A server that goes, is out, or comes moves no key but those that it had or gets.
        #[test]
        fn never_moves_more_keys_than_it_must(count in 2usize..12, gone in 0usize..12, keys in 1u32..300) {
            let gone = gone % count;
            let all = balancer(&by_header(), count);
            let mut rest = servers(count);
            let name = rest.remove(gone);
            let rest = Balancer::compile(&by_header(), &rest, 0).unwrap();
            prop_assert_eq!(name, servers(count)[gone].clone());
            for key in 0..keys {
                let key = key.to_be_bytes();
                let before = all.choose(Some(&key), |_| false, |_| 0).unwrap();
                let out = all.choose(Some(&key), |server| server == gone, |_| 0).unwrap();
                let after = rest.choose(Some(&key), |_| false, |_| 0).unwrap();
                let after = if after >= gone { after + 1 } else { after };
                prop_assert_eq!(out, after);
                prop_assert!(before == gone || before == after);
            }
        }

        #[test]
        fn never_panics_and_never_one_that_is_out(count in 1usize..9, mask in any::<u16>(), calls in 1usize..40) {
            for balance in [Balance::RoundRobin, Balance::LeastRequest, by_header()] {
                let balancer = balancer(&balance, count);
                let out = |server: usize| mask >> server & 1 == 1;
                for call in 0..calls {
                    let key = call.to_be_bytes();
                    let chosen = balancer.choose(Some(&key), out, |_| 0).unwrap();
                    prop_assert!(!out(chosen) || count == 1 || (0..count).all(out));
                }
            }
        }
    }
}
