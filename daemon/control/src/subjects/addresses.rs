//! Addresses and networks (CIDR) of rules about who may call.

use ipnet::IpNet;
use std::net::IpAddr;

/// Networks that no public client can be in.
const NEAR: [&str; 7] =
    ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1", "fc00::/7"];

/// An address, or a network; a network of IPv4 addresses in IPv6 form is the IPv4 one.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    match (network, network.network().to_canonical()) {
        (IpNet::V6(long), IpAddr::V4(inner)) if long.prefix_len() >= 96 => {
            IpNet::new(IpAddr::V4(inner), long.prefix_len() - 96).ok()
        }
        _ => Some(network),
    }
}

/// Whether an address is of this machine or of a private network.
pub(crate) fn near(address: IpAddr) -> bool {
    listed(&NEAR.map(str::to_owned), address)
}

/// What is wrong with the first that is neither.
pub(crate) fn problem(list: &[String]) -> Option<String> {
    let bad = list.iter().find(|text| network(text).is_none())?;
    Some(format!(
        "{bad:?}: expected an address or a network such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
    ))
}

/// Whether a list names an address; an IPv4 address in IPv6 form is the IPv4 one.
pub(crate) fn listed(list: &[String], address: IpAddr) -> bool {
    let address = address.to_canonical();
    list.iter().filter_map(|text| network(text)).any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (list, address, held) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4/32", "::ffff:1.2.3.4", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("::ffff:1.2.3.0/120", "1.2.3.9", true),
            ("0.0.0.0/0", "::1", false),
        ] {
            assert_eq!(listed(&[list.to_owned()], address.parse().unwrap()), held, "{list} {address}");
        }
        for bad in ["", "10.0.0.0/33", "host", "1.2.3", "1.2.3.4:80"] {
            assert!(problem(&[bad.to_owned()]).unwrap().contains("expected"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}", address in any::<[u8; 4]>()) {
            let list = [text];
            prop_assert!(problem(&list).is_none() || !listed(&list, IpAddr::from(address)));
        }
    }
}
