//! The manager's limits: tiers, rate-limit rules, quotas, what a body must be.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};

/// A daemon, its administrator, and `eva`, who has no permission.
fn house() -> (tempfile::TempDir, Daemon, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let root = daemon.login("admin", PASSWORD).unwrap();
    let user = json!({"username": "eva", "email": "eva@x.org", "password": PASSWORD, "role": "user", "groups": ["ALL"]});
    assert_eq!(daemon.call("POST", "/platform/user", &root, Some(user)).unwrap().0, 201);
    let eva = daemon.login("eva", PASSWORD).unwrap();
    (folder, daemon, root, eva)
}

fn tier(id: &str, minute: u64) -> Value {
    json!({"tier_id": id, "name": "custom", "display_name": id, "limits": {"requests_per_minute": minute}})
}

/// A time some seconds from now.
fn at(seconds: f64) -> Value {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    json!(now.as_secs_f64() + seconds)
}

#[test]
fn tiers_are_the_administrators_alone() {
    let (_folder, daemon, root, eva) = house();
    for (method, path, body) in [
        ("POST", "/platform/tiers/", Some(tier("a", 1))),
        ("GET", "/platform/tiers/", None),
        ("GET", "/platform/tiers/a", None),
        ("DELETE", "/platform/tiers/a", None),
        ("POST", "/platform/tiers/assignments", Some(json!({"user_id": "eva", "tier_id": "a"}))),
        ("DELETE", "/platform/tiers/assignments/eva", None),
        ("POST", "/platform/tiers/compare", Some(json!(["a"]))),
        ("GET", "/platform/tiers/statistics/all", None),
    ] {
        assert_eq!(daemon.call(method, path, "", body.clone()).unwrap().0, 401, "{method} {path}");
        let (status, answer) = daemon.call(method, path, &eva, body).unwrap();
        assert_eq!((status, &answer["error_code"]), (403, &json!("TIER001")), "{method} {path}");
    }
    for path in ["/platform/tiers", "/platform/tiers/"] {
        assert_eq!(daemon.call("GET", path, &root, None).unwrap().0, 200, "{path}");
    }
}

#[test]
fn a_tier_lives_from_its_making_to_its_removal() {
    let (_folder, daemon, root, _eva) = house();
    let call = |method: &str, path: &str, body: Option<Value>| {
        daemon.call(method, &format!("/platform/tiers{path}"), &root, body).unwrap()
    };
    assert_eq!(call("POST", "/", Some(tier("slow", 1))).0, 201);
    let (status, again) = call("POST", "/", Some(tier("slow", 9)));
    assert_eq!(
        (status, &again["limits"]["requests_per_minute"]),
        (201, &json!(1)),
        "the stored one: {again}"
    );
    let mut wrong = tier("x", 1);
    wrong["name"] = json!("gold");
    let (status, refused) = call("POST", "/", Some(wrong));
    assert_eq!(status, 422, "{refused}");
    assert!(refused["error_message"].as_str().unwrap().contains("enterprise"), "{refused}");
    let change = json!({"limits": {"requests_per_minute": "5", "burst_per_minute": 2}, "price_monthly": 9.5});
    let (status, changed) = call("PUT", "/slow", Some(change));
    assert_eq!((status, &changed["limits"]["requests_per_minute"]), (200, &json!(5)));
    assert_eq!(
        (&changed["price_monthly"], &changed["limits"]["max_queue_time_ms"]),
        (&json!(9.5), &json!(5000))
    );
    let (_, listed) = call("GET", "/?search=SLO&enabled_only=true&limit=1", None);
    assert_eq!(
        (&listed["total"], &listed["has_next"], &listed["page_size"]),
        (&json!(1), &json!(false), &json!(1))
    );
    let assign = json!({"user_id": "eva", "tier_id": "slow", "override_limits": {"requests_per_minute": 3}});
    assert_eq!(call("POST", "/assignments", Some(assign)).0, 201);
    assert_eq!(call("GET", "/assignments/eva/tier", None).1["limits"]["requests_per_minute"], 3);
    let (status, used) = call("DELETE", "/slow", None);
    assert_eq!(status, 400, "{used}");
    assert!(used["detail"].as_str().unwrap().contains("eva"), "{used}");
    let (_, compared) = call("POST", "/compare", Some(json!(["slow"])));
    assert_eq!(compared["slow"]["limits"]["burst_per_minute"], 2);
    assert_eq!(call("GET", "/slow/statistics", None).1["total_users"], 1);
    assert_eq!(call("DELETE", "/assignments/eva", None).0, 200);
    assert_eq!(call("GET", "/assignments/eva", None).0, 404);
    assert_eq!((call("DELETE", "/slow", None).0, call("GET", "/slow", None).0), (200, 404));
}

