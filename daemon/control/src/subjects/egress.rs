//! Which addresses the control plane may connect to when an operator's text names the host: the table of ranges, and the
//! exceptions that the settings list. Judged are addresses, never the spelling of a host (spec/agnes.md 5.2).

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::LazyLock;

/// Who may be connected to in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// Private: for hosts that an administrator named as upstreams already, or that the settings list.
    Near,
    /// Only what the settings list by address: metadata services of clouds, and what is no host's address.
    Never,
}

/// Ranges that are not public. The first that holds an address counts.
const TABLE: &[(&str, Range)] = &[
    // Metadata services.
    ("100.100.100.200/32", Range::Never),
    ("168.63.129.16/32", Range::Never),
    ("169.254.0.0/16", Range::Never),
    ("fd00:ec2::/32", Range::Never),
    ("fd00:c1::/32", Range::Never),
    ("fd20:ce::/32", Range::Never),
    // Private, shared, loopback, benchmarks.
    ("10.0.0.0/8", Range::Near),
    ("100.64.0.0/10", Range::Near),
    ("127.0.0.0/8", Range::Near),
    ("172.16.0.0/12", Range::Near),
    ("192.168.0.0/16", Range::Near),
    ("198.18.0.0/15", Range::Near),
    ("::1/128", Range::Near),
    ("fc00::/7", Range::Near),
    ("fe80::/10", Range::Near),
    ("fec0::/10", Range::Near),
    // This network, protocols, documentation, relays, multicast, reserved.
    ("0.0.0.0/8", Range::Never),
    ("192.0.0.0/24", Range::Never),
    ("192.0.2.0/24", Range::Never),
    ("192.88.99.0/24", Range::Never),
    ("198.51.100.0/24", Range::Never),
    ("203.0.113.0/24", Range::Never),
    ("224.0.0.0/4", Range::Never),
    ("240.0.0.0/4", Range::Never),
    // Unspecified and IPv4-compatible; translation for local use; discard; Teredo; documentation; multicast.
    ("::/96", Range::Never),
    ("64:ff9b:1::/48", Range::Never),
    ("100::/64", Range::Never),
    ("2001::/32", Range::Never),
    ("2001:db8::/32", Range::Never),
    ("3fff::/20", Range::Never),
    ("ff00::/8", Range::Never),
];

static RANGES: LazyLock<Vec<(IpNet, Range)>> =
    LazyLock::new(|| TABLE.iter().filter_map(|(text, range)| Some((text.parse().ok()?, *range))).collect());

/// The IPv4 address that an IPv6 one stands for: mapped (RFC 4291), NAT64 (RFC 6052, 8215), 6to4 (RFC 3056).
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |[.., a, b]: [u16; 8]| {
        let [[a, b], [c, d]] = [a.to_be_bytes(), b.to_be_bytes()];
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0 | 1, 0, 0, 0, ..] => Some(last(address.segments())),
        [0x2002, a, b, ..] => Some(last([0, 0, 0, 0, 0, 0, a, b])),
        _ => None,
    }
}

/// An address as it is judged.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(long) => inner(long).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn range(address: IpAddr) -> Option<Range> {
    let address = plain(address);
    RANGES.iter().find(|(network, _)| network.contains(&address)).map(|(_, range)| *range)
}

/// A host name as it is compared.
fn name(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Hosts and networks that the settings except from the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressAllow {
    networks: Vec<IpNet>,
    /// In lower case; `.suffix` for all below it.
    names: Vec<String>,
}

impl FromStr for EgressAllow {
    type Err = String;

    /// Addresses, networks, host names and `*.SUFFIX`, separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut allow = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if let Some(network) = super::addresses::network(item) {
                allow.networks.push(network);
                continue;
            }
            let known = name(item.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(item));
            let label = |label: &str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            };
            // A last label of digits is how other spellings of addresses end.
            let digits =
                known.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
            if digits || !known.strip_prefix('.').unwrap_or(&known).split('.').all(label) {
                return Err(format!(
                    "{item:?}: expected an address, a network such as 10.0.0.0/8, a host name, or *.SUFFIX"
                ));
            }
            allow.names.push(known);
        }
        Ok(allow)
    }
}

impl fmt::Display for EgressAllow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(ToString::to_string);
        let all: Vec<_> = networks.chain(self.names.iter().cloned()).collect();
        f.write_str(&all.join(", "))
    }
}

impl EgressAllow {
    fn lists(&self, address: IpAddr) -> bool {
        let both = [address, plain(address)];
        self.networks.iter().any(|network| both.iter().any(|address| network.contains(address)))
    }

    /// Whether the settings list a host name.
    pub(crate) fn names(&self, host: &str) -> bool {
        let host = name(host);
        self.names.iter().any(|known| match known.strip_prefix('.') {
            Some(_) => host.len() > known.len() && host.ends_with(known.as_str()),
            None => host == *known,
        })
    }

