//! Every phase of a client's connection has its bound, on the first request and on each later one.

use crate::raw::{Wire, get, mischief, nobody_is_connected, odd, pause, record, records, request};
use gatehouse_tests::daemon::Daemon;
use gatehouse_tests::wait::eventually;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Short bounds; the upstream's patience is none of them.
const BOUNDS: &[(&str, &str)] = &[
    ("GATEHOUSE_CLIENT_HEAD_SECS", "1"),
    ("GATEHOUSE_CLIENT_IDLE_SECS", "2"),
    ("GATEHOUSE_CLIENT_STALL_SECS", "1"),
    ("MAX_BODY_SIZE_BYTES", "1000000"),
];

/// Sends the bytes slowly, one after the other, until there is an answer: status, code, and seconds it took.
fn drip(wire: &mut Wire, bytes: &[u8]) -> (u16, String, f64) {
    let begun = Instant::now();
    let (mut other, answered) = (wire.stream.try_clone().unwrap(), AtomicBool::new(false));
    let reply = std::thread::scope(|scope| {
        scope.spawn(|| {
            for byte in bytes {
                if answered.load(Ordering::Relaxed) || other.write_all(&[*byte]).is_err() {
                    return;
                }
                pause(100);
            }
        });
        let reply = wire.answer();
        answered.store(true, Ordering::Relaxed);
        let seconds = begun.elapsed().as_secs_f64();
        assert!(
            reply.field("x-request-id").is_some() && reply.field("connection") == Some("close"),
            "{reply:?}"
        );
        (reply.status, reply.code(), seconds)
    });
    assert!(wire.ended());
    reply
}

#[test]
fn a_head_that_drips_is_refused_on_any_request_of_a_connection() {
    let (_folder, daemon, upstream) = mischief(BOUNDS);
    for earlier in [0, 1, 3] {
        let mut wire = Wire::open(&daemon);
        for _ in 0..earlier {
            wire.send(get(&odd("fine")));
            assert_eq!(wire.answer().status, 200);
        }
        let (status, code, seconds) = drip(&mut wire, get(&odd("dripped")).as_bytes());
        assert_eq!((status, &*code), (408, "GTW010"));
        assert!((0.9..2.0).contains(&seconds), "{seconds} behind {earlier} requests");
    }
    // One that stops within its head, with or without what came before it in the same write.
    for before in [String::new(), get(&odd("fine"))] {
        let mut wire = Wire::with(&daemon, format!("{before}GET {}", odd("dripped")));
        if !before.is_empty() {
            assert_eq!(wire.answer().status, 200);
        }
        assert_eq!(wire.answer().status, 408);
        assert!(wire.ended());
    }
    assert_eq!(upstream.count("GET /dripped"), 0);
    let recorded = || {
        let count = records(&daemon, "").iter().filter(|record| record["status"] == 408).count();
        if count == 5 { Ok(()) } else { Err(count) }
    };
    eventually("a record of each", recorded).unwrap();
    nobody_is_connected(&daemon);
}

#[test]
fn a_body_that_drips_is_refused_and_one_that_moves_is_not() {
    let (_folder, daemon, _upstream) = mischief(BOUNDS);
    for (fields, body) in [
        ("Content-Length: 9999\r\n", "x".repeat(99)),
        ("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n".repeat(99)),
        ("Transfer-Encoding: chunked\r\n", format!("1;{}", "x".repeat(99))),
        ("Transfer-Encoding: chunked\r\n", "0".repeat(99)),
        ("Transfer-Encoding: chunked\r\n", format!("0\r\nT: {}", "x".repeat(99))),
    ] {
        for earlier in [0, 1] {
            let mut wire = Wire::open(&daemon);
            for _ in 0..earlier {
                wire.send(request("POST", &odd("count"), "Content-Length: 2\r\n", "hi"));
                assert_eq!(wire.answer().status, 200);
            }
            wire.send(request("POST", &odd("count"), fields, ""));
            let (status, code, seconds) = drip(&mut wire, body.as_bytes());
            assert_eq!((status, &*code), (408, "GTW010"), "{fields} {body}");
            assert!((0.9..2.5).contains(&seconds), "{seconds}: {fields} {body}");
        }
    }
    // Enough in each period, for longer than one.
    let mut wire = Wire::with(&daemon, request("POST", &odd("count"), "Content-Length: 60000\r\n", ""));
    for _ in 0..6 {
        wire.send("x".repeat(10_000));
        pause(300);
    }
    assert_eq!(wire.answer().body, "60000");
    nobody_is_connected_after(wire, &daemon);
}

