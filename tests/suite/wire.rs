//! Upstreams that misbehave: what the client gets, what the record says, and that the next call is served as if nothing
//! had been.

use crate::raw::{Wire, get, mischief, nobody_is_connected, odd, record, records, request};
use gatehouse_tests::daemon::Daemon;
use gatehouse_tests::mischief::Mischief;
use gatehouse_tests::wait::eventually;

const PATIENCE: &[(&str, &str)] = &[("HTTP_READ_TIMEOUT", "0.4")];

/// The next calls, several at once so that more than the last pooled connection is looked at, get what they asked for.
fn serves_on(daemon: &Daemon, after: &str) {
    let mut wires: Vec<Wire> = (0..3).map(|_| Wire::with(daemon, get(&odd("fine")))).collect();
    for wire in &mut wires {
        let reply = wire.answer();
        assert_eq!((reply.status, &*reply.body), (200, "fine"), "after {after}");
    }
}

/// All connections come to rest: none to clients, and of the upstream's no more than the pool may keep.
fn nothing_leaks(daemon: &Daemon, upstream: &Mischief) {
    nobody_is_connected(daemon);
    let kept = || if upstream.open() <= 4 { Ok(()) } else { Err(upstream.open()) };
    eventually("upstream connections to be few", kept).unwrap();
}

#[test]
fn what_the_upstream_does_wrong_is_told_once_and_harms_nobody_else() {
    let (_folder, daemon, upstream) = mischief(PATIENCE);
    // Path, status and body at the client, whether it was whole, status and code in the record.
    for (name, status, body, whole, recorded, code) in [
        ("silent", 504, "GTW010", true, 504, "GTW010"),
        ("closes", 502, "GTW006", true, 502, "GTW006"),
        ("reset", 502, "GTW006", true, 502, "GTW006"),
        ("reset-in-head", 502, "GTW006", true, 502, "GTW006"),
        ("reset-in-body", 200, "first", false, 502, "GTW006"),
        ("head-cut", 502, "GTW006", true, 502, "GTW006"),
        ("head-stalls", 504, "GTW010", true, 504, "GTW010"),
        ("head-slow", 200, "fine", true, 200, ""),
        ("head-drips", 504, "GTW010", true, 504, "GTW010"),
        ("head-big", 200, "fine", true, 200, ""),
        ("head-huge", 502, "GTW006", true, 502, "GTW006"),
        ("head-endless", 502, "GTW006", true, 502, "GTW006"),
        ("head-many", 502, "GTW006", true, 502, "GTW006"),
        ("body-slow", 200, "fine", true, 200, ""),
        ("body-stalls", 200, "first", false, 504, "GTW010"),
        ("body-short", 200, "first", false, 502, "GTW006"),
        ("body-long", 200, "fine", true, 200, ""),
        ("two-answers", 200, "fine", true, 200, ""),
        ("late-second-answer", 200, "fine", true, 200, ""),
        ("chunks", 200, "fine", true, 200, ""),
        ("chunks-cut", 200, "first", false, 502, "GTW006"),
        ("chunks-bad", 200, "first", false, 502, "GTW006"),
        ("chunks-huge", 200, "first", false, 502, "GTW006"),
        ("no-length", 200, "fine", true, 200, ""),
        ("no-length-reset", 200, "first", false, 502, "GTW006"),
        ("interim", 200, "fine", true, 200, ""),
        ("interim-flood", 502, "GTW006", true, 502, "GTW006"),
        ("interim-drip", 502, "GTW006", true, 502, "GTW006"),
        ("switches", 502, "GTW006", true, 502, "GTW006"),
        ("garbage", 502, "GTW006", true, 502, "GTW006"),
        ("status-bad", 502, "GTW006", true, 502, "GTW006"),
        ("version-bad", 502, "GTW006", true, 502, "GTW006"),
        ("two-lengths", 502, "GTW006", true, 502, "GTW006"),
        ("length-and-chunks", 502, "GTW006", true, 502, "GTW006"),
        ("folds", 502, "GTW006", true, 502, "GTW006"),
        ("204-with-body", 204, "", true, 204, ""),
        ("204-with-chunks", 204, "", true, 204, ""),
        ("304-with-body", 304, "", true, 304, ""),
        ("old", 200, "fine", true, 200, ""),
        ("closes-behind", 200, "fine", true, 200, ""),
        ("resets-behind", 200, "fine", true, 200, ""),
    ] {
        let mut wire = Wire::with(&daemon, get(&odd(name)));
        let reply = wire.answer();
        let got = if reply.status >= 400 { reply.code() } else { reply.body.clone() };
        assert_eq!((reply.status, &*got, reply.whole), (status, body, whole), "{name}: {reply:?}");
        assert!(reply.field("x-request-id").is_some(), "{name}: {reply:?}");
        if name == "late-second-answer" || name == "304-with-body" {
            // What comes before the connection is used again can be seen; what comes after is an answer like any other.
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        if whole {
            // The client's connection is none the worse for it.
            wire.send(get(&odd("fine")));
            assert_eq!(wire.answer().body, "fine", "{name}");
        } else {
            assert!(wire.ended(), "{name}: nothing but the end may follow a cut answer");
        }
        let found = record(&daemon, &odd(name), 1);
        assert_eq!(
            (&found["status"], &found["failure"]),
            (&recorded.into(), &code.into()),
            "{name}: {found}"
        );
        serves_on(&daemon, name);
    }
    nothing_leaks(&daemon, &upstream);
}

#[test]
fn an_answer_that_has_no_body_by_its_kind_brings_none_and_what_came_is_nobodys() {
    let (_folder, daemon, upstream) = mischief(PATIENCE);
    for name in ["fine", "chunks", "no-length", "body-long", "two-answers"] {
        let mut wire = Wire::with(&daemon, request("HEAD", &odd(name), "", ""));
        let reply = wire.answer_to("HEAD").unwrap();
        assert_eq!(reply.status, 200, "{name}");
        // Many calls, so that one would meet a connection on which something lies ahead.
        for _ in 0..5 {
            wire.send(get(&odd("fine")));
            assert_eq!(wire.answer().body, "fine", "after HEAD of {name}");
        }
    }
    nothing_leaks(&daemon, &upstream);
}

#[test]
fn a_client_of_http_1_0_is_not_told_a_cut_answer_is_whole() {
    let (_folder, daemon, _upstream) = mischief(PATIENCE);
    for (name, body) in [("chunks", "fine"), ("no-length", "fine"), ("old", "fine")] {
        let mut wire = Wire::with(&daemon, format!("GET {} HTTP/1.0\r\n\r\n", odd(name)));
        let reply = wire.answer();
        assert_eq!((reply.status, &*reply.body), (200, body), "{name}");
        let (chunks, connection) = (reply.field("transfer-encoding"), reply.field("connection"));
        assert_eq!((chunks, connection), (None, Some("close")), "{name}");
    }
    // Where the end of the connection is the end of the body, an orderly end would say that all has come.
    for name in ["chunks-cut", "chunks-bad", "no-length-reset"] {
        use std::io::Read as _;
        let mut wire = Wire::with(&daemon, format!("GET {} HTTP/1.0\r\n\r\n", odd(name)));
        let end = wire.stream.read_to_end(&mut Vec::new());
        assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset), "{name}");
    }
}

