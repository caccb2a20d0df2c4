//! The configuration as something that is changed with care: revisions, tags, dry runs.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::path::Path;

struct House {
    daemon: Daemon,
    root: String,
}

impl House {
    fn at(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let daemon = Daemon::start(folder, settings).unwrap();
        let root = daemon.login("admin", PASSWORD).unwrap();
        Self { daemon, root }
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.daemon.call(method, &format!("/platform{path}"), &self.root, body).unwrap()
    }

    fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, Some(body));
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Status, `ETag`, body.
    fn tagged(&self, method: &str, path: &str, tag: &str, body: &Value) -> (u16, String, Value) {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/platform{path}", self.daemon.url))
            .header("authorization", format!("Bearer {}", self.root))
            .header("content-type", "application/json");
        let request = if tag.is_empty() { request } else { request.header("if-match", tag) };
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let mut response = config.build().new_agent().run(request.body(body).unwrap()).unwrap();
        let header = response.headers().get("etag").map(|value| value.to_str().unwrap().to_owned());
        let text = response.body_mut().read_to_string().unwrap();
        let value = serde_json::from_str(&text).unwrap_or_default();
        (response.status().as_u16(), header.unwrap_or_default(), value)
    }

    /// The newest revision.
    fn newest(&self) -> Value {
        self.call("GET", "/config/revisions?limit=1", None).1["revisions"][0].clone()
    }
}

fn api(name: &str, server: &str) -> Value {
    json!({"api_name": name, "api_version": "v1", "api_servers": [server], "api_allowed_groups": ["ALL"]})
}

fn endpoint(api: &str, uri: &str) -> Value {
    json!({"api_name": api, "api_version": "v1", "endpoint_method": "GET", "endpoint_uri": uri,
           "endpoint_description": "test"})
}

#[test]
fn each_change_is_a_revision_that_can_be_seen_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::at(folder.path(), &[]);
    house.done("POST", "/group", json!({"group_name": "staff", "group_description": "one"}));
    let first = house.newest();
    assert_eq!(
        (&first["action"], &first["object"], &first["actor"]),
        (&json!("group.create"), &json!("group/staff"), &json!("admin"))
    );
    house.done("PUT", "/group/staff", json!({"group_description": "two"}));
    let second = house.newest()["id"].as_u64().unwrap();
    let (_, shown) = house.call("GET", &format!("/config/revisions/{second}"), None);
    assert_eq!(
        shown["changes"],
        json!([{"table": "groups", "key": "staff", "op": "update",
        "before": {"group_description": "one"}, "after": {"group_description": "two"}}])
    );
    house.done("PUT", "/group/staff", json!({"group_description": "three"}));
    let third = house.newest()["id"].as_u64().unwrap();
    let (status, refused) = house.call("POST", &format!("/config/revisions/{second}/revert"), None);
    let text = refused["error_message"].as_str().unwrap_or_default();
    assert!(
        status == 409 && text.contains(&format!("revision {third} (group.update by admin)")),
        "{refused}"
    );
    house.done("POST", &format!("/config/revisions/{third}/revert"), json!({}));
    assert_eq!(house.call("GET", "/group/staff", None).1["group_description"], "two");
    assert_eq!(
        (&house.newest()["action"], &house.newest()["undoes"]),
        (&json!("config.revert"), &json!([third]))
    );
    let (_, diff) = house.call("GET", &format!("/config/revisions/diff?from={}", first["id"]), None);
    assert_eq!(
        (&diff["total"], &diff["changes"][0]["after"]),
        (&json!(1), &json!({"group_description": "two"}))
    );
    house.done("DELETE", "/group/staff", json!({}));
    house.daemon.kill().unwrap();
    let house = House::at(folder.path(), &[]);
    house.done("POST", &format!("/config/revisions/{}/rollback", first["id"]), json!({}));
    assert_eq!(house.call("GET", "/group/staff", None).1["group_description"], "one", "also after a restart");
    let (status, again) = house.call("POST", &format!("/config/revisions/{}/rollback", first["id"]), None);
    assert_eq!((status, &again["error_code"]), (409, &json!("GH-CONFLICT")), "it is so already");
    assert_eq!(house.call("POST", "/config/revisions/999999/revert", None).0, 404);
}

