//! Where policies meet each other, time and the wire: what a single policy's tests do not see.

use crate::market::{ECHO, Market, bearer, told, verdict};
use crate::policies_who::Key;
use crate::raw::{Reply, Wire, daemon, odd, record, request};
use gatehouse_tests::daemon::PASSWORD;
use gatehouse_tests::scripted::Scripted;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How often a field stands in an answer.
fn times(reply: &Reply, name: &str) -> usize {
    reply.head.lines().filter(|line| line.starts_with(&format!("{name}:"))).count()
}

#[test]
fn a_token_counts_at_each_api_that_trusts_its_issuer() {
    let market = Market::open(&[("GATEHOUSE_WORKERS", "1")]);
    let (issuer, key) = (Scripted::start("issuer").unwrap(), Key::new("one"));
    issuer.always(200, "Cache-Control: public, max-age=60\r\n", key.set().as_bytes());
    let trust = json!({"name": "https://issuer.test", "audience": "shop", "jwks_url": format!("{}/keys", issuer.url())});
    market.api("other", &market.upstream.url(), json!({ "api_issuer": trust }));
    market.change(json!({ "api_issuer": trust }));
    let subscription = json!({"username": "ana", "api_name": "other", "api_version": "v1"});
    market.manage("POST", "/platform/subscription/subscribe", subscription);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token =
        key.token(&json!({"iss": "https://issuer.test", "aud": "shop", "sub": "ana", "exp": now + 600}));
    let call = |path: &str| market.ask("GET", path, &bearer(&token), "").status;
    let served = || if call(ECHO) == 200 { Ok(()) } else { Err(()) };
    eventually("the issuer's keys to be fetched", served).unwrap();
    let statuses = [ECHO, "/api/rest/other/v1/echo", ECHO, "/api/rest/other/v1/echo"].map(call);
    assert_eq!(statuses, [200; 4]);
}

#[test]
fn the_path_that_no_list_holds_for_leads_to_no_api() {
    let market = Market::open(&[]);
    market
        .change(json!({"api_hostname": "shop.test", "api_public": true, "api_trust_x_forwarded_for": true}));
    let endpoint = json!({"api_name": "shop", "api_version": "v1", "endpoint_method": "GET",
                          "endpoint_uri": "/platform/{a}/{b}", "endpoint_description": "test"});
    market.manage("POST", "/platform/endpoint", endpoint);
    let lists = json!({"trust_x_forwarded_for": true, "ip_blacklist": ["8.8.8.8"]});
    market.manage("PUT", "/platform/security/settings", lists);
    let ask = |path: &str, from: &str| {
        let ask = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nX-Real-IP: {from}\r\n\r\n");
        Wire::with(&market.daemon, ask).answer()
    };
    assert_eq!(ask("/platform/a/b", "9.9.9.9").status, 200);
    assert_eq!(verdict(&ask("/platform/a/b", "8.8.8.8")), (403, "SEC011".to_owned()));
    let before = market.upstream.requests();
    assert_eq!(ask("/platform/security/settings", "8.8.8.8").status, 401);
    assert_eq!(market.upstream.requests(), before, "it went no further");
}

#[test]
fn what_waited_for_its_tier_is_judged_by_the_time_after_it() {
    let market = Market::open(&[]);
    let limits = json!({"requests_per_second": 1, "enable_throttling": true, "max_queue_time_ms": 5_000});
    let tier = json!({"tier_id": "slow", "name": "custom", "display_name": "slow", "limits": limits});
    market.manage("POST", "/platform/tiers/", tier);
    market.manage("POST", "/platform/tiers/assignments", json!({"user_id": "ana", "tier_id": "slow"}));
    let rule = json!({"rule_id": "r", "rule_type": "per_user", "time_window": "second", "limit": 1,
                      "target_identifier": "ana"});
    market.manage("POST", "/platform/rate-limits/", rule);
    let statuses = [(); 3].map(|()| market.call().status);
    assert_eq!(statuses, [200; 3], "one a second, by either");
}

#[test]
fn a_refusal_has_the_numbers_of_what_refused_and_no_others() {
    let market = Market::open(&[]);
    let tier = json!({"tier_id": "wide", "name": "custom", "display_name": "wide", "limits": {"requests_per_day": 50}});
    market.manage("POST", "/platform/tiers/", tier);
    market.manage("POST", "/platform/tiers/assignments", json!({"user_id": "ana", "tier_id": "wide"}));
    let rule = json!({"rule_id": "r", "rule_type": "per_user", "time_window": "day", "limit": 1,
                      "target_identifier": "ana"});
    market.manage("POST", "/platform/rate-limits/", rule);
    assert_eq!(market.call().field("x-ratelimit-limit"), Some("50"));
    let refused = market.call();
    assert_eq!((refused.status, refused.field("x-ratelimit-limit")), (429, Some("1")), "{refused:?}");
    assert_eq!(times(&refused, "x-ratelimit-limit"), 1, "{refused:?}");
}

