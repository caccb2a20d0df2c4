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
