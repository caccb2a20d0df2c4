//! What becomes of requests and answers: cross-origin rules, transforms, compression; where they go: retries, circuits,
//! routings, host names; and traces.

use crate::market::{ECHO, Market, bearer, told, verdict};
use crate::raw::Reply;
use gatehouse_tests::scripted::Scripted;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::Read as _;

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn pages_of_named_origins_may_call() {
    let market = Market::open(&[]);
    market.change(json!({"api_cors_allow_origins": ["https://a.test", "https://*.b.test"],
                         "api_cors_allow_methods": ["GET"], "api_cors_allow_headers": ["x-in"],
                         "api_cors_expose_headers": ["x-inner"], "api_cors_allow_credentials": true}));
    let preflight = |origin: &str| {
        let fields = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: x-in\r\n"
        );
        market.ask("OPTIONS", ECHO, &fields, "")
    };
    let actual = |origin: &str| market.as_ana("GET", ECHO, &format!("Origin: {origin}\r\n"), "");
    for origin in ["https://a.test", "https://x.b.test"] {
        let before = preflight(origin);
        assert_eq!(before.status, 204, "{before:?}");
        let methods = before.field("access-control-allow-methods").unwrap_or_default();
        assert!(
            methods.contains("get") && methods.contains("options") && !methods.contains("put"),
            "{before:?}"
        );
        assert_eq!(before.field("access-control-allow-headers"), Some("x-in"), "{before:?}");
        let after = actual(origin);
        assert_eq!(after.field("access-control-expose-headers"), Some("x-inner"), "{after:?}");
        for reply in [before, after] {
            assert_eq!(reply.field("access-control-allow-origin"), Some(origin), "{reply:?}");
            assert_eq!(reply.field("access-control-allow-credentials"), Some("true"), "{reply:?}");
            assert_eq!(reply.field("vary"), Some("origin"), "{reply:?}");
        }
    }
    for reply in [preflight("https://c.test"), actual("https://c.test")] {
        assert!([200, 204].contains(&reply.status), "{reply:?}");
        assert_eq!(reply.field("access-control-allow-origin"), None, "{reply:?}");
    }
    // A refusal can be read by the page too.
    let refused = market.ask("GET", ECHO, "Origin: https://a.test\r\n", "");
    assert_eq!((refused.status, refused.field("access-control-allow-origin")), (401, Some("https://a.test")));
    let unknown = market.ask("OPTIONS", "/api/rest/none/v1/x", "Origin: https://a.test\r\n", "");
    assert_eq!((unknown.status, unknown.field("access-control-allow-origin")), (204, None));
}