#[test]
fn strict_envelopes_cover_what_they_should_and_records_know_the_status() {
    let market = Market::open(&[("STRICT_RESPONSE_ENVELOPE", "true")]);
    let refused = market.ask("GET", ECHO, "", "");
    let told: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!((refused.status, &told["status_code"]), (200, &json!(401)), "{refused:?}");
    assert_eq!(record(&market.daemon, ECHO, 1)["status"], 401);
    let tier = json!({"tier_id": "slow", "name": "custom", "display_name": "slow", "limits": {"requests_per_day": 1}});
    market.manage("POST", "/platform/tiers/", tier);
    market.manage("POST", "/platform/tiers/assignments", json!({"user_id": "ana", "tier_id": "slow"}));
    assert_eq!((market.call().status, market.call().status), (200, 429));
    let lists = json!({"ip_blacklist": ["8.8.8.8"], "trust_x_forwarded_for": true});
    market.manage("PUT", "/platform/security/settings", lists);
    let denied = market.as_ana("GET", ECHO, "X-Real-IP: 8.8.8.8\r\n", "");
    assert_eq!(verdict(&denied), (403, "SEC011".to_owned()), "{denied:?}");
}

#[test]
fn a_total_timeout_bounds_what_is_between_attempts_too() {
    let market = Market::open(&[("HTTP_RETRY_BASE_DELAY", "20"), ("HTTP_RETRY_MAX_DELAY", "60")]);
    market.change(json!({"api_allowed_retry_count": 3, "api_total_timeout": 0.5, "api_read_timeout": 30}));
    let begun = Instant::now();
    market.upstream.say(500, "", b"broken");
    let reply = market.call();
    assert_eq!((reply.status, &*reply.body), (500, "broken"), "what there is no time to mend");
    assert_eq!(market.as_ana("GET", "/api/rest/shop/v1/hold", "", "").status, 504);
    let fields = format!("{}Content-Length: 100\r\n", bearer(&market.ana));
    let mut slow = Wire::with(&market.daemon, request("POST", ECHO, &fields, "a part"));
    assert_eq!(slow.answer().status, 408, "it is the client that has not come to its end");
    assert!(begun.elapsed().as_secs() < 6, "{:?}", begun.elapsed());
}

#[test]
fn a_breaker_that_opens_does_not_hide_what_opened_it() {
    let market = Market::open(&[("CIRCUIT_BREAKER_THRESHOLD", "1"), ("HTTP_RETRY_BASE_DELAY", "0.01")]);
    market.change(json!({"api_allowed_retry_count": 2}));
    market.upstream.say(500, "", b"broken");
    let reply = market.call();
    assert_eq!((reply.status, &*reply.body), (500, "broken"), "{reply:?}");
    assert_eq!(verdict(&market.call()), (503, "GTW999".to_owned()));
}

/// An upstream that gives the same text to GET and its head to HEAD; `stalls` in the path: half of a JSON text, and then
/// nothing until the other side leaves. How many of its connections are open.
fn honest(fields: &'static str, length: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, open) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&open);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                count.fetch_add(1, Ordering::SeqCst);
                // A connection that breaks off is the gateway's affair.
                drop(give(&stream, fields, length));
                count.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open)
}

fn give(mut stream: &TcpStream, fields: &str, length: usize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if head.contains("stalls") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1, ";
            stream.write_all(head.as_bytes())?;
            continue;
        }
        let body = if head.starts_with("HEAD") { String::new() } else { "x".repeat(length) };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}")?;
    }
}

#[test]
fn head_says_what_get_says() {
    let (address, _) = honest("Content-Type: text/plain\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n", 4_200);
    let (_folder, daemon) = daemon(&[], address);
    for (fields, coding, tag, length) in
        [("", None, "\"a\"", Some("4200")), ("Accept-Encoding: gzip\r\n", Some("gzip"), "w/\"a\"", None)]
    {
        for method in ["GET", "HEAD"] {
            let mut wire = Wire::with(&daemon, request(method, &odd("x"), fields, ""));
            let reply = wire.answer_to(method).unwrap();
            assert_eq!(reply.status, 200, "{method} {reply:?}");
            let seen = (reply.field("content-encoding"), reply.field("etag"), reply.field("content-length"));
            assert_eq!(seen, (coding, Some(tag), length), "{method} {fields}");
            assert_eq!(reply.field("vary"), Some("accept-encoding"), "{method} {fields}");
        }
    }
}