#[test]
fn assignments_take_turns_by_time() {
    let (_folder, daemon, root, _eva) = house();
    let call = |method: &str, path: &str, body: Option<Value>| {
        daemon.call(method, &format!("/platform/tiers{path}"), &root, body).unwrap()
    };
    let now = |user: &str| call("GET", &format!("/assignments/{user}/tier"), None).1["tier_id"].clone();
    for id in ["free", "pro", "max"] {
        assert_eq!(call("POST", "", Some(tier(id, 1))).0, 201);
    }
    let unknown = json!({"user_id": "eva", "tier_id": "none"});
    assert_eq!(call("POST", "/assignments", Some(unknown.clone())).0, 400);
    assert_eq!(call("POST", "/trial/start", Some(unknown)).0, 404);
    assert_eq!(call("POST", "/upgrade", Some(json!({"user_id": "eva", "new_tier_id": "free"}))).0, 200);
    assert_eq!(call("POST", "/trial/start", Some(json!({"user_id": "eva", "tier_id": "pro"}))).0, 200);
    assert_eq!(now("eva"), "pro");
    let later =
        json!({"user_id": "eva", "new_tier_id": "max", "immediate": false, "scheduled_date": at(2.0)});
    assert_eq!(call("POST", "/upgrade", Some(later)).0, 200);
    assert_eq!(call("GET", "/assignments/eva", None).1["scheduled"][0]["tier_id"], "max");
    let short = json!({"user_id": "bob", "tier_id": "pro", "effective_until": at(2.0)});
    assert_eq!(call("POST", "/assignments", Some(short)).0, 201);
    assert_eq!(now("eva"), "pro");
    eventually("the upgrade to come into force", || {
        if now("eva") == "max" { Ok(()) } else { Err(anyhow::anyhow!("{}", now("eva"))) }
    })
    .unwrap();
    eventually("an assignment that is over to go", || {
        let (status, answer) = call("GET", "/assignments/bob", None);
        if status == 404 { Ok(()) } else { Err(anyhow::anyhow!("{answer}")) }
    })
    .unwrap();
    let fallen = call("POST", "/payment/failure", Some(json!({"user_id": "eva", "reason": "card"})));
    assert_eq!(fallen.0, 400, "no tier is free: {}", fallen.1);
    assert_eq!(call("PUT", "/free", Some(json!({"is_default": true}))).0, 200);
    let (status, fallen) =
        call("POST", "/payment/failure", Some(json!({"user_id": "eva", "reason": "card"})));
    assert_eq!((status, &fallen["tier_id"]), (200, &json!("free")));
    assert_eq!(
        call(
            "POST",
            "/downgrade",
            Some(json!({"user_id": "eva", "new_tier_id": "pro", "grace_period_days": 3}))
        )
        .0,
        200
    );
    assert_eq!(now("eva"), "free");
}

