//! What must hold of each parser whatever it is given: the targets of `make fuzz`, whose corpus every `make test` reads
//! again. A broken promise is a panic.

use crate::client::head::{Body, Head};
use crate::http1::Framing;
use crate::http1::body::{Decoder, Step};
use crate::http1::fields::Name;
use crate::policies::compress::{self, Compress};
use crate::policies::forwarded::Proxies;
use crate::policies::proxy_protocol::{self, Parsed};
use crate::policies::trace::Trace;
use crate::stages::route::ambiguous;
use crate::upstream::head::Head as AnswerHead;
use bytes::BytesMut;
use gatehouse_corridor::snapshot::GatewayLimits;
use std::net::{IpAddr, Ipv4Addr};

/// A request's head: what is taken is whole, short of nothing, and says the same when it is written again.
pub fn request_head(bytes: &[u8]) {
    let mut head = Head::default();
    let Ok(Some(used)) = head.read(bytes) else { return };
    assert!(used <= bytes.len() && bytes.get(..used).is_some_and(|head| head.ends_with(b"\r\n\r\n")));
    assert!(head.path().starts_with('/') || head.path() == "*" || head.method() == "CONNECT");
    assert!(!head.method().is_empty() && !head.path().contains(['?', '#', ' ']));
    assert!(head.all(Name::Host).count() <= 1 && (!head.recent || head.get(Name::Host).is_some()));
    let framed = (head.get(Name::ContentLength).is_some(), head.get(Name::TransferEncoding).is_some());
    match head.framing {
        Body::None => assert!(!framed.1),
        Body::Length(_) => assert_eq!(framed, (true, false)),
        Body::Chunked => assert_eq!((framed, head.recent), ((false, true), true)),
    }
    let query = head.query().map(|query| format!("?{query}")).unwrap_or_default();
    let version = if head.recent { "1.1" } else { "1.0" };
    let mut again = format!("{} {}{query} HTTP/{version}\r\n", head.method(), head.path()).into_bytes();
    for (_, name, value) in head.fields() {
        assert!(!name.is_empty() && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        again.extend([name, b": ", value, b"\r\n"].concat());
    }
    again.extend(b"\r\n");
    let mut second = Head::default();
    // The target was perhaps in absolute form, whose path alone is written again; a longer head may pass the bound.
    match second.read(&again) {
        Ok(Some(all)) => {
            assert_eq!(all, again.len());
            assert_eq!(
                (second.framing, second.keeps, second.expects),
                (head.framing, head.keeps, head.expects)
            );
            assert!(second.fields().eq(head.fields()));
        }
        other => assert!(again.len() > used, "{other:?}"),
    }
    for cut in [used - 1, used / 2] {
        let short = Head::default().read(bytes.get(..cut).unwrap_or_default());
        assert!(matches!(short, Ok(None)), "a part of a head is none: {short:?}");
    }
}

/// The head of an upstream's answer, likewise.
pub fn answer_head(bytes: &[u8]) {
    let mut head = AnswerHead::default();
    let Ok(Some(used)) = head.read(bytes) else { return };
    assert!(used <= bytes.len() && (100..1_000).contains(&head.status));
    assert!(!(head.chunked && head.length.is_some()));
    assert_eq!(head.framing(true), Framing::None);
    for (_, name, value) in head.fields() {
        assert!(!name.is_empty() && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let short = AnswerHead::default().read(bytes.get(..used - 1).unwrap_or_default());
    assert!(matches!(short, Ok(None)), "a part of a head is none: {short:?}");
}

/// Content, whether it ended, whether it was refused, and what is left.
fn content(framing: Framing, bytes: &[u8], size: usize) -> (Vec<u8>, bool, bool, Vec<u8>) {
    let (mut decoder, mut input, mut content) = (Decoder::new(framing), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(size) {
        input.extend_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Step::Data(count)) => {
                    assert!(count > 0 && count <= input.len());
                    content.extend_from_slice(input.get(..count).unwrap_or_default());
                    decoder.took(&mut input, count);
                }
                Ok(Step::More) => break,
                Ok(Step::End) => {
                    assert!(decoder.done());
                    break;
                }
                Err(_) => return (content, false, true, Vec::new()),
            }
        }
    }
    (content, decoder.done(), false, input.to_vec())
}

/// A body: first byte `l` and a digit, `u` for one until the end, else chunks; then the size of the pieces it comes in.
pub fn body(bytes: &[u8]) {
    let [kind, size, rest @ ..] = bytes else { return };
    let framing = match kind {
        b'l' => Framing::Length(u64::from(*size)),
        b'u' => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    let whole = content(framing, rest, rest.len().max(1));
    let pieces = content(framing, rest, usize::from(*size % 7) + 1);
    assert_eq!(whole, pieces, "it matters in what pieces it comes");
    if let (content, true, false, left) = whole {
        assert!(content.len() + left.len() <= rest.len());
        if framing == Framing::Chunked {
            // Nothing behind the end changes what was before it.
            let end = rest.len() - left.len();
            let alone = self::content(framing, rest.get(..end).unwrap_or_default(), 1);
            assert_eq!((alone.0, alone.1), (content, true));
        }
    }
}

/// A path: what is not called ambiguous has no segment that leads upwards, read by a program that decodes it once.
pub fn route_path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    // What a head lets pass.
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if !plain || !path.starts_with('/') || ambiguous(path) {
        return;
    }
    let decoded = decoded(path.as_bytes());
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "{path}");
    }
    let delimiters = |text: &[u8]| text.iter().filter(|byte| **byte == b'/').count();
    assert_eq!(delimiters(&decoded), delimiters(path.as_bytes()), "{path}");
    assert!(!decoded.contains(&0) && !decoded.contains(&b'\\'), "{path}");
}