fn nobody_is_connected_after(wire: Wire, daemon: &Daemon) {
    drop(wire);
    nobody_is_connected(daemon);
}

#[test]
fn how_long_a_body_took_is_not_held_against_the_next_one() {
    let (_folder, daemon, _upstream) = mischief(BOUNDS);
    let mut wire = Wire::open(&daemon);
    for pieces in
        [["5\r\nhel", "lo\r\n0\r\n\r\n"], ["5\r\nhello\r\n", "0\r\n\r\n"], ["5\r\nhello\r\n0\r\n\r", "\n"]]
    {
        wire.send(request("POST", &odd("count"), "Transfer-Encoding: chunked\r\n", pieces[0]));
        pause(200);
        wire.send(pieces[1]);
        assert_eq!(wire.answer().body, "5", "{pieces:?}");
        // Longer than a body may stall, shorter than a connection may be idle.
        pause(1_200);
        wire.send(request("POST", &odd("count"), "Content-Length: 4\r\n", "ab"));
        pause(200);
        wire.send("cd");
        assert_eq!(wire.answer().body, "4", "behind {pieces:?}");
    }
}

#[test]
fn who_does_not_read_is_cut() {
    let (_folder, daemon, upstream) = mischief(BOUNDS);
    for name in ["flood", "flood-chunks"] {
        let begun = Instant::now();
        let mut wire = Wire::with(&daemon, get(&odd(name)));
        // Nothing is read until the record says how it ended.
        let found = record(&daemon, &odd(name), 1);
        assert_eq!((&found["status"], &found["failure"]), (&499.into(), &"".into()), "{name}: {found}");
        assert!(begun.elapsed().as_secs() < 6, "{name}");
        let reply = wire.answer();
        assert!(!reply.whole && reply.status == 200, "{name}");
        assert_eq!(upstream.open(), 0, "{name}");
    }
    nobody_is_connected(&daemon);
}

#[test]
fn a_connection_that_asks_for_nothing_is_closed_without_a_word() {
    let (_folder, daemon, _upstream) = mischief(BOUNDS);
    for earlier in [0, 1] {
        let mut wire = Wire::open(&daemon);
        for _ in 0..earlier {
            wire.send(get(&odd("fine")));
            assert_eq!(wire.answer().status, 200);
        }
        let begun = Instant::now();
        assert!(wire.ended(), "behind {earlier} requests");
        let seconds = begun.elapsed().as_secs_f64();
        assert!((1.8..4.0).contains(&seconds), "{seconds}");
    }
    assert!(records(&daemon, "").is_empty(), "nothing was asked, so nothing is recorded");
    nobody_is_connected(&daemon);
}

#[test]
fn heads_beyond_the_bounds_are_told_which() {
    let (_folder, daemon, upstream) = mischief(&[]);
    let long = "x".repeat(70_000);
    for (bytes, status, code, part) in [
        (request("GET", &odd("a"), &format!("X: {long}\r\n"), ""), 431, "REQ001", "65536 bytes"),
        (request("GET", &odd("a"), &"X: 1\r\n".repeat(100), ""), 431, "REQ001", "100 fields"),
        (get(&odd(&long[..17_000])), 414, "REQ001", "16384 bytes"),
        (get(&odd(&format!("a?{long}"))), 414, "REQ001", "16384 bytes"),
        (format!("GET {} HTTP/1.1\r\n\r\n", odd("a")), 400, "GTW011", "Host"),
        (request("GET", &odd("a"), "Host: gateway\r\n", ""), 400, "GTW011", "one Host"),
        (format!("GET {} HTTP/3.0\r\nHost: a\r\n\r\n", odd("a")), 505, "GTW011", "HTTP/1.1"),
        (request("POST", &odd("a"), "Content-Length: x\r\n", ""), 400, "GTW011", "number"),
        (long.clone(), 414, "REQ001", "16384 bytes"),
        (format!("{} / HTTP/1.1\r\n", &long[..9]) + "\r\n", 400, "GTW011", "Host"),
        ("{\"a\": 1}\r\n\r\n".to_owned(), 400, "GTW011", "request line"),
    ] {
        let mut wire = Wire::with(&daemon, &bytes);
        let reply = wire.answer();
        assert_eq!((reply.status, &*reply.code()), (status, code), "{part}: {reply:?}");
        assert!(reply.body.contains(part) && reply.field("x-request-id").is_some(), "{part}: {reply:?}");
        assert!(wire.ended(), "{part}");
    }
    // At the bounds.
    for bytes in [
        request("GET", &odd("fine"), &"X: 1\r\n".repeat(99), ""),
        request("GET", &odd("fine"), &format!("X: {}\r\n", &long[..65_000]), ""),
        get(&odd(&format!("fine?{}", &long[..16_300]))),
    ] {
        assert_eq!(Wire::with(&daemon, bytes).answer().status, 200);
    }
    assert_eq!(upstream.count("GET /a"), 0);
    nobody_is_connected(&daemon);
}

