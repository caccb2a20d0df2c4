//! The response cache from outside: what a client gets, and how often the upstream was asked.

use crate::raw::{Reply, Wire, daemon, odd, pause, record, request};
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};

/// Name, status, fields; the body is the name and how often it was asked for.
const ANSWERS: &[(&str, u16, &str)] = &[
    ("aged", 200, "Cache-Control: max-age=60\r\nETag: \"e\"\r\nX-Cache: other\r\nX-Own: 1\r\n"),
    ("old", 200, "Cache-Control: max-age=60\r\nAge: 30\r\n"),
    ("varies", 200, "Cache-Control: max-age=60\r\nVary: X-Kind\r\n"),
    ("brief", 200, "Cache-Control: max-age=1\r\nETag: \"b\"\r\n"),
    ("brief-plain", 200, "Cache-Control: max-age=1\r\n"),
    ("no-store", 200, "Cache-Control: no-store, max-age=60\r\n"),
    ("private", 200, "Cache-Control: private, max-age=60\r\n"),
    ("cookie", 200, "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n"),
    ("silent", 200, "ETag: \"s\"\r\n"),
    ("broken", 500, "Cache-Control: max-age=60\r\n"),
    ("shared", 200, "Cache-Control: public, max-age=60\r\n"),
    ("gone", 404, "Cache-Control: max-age=60\r\n"),
    ("cut", 200, "Cache-Control: max-age=60\r\n"),
    ("open", 200, "Cache-Control: max-age=60\r\n"),
    ("long", 200, "Cache-Control: max-age=60\r\nContent-Type: text/plain\r\n"),
];

/// Bytes behind the count in the body of `long`.
const LONG: usize = 10_000;

/// A body in chunks that has none.
const NO_CHUNKS: &str = "0\r\n\r\n";

/// Heads of the requests that came.
type Seen = Arc<RwLock<Vec<String>>>;

fn upstream() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&shared);
            // A connection that breaks off is the client's affair.
            std::thread::spawn(move || drop(serve(&stream, &seen)));
        }
    });
    (address, seen)
}