#[test]
fn rules_are_made_found_switched_and_removed() {
    let (_folder, daemon, root, eva) = house();
    let call = |method: &str, path: &str, body: Option<Value>| {
        daemon.call(method, &format!("/platform/rate-limits{path}"), &root, body).unwrap()
    };
    let rule = json!({"rule_id": "r1", "rule_type": "per_user", "time_window": "minute", "limit": 5,
                      "target_identifier": "eva", "description": "Eva's"});
    assert_eq!(daemon.call("POST", "/platform/rate-limits/", "", Some(rule.clone())).unwrap().0, 401);
    assert_eq!(daemon.call("POST", "/platform/rate-limits/", &eva, Some(rule.clone())).unwrap().0, 403);
    assert_eq!(call("POST", "/", Some(rule.clone())).0, 201);
    assert_eq!(call("POST", "/", Some(rule.clone())).0, 400, "a duplicate");
    let mut aimless = rule.clone();
    aimless["target_identifier"] = Value::Null;
    let (status, answer) = call("POST", "/", Some(aimless));
    assert!(
        answer["detail"]["errors"][0].as_str().unwrap().starts_with("target_identifier"),
        "{status} {answer}"
    );
    let (status, answer) = call("PUT", "/r1", Some(json!({"time_window": "fortnight"})));
    assert!(status == 400 && answer.to_string().contains("time_window"), "{answer}");
    let (status, copy) = call("POST", "/r1/duplicate", Some(json!({"new_rule_id": "r2"})));
    assert_eq!((status, &copy["rule_id"], &copy["limit"]), (201, &json!("r2"), &json!(5)));
    assert_eq!(call("POST", "/r2/disable", None).1["enabled"], false);
    assert_eq!(call("GET", "/?enabled_only=true", None).1.as_array().unwrap().len(), 1);
    assert_eq!(call("GET", "/search?q=EVA", None).1.as_array().unwrap().len(), 2);
    let (_, summary) = call("GET", "/statistics/summary", None);
    let wanted =
        json!({"total_rules": 2, "enabled_rules": 1, "disabled_rules": 1, "rules_by_type": {"per_user": 2}});
    assert_eq!(summary, wanted);
    let (status, own) = daemon.call("GET", "/platform/rate-limits/status", &eva, None).unwrap();
    assert_eq!((status, &own["applicable_rules"][0]["rule_id"]), (200, &json!("r1")));
    assert_eq!(call("GET", "/status", None).1["applicable_rules"], json!([]));
    assert_eq!(
        call("POST", "/bulk/enable", Some(json!({"rule_ids": ["r1", "r2", "no"]}))).1["enabled_count"],
        2
    );
    assert_eq!(call("DELETE", "/r1", None).1, json!({"deleted": true, "rule_id": "r1"}));
    assert_eq!(call("POST", "/bulk/delete", Some(json!({"rule_ids": ["r1", "r2"]}))).1["deleted_count"], 1);
    assert_eq!(call("GET", "/r2", None).0, 404);
}