#[test]
fn an_early_answer_reaches_the_client_while_it_uploads() {
    let (_folder, daemon, upstream) = mischief(&[PATIENCE[0], ("MAX_BODY_SIZE_BYTES", "100000000")]);
    for (name, status, body) in
        [("early", 200, "fine"), ("early-closes", 200, "fine"), ("refuses-early", 403, "no")]
    {
        for framing in ["Content-Length: 50000000\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut wire = Wire::with(&daemon, request("POST", &odd(name), framing, "5\r\nhello"));
            let reply = wire.answer();
            assert_eq!((reply.status, &*reply.body, reply.whole), (status, body, true), "{name} {framing}");
            assert_eq!(reply.field("connection"), Some("close"), "its body was not read: {name} {framing}");
            // What the client goes on sending is no request, whatever it says.
            wire.send("\r\n".repeat(10) + &get(&odd("smuggled")));
            assert!(wire.ended(), "{name} {framing}");
        }
        serves_on(&daemon, name);
    }
    assert_eq!(upstream.count("GET /smuggled"), 0);
    nothing_leaks(&daemon, &upstream);
}

#[test]
fn an_early_answer_to_a_body_that_came_whole_is_passed_on() {
    let (_folder, daemon, upstream) = mischief(&[PATIENCE[0], ("MAX_BODY_SIZE_BYTES", "100000000")]);
    let body = "x".repeat(3_000_000);
    let fields = format!("Content-Length: {}\r\n", body.len());
    for (name, status, wanted) in
        [("early", 200, "fine"), ("refuses-early", 403, "no"), ("count", 200, "3000000")]
    {
        let mut wire = Wire::with(&daemon, request("POST", &odd(name), &fields, &body));
        let reply = wire.answer();
        assert_eq!((reply.status, &*reply.body), (status, wanted), "{name}");
        serves_on(&daemon, name);
    }
    nothing_leaks(&daemon, &upstream);
}