fn serve(mut stream: &TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if head == NO_CHUNKS {
            continue;
        }
        let name = name(&head).to_owned();
        seen.write().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let (_, status, fields) = ANSWERS.iter().find(|(other, ..)| *other == name).unwrap();
        let body = format!("{name} {}", asked(seen, &name));
        let body = if name == "long" { format!("{body} {}", "x".repeat(LONG)) } else { body };
        let tag = fields.lines().find_map(|line| line.strip_prefix("ETag: "));
        let known =
            head.lines().any(|line| Some(line) == tag.map(|tag| format!("if-none-match: {tag}")).as_deref());
        let answer = match &*name {
            _ if known => format!("HTTP/1.1 304 X\r\n{fields}\r\n"),
            "cut" => format!("HTTP/1.1 200 X\r\n{fields}Content-Length: 100\r\n\r\n{body}"),
            "open" => format!("HTTP/1.1 200 X\r\n{fields}\r\n{body}"),
            _ => format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()),
        };
        stream.write_all(answer.as_bytes())?;
        if matches!(&*name, "cut" | "open") {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// The path's last segment.
fn name(head: &str) -> &str {
    let target = head.split(' ').nth(1).unwrap();
    target.split('?').next().unwrap().trim_start_matches('/')
}

/// How often the upstream was asked for it.
fn asked(seen: &Seen, wanted: &str) -> usize {
    let seen = seen.read().unwrap_or_else(PoisonError::into_inner);
    seen.iter().filter(|head| name(head) == wanted).count()
}

/// A daemon with one worker whose API `odd/v1` keeps answers.
fn keeping(settings: &[(&str, &str)]) -> (tempfile::TempDir, Daemon, Seen) {
    let (address, seen) = upstream();
    let (folder, daemon) = daemon(&[settings, &[("GATEHOUSE_WORKERS", "1")]].concat(), address);
    change(&daemon, json!({"api_cache": true, "api_allowed_headers": ["x-kind", "x-own", "x-cache"]}));
    (folder, daemon, seen)
}

fn change(daemon: &Daemon, api: Value) {
    manage(daemon, "PUT", "/platform/api/odd/v1", Some(api));
}

fn manage(daemon: &Daemon, method: &str, path: &str, body: Option<Value>) {
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let (status, answer) = daemon.call(method, path, &admin, body).unwrap();
    assert_eq!(status, 200, "{answer}");
}

fn call(daemon: &Daemon, method: &str, name: &str, fields: &str) -> Reply {
    let body = if fields.contains("chunked") { NO_CHUNKS } else { "" };
    Wire::with(daemon, request(method, &odd(name), fields, body)).answer_to(method).unwrap()
}

/// `X-Cache` and the body.
fn said(daemon: &Daemon, name: &str, fields: &str) -> (String, String) {
    let reply = call(daemon, "GET", name, fields);
    (reply.field("x-cache").unwrap_or_default().to_owned(), reply.body)
}

fn is(state: &str, body: &str) -> (String, String) {
    (state.to_owned(), body.to_owned())
}

#[test]
fn what_a_client_got_by_a_credential_in_another_field_is_for_nobody_else() {
    let (_folder, daemon, _seen) = keeping(&[]);
    change(&daemon, json!({"api_authorization_field_swap": "x-secret"}));
    assert_eq!(said(&daemon, "aged", "X-Secret: Basic a\r\n"), is("miss", "aged 1"));
    assert_eq!(said(&daemon, "aged", "X-Secret: Basic b\r\n"), is("miss", "aged 2"));
    assert_eq!(said(&daemon, "shared", "X-Secret: Basic a\r\n"), is("miss", "shared 1"));
    assert_eq!(
        said(&daemon, "shared", ""),
        is("hit", "shared 1"),
        "the upstream says that anybody may have it"
    );
}

#[test]
fn a_kept_answer_is_given_without_the_upstream_until_somebody_changes_it() {
    let (_folder, daemon, seen) = keeping(&[]);
    let first = call(&daemon, "GET", "aged", "");
    assert_eq!((first.field("x-cache"), first.field("age"), &*first.body), (Some("miss"), None, "aged 1"));
    assert!(!first.head.contains("other"), "an upstream's cache is not ours: {}", first.head);
    let again = call(&daemon, "GET", "aged", "");
    assert_eq!((again.status, again.field("x-cache"), &*again.body), (200, Some("hit"), "aged 1"));
    let age: u64 = again.field("age").unwrap().parse().unwrap();
    assert!(age < 20, "{age}");
    for field in ["etag", "x-own", "cache-control", "content-length"] {
        assert_eq!(first.field(field), again.field(field), "{field}");
        assert!(again.field(field).is_some(), "{field}");
    }
    let told = record(&daemon, &odd("aged"), 2);
    assert_eq!((&told["status"], told["upstream"].as_str().unwrap_or_default()), (&json!(200), ""));
    let head = call(&daemon, "HEAD", "aged", "");
    assert_eq!((head.field("x-cache"), head.field("content-length")), (Some("hit"), Some("6")));
    for (fields, status) in [
        ("If-None-Match: \"e\"\r\n", 304),
        ("If-None-Match: \"x\", W/\"e\"\r\n", 304),
        ("If-None-Match: \"x\"\r\n", 200),
    ] {
        let reply = call(&daemon, "GET", "aged", fields);
        assert_eq!((reply.status, reply.field("x-cache")), (status, Some("hit")), "{fields}");
        assert_eq!((reply.field("etag"), reply.field("x-own").is_some()), (Some("\"e\""), status == 200));
    }
    assert_eq!(said(&daemon, "old", ""), is("miss", "old 1"));
    let age: u64 = call(&daemon, "GET", "old", "").field("age").unwrap().parse().unwrap();
    assert!((30..50).contains(&age), "{age}");
    assert_eq!(said(&daemon, "gone", ""), is("miss", "gone 1"));
    assert_eq!(call(&daemon, "GET", "gone", "").status, 404);
    assert_eq!((asked(&seen, "aged"), asked(&seen, "gone")), (1, 1));
    assert_eq!(said(&daemon, "aged?other", ""), is("miss", "aged 2"));
    let posted = call(&daemon, "POST", "aged", "Content-Length: 0\r\n");
    assert_eq!((posted.field("x-cache"), &*posted.body), (Some("bypass"), "aged 3"));
    assert_eq!(said(&daemon, "aged", ""), is("miss", "aged 4"), "the answer to POST made it void");
    assert_eq!(said(&daemon, "aged", ""), is("hit", "aged 4"));
}

#[test]
fn what_must_not_be_kept_is_asked_for_each_time() {
    let (_folder, daemon, seen) = keeping(&[]);
    let bearer = "Authorization: Bearer x\r\n";
    for (name, fields, state) in [
        ("no-store", "", "miss"),
        ("private", "", "miss"),
        ("cookie", "", "miss"),
        ("silent", "", "miss"),
        ("broken", "", "miss"),
        ("cut", "", "miss"),
        ("open", "", "miss"),
        ("aged?bearer", bearer, "miss"),
        ("aged?key", "X-API-Key: mcp_x\r\n", "miss"),
        ("aged?range", "Range: bytes=0-1\r\n", "bypass"),
        ("aged?no", "Cache-Control: no-store\r\n", "bypass"),
        ("aged?body", "Transfer-Encoding: chunked\r\n", "bypass"),
    ] {
        let plain = name.split('?').next().unwrap();
        for _ in 0..2 {
            let before = asked(&seen, plain);
            let reply = call(&daemon, "GET", name, fields);
            assert_eq!(reply.field("x-cache"), Some(state), "{name}");
            assert_eq!((asked(&seen, plain), reply.whole), (before + 1, plain != "cut"), "{name}");
        }
    }
    assert_eq!(said(&daemon, "shared", bearer), is("miss", "shared 1"));
    assert_eq!(said(&daemon, "shared", ""), is("hit", "shared 1"), "the upstream lets it be shared");
    let only = "Cache-Control: only-if-cached\r\n";
    assert_eq!(call(&daemon, "GET", "long", only).status, 504);
    assert_eq!((call(&daemon, "GET", "shared", only).status, asked(&seen, "long")), (200, 0));
    change(&daemon, json!({"api_cache": false}));
    assert_eq!(said(&daemon, "shared", ""), is("", "shared 2"), "an API that keeps nothing says nothing");
}

#[test]
fn answers_vary_and_are_compressed_for_who_takes_it() {
    let (_folder, daemon, seen) = keeping(&[]);
    for (kind, state, body) in [
        ("a", "miss", "varies 1"),
        ("b", "miss", "varies 2"),
        ("a", "hit", "varies 1"),
        ("b", "hit", "varies 2"),
    ] {
        assert_eq!(said(&daemon, "varies", &format!("X-Kind: {kind}\r\n")), is(state, body), "{kind}");
    }
    assert_eq!(said(&daemon, "varies", ""), is("miss", "varies 3"));
    for (accepts, state, coding) in
        [("gzip", "miss", Some("gzip")), ("gzip", "hit", Some("gzip")), ("br;q=0", "hit", None)]
    {
        let reply = call(&daemon, "GET", "long", &format!("Accept-Encoding: {accepts}\r\n"));
        assert_eq!((reply.field("x-cache"), reply.field("content-encoding")), (Some(state), coding));
        assert!(reply.whole && (coding.is_some() || reply.body.ends_with(&"x".repeat(LONG))));
    }
    assert_eq!(asked(&seen, "long"), 1);
}

#[test]
fn a_stale_answer_is_confirmed_or_replaced() {
    let (_folder, daemon, seen) = keeping(&[]);
    assert_eq!(said(&daemon, "brief", ""), is("miss", "brief 1"));
    assert_eq!(said(&daemon, "brief-plain", ""), is("miss", "brief-plain 1"));
    pause(1_100);
    let own = "If-None-Match: \"mine\"\r\n";
    assert_eq!(said(&daemon, "brief", own), is("stale", "brief 1"), "the upstream confirmed it");
    assert_eq!(said(&daemon, "brief", ""), is("hit", "brief 1"), "it is fresh again");
    assert_eq!(said(&daemon, "brief-plain", ""), is("miss", "brief-plain 2"), "there is nothing to ask by");
    assert_eq!((asked(&seen, "brief"), asked(&seen, "brief-plain")), (2, 2));
    let heads = seen.read().unwrap_or_else(PoisonError::into_inner).clone();
    let conditions: Vec<_> = heads
        .iter()
        .flat_map(|head| head.lines())
        .filter(|line| line.to_lowercase().starts_with("if-"))
        .collect();
    assert_eq!(conditions, ["if-none-match: \"b\""], "the gateway's condition and not the client's");
    assert_eq!(said(&daemon, "aged", ""), is("miss", "aged 1"));
    assert_eq!(said(&daemon, "aged", "Cache-Control: no-cache\r\n"), is("stale", "aged 1"));
    pause(1_100);
    let known = call(&daemon, "GET", "brief", "If-None-Match: \"b\"\r\n");
    assert_eq!((known.status, known.field("x-cache")), (304, Some("stale")));
}

#[test]
fn caches_are_emptied_and_a_changed_api_serves_nothing_of_before() {
    let (_folder, daemon, _seen) = keeping(&[]);
    assert_eq!(said(&daemon, "aged", ""), is("miss", "aged 1"));
    assert_eq!(said(&daemon, "aged", ""), is("hit", "aged 1"));
    manage(&daemon, "DELETE", "/api/caches", None);
    assert_eq!(said(&daemon, "aged", ""), is("miss", "aged 2"));
    change(&daemon, json!({"api_description": "another"}));
    assert_eq!(said(&daemon, "aged", ""), is("miss", "aged 3"));
    assert_eq!(said(&daemon, "aged", ""), is("hit", "aged 3"));
}

#[test]
fn what_is_kept_is_bounded() {
    let (_folder, daemon, _seen) = keeping(&[("GATEHOUSE_CACHE_BYTES", "262144")]);
    let all = 60;
    for number in 0..all {
        assert_eq!(said(&daemon, &format!("long?{number}"), "").0, "miss", "{number}");
    }
    let hits =
        (0..all).rev().filter(|number| said(&daemon, &format!("long?{number}"), "").0 == "hit").count();
    assert!((2..=26).contains(&hits), "{hits} of {all} answers of {LONG} bytes");
    let (_folder, daemon, _seen) = keeping(&[("GATEHOUSE_CACHE_BYTES", "0")]);
    for body in ["aged 1", "aged 2"] {
        assert_eq!(said(&daemon, "aged", ""), is("bypass", body), "no room at all");
    }
}
