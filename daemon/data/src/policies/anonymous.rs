//! Anonymous identities (spec/doorman.md 8.5): who calls without a credential is `anon:{address}`, with credits of its own;
//! rate-limit rules may count it by its address. Which addresses will call nobody knows before, so credits are counted in a
//! table of fixed size;
//! a user of that name, if there is one, has an account like any other and does not come here.

use crate::policies::rules::owner;
use crate::policies::standing::{Standing, window_ends};
use crate::policies::table::Table;
use gatehouse_corridor::snapshot::Rate;
use gatehouse_corridor::text::Text;
use std::io::Write;
use std::net::IpAddr;

/// Sets of a table: 1 MiB, 57,000 addresses within a window.
const SETS: usize = 8_192;

/// So many credits for each address, per window.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: Rate,
    table: Table,
}

impl Allowance {
    /// Makes one; an error names the field that the rate came from.
    pub(crate) fn compile(field: &str, rate: Rate) -> Result<Self, String> {
        if rate.limit == 0 || rate.window_ms == 0 {
            return Err(format!("{field}: expected at least 1 in a window"));
        }
        Ok(Self { rate, table: Table::new(SETS, rate.window_ms) })
    }

    /// Whether this one goes on under the next snapshot, so that what was spent stays spent.
    pub(crate) fn continues(&self, rate: Rate) -> bool {
        self.rate == rate
    }

    /// Takes one for a client's address; `Err` is 401 `GTW008`.
    pub(crate) fn take(&self, client: IpAddr, now_ms: i64) -> Result<Standing, Standing> {
        let taken = self.table.take(self.table.mark(owner(client)), self.rate.limit, now_ms);
        let reset_ms = window_ends(now_ms, self.rate.window_ms);
        let standing = Standing::new(self.rate.limit, 0, taken.unwrap_or(self.rate.limit), reset_ms);
        taken.map(|_| standing).ok_or(standing)
    }

    /// What is left to an address.
    #[cfg(test)]
    pub(crate) fn left(&self, client: IpAddr, now_ms: i64) -> u64 {
        self.rate.limit.saturating_sub(self.table.used(self.table.mark(owner(client)), now_ms))
    }
}

/// The name of an anonymous caller; those of one IPv6 /64 are one, since a client has all of it.
pub(crate) fn name(client: IpAddr) -> Text {
    let mut room = [0; 64];
    let mut rest = room.as_mut_slice();
    // The longest address has 39 bytes.
    let left = write!(rest, "anon:{}", owner(client)).map(|()| rest.len()).unwrap_or_default();
    let written = room.get(..room.len() - left).and_then(|bytes| std::str::from_utf8(bytes).ok());
    Text::from(written.unwrap_or("anon:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_those_of_addresses() {
        for (address, wanted) in [
            ("1.2.3.4", "anon:1.2.3.4"),
            ("::ffff:1.2.3.4", "anon:1.2.3.4"),
            ("2001:db8:1111:2222:3333:4444:5555:6666", "anon:2001:db8:1111:2222::"),
        ] {
            assert_eq!(&*name(address.parse().unwrap()), wanted);
        }
    }

    #[test]
    fn each_address_has_its_own() {
        let rate = Rate { limit: 2, window_ms: 1_000 };
        let credits = Allowance::compile("x", rate).unwrap();
        let (a, b) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([1, 1, 1, 2]));
        assert_eq!(credits.take(a, 0).unwrap().remaining, 1);
        credits.take(a, 0).unwrap();
        assert_eq!(credits.take(a, 500).unwrap_err().retry_after_secs(500), 1);
        assert_eq!((credits.left(a, 0), credits.left(b, 0), credits.left(a, 1_000)), (0, 2, 2));
        let v6 = |text: &str| credits.take(text.parse().unwrap(), 0).is_ok();
        let found = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"].map(v6);
        assert_eq!(found, [true, true, false, true], "a /64 is one client");
        assert!(credits.continues(rate) && !credits.continues(Rate { limit: 3, ..rate }));
        let error = Allowance::compile("credit_tiers", Rate { limit: 0, window_ms: 1 }).unwrap_err();
        assert!(error.starts_with("credit_tiers: expected"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn never_more_than_allowed_to_any_address(
            limit in 1u64..5,
            calls in proptest::collection::vec((0u8..6, 0i64..200), 1..200),
        ) {
            let credits = Allowance::compile("x", Rate { limit, window_ms: 1_000 }).unwrap();
            let (mut now, mut counts) = (0, BTreeMap::<(u8, i64), u64>::new());
            for (host, gap) in calls {
                now += gap;
                if credits.take(IpAddr::from([10, 0, 0, host]), now).is_ok() {
                    *counts.entry((host, now / 1_000)).or_default() += 1;
                }
            }
            prop_assert!(counts.values().all(|count| *count <= limit));
        }
    }
}