    /// Whether an address may be connected to; `named` says that somebody who may has named the host.
    pub(crate) fn permits(&self, address: IpAddr, named: bool) -> bool {
        match range(address) {
            None => true,
            Some(Range::Near) if named => true,
            Some(_) => self.lists(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allow(text: &str) -> EgressAllow {
        text.parse().unwrap()
    }

    /// Spellings of an IPv4 address that a resolver or a route turns into it.
    fn spellings(address: Ipv4Addr) -> Vec<IpAddr> {
        let [a, b, c, d] = address.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let long = [
            [0, 0, 0, 0, 0, 0xffff, high, low],
            [0x64, 0xff9b, 0, 0, 0, 0, high, low],
            [0x64, 0xff9b, 1, 0, 0, 0, high, low],
            [0x2002, high, low, 0, 0, 0, 0, 1],
        ];
        let long = long.map(|segments| IpAddr::V6(segments.into()));
        std::iter::once(IpAddr::V4(address)).chain(long).collect()
    }

    #[test]
    fn the_table_is_read_whole() {
        assert_eq!(RANGES.len(), TABLE.len());
    }

    #[test]
    fn who_may_be_connected_to() {
        let listed = "10.9.0.0/16, 169.254.169.254, *.corp.example, Wiki.example.";
        for (address, public, named, exception) in [
            ("8.8.8.8", true, true, true),
            ("2606:4700::1", true, true, true),
            ("::ffff:8.8.8.8", true, true, true),
            ("64:ff9b::808:808", true, true, true),
            ("10.9.1.1", false, true, true),
            ("10.8.1.1", false, true, false),
            ("100.64.0.1", false, true, false),
            ("127.0.0.1", false, true, false),
            ("::1", false, true, false),
            ("fd12::1", false, true, false),
            ("169.254.169.254", false, false, true),
            ("::ffff:169.254.169.254", false, false, true),
            ("169.254.170.2", false, false, false),
            ("100.100.100.200", false, false, false),
            ("168.63.129.16", false, false, false),
            ("fd00:ec2::254", false, false, false),
            ("::7f00:1", false, false, false),
            ("0.0.0.0", false, false, false),
            ("::", false, false, false),
            ("255.255.255.255", false, false, false),
            ("64:ff9b:1:2::808:808", false, false, false),
            ("2001:0:1::", false, false, false),
        ] {
            let at: IpAddr = address.parse().unwrap();
            let none = EgressAllow::default();
            assert_eq!(none.permits(at, false), public, "{address}");
            assert_eq!(none.permits(at, true), named, "{address} named");
            assert_eq!(allow(listed).permits(at, false), exception, "{address} listed");
        }
        for (host, known) in [
            ("wiki.example", true),
            ("WIKI.example.", true),
            ("a.corp.example", true),
            ("corp.example", false),
            ("xcorp.example", false),
            ("wiki.example.org", false),
        ] {
            assert_eq!(allow(listed).names(host), known, "{host}");
        }
        for bad in ["10.0.0.0/33", "a b", "http://a", "2130706433", "0x7f.1", "*", "*.", "a..b"] {
            assert!(bad.parse::<EgressAllow>().is_err_and(|why| why.contains("expected")), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_address_of_the_table_passes_in_any_spelling(at in 0..TABLE.len(), host in any::<u128>()) {
            let (network, _) = RANGES[at];
            match (network, network.network()) {
                (IpNet::V4(net), IpAddr::V4(first)) => {
                    let bits = u32::from(first) | (host as u32 & u32::from(net.hostmask()));
                    for address in spellings(bits.into()) {
                        prop_assert!(!EgressAllow::default().permits(address, false), "{}", address);
                        let near = range(address) == Some(Range::Near);
                        prop_assert_eq!(EgressAllow::default().permits(address, true), near, "{}", address);
                    }
                    // Numbers instead of dotted text: what a URL's parser makes of them is judged.
                    for text in [format!("http://{bits}/"), format!("http://{bits:#x}/"), format!("http://0{bits:o}/")] {
                        let url: url::Url = text.parse().unwrap();
                        let Some(url::Host::Ipv4(read)) = url.host() else { panic!("{text}") };
                        prop_assert!(!EgressAllow::default().permits(read.into(), false), "{}", text);
                    }
                }
                (IpNet::V6(net), IpAddr::V6(first)) => {
                    let address = Ipv6Addr::from(u128::from(first) | (host & u128::from(net.hostmask())));
                    // What stands for a public IPv4 address is judged as that.
                    if inner(address).is_none() {
                        prop_assert!(!EgressAllow::default().permits(address.into(), false), "{}", address);
                    }
                }
                _ => {}
            }
        }

        #[test]
        fn never_panics(text in ".{0,60}") {
            drop(text.parse::<EgressAllow>());
        }
    }
}