#[test]
fn the_history_shows_no_secret_gives_no_power_and_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::at(folder.path(), &[("GATEHOUSE_HISTORY_REVISIONS", "6")]);
    let secret = "Another-Horse-7-Battery";
    house.done("POST", "/role", json!({"role_name": "gate", "manage_gateway": true}));
    house.done(
        "POST",
        "/user",
        json!({"username": "eva", "email": "eva@x.org", "password": secret, "role": "gate"}),
    );
    let made = house.newest()["id"].as_u64().unwrap();
    house.done("POST", "/vault", json!({"key_name": "bank", "value": secret}));
    let eva = house.daemon.login("eva", secret).unwrap();
    let call = |path: &str, method: &str| {
        house.daemon.call(method, &format!("/platform{path}"), &eva, None).unwrap()
    };
    for id in [made, house.newest()["id"].as_u64().unwrap()] {
        let (status, shown) = house.call("GET", &format!("/config/revisions/{id}"), None);
        let text = shown.to_string();
        assert!(status == 200 && !text.contains("argon2") && !text.contains("gh1:"), "{text}");
        let (status, hidden) = call(&format!("/config/revisions/{id}"), "GET");
        assert_eq!(
            (status, &hidden["changes"][0]["hidden"]),
            (200, &json!(true)),
            "no permission for the table"
        );
    }
    assert_eq!(call(&format!("/config/revisions/{made}/revert"), "POST").0, 403);
    house.done("POST", &format!("/config/revisions/{made}/revert"), json!({}));
    assert_eq!(call("/config/revisions", "GET").0, 401, "the user is gone, and the token with them");
    for index in 0..10 {
        house.done("POST", "/group", json!({"group_name": format!("g{index}")}));
    }
    let (_, list) = house.call("GET", "/config/revisions", None);
    assert_eq!((&list["total"], &list["revisions"][0]["object"]), (&json!(6), &json!("group/g9")));
    assert_eq!(house.call("GET", &format!("/config/revisions/{made}"), None).0, 404);
    let from = made.to_string();
    assert_eq!(
        house.call("GET", &format!("/config/revisions/diff?from={from}"), None).0,
        404,
        "not kept so far"
    );
}

#[test]
fn an_api_that_has_grown_since_does_not_go_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::at(folder.path(), &[]);
    house.done("POST", "/api", api("shop", "http://127.0.0.1:9"));
    let made = house.newest()["id"].as_u64().unwrap();
    house.done("POST", "/endpoint", endpoint("shop", "/x"));
    let (status, refused) = house.call("POST", &format!("/config/revisions/{made}/revert"), None);
    let text = refused["error_message"].as_str().unwrap_or_default();
    assert!(status == 409 && text.contains("(endpoint.create by admin) came later"), "{refused}");
    house.done("DELETE", "/api/shop/v1", json!({}));
    let gone = house.newest();
    assert_eq!(gone["rows"], 2);
    house.done("POST", &format!("/config/revisions/{}/revert", gone["id"]), json!({}));
    assert_eq!(house.call("GET", "/endpoint/GET/shop/v1/x", None).0, 200, "with all that went with it");
}