#[test]
fn transforms_change_both_ways() {
    let market = Market::open(&[]);
    let request = json!({"headers": {"remove": ["x-in"], "rename": {"user-agent": "x-agent"}, "add": {"x-add": "1"}},
                         "query": {"remove": ["a"], "add": {"c": "3"}},
                         "body": {"wrap": "data", "remove": ["$.data.secret"], "set": {"$.kind.name": "order"}}});
    let answer = json!({"headers": {"rename": {"x-inner": "x-outer"}, "add": {"x-more": "2"}},
                        "body": {"remove": ["$.fields"], "rename": {"$.upstream": "$.by"}}, "status_map": {"200": 201, "500": 418}});
    market.change(json!({"api_request_transform": {"request": request}, "api_response_transform": answer}));
    let body = r#"{"secret":1,"kept":[2]}"#;
    let fields = format!("{JSON}X-In: 1\r\nUser-Agent: me\r\n");
    let reply = market.as_ana("POST", &format!("{ECHO}?a=1&b=2"), &fields, body);
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(
        (reply.field("x-outer"), reply.field("x-inner"), reply.field("x-more")),
        (Some("1"), None, Some("2"))
    );
    let seen: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(
        (&seen["by"], &seen["upstream"], &seen["fields"]),
        (&json!("first"), &Value::Null, &Value::Null)
    );
    assert_eq!(seen["path"], "/echo?b=2&c=3");
    let sent: Value = serde_json::from_str(seen["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent, json!({"data": {"kept": [2]}, "kind": {"name": "order"}}));
    market.change(json!({"api_response_transform": {"status_map": {"500": 418}}}));
    let seen = told(&market.as_ana("POST", ECHO, &fields, body));
    let fields = &seen["fields"];
    assert_eq!(
        (&fields["x-agent"], &fields["x-add"], &fields["x-in"]),
        (&json!("me"), &json!("1"), &Value::Null)
    );
    market.upstream.say(500, "", b"no");
    assert_eq!(market.call().status, 418);
}

#[test]
fn listed_headers_pass_and_one_takes_the_place_of_the_authorization() {
    let market = Market::open(&[]);
    let seen = told(&market.as_ana("GET", ECHO, "X-In: 1\r\nX-Secret: 2\r\n", ""));
    let fields = &seen["fields"];
    assert_eq!(
        (&fields["x-in"], &fields["x-secret"], &fields["authorization"]),
        (&json!("1"), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&fields["x-doorman-user"], &fields["host"]),
        (&json!("ana"), &json!(market.upstream.address.to_string()))
    );
    let reply = market.call();
    assert_eq!((reply.field("x-inner"), reply.field("x-other")), (Some("1"), None), "{reply:?}");
    market.change(json!({"api_authorization_field_swap": "x-swap", "api_allowed_headers": ["x-swap"]}));
    let seen = told(&market.as_ana("GET", ECHO, "X-Swap: Basic abc\r\n", ""));
    assert_eq!(seen["fields"]["authorization"], "Basic abc");
    assert_eq!(told(&market.call())["fields"]["authorization"], json!(format!("Bearer {}", market.ana)));
}

#[test]
fn answers_are_compressed_as_the_client_takes_it() {
    let market = Market::open(&[]);
    let text = "all work and no play ".repeat(200);
    let ask = |accept: &str, kind: &str, body: &str| {
        market.upstream.say(200, &format!("Content-Type: {kind}\r\nETag: \"a\"\r\n"), body.as_bytes());
        let config = ureq::Agent::config_builder().proxy(None).build().new_agent();
        let url = format!("{}{ECHO}", market.daemon.url);
        let request = config.get(&url).header("authorization", format!("Bearer {}", market.ana));
        let mut reply = request.header("accept-encoding", accept).call().unwrap();
        let field = |name: &str| reply.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (coding, vary) =
            (field("content-encoding").unwrap_or_default(), field("vary").unwrap_or_default());
        (coding, vary.to_lowercase(), reply.body_mut().read_to_vec().unwrap())
    };
    for wanted in ["gzip", "br", "zstd"] {
        let (coding, vary, body) = ask(wanted, "text/plain", &text);
        assert_eq!(coding, wanted);
        assert!(vary.contains("accept-encoding") && body.len() < text.len() / 4, "{vary} {}", body.len());
        let mut plain = String::new();
        match wanted {
            "gzip" => drop(flate2::read::GzDecoder::new(&*body).read_to_string(&mut plain).unwrap()),
            "br" => drop(brotli::Decompressor::new(&*body, 4_096).read_to_string(&mut plain).unwrap()),
            _ => plain = String::from_utf8(zstd::stream::decode_all(&*body).unwrap()).unwrap(),
        }
        assert_eq!(plain, text, "{wanted}");
    }
    for (accept, kind, body) in [
        ("identity", "text/plain", &*text),
        ("gzip;q=0", "text/plain", &text),
        ("gzip", "text/event-stream", &text),
        ("gzip", "image/png", &text),
        ("gzip", "text/plain", "short"),
    ] {
        let (coding, _, plain) = ask(accept, kind, body);
        assert_eq!((&*coding, plain), ("", body.as_bytes().to_vec()), "{accept} {kind}");
    }
    market.change(json!({"api_compress": false}));
    assert_eq!(ask("gzip", "text/plain", &text).0, "", "an API may say no");
}

#[test]
fn failures_are_tried_again_as_the_api_says() {
    let market = Market::open(&[("HTTP_RETRY_BASE_DELAY", "0.01")]);
    let fails = |status: u16| market.upstream.say(status, "", b"broken");
    fails(500);
    assert_eq!(market.call().status, 500, "no retry unless asked for");
    market.change(json!({"api_allowed_retry_count": 1}));
    for status in [500, 502, 503, 504] {
        let before = market.upstream.requests();
        fails(status);
        assert_eq!(market.call().status, 200, "{status}");
        assert_eq!(market.upstream.requests() - before, 2, "{status}");
    }
    fails(500);
    fails(503);
    assert_eq!(market.call().status, 503, "once, not more often");
    let post = || market.as_ana("POST", ECHO, "", "order").status;
    fails(500);
    assert_eq!(post(), 500, "an order is not sent twice");
    market.change(json!({"api_retry_non_idempotent": true}));
    fails(500);
    assert_eq!((post(), market.upstream.unsaid()), (200, 0));
}

#[test]
fn a_circuit_opens_and_closes_again() {
    let market = Market::open(&[("CIRCUIT_BREAKER_TIMEOUT", "1")]);
    for _ in 0..5 {
        market.upstream.say(500, "", b"");
        assert_eq!(market.call().status, 500);
    }
    let before = market.upstream.requests();
    let refused = market.call();
    assert_eq!(verdict(&refused), (503, "GTW999".to_owned()));
    assert!(refused.field("retry-after").is_some(), "{refused:?}");
    assert_eq!(market.upstream.requests(), before, "it is left alone");
    eventually("the circuit to close", || if market.call().status == 200 { Ok(()) } else { Err(()) })
        .unwrap();
    assert_eq!(market.call().status, 200);
    // An API made anew under the same name meets no open circuit.
    for _ in 0..5 {
        market.upstream.say(500, "", b"");
        market.call();
    }
    assert_eq!(market.call().status, 503);
    market.manage("DELETE", "/platform/api/shop/v1", Value::Null);
    market.api("shop", &market.upstream.url(), json!({}));
    let subscription = json!({"username": "ana", "api_name": "shop", "api_version": "v1"});
    market.manage("POST", "/platform/subscription/subscribe", subscription);
    assert_eq!(market.call().status, 200);
}

#[test]
fn a_client_key_and_an_endpoint_lead_to_servers_of_their_own() {
    let market = Market::open(&[]);
    let (second, third) = (Scripted::start("second").unwrap(), Scripted::start("third").unwrap());
    let by = |fields: &str| told(&market.as_ana("GET", ECHO, fields, ""))["upstream"].clone();
    let routing = json!({"routing_name": "r", "client_key": "k1", "server_index": 1,
                         "routing_servers": [second.url(), third.url()]});
    market.manage("POST", "/platform/routing", routing);
    let turns: Vec<_> = (0..3).map(|_| by("client-key: k1\r\n")).collect();
    assert_eq!(turns, ["third", "second", "third"]);
    assert_eq!((by(""), by("client-key: none\r\n")), (json!("first"), json!("first")));
    let own = json!({"endpoint_servers": [second.url()]});
    market.manage("PUT", "/platform/endpoint/GET/shop/v1/echo", own);
    assert_eq!(
        (by(""), by("client-key: k1\r\n")),
        (json!("second"), json!("second")),
        "the next of the key's"
    );
    market.manage("DELETE", "/platform/routing/k1", Value::Null);
    market.manage("PUT", "/platform/endpoint/GET/shop/v1/echo", json!({"endpoint_servers": []}));
    assert_eq!(by("client-key: k1\r\n"), "first");
}

#[test]
fn a_host_of_its_own_needs_no_prefix() {
    let market = Market::open(&[]);
    market.change(json!({"api_hostname": "Shop.example.org"}));
    let ask = |host: &str| {
        let ask = format!("GET /items/7?x=1 HTTP/1.1\r\nHost: {host}\r\n{}\r\n", bearer(&market.ana));
        crate::raw::Wire::with(&market.daemon, ask).answer()
    };
    for host in ["shop.example.org", "SHOP.example.org:8080"] {
        assert_eq!(told(&ask(host))["path"], "/items/7?x=1", "{host}");
    }
    assert_eq!(ask("other.example.org").status, 404);
    market.change(json!({"api_hostname": null}));
    assert_eq!(ask("shop.example.org").status, 404);
}

#[test]
fn a_trace_goes_on() {
    let market = Market::open(&[]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let fields = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\ntracestate: a=1\r\n");
    let seen = told(&market.as_ana("GET", ECHO, &fields, ""));
    let parent: Vec<_> = seen["fields"]["traceparent"].as_str().unwrap().split('-').collect();
    assert_eq!((parent[1], parent[3]), (trace, "01"), "{seen}");
    assert_ne!(parent[2], "b7ad6b7169203331", "the gateway is a span of its own");
    assert_eq!(seen["fields"]["tracestate"], "a=1");
    assert_eq!(
        told(&market.call())["fields"]["traceparent"],
        Value::Null,
        "none is begun unless settings say so"
    );
}

#[test]
fn a_reply_says_what_it_is() {
    let market = Market::open(&[]);
    let reply: Reply = market.as_ana("GET", ECHO, "X-Request-ID: mine-1\r\n", "");
    for (name, value) in
        [("x-request-id", "mine-1"), ("request_id", "mine-1"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(reply.field(name), Some(value), "{name}: {reply:?}");
    }
    assert!(reply.field("x-gateway-time").is_some() && reply.field("x-backend-time").is_some(), "{reply:?}");
}