#[test]
fn a_pooled_connection_that_dies_is_replaced_only_where_repeating_is_safe() {
    let (_folder, daemon, upstream) = mischief(PATIENCE);
    for name in ["dies-on-reuse", "resets-on-reuse"] {
        for (method, fields, body, status) in [
            ("GET", "", "", 200),
            ("HEAD", "", "", 200),
            ("PUT", "Content-Length: 0\r\n", "", 200),
            ("POST", "Content-Length: 0\r\n", "", 502),
            ("POST", "Content-Length: 5\r\n", "hello", 502),
            ("POST", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", 502),
            ("PUT", "Content-Length: 5\r\n", "hello", 502),
        ] {
            // A connection to be reused.
            let mut wire = Wire::with(&daemon, get(&odd("fine")));
            assert_eq!(wire.answer().body, "fine");
            let path = format!("{name}?{method}{}", body.len());
            wire.send(request(method, &odd(&path), fields, body));
            let reply = wire.answer_to(method).unwrap();
            let came = upstream.count(&format!("{method} /{path}"));
            let tries = if status == 200 { 2 } else { 1 };
            assert_eq!((reply.status, came), (status, tries), "{name} {method} {fields}");
        }
    }
    nothing_leaks(&daemon, &upstream);
}

#[test]
fn connections_that_the_upstream_closed_while_idle_are_not_missed() {
    let (_folder, daemon, upstream) = mischief(PATIENCE);
    let mut wire = Wire::open(&daemon);
    for round in 0..50 {
        for name in ["closes-behind", "resets-behind"] {
            wire.send(get(&odd(name)));
            assert_eq!(wire.answer().body, "fine", "{name}, round {round}");
            // Even a request that may not be repeated: either the close was seen, or nothing of it was taken.
            if round % 5 == 0 {
                eventually("the upstream to close", || if upstream.open() == 0 { Ok(()) } else { Err(()) })
                    .unwrap();
            }
            let fields = "Content-Length: 2\r\n";
            wire.send(request("PUT", &odd("fine"), fields, "hi"));
            let status = wire.answer().status;
            assert!(status == 200 || (status == 502 && round % 5 != 0), "{name}, round {round}: {status}");
        }
    }
    drop(wire);
    nothing_leaks(&daemon, &upstream);
}

#[test]
fn a_client_that_leaves_takes_its_upstream_connection_along() {
    let (_folder, daemon, upstream) = mischief(&[("HTTP_READ_TIMEOUT", "30")]);
    for (name, fields, body) in [
        ("silent", "", ""),
        ("head-stalls", "", ""),
        ("body-stalls", "", ""),
        ("flood", "", ""),
        ("flood-chunks", "", ""),
        ("silent", "Content-Length: 5\r\n", "hello"),
        ("silent", "Content-Length: 5\r\n", "he"),
        ("count", "Transfer-Encoding: chunked\r\n", "5\r\nhe"),
    ] {
        let path = format!("{name}?body{}", body.len());
        let before = records(&daemon, &odd(name)).len();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let wire = Wire::with(&daemon, request(method, &odd(&path), fields, body));
        let came = || if upstream.count(&format!("{method} /{path}")) == 1 { Ok(()) } else { Err(()) };
        eventually("the request to reach the upstream", came).unwrap();
        drop(wire);
        let begun = std::time::Instant::now();
        let closed = || if upstream.open() == 0 { Ok(()) } else { Err(upstream.open()) };
        eventually(&format!("the upstream's connection to close: {name} {fields}"), closed).unwrap();
        assert!(begun.elapsed().as_secs() < 3, "{name} {fields}");
        nobody_is_connected(&daemon);
        let found = record(&daemon, &odd(name), before + 1);
        assert_eq!(
            (&found["status"], &found["failure"]),
            (&499.into(), &"".into()),
            "{name} {fields}: {found}"
        );
    }
}
