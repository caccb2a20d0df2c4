//! What is a head and what is none.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Option<Head>, BadHead> {
    let mut head = Head::default();
    Ok(head.read(text.as_bytes())?.map(|used| {
        assert!(used <= text.len());
        head
    }))
}

fn whole(fields: &str) -> Result<Head, BadHead> {
    read(&format!("GET /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).map(Option::unwrap)
}

#[test]
fn a_head_is_taken_apart() {
    let text = "POST /a/b?x=1&x=2 HTTP/1.1\r\nHost: h:80\r\ncontent-LENGTH: 5\r\nX-A:  b c \r\nEmpty:\r\n\
                Cookie: a\r\nCookie: b\r\nConnection: X-A\r\nExpect: 100-Continue\r\n\r\nbody!";
    let head = read(text).unwrap().unwrap();
    assert_eq!((head.method(), head.path(), head.query()), ("POST", "/a/b", Some("x=1&x=2")));
    assert_eq!((head.framing, head.keeps, head.recent, head.expects), (Body::Length(5), true, true, true));
    assert_eq!(head.get_text(Name::Host), Some("h:80"));
    assert_eq!(head.all(Name::Cookie).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(
        (head.named("x-a"), head.named("empty"), head.named("x-b")),
        (Some(&b"b c"[..]), Some(&b""[..]), None)
    );
    assert!(head.ends(b"x-A") && !head.ends(b"x-b"));
    let again = read("GET http://H/?q HTTP/1.0\r\nHost: h\r\n\r\n").unwrap().unwrap();
    assert_eq!((again.path(), again.query(), again.recent, again.keeps), ("/", Some("q"), false, false));
    assert!(read("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().unwrap().keeps);
    assert!(!whole("Connection: a, CLOSE\r\n").unwrap().keeps);
    assert_eq!(read("GET / HTTP/1.1\r\nHost: h\r\n"), Ok(None).map(|head: Option<Head>| head));
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.fields == other.fields
    }
}

#[test]
fn framing_that_could_be_read_two_ways_is_refused() {
    for (fields, framing) in [
        ("", Body::None),
        ("Content-Length: 0\r\n", Body::None),
        ("Content-Length: 12\r\n", Body::Length(12)),
        ("Transfer-Encoding: Chunked\r\n", Body::Chunked),
    ] {
        assert_eq!(whole(fields).unwrap().framing, framing, "{fields}");
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n",
        "Transfer-Encoding:\r\n",
        "X: 1\r\n folded\r\n",
        " X: 1\r\n",
        "X: 1\nY: 2\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X\r\n",
        ": 1\r\n",
        "X Y: 1\r\n",
    ] {
        assert!(matches!(whole(fields), Err(Malformed(_))), "{fields:?}");
    }
    assert!(read("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
}

#[test]
fn hosts_and_targets() {
    for host in ["a", "a.b:80", "[::1]:8080", "127.0.0.1", "a_b", "x:"] {
        assert!(read(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(), "{host}");
    }
    for hosts in [
        "",
        "Host:\r\n",
        "Host: a/b@c\r\n",
        "Host: a b\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: [::1\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a, b\r\n".trim_start_matches("x"),
        "Host: a:123456\r\n",
    ] {
        let got = read(&format!("GET / HTTP/1.1\r\n{hosts}\r\n"));
        assert!(got.is_err() || hosts.contains(", "), "{hosts:?} {got:?}");
    }
    for target in ["a", "http:/x", "/a b", "/a#b", "//\u{e9}", "ftp://h/", "http://other/", "http://h", "?x"]
    {
        assert!(read(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).is_err(), "{target}");
    }
    for bad in [
        "\r\nGET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://a?b/c HTTP/1.0\r\n\r\n",
        "GET http://u@h/ HTTP/1.0\r\n\r\n",
    ] {
        assert!(read(bad).is_err(), "{bad:?}");
    }
    assert!(read("\r\nGET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n").is_ok());
    assert!(read("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").is_ok());
    assert!(
        read("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n").is_ok(),
        "refused later, with an answer of its own"
    );
}

#[test]
fn bounds() {
    let long = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(n));
    assert!(read(&long(TARGET_BYTES - 1)).is_ok());
    assert_eq!(read(&long(TARGET_BYTES)).err(), Some(BadHead::TargetTooLong));
    assert_eq!(read(&format!("GET /{}", "a".repeat(HEAD_BYTES))).err(), Some(BadHead::TargetTooLong));
    assert_eq!(whole(&format!("X: {}\r\n", "x".repeat(HEAD_BYTES))).err(), Some(BadHead::TooLarge));
    assert_eq!(whole(&"X: 1\r\n".repeat(HEAD_FIELDS)).err(), Some(BadHead::TooLarge));
    assert!(whole(&"X: 1\r\n".repeat(HEAD_FIELDS - 1)).is_ok());
    assert_eq!(read("GET / HTTP/2.0\r\nHost: h\r\n\r\n").err(), Some(BadHead::Version));
    assert!(read("GET / HTTP/1.1\nHost: h\n\n").is_err());
    assert!(read("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").is_err());
}

#[test]
fn a_long_head_is_not_kept() {
    let mut head = Head::default();
    let text =
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", format!("X: {}\r\n", "x".repeat(600)).repeat(90));
    head.read(text.as_bytes()).unwrap().unwrap();
    assert!(head.text.capacity() > 50_000);
    head.rest();
    assert!(head.text.capacity() <= 2 * REST_BYTES && head.fields.capacity() <= 2 * REST_FIELDS);
    head.read(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().unwrap();
    assert_eq!((head.path(), head.get_text(Name::Host)), ("/", Some("h")));
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut head = Head::default();
        head.read(&bytes).ok();
        head.read(&[b"GET / HTTP/1.1\r\nHost: a\r\n", &*bytes].concat()).ok();
        head.read(&[b"GET ", &*bytes, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).ok();
    }

    /// What is short of a head says so, and never gives another one.
    #[test]
    fn never_panics_on_a_part_and_gives_the_same(
        fields in proptest::collection::vec("[A-Za-z-]{1,12}: ?[ -~]{0,12}\r\n", 0..6),
        share in 0.0..1.0f64,
    ) {
        let text = format!("GET /x?y HTTP/1.1\r\nHost: h\r\n{}\r\n", fields.concat());
        let whole = read(&text);
        let part = read(&text[..(text.len() as f64 * share) as usize]);
        prop_assert!(part == Ok(None) || (part.is_err() && whole.is_err()), "{part:?} {whole:?}");
        if let Ok(Some(head)) = whole {
            prop_assert_eq!(head.fields().count(), fields.len() + 1);
        }
    }
}
