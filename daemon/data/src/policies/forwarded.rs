//! The client's address behind proxies: from right to left through hops that are trusted, so that a client cannot name
//! another (spec/doorman.md 5.2, 4.; RFC 7239). Fields count only from a trusted peer.

use crate::policies::addresses::Networks;
use std::net::{IpAddr, SocketAddr};

/// Fields that tell of a client, in the order in which the first present one counts.
pub(crate) const FIELDS: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip"];

/// Fields that only proxies write and that name no client: they too say that the peer speaks for another.
const MARKS: [&str; 5] =
    ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "true-client-ip", "via"];

/// Hops looked at; a longer chain ends there.
const MOST_HOPS: usize = 32;
/// Longest `Forwarded` value read, bytes.
const MOST_BYTES: usize = 8_192;

/// Peers that count where fields are trusted and no proxy is named: those that no public client can be.
const NEAR: [&str; 7] =
    ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1", "fc00::/7"];

/// Proxies whose word counts.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    trusted: Networks,
}

impl Proxies {
    /// Compiles `xff_trusted_proxies`. An empty list stands for loopback and private peers; they count only where
    /// the platform or the API says that forwarding fields are trusted.
    pub(crate) fn compile(trusted: &[String]) -> Result<Self, String> {
        let near = || NEAR.map(str::to_owned);
        let trusted = match trusted.is_empty() {
            true => Networks::compile("xff_trusted_proxies", &near())?,
            false => Networks::compile("xff_trusted_proxies", trusted)?,
        };
        Ok(Self { trusted })
    }

    /// Whether this peer's fields count at all.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.contains(peer)
    }

    /// The client's address. `trust`: what the API says about forwarding fields, else the platform. `values` gives a
    /// field's values in the order sent; it is asked only if the peer is trusted.
    pub(crate) fn client<'v, V>(
        &self,
        trust: bool,
        peer: IpAddr,
        values: impl Fn(&'static str) -> V,
    ) -> IpAddr
    where
        V: DoubleEndedIterator<Item = &'v [u8]>,
    {
        let peer = peer.to_canonical();
        if !trust || !self.trusts(peer) {
            return peer;
        }
        let [x_forwarded_for, forwarded, singles @ ..] = FIELDS;
        let mut hops = values(x_forwarded_for).rev().flat_map(listed).peekable();
        if hops.peek().is_some() {
            return self.walk(peer, hops);
        }
        let mut hops = values(forwarded).rev().flat_map(|value| Elements::read(value).rev()).peekable();
        if hops.peek().is_some() {
            return self.walk(peer, hops);
        }
        for field in singles {
            let mut found = values(field);
            if let Some(value) = found.next() {
                // Two of them: one of the two is not the proxy's.
                return if found.next().is_some() { peer } else { node(value).unwrap_or(peer) };
            }
        }
        peer
    }

    /// From hop to hop as long as the one that tells is trusted; `None` is a hop that tells nothing.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut teller = peer;
        for hop in hops.take(MOST_HOPS) {
            let Some(hop) = hop else { return teller };
            teller = hop;
            if !self.trusts(hop) {
                return teller;
            }
        }
        teller
    }
}

/// Whether a request speaks for somebody else; `has`: whether there is a field of this name.
pub(crate) fn present(has: impl Fn(&str) -> bool) -> bool {
    FIELDS.iter().chain(&MARKS).any(|field| has(field))
}