#[test]
fn who_saw_an_older_state_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::at(folder.path(), &[]);
    house.done("POST", "/api", api("shop", "http://127.0.0.1:9"));
    house.done("POST", "/endpoint", endpoint("shop", "/x/{id}"));
    house.done("POST", "/group", json!({"group_name": "staff"}));
    house.done(
        "POST",
        "/routing",
        json!({"routing_name": "r", "routing_servers": ["http://127.0.0.1:9"], "client_key": "k"}),
    );
    for (path, change) in [
        ("/api/shop/v1", json!({"api_description": "new"})),
        ("/endpoint/GET/shop/v1/x/{id}", json!({"endpoint_description": "new"})),
        ("/group/staff", json!({"group_description": "new"})),
        ("/routing/k", json!({"routing_description": "new"})),
        ("/user/admin", json!({"throttle_duration": 7})),
        ("/security/settings", json!({"dump_path": "generated/other.bin"})),
    ] {
        let path = path.replace('{', "%7B").replace('}', "%7D");
        let (status, tag, before) = house.tagged("GET", &path, "", &Value::Null);
        if path == "/security/settings" {
            assert_eq!(status, 200, "no row yet, no tag: {tag}");
            house.done("PUT", &path, json!({"dump_path": "generated/one.bin"}));
        } else {
            assert!(status == 200 && tag.starts_with('"'), "{path}: {status} {tag} {before}");
        }
        let (_, tag, before) = house.tagged("GET", &path, "", &Value::Null);
        let (status, now, refused) =
            house.tagged("PUT", &path, "\"00000000-000000000000000000000000\"", &change);
        assert_eq!((status, &refused["error_code"]), (412, &json!("GH-PRECONDITION")), "{path}");
        assert_eq!(now, tag, "{path}: it says what is there");
        assert_eq!(house.tagged("GET", &path, "", &Value::Null).2, before, "{path}: nothing changed");
        let (status, _, done) = house.tagged("PUT", &path, &tag, &change);
        assert_eq!(status, 200, "{path}: {done}");
        assert_eq!(house.tagged("PUT", &path, &tag, &change).0, 412, "{path}: used up");
        assert_ne!(house.tagged("GET", &path, "", &Value::Null).1, tag);
    }
    let (_, tag, _) = house.tagged("GET", "/api/shop/v1", "", &Value::Null);
    house.done("PUT", "/api/shop/v1", json!({"api_description": "meanwhile"}));
    assert_eq!(house.tagged("DELETE", "/api/shop/v1", &tag, &json!({})).0, 412);
    let (_, tag, _) = house.tagged("GET", "/api/shop/v1", "", &Value::Null);
    assert_eq!(house.tagged("DELETE", "/api/shop/v1", &format!("\"other\", {tag}"), &json!({})).0, 200);
    let new = json!({"group_name": "brand-new"});
    assert_eq!(house.tagged("POST", "/group", "*", &new).0, 412, "there is none that could match");
}

#[test]
fn a_dry_run_tells_all_and_does_nothing() {
    let (_folder, daemon, root, ana) = shop(&[]);
    let house = House { daemon, root };
    let now = |house: &House| {
        let (_, audit) = house.daemon.ops("GET", "/v1/audit?limit=1", None).unwrap();
        (house.newest(), audit["items"][0]["seq"].clone(), house.call("GET", "/config/export/all", None).1)
    };
    let before = now(&house);
    let plan = |method: &str, path: &str, body: Value| {
        let (status, plan) = house.call(method, &format!("{path}?dry_run=true"), Some(body));
        assert_eq!((status, &plan["dry_run"]), (200, &json!(true)), "{method} {path}: {plan}");
        plan
    };
    let changed = plan("PUT", "/api/shop/v1", json!({"api_description": "new"}));
    assert_eq!(
        changed["changes"],
        json!([{"table": "apis", "key": "shop/v1", "op": "update",
        "before": {"api_description": null}, "after": {"api_description": "new"}}])
    );
    assert_eq!((&changed["routes"], &changed["refused"]), (&json!(["shop/v1"]), &json!([])));
    let gone = plan("DELETE", "/api/shop/v1", json!({}));
    let of =
        |table: &str| gone["changes"].as_array().unwrap().iter().filter(|row| row["table"] == table).count();
    assert_eq!((of("apis"), of("endpoints"), of("subscriptions")), (1, 8, 1), "{gone}");
    let secret = "Another-Horse-7-Battery";
    let user = json!({"username": "eva", "email": "eva@x.org", "password": secret, "role": "user"});
    let made = plan("POST", "/user", user);
    assert_eq!((&made["actions"][0]["action"], &made["routes"]), (&json!("user.create"), &json!([])));
    assert!(!made.to_string().contains("argon2") && !made.to_string().contains(secret), "{made}");
    let refused = plan("POST", "/endpoint", endpoint("none", "/x"));
    assert_eq!((&refused["changes"], &refused["refused"][0]["error_code"]), (&json!([]), &json!("END002")));
    let refused = plan("PUT", "/api/shop/v1", json!({"api_servers": ["nowhere"]}));
    assert_eq!(refused["refused"][0]["status"], 400, "{refused}");
    let import = plan("POST", "/config/import", json!({"apis": [api("other", "http://127.0.0.1:1")]}));
    assert_eq!(import["routes"], json!(["other/v1"]));
    let (status, key) =
        house.daemon.call("POST", "/api/v1/api-keys?dry_run=true", &ana, Some(json!({"name": "k"}))).unwrap();
    assert!(status == 200 && key["dry_run"] == true && !key.to_string().contains("mcp_"), "{key}");
    let (_, keys) = house.daemon.call("GET", "/api/v1/api-keys", &ana, None).unwrap();
    assert!(!keys.to_string().contains("\"k\""), "{keys}");
    let login = json!({"email": "admin", "password": PASSWORD});
    let (_, login) =
        house.daemon.call("POST", "/platform/authorization?dry_run=true", "", Some(login)).unwrap();
    assert!(login["dry_run"] == true && login["access_token"].is_null(), "{login}");
    for (method, path) in
        [("POST", "/config/reload"), ("POST", "/memory/dump"), ("POST", "/security/restart")]
    {
        let (status, answer) = house.call(method, &format!("{path}?dry_run=true"), None);
        assert_eq!((status, &answer["error_code"]), (400, &json!("GH-BAD-INPUT")), "{path}: {answer}");
    }
    let (status, _) = house.daemon.call("DELETE", "/platform/api/shop/v1?dry_run=1", &ana, None).unwrap();
    assert_eq!(status, 403, "who may not do it is not told what it would do");
    assert_eq!(now(&house), before, "no revision, no record, no row");
    assert_eq!(house.daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200);
}

