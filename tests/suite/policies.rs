//! Limits of traffic: tiers, throttle, bandwidth, rate-limit rules, what may be in flight; and what a body must be.

use crate::market::{ECHO, Market, bearer, told, verdict};
use crate::raw::{Wire, get, request};
use gatehouse_tests::daemon::PASSWORD;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::time::Instant;

const OVER: &str = "RATE_LIMIT_EXCEEDED";

fn tier(id: &str, limits: Value) -> Value {
    json!({"tier_id": id, "name": "custom", "display_name": id, "limits": limits})
}

#[test]
fn a_tier_refuses_with_its_numbers_until_it_is_taken_away() {
    let market = Market::open(&[]);
    market.manage("POST", "/platform/tiers/", tier("slow", json!({"requests_per_day": 1})));
    let assign = || {
        let assignment = json!({"user_id": "ana", "tier_id": "slow"});
        market.manage("POST", "/platform/tiers/assignments", assignment);
    };
    assign();
    let first = market.call();
    assert_eq!((first.status, first.field("x-ratelimit-limit")), (200, Some("1")), "{first:?}");
    assert_eq!(first.field("x-ratelimit-remaining"), Some("0"), "{first:?}");
    let second = market.call();
    assert_eq!(verdict(&second), (429, OVER.to_owned()), "{second:?}");
    let body: Value = serde_json::from_str(&second.body).unwrap();
    assert_eq!(body["error"], "Rate limit exceeded");
    assert_eq!((&body["limit"], &body["remaining"]), (&json!(1), &json!(0)));
    let after = body["retry_after"].as_u64().unwrap();
    assert!(after > 0 && after <= 86_400 && body["reset_at"].as_u64().is_some(), "{body}");
    for name in ["retry-after", "x-ratelimit-retry-after"] {
        assert_eq!(second.field(name), Some(&*after.to_string()), "{name}: {second:?}");
    }
    let told = second.field("x-ratelimit-reset").map(str::to_owned);
    assert_eq!(told, Some(body["reset_at"].to_string()), "{second:?}");
    market.manage("DELETE", "/api/caches", Value::Null);
    assert_eq!((market.call().status, market.call().status), (200, 429), "counters begin anew");
    // A tier that changes is in force at once for whoever has it, and goes on counting.
    market.manage("PUT", "/platform/tiers/slow", json!({"limits": {"requests_per_day": 2}}));
    assert_eq!((market.call().status, market.call().status), (200, 429));
    market.manage("DELETE", "/platform/tiers/assignments/ana", Value::Null);
    let free = market.call();
    assert_eq!((free.status, free.field("x-ratelimit-limit")), (200, None), "{free:?}");
}

#[test]
fn a_tier_comes_into_force_by_time_and_its_quota_is_the_one_that_is_shown() {
    let market = Market::open(&[]);
    market.manage("POST", "/platform/tiers/", tier("month", json!({"monthly_request_quota": 3})));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let assignment = json!({"user_id": "ana", "tier_id": "month", "effective_from": now + 1.5});
    market.manage("POST", "/platform/tiers/assignments", assignment);
    assert_eq!(market.call().field("x-ratelimit-limit"), None);
    let limited = || {
        let reply = market.call();
        if reply.field("x-ratelimit-limit") == Some("3") { Ok(()) } else { Err(reply) }
    };
    eventually("the tier to come into force", limited).unwrap();
    assert_eq!((market.call().status, market.call().status, market.call().status), (200, 200, 429));
    let (_, quota) =
        market.daemon.call("GET", "/platform/quota/status/monthly_requests", &market.ana, None).unwrap();
    assert_eq!((&quota["current_usage"], &quota["is_exhausted"]), (&json!(3), &json!(true)), "{quota}");
    market.clear();
    assert_eq!(market.call().status, 429, "a quota is no counter that begins anew");
}

#[test]
fn usage_is_counted_on_over_a_restart() {
    let market = Market::open(&[]);
    market.manage("POST", "/platform/tiers/", tier("month", json!({"monthly_request_quota": 2})));
    market.manage("POST", "/platform/tiers/assignments", json!({"user_id": "ana", "tier_id": "month"}));
    assert_eq!(market.call().status, 200);
    let Market { folder, daemon, upstream, admin, .. } = market;
    let pid = daemon.pid().to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(daemon.ended().unwrap(), 0);
    let daemon = gatehouse_tests::daemon::Daemon::start(folder.path(), &[]).unwrap();
    let ana = daemon.login("ana@x.org", PASSWORD).unwrap();
    let market = Market { folder, daemon, upstream, admin, ana };
    assert_eq!((market.call().status, market.call().status), (200, 429));
}