#[test]
fn who_asks_before_sending_is_told_to_go_on_or_why_not() {
    let (_folder, daemon, _upstream) = mischief(&[("MAX_BODY_SIZE_BYTES", "1000")]);
    let expects = |path: &str, length: usize| {
        request("POST", path, &format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"), "")
    };
    let mut wire = Wire::with(&daemon, expects(&odd("count"), 5));
    assert_eq!(wire.answer().status, 100);
    wire.send("hello");
    let reply = wire.answer();
    assert_eq!((reply.status, &*reply.body), (200, "5"));
    // The connection serves on, and what is refused is refused at once.
    for (path, length, status) in
        [(odd("count"), 2_000, 413), ("/api/rest/none/v1/a".to_owned(), 5, 404), (odd("too/deep"), 5, 404)]
    {
        let mut wire = Wire::with(&daemon, expects(&path, length));
        assert_eq!(wire.answer().status, status, "{path}");
        assert!(wire.ended(), "its body would be read as a request");
    }
    // To HTTP/1.0, which knows no interim answers, none is sent.
    let old = expects(&odd("count"), 5).replace("HTTP/1.1", "HTTP/1.0") + "hello";
    assert_eq!(Wire::with(&daemon, old).answer().body, "5");
    nobody_is_connected_after(wire, &daemon);
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let (_folder, daemon, _upstream) = mischief(&[]);
    let mut text = String::new();
    for number in 0..200 {
        let body = "x".repeat(number);
        text.push_str(&match number % 4 {
            0 => request("POST", &odd("count"), &format!("Content-Length: {number}\r\n"), &body),
            1 => request(
                "POST",
                &odd("count"),
                "Transfer-Encoding: chunked\r\n",
                &format!("{number:x}\r\n{body}\r\n0\r\n\r\n"),
            ),
            2 => get("/platform/monitor/liveness"),
            _ => request("HEAD", &odd("fine"), "", ""),
        });
    }
    let mut wire = Wire::with(&daemon, text);
    for number in 0..200 {
        match number % 4 {
            0 | 1 => assert_eq!(wire.answer().body, number.to_string()),
            2 => assert!(wire.answer().body.contains("alive"), "{number}"),
            _ => assert_eq!(wire.answer_to("HEAD").unwrap().field("content-length"), Some("4")),
        }
    }
    nobody_is_connected_after(wire, &daemon);
}

#[test]
fn who_sends_no_more_has_left_unless_the_answer_is_at_hand() {
    let (_folder, daemon, upstream) = mischief(&[]);
    let mut wire = Wire::with(&daemon, get(&odd("silent")));
    wire.finish();
    assert!(wire.ended(), "as nginx and hyper take it");
    assert_eq!(record(&daemon, &odd("silent"), 1)["status"], 499);
    assert_eq!(upstream.open(), 0);
    let mut wire = Wire::with(&daemon, get("/platform/monitor/liveness"));
    wire.finish();
    assert_eq!(wire.answer().status, 200);
    // A body that ends before its time.
    for (fields, body) in
        [("Content-Length: 10\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")]
    {
        let path = odd(&format!("count?{}", body.len()));
        let mut wire = Wire::with(&daemon, request("POST", &path, fields, body));
        wire.finish();
        assert!(wire.ended(), "{fields}");
    }
    let ended = record(&daemon, &odd("count"), 2);
    assert_eq!((&ended["status"], upstream.open()), (&499.into(), 0), "{ended}");
    nobody_is_connected(&daemon);
}
