//! Address lists (spec/doorman.md 5.2, 2. and 4.): who may call at all. Networks are compiled to sorted ranges that do
//! not overlap, so that thousands cost a dozen comparisons.

use gatehouse_corridor::snapshot::Security;
use gatehouse_corridor::snapshot::api::AddressRules;
use ipnet::IpNet;
use std::net::IpAddr;

/// Sorted ranges of one kind of address; what is asked lies in the starts, which share few cache lines.
#[derive(Debug, Default)]
struct Ranges<T> {
    starts: Box<[T]>,
    ends: Box<[T]>,
}

impl<T: Copy + Ord> Ranges<T> {
    /// Merges what overlaps.
    fn merge(mut pairs: Vec<(T, T)>) -> Self {
        pairs.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(pairs.len());
        for (start, end) in pairs {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        let (starts, ends): (Vec<T>, Vec<T>) = merged.into_iter().unzip();
        Self { starts: starts.into(), ends: ends.into() }
    }

    fn contains(&self, one: T) -> bool {
        let after = self.starts.partition_point(|start| *start <= one);
        after.checked_sub(1).and_then(|at| self.ends.get(at)).is_some_and(|end| one <= *end)
    }
}

/// A set of networks, of both kinds.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Networks {
    /// Compiles addresses and networks; an error names the field and the text.
    pub(crate) fn compile(field: &str, texts: &[String]) -> Result<Self, String> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for text in texts {
            match network(text)
                .ok_or_else(|| format!("{field}: {text:?}: expected an address or a network"))?
            {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Ok(Self { v4: Ranges::merge(v4), v6: Ranges::merge(v6) })
    }

    /// Whether an address lies in one of them; one that is v4 inside v6 counts as v4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.starts.is_empty() && self.v6.starts.is_empty()
    }
}

/// A network, or an address as the network of itself; networks of mapped v4 addresses become v4.
fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let net = match text.contains('/') {
        true => text.parse::<IpNet>().ok()?,
        false => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    match (net, net.network().to_canonical()) {
        (IpNet::V6(net), IpAddr::V4(inner)) if net.prefix_len() >= 96 => {
            IpNet::new(IpAddr::V4(inner), net.prefix_len() - 96).ok()
        }
        _ => Some(net),
    }
}

/// What the lists say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It may call.
    Granted,
    /// Only those on a list may, and it is not: 403 `SEC010`, `API010`.
    NotAllowed,
    /// It is on the list of those that may not: 403 `SEC011`, `API011`.
    Denied,
}

/// The lists of the platform or of one API.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    allow: Option<Networks>,
    deny: Networks,
}

impl Addresses {
    /// The platform's: an empty list of those that may allows everybody.
    pub(crate) fn platform(security: &Security) -> Result<Self, String> {
        let allow = Networks::compile("ip_whitelist", &security.allow)?;
        let allow = (!allow.is_empty()).then_some(allow);
        Ok(Self { allow, deny: Networks::compile("ip_blacklist", &security.deny)? })
    }

    /// An API's: with `only_allowed` an empty list allows nobody. Lists are checked even where they do not count.
    pub(crate) fn api(rules: &AddressRules) -> Result<Self, String> {
        let allow = Networks::compile("api_ip_whitelist", &rules.allow)?;
        let deny = Networks::compile("api_ip_blacklist", &rules.deny)?;
        Ok(Self { allow: rules.only_allowed.then_some(allow), deny })
    }

    /// Decides by the client's address; deny comes first.
    pub(crate) fn decide(&self, client: IpAddr) -> Access {
        if self.deny.contains(client) {
            return Access::Denied;
        }
        match &self.allow {
            Some(allow) if !allow.contains(client) => Access::NotAllowed,
            _ => Access::Granted,
        }
    }
}