#[test]
fn what_is_refused_is_in_the_trail_and_cannot_fill_it() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::at(folder.path(), &[]);
    house.done(
        "POST",
        "/user",
        json!({"username": "eva", "email": "eva@x.org", "password": PASSWORD, "role": "user"}),
    );
    let eva = house.daemon.login("eva", PASSWORD).unwrap();
    assert_eq!(
        house.daemon.call("POST", "/platform/group", &eva, Some(json!({"group_name": "g"}))).unwrap().0,
        403
    );
    assert_eq!(house.daemon.call("DELETE", "/platform/group/ALL", "", None).unwrap().0, 401);
    let login = |name: &str| {
        let body = json!({"email": name, "password": "wrong"});
        house.daemon.call("POST", "/platform/authorization", "", Some(body)).unwrap().0
    };
    assert_eq!([login("eva"), login("my-password-typed-here")], [400, 400]);
    let trail =
        || house.daemon.ops("GET", "/v1/audit?q=refused&limit=1000", None).unwrap().1["records"].clone();
    let seen = eventually("the records", || match trail().as_array().map(Vec::len) {
        Some(4) => Ok(trail()),
        other => Err(other),
    });
    let seen = seen.unwrap();
    let told: Vec<_> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {}", one["actor"], one["action"], one["object"]))
        .collect();
    assert_eq!(told[3], "\"eva\" \"request.refused\" \"POST /platform/group\"");
    assert_eq!(told[2], "\"anonymous\" \"request.refused\" \"DELETE /platform/group/ALL\"");
    assert_eq!(told[1], "\"eva\" \"login.refused\" \"user/eva\"");
    assert!(told[0].contains("unknown:") && !seen.to_string().contains("typed-here"), "{told:?}");
    for _ in 0..15 {
        login("eva");
    }
    let (_, found) = house.call("GET", "/logging/logs?action=login.refused&actor=eva", None);
    let count = found["total"].as_u64().unwrap();
    assert!((1..=10).contains(&count), "{count} of 16 attempts");
    assert_eq!(house.call("GET", "/logging/logs?object=group/ALL", None).1["total"], 1);
}

#[test]
fn sixteen_writers_are_committed_together() {
    const EACH: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let house = House::at(folder.path(), &[]);
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let house = &house;
            scope.spawn(move || {
                for index in 0..EACH {
                    house.done("POST", "/group", json!({"group_name": format!("g{writer}-{index}")}));
                }
            });
        }
    });
    let rate = (16 * EACH) as f64 / begun.elapsed().as_secs_f64();
    let (_, list) = house.call("GET", "/config/revisions?action=group.create", None);
    assert_eq!(list["total"], 16 * EACH, "each is a revision of its own");
    // A build with checks, on a machine that others use, is slower than a release.
    assert!(rate > if cfg!(debug_assertions) { 25.0 } else { 200.0 }, "{rate:.0} changes a second");
}