#[test]
fn a_throttle_makes_wait_and_refuses_beyond_its_queue() {
    let market = Market::open(&[]);
    let timed = || {
        let begun = Instant::now();
        (market.call().status, begun.elapsed().as_millis())
    };
    market.limit(json!({"throttle_enabled": true, "throttle_duration": 1, "throttle_duration_type": "day",
                        "throttle_queue_limit": 10, "throttle_wait_duration": 0.1,
                        "throttle_wait_duration_type": "second"}));
    let (first, quick) = timed();
    let (second, slow) = timed();
    assert_eq!((first, second), (200, 200));
    assert!(slow >= quick + 80, "{quick} ms, {slow} ms");
    market.limit(json!({"throttle_queue_limit": 1}));
    assert_eq!(market.call().status, 200);
    let text = "Throttle queue limit exceeded".to_owned();
    assert_eq!(verdict(&market.call()), (429, text));
    market.limit(json!({"throttle_enabled": false, "throttle_duration": 0, "throttle_queue_limit": 0}));
    assert!((0..3).all(|_| market.call().status == 200), "switched off");
}

#[test]
fn rate_and_bandwidth_limits_of_a_user() {
    let market = Market::open(&[]);
    market.limit(
        json!({"rate_limit_duration": 1, "rate_limit_duration_type": "day", "rate_limit_enabled": true}),
    );
    assert_eq!(market.call().status, 200);
    let refused = market.call();
    assert_eq!(verdict(&refused), (429, "Rate limit exceeded".to_owned()));
    assert!(refused.field("retry-after").is_some(), "{refused:?}");
    market.limit(json!({"rate_limit_duration": 1_000_000, "rate_limit_duration_type": "second",
                        "bandwidth_limit_bytes": 2_000, "bandwidth_limit_window": "day",
                        "bandwidth_limit_enabled": true}));
    let used = || {
        let (_, user) = market.daemon.call("GET", "/platform/user/ana", &market.admin, None).unwrap();
        user["bandwidth_usage_bytes"].as_u64().unwrap()
    };
    let before = used();
    let post = |bytes: usize| market.as_ana("POST", ECHO, "Content-Type: text/plain\r\n", &"x".repeat(bytes));
    let text = "Bandwidth limit exceeded".to_owned();
    assert_eq!(verdict(&post(2_001)), (429, text.clone()), "it would not fit");
    assert_eq!(post(600).status, 200);
    eventually("both ways to be counted", || if used() >= before + 1_200 { Ok(()) } else { Err(used()) })
        .unwrap();
    let mut last = market.call();
    for _ in 0..20 {
        last = market.call();
    }
    assert_eq!(verdict(&last), (429, text), "{last:?}");
    market.manage("PUT", "/platform/user/ana", json!({"bandwidth_limit_enabled": false}));
    assert_eq!(market.call().status, 200);
}

#[test]
fn rate_limit_rules_of_each_kind() {
    let market = Market::open(&[]);
    market.api("open", &market.upstream.url(), json!({"api_public": true, "api_auth_required": false}));
    market.user("bob");
    let bob = market.daemon.login("bob@x.org", PASSWORD).unwrap();
    let calls = |who: &str, path: &str| {
        let who = match who {
            "ana" => bearer(&market.ana),
            "bob" => bearer(&bob),
            _ => String::new(),
        };
        market.ask("GET", path, &who, "").status
    };
    let (item, open) = ("/api/rest/shop/v1/items/1", "/api/rest/open/v1/echo");
    // What is refused after one call, and what is not.
    for (kind, target, over, free) in [
        ("per_user", "ana", [("ana", ECHO), ("ana", item)], [("bob", ECHO), ("", open)]),
        ("per_api", "shop/v1", [("ana", ECHO), ("bob", item)], [("", open), ("", open)]),
        (
            "per_endpoint",
            "get/shop/v1/items/{id}",
            [("ana", item), ("bob", item)],
            [("ana", ECHO), ("bob", ECHO)],
        ),
        ("per_ip", "127.0.0.1", [("ana", ECHO), ("", open)], [("", ""), ("", "")]),
        ("per_user_api", "", [("ana", ECHO), ("ana", item)], [("bob", ECHO), ("", open)]),
        ("per_user_api", "ana:shop/v1", [("ana", ECHO), ("ana", item)], [("bob", ECHO), ("bob", item)]),
        (
            "per_user_endpoint",
            "GET/shop/v1/echo",
            [("ana", ECHO), ("ana", ECHO)],
            [("bob", ECHO), ("ana", item)],
        ),
        ("global", "", [("ana", ECHO), ("", open)], [("", ""), ("", "")]),
    ] {
        let rule = json!({"rule_id": "r", "rule_type": kind, "time_window": "day", "limit": 1,
                          "target_identifier": target});
        market.manage("POST", "/platform/rate-limits/", rule);
        let [(first, place), (second, other)] = over;
        assert_eq!((calls(first, place), calls(second, other)), (200, 429), "{kind} {target}");
        for (who, path) in free.into_iter().filter(|(_, path)| !path.is_empty()) {
            assert_eq!(calls(who, path), 200, "{kind} {target}: {who} {path}");
        }
        market.manage("POST", "/platform/rate-limits/r/disable", json!({}));
        assert_eq!(calls(second, other), 200, "{kind} {target}: switched off");
        market.manage("DELETE", "/platform/rate-limits/r", Value::Null);
    }
    let rule = json!({"rule_id": "r", "rule_type": "per_user", "time_window": "day", "limit": 1,
                      "target_identifier": "ana", "burst_allowance": 1});
    market.manage("POST", "/platform/rate-limits/", rule);
    assert_eq!((market.call().status, market.call().status), (200, 200), "a burst lies on top");
    let refused = market.call();
    assert_eq!(verdict(&refused), (429, OVER.to_owned()));
    assert_eq!(refused.field("x-ratelimit-limit"), Some("1"), "{refused:?}");
}