#[test]
fn what_a_body_must_be_is_kept_by_the_endpoints_id() {
    let (_folder, daemon, root, eva) = house();
    let call = |method: &str, path: &str, body: Option<Value>| {
        daemon.call(method, &format!("/platform{path}"), &root, body).unwrap()
    };
    let api = json!({"api_name": "shop", "api_version": "v1", "api_servers": ["http://127.0.0.1:9"]});
    assert_eq!(call("POST", "/api", Some(api)).0, 201);
    let endpoint = json!({"api_name": "shop", "api_version": "v1", "endpoint_method": "POST", "endpoint_uri": "/order",
                          "endpoint_description": "test"});
    assert_eq!(call("POST", "/endpoint", Some(endpoint)).0, 201);
    let (_, endpoint) = call("GET", "/endpoint/POST/shop/v1/order", None);
    let id = endpoint["endpoint_id"].as_str().unwrap();
    let path = format!("/endpoint/endpoint/validation/{id}");
    let rules = json!({"validation_schema": {"qty": {"required": true, "type": "number", "min": 1}}});
    let body = json!({"endpoint_id": id, "validation_enabled": true, "validation_schema": rules});
    let code =
        |answer: (u16, Value)| (answer.0, answer.1["error_code"].as_str().unwrap_or_default().to_owned());
    let long = "/endpoint/endpoint/validation";
    let refused = daemon.call("POST", &format!("/platform{long}"), &eva, Some(body.clone())).unwrap();
    assert_eq!(code(refused), (403, "END013".to_owned()));
    assert_eq!(
        code(call("POST", long, Some(json!({"validation_schema": rules})))),
        (400, "END013".to_owned())
    );
    assert_eq!(code(call("POST", long, Some(json!({"endpoint_id": id})))), (400, "END014".to_owned()));
    let nowhere = json!({"endpoint_id": "none", "validation_schema": rules});
    assert_eq!(code(call("POST", long, Some(nowhere))), (400, "END015".to_owned()));
    let bad = json!({"endpoint_id": id, "validation_schema": {"qty": {"type": "int"}}});
    let (status, answer) = call("POST", long, Some(bad));
    assert!(status == 422 && answer["error_message"].as_str().unwrap().contains("qty: type"), "{answer}");
    assert_eq!(call("POST", "/endpoint/validation", Some(body.clone())).0, 201);
    assert_eq!(code(call("POST", long, Some(body))), (400, "END017".to_owned()));
    assert_eq!(call("GET", &path, None).1["validation_schema"], rules);
    let schema = json!({"json_schema": {"type": "object", "required": ["qty"]}});
    assert_eq!(call("PUT", &path, Some(schema.clone())).0, 200);
    let (_, now) = call("GET", &path, None);
    assert_eq!((&now["json_schema"], &now["validation_schema"]), (&schema["json_schema"], &Value::Null));
    let remote = json!({"json_schema": {"$ref": "http://127.0.0.1:9/x"}});
    assert_eq!(call("PUT", &path, Some(remote)).0, 422);
    assert_eq!(call("DELETE", "/endpoint/POST/shop/v1/order", None).0, 200);
    assert_eq!(code(call("GET", &path, None)), (400, "END018".to_owned()), "gone with its endpoint");
}

#[test]
fn a_user_sees_the_quotas_of_their_tier() {
    let (_folder, daemon, root, eva) = house();
    let mine = |path: &str| daemon.call("GET", &format!("/platform/quota{path}"), &eva, None).unwrap();
    assert_eq!(mine("/status").0, 404, "no tier yet");
    let mut pro = tier("pro", 10);
    pro["limits"] = json!({"requests_per_minute": 10, "burst_per_minute": 4, "monthly_request_quota": 1000});
    pro["price_monthly"] = json!(5);
    let mut max = tier("max", 100);
    max["price_monthly"] = json!(50);
    for tier in [pro, max, tier("free", 1)] {
        assert_eq!(daemon.call("POST", "/platform/tiers", &root, Some(tier)).unwrap().0, 201);
    }
    let assign = json!({"user_id": "eva", "tier_id": "pro", "override_limits": {"daily_request_quota": 50}});
    assert_eq!(daemon.call("POST", "/platform/tiers/assignments", &root, Some(assign)).unwrap().0, 201);
    let (status, answer) = mine("/status");
    assert_eq!((status, &answer["tier_info"]["tier_id"]), (200, &json!("pro")));
    let limits: Vec<_> =
        answer["quotas"].as_array().unwrap().iter().map(|quota| quota["limit"].clone()).collect();
    assert_eq!(limits, [json!(1000), json!(50)]);
    assert_eq!(answer["usage_summary"]["has_exhausted"], false);
    assert_eq!(mine("/status/daily_requests").1["remaining"], 50);
    assert_eq!((mine("/status/monthly_bandwidth").0, mine("/status/yearly").0), (404, 400));
    assert_eq!(mine("/burst/status").1["burst_limits"]["per_minute"], 4);
    let (_, info) = mine("/tier/info");
    assert_eq!(info["upgrade_options"].as_array().unwrap().len(), 1, "only what costs no less: {info}");
    let csv = daemon.call("POST", "/platform/quota/usage/export?format=csv", &eva, None).unwrap().1;
    assert!(csv["data"].as_str().unwrap().starts_with("period,"), "{csv}");
    assert_eq!(mine("/usage/history").1["history"], json!([]));
    assert_eq!(daemon.call("GET", "/platform/quota/status", "", None).unwrap().0, 401);
}