/// The members of one `X-Forwarded-For` value, last one first; empty members are none (RFC 9110 5.6.1).
fn listed(value: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    let members = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty()).map(node)
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`; anything else (`unknown`, `_hidden`) is no address.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let whole = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    whole.ok().or_else(bracketed).map(|address| address.to_canonical())
}

/// The `for` of the last elements of one `Forwarded` value. Quotes can be told only from the left, so they are read
/// from there and kept in a ring.
struct Elements {
    ring: [Option<IpAddr>; MOST_HOPS],
    seen: usize,
}

impl Elements {
    fn read(value: &[u8]) -> Self {
        let mut elements = Self { ring: [None; MOST_HOPS], seen: 0 };
        let Some(value) = Some(value).filter(|value| value.len() <= MOST_BYTES) else {
            elements.push(None);
            return elements;
        };
        let (mut begin, mut quoted, mut escaped) = (0, false, false);
        for (at, byte) in value.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => {
                    elements.element(value.get(begin..at).unwrap_or_default());
                    begin = at + 1;
                }
                _ => {}
            }
        }
        match quoted {
            true => elements.push(None),
            false => elements.element(value.get(begin..).unwrap_or_default()),
        }
        elements
    }

    /// One element: pairs by `;`. An address has neither `;` nor `"` in it, so quotes need no second look.
    fn element(&mut self, text: &[u8]) {
        if text.trim_ascii().is_empty() {
            return;
        }
        let pairs = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let mut named =
            pairs.filter(|pair| pair.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"for=")));
        let found = named.next().and_then(|pair| pair.get(4..));
        let twice = named.next().is_some();
        let unquoted = |text: &'_ [u8]| match text {
            [b'"', inner @ .., b'"'] => node(inner),
            // Without quotes a `:` cannot stand there, so neither can v6 or a port; they are taken all the same.
            _ => node(text),
        };
        self.push(found.filter(|_| !twice).and_then(unquoted));
    }

    fn push(&mut self, hop: Option<IpAddr>) {
        if let Some(place) = self.ring.get_mut(self.seen % MOST_HOPS) {
            *place = hop;
        }
        self.seen += 1;
    }

    /// The last one first.
    fn rev(self) -> impl Iterator<Item = Option<IpAddr>> {
        let kept = self.seen.min(MOST_HOPS);
        (0..kept).map(move |back| self.ring.get((self.seen - 1 - back) % MOST_HOPS).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Sent<'a> = &'a [(&'a str, &'a str)];

    fn client(proxies: &[&str], trust: bool, peer: &str, sent: Sent<'_>) -> String {
        let proxies: Vec<String> = proxies.iter().map(|text| (*text).to_owned()).collect();
        let values = |field: &'static str| {
            let of: Vec<&[u8]> =
                sent.iter().filter(|(name, _)| *name == field).map(|(_, value)| value.as_bytes()).collect();
            of.into_iter()
        };
        Proxies::compile(&proxies).unwrap().client(trust, peer.parse().unwrap(), values).to_string()
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn from_right_to_left_through_trusted_hops() {
        let cases: &[(&[&str], &str, Sent<'_>, &str)] = &[
            (&["10.0.0.1"], "10.0.0.1", &[(XFF, "6.6.6.6, 1.2.3.4")], "1.2.3.4"),
            (&["10.0.0.0/8"], "10.0.0.1", &[(XFF, "6.6.6.6, 1.2.3.4, 10.0.0.2")], "1.2.3.4"),
            (&["10.0.0.0/8"], "10.0.0.1", &[(XFF, "6.6.6.6"), (XFF, "1.2.3.4, 10.0.0.2")], "1.2.3.4"),
            (&["10.0.0.0/8"], "10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (&["10.0.0.0/8"], "10.0.0.1", &[(XFF, "1.2.3.4, junk, 10.0.0.2")], "10.0.0.2"),
            (&["10.0.0.0/8"], "10.0.0.1", &[(XFF, "1.2.3.4:5555,,")], "1.2.3.4"),
            (&["10.0.0.0/8"], "10.0.0.1", &[(XFF, "[2001:db8::1]:80")], "2001:db8::1"),
            (&["10.0.0.0/8"], "10.0.0.1", &[(XFF, "::ffff:1.2.3.4")], "1.2.3.4"),
            (&["10.0.0.0/8"], "9.9.9.9", &[(XFF, "1.2.3.4"), ("x-real-ip", "1.2.3.4")], "9.9.9.9"),
            (&["10.0.0.0/8"], "10.0.0.1", &[("x-real-ip", "5.5.5.5"), (XFF, "1.2.3.4")], "1.2.3.4"),
            (&["10.0.0.0/8"], "10.0.0.1", &[("x-real-ip", "5.5.5.5")], "5.5.5.5"),
            (&["10.0.0.0/8"], "10.0.0.1", &[("x-real-ip", "5.5.5.5"), ("x-real-ip", "6.6.6.6")], "10.0.0.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &[("cf-connecting-ip", "2001:db8::7")], "2001:db8::7"),
            (&["10.0.0.0/8"], "10.0.0.1", &[("cf-connecting-ip", "nobody")], "10.0.0.1"),
            (&["10.0.0.0/8"], "::ffff:10.0.0.1", &[], "10.0.0.1"),
        ];
        for (proxies, peer, sent, wanted) in cases {
            assert_eq!(&client(proxies, true, peer, sent), wanted, "{sent:?}");
            assert_ne!(&client(proxies, false, peer, sent), "1.2.3.4", "not trusted: {sent:?}");
        }
    }

    #[test]
    fn without_named_proxies_only_near_peers_count() {
        for (peer, wanted) in [
            ("127.0.0.1", "1.2.3.4"),
            ("::1", "1.2.3.4"),
            ("172.17.0.1", "1.2.3.4"),
            ("8.8.8.8", "8.8.8.8"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(client(&[], true, peer, &[("x-real-ip", "1.2.3.4")]), wanted);
            assert_eq!(client(&[], false, peer, &[("x-real-ip", "1.2.3.4")]), peer);
        }
    }

    #[test]
    fn forwarded_as_the_rfc_says() {
        for (value, wanted) in [
            ("for=1.2.3.4", "1.2.3.4"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=6.6.6.6, for=1.2.3.4;proto=http;by=203.0.113.43, for=10.0.0.9", "1.2.3.4"),
            ("proto=https;for=\"1.2.3.4:80\"", "1.2.3.4"),
            ("by=\"a,\\\";b\";for=1.2.3.4", "1.2.3.4"),
            ("for=1.2.3.4, for=unknown", "10.0.0.1"),
            ("for=_gazonk, for=10.0.0.9", "10.0.0.9"),
            ("for=1.2.3.4, proto=http", "10.0.0.1"),
            ("for=1.2.3.4;for=6.6.6.6", "10.0.0.1"),
            ("for=\"1.2.3.4", "10.0.0.1"),
            ("for=1.2.3.4, by=\"x, for=6.6.6.6", "10.0.0.1"),
        ] {
            assert_eq!(client(&["10.0.0.0/8"], true, "10.0.0.1", &[("forwarded", value)]), wanted, "{value}");
        }
        let long = format!("{}for=1.2.3.4", "for=10.0.0.9, ".repeat(100));
        assert_eq!(client(&["10.0.0.0/8"], true, "10.0.0.1", &[("forwarded", &long)]), "1.2.3.4");
    }

    #[test]
    fn any_field_speaks_for_another() {
        for field in FIELDS.into_iter().chain(MARKS) {
            assert!(present(|asked| asked == field), "{field}");
        }
        assert!(!present(|_| false));
    }

    proptest! {
        #[test]
        fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..200), text in "(for=|[\"\\\\,;:. 0-9]){0,60}") {
            for bytes in [value.as_slice(), text.as_bytes()] {
                for asked in FIELDS {
                    let values = |field: &'static str| (field == asked).then_some(bytes).into_iter();
                    Proxies::compile(&[]).unwrap().client(true, IpAddr::from([127, 0, 0, 1]), values);
                }
            }
        }

        /// Whatever a client writes before it, the address that the trusted hop adds is what counts.
        #[test]
        fn a_client_cannot_name_another(written in "[ -~]{0,60}", real in any::<u32>()) {
            let real = std::net::Ipv4Addr::from_bits(real | 0x8000_0000);
            prop_assume!(real.octets()[0] != 192 && real.octets()[0] != 172 && real.octets()[0] != 169);
            let chain = format!("{written}, {real}");
            prop_assert_eq!(client(&[], true, "127.0.0.1", &[(XFF, &chain)]), real.to_string());
        }
    }
}