#[test]
fn a_body_must_be_what_its_endpoint_asks_for() {
    let market = Market::open(&[]);
    let (_, endpoint) =
        market.daemon.call("GET", "/platform/endpoint/POST/shop/v1/echo", &market.admin, None).unwrap();
    let id = endpoint["endpoint_id"].as_str().unwrap();
    let validation = format!("/platform/endpoint/endpoint/validation/{id}");
    let rules = json!({"items[0].price": {"required": true, "type": "number", "min": 1}});
    let body = json!({"endpoint_id": id, "validation_enabled": true, "validation_schema": {"validation_schema": rules}});
    let post = |body: &str| market.as_ana("POST", ECHO, "Content-Type: application/json\r\n", body);
    assert_eq!(post("{}").status, 200);
    market.manage("POST", "/platform/endpoint/endpoint/validation", body);
    let refused = post(r#"{"items":[{"price":0}]}"#);
    assert_eq!(verdict(&refused), (400, "GTW011".to_owned()));
    assert!(refused.body.contains("items[0].price"), "{refused:?}");
    let fine = r#"{"items":[{"price":1}]}"#;
    assert_eq!(told(&post(fine))["body"], fine, "byte for byte");
    // Another spelling of the same path does not lead to an endpoint that asks for less.
    let any = json!({"api_name": "shop", "api_version": "v1", "endpoint_method": "POST", "endpoint_uri": "/{any}",
                     "endpoint_description": "test"});
    market.manage("POST", "/platform/endpoint", any);
    let spelt = |path: &str| market.as_ana("POST", path, "Content-Type: application/json\r\n", "{}").status;
    assert_eq!((spelt("/api/rest/shop/v1/else"), spelt("/api/rest/shop/v1/%65c%68o")), (200, 400));
    let two = "Content-Type: application/json\r\nContent-Type: text/plain\r\n";
    assert_eq!(verdict(&market.as_ana("POST", ECHO, two, fine)), (400, "GTW011".to_owned()));
    let schema = json!({"type": "object", "properties": {"name": {"type": "string", "minLength": 3}}, "required": ["name"]});
    market.manage("PUT", &validation, json!({ "json_schema": schema }));
    assert_eq!(post(r#"{"name":"bob"}"#).status, 200);
    let refused = post(r#"{"name":"b"}"#);
    assert_eq!(verdict(&refused), (400, "GTW011".to_owned()));
    assert!(refused.body.contains("/name"), "{refused:?}");
    market.manage("PUT", &validation, json!({"validation_enabled": false}));
    assert_eq!(post("{}").status, 200);
    market.manage("PUT", &validation, json!({"validation_enabled": true}));
    assert_eq!(post("{}").status, 400);
    market.manage("DELETE", &validation, Value::Null);
    assert_eq!(post("{}").status, 200);
}

#[test]
fn what_the_data_plane_would_refuse_changes_nothing() {
    let market = Market::open(&[]);
    // A field that only the gateway may make.
    let wrong =
        json!({"api_request_transform": {"headers": {"add": {"host": "elsewhere"}}}, "api_priority": 1});
    let (status, answer) =
        market.daemon.call("PUT", "/platform/api/shop/v1", &market.admin, Some(wrong)).unwrap();
    assert_eq!(status, 400, "{answer}");
    let text = answer["error_message"].as_str().unwrap();
    assert!(text.contains("api_request_transform") && text.contains("host"), "{answer}");
    assert_eq!(market.call().status, 200, "it is served as before");
    let (_, api) = market.daemon.call("GET", "/platform/api/shop/v1", &market.admin, None).unwrap();
    assert_eq!((&api["api_request_transform"], &api["api_priority"]), (&Value::Null, &json!(5)));
    let rule = |id: usize| json!({"rule_id": format!("r{id}"), "rule_type": "per_user_api", "time_window": "day", "limit": 9});
    (0..32).for_each(|id| drop(market.manage("POST", "/platform/rate-limits/", rule(id))));
    let (status, answer) =
        market.daemon.call("POST", "/platform/rate-limits/", &market.admin, Some(rule(32))).unwrap();
    assert_eq!(status, 400, "{answer}");
    assert_eq!(market.daemon.call("GET", "/platform/rate-limits/r32", &market.admin, None).unwrap().0, 404);
}

/// Connections on which calls are held at the upstream.
fn hold(market: &Market, path: &str, count: u64) -> Vec<Wire> {
    let before = market.upstream.held();
    let ask = request("GET", path, &bearer(&market.ana), "");
    let wires = (0..count).map(|_| Wire::with(&market.daemon, &ask)).collect();
    let held = || if market.upstream.held() == before + count { Ok(()) } else { Err(market.upstream.held()) };
    eventually("calls to be held", held).unwrap();
    wires
}

#[test]
fn under_pressure_the_lowest_priority_is_refused_first() {
    let market = Market::open(&[("GATEHOUSE_IN_FLIGHT_MAX", "4")]);
    market.change(json!({"api_priority": 9}));
    let public = json!({"api_public": true, "api_auth_required": false, "api_priority": 0});
    market.api("low", &market.upstream.url(), public);
    let low = || market.ask("GET", "/api/rest/low/v1/echo", "", "");
    assert_eq!(low().status, 200);
    // The lowest may fill three of four.
    let held = hold(&market, "/api/rest/shop/v1/hold", 3);
    assert_eq!(verdict(&low()), (503, "GTW999".to_owned()));
    assert_eq!(market.call().status, 200);
    market.upstream.go(true);
    held.into_iter().for_each(|mut wire| assert_eq!(wire.answer().status, 200));
    eventually("the lowest to be let in again", || if low().status == 200 { Ok(()) } else { Err(low()) })
        .unwrap();
}

#[test]
fn an_api_has_a_bound_of_its_own_in_flight() {
    let market = Market::open(&[]);
    market.change(json!({"api_in_flight": 2}));
    market.api("open", &market.upstream.url(), json!({"api_public": true, "api_auth_required": false}));
    let held = hold(&market, "/api/rest/shop/v1/hold", 2);
    assert_eq!(verdict(&market.call()), (503, "GTW999".to_owned()));
    assert_eq!(
        market.ask("GET", "/api/rest/open/v1/echo", "", "").status,
        200,
        "another API is none the worse"
    );
    market.upstream.go(true);
    held.into_iter().for_each(|mut wire| assert_eq!(wire.answer().status, 200));
    eventually("places to come back", || if market.call().status == 200 { Ok(()) } else { Err(()) }).unwrap();
}

#[test]
fn one_address_has_so_many_connections() {
    let market = Market::open(&[("GATEHOUSE_CLIENT_CONNECTIONS_MAX", "8")]);
    let open = || {
        let mut wire = Wire::with(&market.daemon, get("/platform/monitor/liveness"));
        let served = wire.answer_to("GET").is_some_and(|reply| reply.status == 200);
        (wire, served)
    };
    let mut kept: Vec<Wire> = Vec::new();
    let refused = (0..12).find_map(|_| match open() {
        (wire, true) => {
            kept.push(wire);
            None
        }
        (_, false) => Some(()),
    });
    assert!(refused.is_some() && kept.len() <= 8 && kept.len() >= 5, "{} are served", kept.len());
    let again = kept.first_mut().unwrap();
    again.send(get("/platform/monitor/liveness"));
    assert_eq!(again.answer().status, 200, "those that are there go on");
    drop(kept);
    eventually("a place to be free", || if open().1 { Ok(()) } else { Err(()) }).unwrap();
}