#[test]
fn what_is_changed_is_not_told_to_be_what_it_was() {
    let market = Market::open(&[]);
    market.change(json!({"api_allowed_headers": ["etag", "accept-ranges"],
                         "api_response_transform": {"headers": {"add": {"x-more": "1"}}}}));
    let long = "all work and no play ".repeat(100);
    let fields = "Content-Type: text/plain\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n";
    for (accept, tag, ranges) in [("identity", "\"a\"", Some("bytes")), ("gzip", "w/\"a\"", None)] {
        market.upstream.say(200, fields, long.as_bytes());
        let reply = market.as_ana("GET", ECHO, &format!("Accept-Encoding: {accept}\r\n"), "");
        let seen = (reply.field("etag"), reply.field("accept-ranges"), reply.field("x-more"));
        assert_eq!(seen, (Some(tag), ranges, Some("1")), "{accept} {reply:?}");
    }
    market.change(json!({"api_response_transform": {"body": {"wrap": "all"}}}));
    for (status, wanted) in [(200, r#"{"all":12}"#), (206, "12")] {
        market.upstream.say(
            status,
            "Content-Type: application/json\r\nContent-Range: bytes 0-1/9\r\n",
            b"12",
        );
        assert_eq!(market.call().body, wanted, "a part is no text of its own");
    }
    market.change(json!({"api_response_transform": {"status_map": {"204": 200}}}));
    market.upstream.say(204, "", b"four");
    let nothing = market.call();
    let seen = (nothing.status, nothing.whole, nothing.field("content-length"));
    assert_eq!(seen, (200, true, Some("0")), "a 204 has no body, whatever it says: {nothing:?}");
    market.upstream.say(404, "Content-Type: text/html\r\nETag: \"b\"\r\n", b"");
    let lost = market.call();
    assert_eq!(verdict(&lost), (404, "GTW005".to_owned()), "{lost:?}");
    assert_eq!((times(&lost, "content-type"), lost.field("etag")), (1, None), "{lost:?}");
}

#[test]
fn a_client_that_leaves_is_missed_while_its_answer_is_collected() {
    let (address, open) = honest("", 1);
    let market = Market::open(&[("HTTP_READ_TIMEOUT", "60")]);
    let transform = json!({"body": {"wrap": "data"}});
    market.api(
        "late",
        &format!("http://{address}"),
        json!({"api_public": true, "api_response_transform": transform}),
    );
    let wire = Wire::with(&market.daemon, request("GET", "/api/rest/late/v1/items/stalls", "", ""));
    let connections = |wanted: usize| {
        let found = open.load(Ordering::SeqCst);
        if found == wanted { Ok(()) } else { Err(found) }
    };
    eventually("the upstream to be asked", || connections(1)).unwrap();
    drop(wire);
    let begun = Instant::now();
    eventually("the upstream to be left", || connections(0)).unwrap();
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert_eq!(record(&market.daemon, "/api/rest/late/v1/items/stalls", 1)["status"], 499);
}

#[test]
fn a_refusal_by_the_head_does_not_ask_for_the_body() {
    let market = Market::open(&[]);
    let fields = "Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    let mut wire = Wire::with(&market.daemon, request("GET", "/platform/none", fields, ""));
    assert_eq!(wire.answer().status, 404);
    let mut wire = Wire::with(
        &market.daemon,
        request("POST", "/platform/group", &format!("{fields}{}", bearer(&market.admin)), ""),
    );
    assert_eq!(wire.answer().status, 100, "who reads it has it sent");
    wire.send("{}");
    assert!(wire.answer().status >= 400);
}

#[test]
fn a_user_name_and_what_a_client_calls_itself_pass_as_they_are() {
    let market = Market::open(&[]);
    let name = "J\u{fc}rgen \u{17c}";
    let user = json!({"username": name, "email": "j@x.org", "password": PASSWORD, "role": "user", "groups": ["ALL"]});
    market.manage("POST", "/platform/user", user);
    let subscription = json!({"username": name, "api_name": "shop", "api_version": "v1"});
    market.manage("POST", "/platform/subscription/subscribe", subscription);
    let token = market.daemon.login("j@x.org", PASSWORD).unwrap();
    let fields = format!("{}User-Agent: probe/1\r\n", bearer(&token));
    let seen = told(&market.ask("GET", ECHO, &fields, ""));
    assert_eq!(
        (&seen["fields"]["x-doorman-user"], &seen["fields"]["x-user-email"]),
        (&json!(name), &json!(name))
    );
    let recorded = record(&market.daemon, ECHO, 1);
    assert_eq!(
        (&recorded["user_agent"], &recorded["username"]),
        (&json!("probe/1"), &json!(name)),
        "{recorded}"
    );
    for name in [" ana", "ana "] {
        let user =
            json!({"username": name, "email": "k@x.org", "password": PASSWORD, "role": "user", "groups": []});
        let (status, answer) =
            market.daemon.call("POST", "/platform/user", &market.admin, Some(user)).unwrap();
        assert_eq!(status, 400, "upstreams would take it for another's: {answer}");
    }
}