/// Whether a caller passes all lists: a loopback peer that speaks for nobody else, where settings say so. `Host` is
/// not asked: a client writes it. `forwarded` (`forwarded::present`) is asked last.
pub(crate) fn bypasses(security: &Security, peer: IpAddr, forwarded: impl FnOnce() -> bool) -> bool {
    security.localhost_bypass && peer.to_canonical().is_loopback() && !forwarded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_of_both_kinds() {
        let list =
            ["10.0.0.0/8", "1.2.3.4", "1.2.3.5/32", "2001:db8::/32", "::ffff:9.9.0.0/112", "172.16.9.9/12"];
        let networks = Networks::compile("x", &texts(&list)).unwrap();
        for inside in
            ["10.255.0.1", "::ffff:10.0.0.1", "1.2.3.4", "1.2.3.5", "2001:db8::1", "9.9.1.1", "172.31.0.1"]
        {
            assert!(networks.contains(address(inside)), "{inside}");
        }
        for outside in
            ["11.0.0.0", "9.255.255.255", "1.2.3.6", "2001:db9::", "9.8.255.255", "::", "172.32.0.0"]
        {
            assert!(!networks.contains(address(outside)), "{outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for wrong in ["", "10.0.0.0/33", "localhost", "1.2.3", "::1/129", "fe80::1%eth0", "10.0.0.0/8/8"] {
            let error = Networks::compile("ip_whitelist", &texts(&[wrong])).unwrap_err();
            assert!(error.starts_with("ip_whitelist: ") && error.contains("expected"), "{error}");
        }
        for (allow, deny, field) in [("x", "::", "api_ip_whitelist"), ("::", "x", "api_ip_blacklist")] {
            let rules =
                AddressRules { allow: texts(&[allow]), deny: texts(&[deny]), ..AddressRules::default() };
            assert!(Addresses::api(&rules).unwrap_err().starts_with(field));
        }
    }

    #[test]
    fn lists_as_the_contract_says() {
        let api = |only_allowed, allow: &[&str], deny: &[&str]| {
            let (allow, deny) = (texts(allow), texts(deny));
            Addresses::api(&AddressRules { only_allowed, allow, deny, trust_forwarded: None }).unwrap()
        };
        let platform = |allow: &[&str], deny: &[&str]| {
            let (allow, deny) = (texts(allow), texts(deny));
            Addresses::platform(&Security { allow, deny, ..Security::default() }).unwrap()
        };
        for (lists, client, wanted) in [
            (api(true, &["1.2.3.4/32", "10.0.0.0/8"], &["8.8.8.8/32"]), "1.2.3.4", Access::Granted),
            (api(true, &["1.2.3.4/32", "10.0.0.0/8"], &["8.8.8.8/32"]), "10.9.9.9", Access::Granted),
            (api(true, &["1.2.3.4/32", "10.0.0.0/8"], &["8.8.8.8/32"]), "8.8.8.8", Access::Denied),
            (api(true, &["10.0.0.0/8"], &["10.0.0.1"]), "10.0.0.1", Access::Denied),
            (api(true, &[], &[]), "127.0.0.1", Access::NotAllowed),
            (api(false, &["10.0.0.0/8"], &[]), "11.0.0.1", Access::Granted),
            (platform(&[], &[]), "11.0.0.1", Access::Granted),
            (platform(&["10.0.0.0/8"], &[]), "11.0.0.1", Access::NotAllowed),
            (platform(&[], &["11.0.0.0/8"]), "::ffff:11.0.0.1", Access::Denied),
        ] {
            assert_eq!(lists.decide(address(client)), wanted, "{client}");
        }
    }

    #[test]
    fn only_a_loopback_peer_that_speaks_for_itself_bypasses() {
        for (on, peer, forwarded, wanted) in [
            (true, "127.0.0.1", false, true),
            (true, "::1", false, true),
            (true, "::ffff:127.0.0.1", false, true),
            (true, "127.0.0.1", true, false),
            (true, "10.0.0.1", false, false),
            (false, "127.0.0.1", false, false),
        ] {
            let security = Security { localhost_bypass: on, ..Security::default() };
            assert_eq!(bypasses(&security, address(peer), || forwarded), wanted, "{on} {peer} {forwarded}");
        }
    }

    proptest! {
        /// Merged ranges say what the networks say one by one.
        #[test]
        fn ranges_say_what_the_networks_say(
            nets in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..40),
            probes in proptest::collection::vec(any::<u32>(), 1..40),
        ) {
            let nets: Vec<ipnet::Ipv4Net> =
                nets.iter().map(|(bits, length)| ipnet::Ipv4Net::new((*bits).into(), *length).unwrap()).collect();
            let list: Vec<String> = nets.iter().map(ToString::to_string).collect();
            let networks = Networks::compile("x", &list).unwrap();
            let edges = nets.iter().flat_map(|net| [net.network().to_bits(), net.broadcast().to_bits()]);
            for bits in edges.flat_map(|bits| [bits, bits.wrapping_sub(1), bits.wrapping_add(1)]).chain(probes) {
                let wanted = nets.iter().any(|net| net.contains(&std::net::Ipv4Addr::from_bits(bits)));
                prop_assert_eq!(networks.contains(IpAddr::V4(bits.into())), wanted);
            }
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            drop(Networks::compile("x", &[text]));
        }
    }
}
