//! PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a balancer in front says about the client,
//! before the first byte of HTTP. Only for listeners where every peer speaks it: else a client could name itself.
//!
//! Own, since the crate there is takes a head that was cut behind a space for a wrong one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// First bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// First bytes of version 1.
const PREFIX: &[u8] = b"PROXY ";
/// Longest head of version 1 with its line end.
const MOST_TEXT: usize = 107;
/// Longest body of version 2 that is read: addresses, and what a balancer tells of its TLS.
const MOST_BODY: usize = 4_096;

/// Bytes that always hold a whole head.
pub(crate) const MOST_BYTES: usize = 16 + MOST_BODY;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More bytes are needed.
    More,
    /// A head of this many bytes; the client's address, or `None` if the balancer speaks for itself or does not know.
    Head(usize, Option<SocketAddr>),
}

/// Reads a head; an error says what was wrong and ends the connection.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, &'static str> {
    if begins(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins(bytes, PREFIX) {
        return text(bytes);
    }
    Err("no PROXY head")
}

/// Whether the bytes begin so, as far as there are any.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

fn text(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let within = bytes.get(..MOST_TEXT).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MOST_TEXT { Ok(Parsed::More) } else { Err("PROXY head: no line end") };
    };
    let line = within.get(PREFIX.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or("PROXY head: not text")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Parsed::Head(end + 2, None));
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or("PROXY head: a word is missing");
    let (family, source, target, source_port, target_port) = (word()?, word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err("PROXY head: too many words");
    }
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| "PROXY head: expected IPv4 addresses"),
        "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| "PROXY head: expected IPv6 addresses"),
        _ => Err("PROXY head: expected TCP4, TCP6 or UNKNOWN"),
    };
    let (source, _) = (address(source)?, address(target)?);
    let (source_port, _) = (port(source_port)?, port(target_port)?);
    Ok(Parsed::Head(end + 2, Some(SocketAddr::new(source.to_canonical(), source_port))))
}

fn port(text: &str) -> Result<u16, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or("PROXY head: expected a port")
}

fn binary(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let Some(([.., command, family, high, low], rest)) = bytes.split_first_chunk::<16>() else {
        return Ok(Parsed::More);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MOST_BODY {
        return Err("PROXY head: too long");
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err("PROXY head: expected version 2 and a command that is known"),
    };
    let Some(body) = rest.get(..length) else { return Ok(Parsed::More) };
    let source = if local { None } else { source(*family, body)? };
    Ok(Parsed::Head(16 + length, source))
}

/// The source of a version 2 body: both addresses come first, then both ports.
fn source(family: u8, body: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    const SHORT: &str = "PROXY head: shorter than its addresses";
    match family {
        0x11 | 0x12 => {
            let ([a, b, c, d, _, _, _, _, high, low, _, _], _) =
                body.split_first_chunk::<12>().ok_or(SHORT)?;
            let address = Ipv4Addr::new(*a, *b, *c, *d);
            Ok(Some(SocketAddr::new(address.into(), u16::from_be_bytes([*high, *low]))))
        }
        0x21 | 0x22 => {
            let (addresses, ports) = body.split_first_chunk::<32>().ok_or(SHORT)?;
            let (source, _) = addresses.split_first_chunk::<16>().ok_or(SHORT)?;
            let ([high, low, _, _], _) = ports.split_first_chunk::<4>().ok_or(SHORT)?;
            let address = IpAddr::from(Ipv6Addr::from(*source)).to_canonical();
            Ok(Some(SocketAddr::new(address, u16::from_be_bytes([*high, *low]))))
        }
        // Of no family or of Unix sockets: there is no address to tell.
        0x00 | 0x31 | 0x32 => Ok(None),
        _ => Err("PROXY head: a family that is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    fn heads() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x5c, 0, 80];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&4_444u16.to_be_bytes());
        vec![
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 4444 80\r\n".to_vec(), Some("1.2.3.4:4444")),
            (b"PROXY TCP6 2001:db8::1 ::1 4444 0\r\n".to_vec(), Some("[2001:db8::1]:4444")),
            (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 4444 80\r\n".to_vec(), Some("1.2.3.4:4444")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN what ever it is\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("1.2.3.4:4444")),
            (v2(0x21, 0x11, &[v4.as_slice(), &[4, 0, 1, 0]].concat()), Some("1.2.3.4:4444")),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::1]:4444")),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn heads_of_both_versions_whole_and_in_parts() {
        for (head, source) in heads() {
            let wanted = Parsed::Head(head.len(), source.map(|text| text.parse().unwrap()));
            assert_eq!(parse(&[&head, b"GET / HTTP/1.1\r\n".as_slice()].concat()), Ok(wanted));
            for cut in 0..head.len() {
                assert_eq!(parse(&head[..cut]), Ok(Parsed::More), "{head:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 4444\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 4444 80 1\r\n",
            "PROXY TCP4 ::1 ::1 4444 80\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 4444 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +44 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 044 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n",
            "PROXY  TCP4 1.2.3.4 5.6.7.8 1 80\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 80\r\n",
            "PROXY UNKNOWNS\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let endless = format!("PROXY TCP4 {}", "1".repeat(200));
        for bytes in [
            endless.into_bytes(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x41, &[0; 35]),
            v2(0x21, 0x11, &[0; MOST_BODY + 1]),
        ] {
            assert!(parse(&bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(
            which in 0usize..3,
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let begin: &[u8] = [b"".as_slice(), PREFIX, SIGNATURE][which];
            let bytes = [begin, &tail].concat();
            if let Ok(Parsed::Head(length, _)) = parse(&bytes) {
                prop_assert!(length <= bytes.len() && length <= MOST_BYTES);
            }
        }

        /// A bound is kept: whoever sends that many bytes gets an answer.
        #[test]
        fn never_panics_nor_asks_for_more_than_the_bound(some in proptest::collection::vec(any::<u8>(), 1..40)) {
            let tail: Vec<u8> = some.iter().copied().cycle().take(MOST_BYTES).collect();
            for begin in [b"".as_slice(), PREFIX, SIGNATURE] {
                prop_assert_ne!(parse(&[begin, &tail].concat()), Ok(Parsed::More));
            }
        }
    }
}