/// A PROXY head: what is taken is whole, short of nothing, and the same whatever follows.
pub fn proxy_head(bytes: &[u8]) {
    match proxy_protocol::parse(bytes) {
        Ok(Parsed::Head(used, named)) => {
            assert!(used > 0 && used <= bytes.len() && used <= proxy_protocol::MOST_BYTES);
            let part = |length: usize| proxy_protocol::parse(bytes.get(..length).unwrap_or_default());
            assert_eq!(part(used), Ok(Parsed::Head(used, named)));
            for cut in [0, used / 2, used - 1] {
                assert_eq!(part(cut), Ok(Parsed::More), "a part of a head is none");
            }
        }
        Ok(Parsed::More) => assert!(bytes.len() < proxy_protocol::MOST_BYTES),
        Err(_) => {}
    }
}

/// Values of a request's fields, one a line: as a trace (`traceparent`, then `tracestate`), as hops of proxies, as
/// `Accept-Encoding`.
pub fn request_fields(bytes: &[u8]) {
    let lines = || bytes.split(|byte| *byte == b'\n');
    let trace = Trace::next(lines().take(1), lines().skip(1), (7, 9), false);
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(
        trace.id().len() == 32
            && trace.id().bytes().all(digit)
            && trace.id().bytes().any(|byte| byte != b'0')
    );
    for (name, value) in trace.fields() {
        assert!(name != "traceparent" || value.len() == 55 && value.get(36..52) == Some(b"0000000000000009"));
        assert!(value.len() <= 1_024);
    }
    let proxies = Proxies::default();
    let near = Proxies::compile(&[]).unwrap_or_default();
    let (far, home) = (IpAddr::from([203, 0, 113, 1]), IpAddr::from(Ipv4Addr::LOCALHOST));
    assert_eq!(proxies.client(true, home, |_| lines()), home, "it is not trusted");
    assert_eq!((near.client(true, far, |_| lines()), near.client(false, home, |_| lines())), (far, home));
    for field in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let values = |name| if name == field { bytes } else { b"" }.split(|byte| *byte == b'\n');
        let _anybody = near.client(true, home, values);
    }
    let Ok(Some(compress)) = Compress::compile(&GatewayLimits::default().compression, Some(true)) else {
        return;
    };
    let texts = || lines().filter_map(|line| std::str::from_utf8(line).ok());
    let fields = [("content-type", b"text/plain".as_slice())].into_iter();
    let verdict = compress.decide(texts(), compress::Answer { status: 200, length: None, fields });
    if let Some(coding) = verdict.coding {
        let all = texts().collect::<String>().to_ascii_lowercase();
        assert!(verdict.varies && (all.contains(coding.name()) || all.contains('*')), "{all}");
    }
}

/// Percent-decoded once, as lax programs do it.
fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let [byte, behind @ ..] = rest {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let code = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => {
                found.push(code);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                found.push(*byte);
                rest = behind;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    type Target = fn(&[u8]);

    #[test]
    fn never_panics_on_the_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus");
        let targets: [(&str, Target); 6] = [
            ("request_head", super::request_head),
            ("answer_head", super::answer_head),
            ("body", super::body),
            ("route_path", super::route_path),
            ("proxy_head", super::proxy_head),
            ("request_fields", super::request_fields),
        ];
        for (name, target) in targets {
            let files: Vec<_> = std::fs::read_dir(format!("{corpus}/{name}")).unwrap().collect();
            assert!(files.len() > 5, "{name}");
            for file in files {
                target(&std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }

    #[test]
    fn what_lax_programs_decode() {
        for (text, wanted) in [("/%2e%2E/%", "/../%"), ("/%zz%4", "/%zz%4"), ("%252e", "%2e")] {
            assert_eq!(super::decoded(text.as_bytes()), wanted.as_bytes());
        }
    }
}
