//! The manager's configuration as a whole: vault, export and import, dumps, what the files tell.

use crate::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::path::Path;

fn house() -> (tempfile::TempDir, Daemon, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let root = daemon.login("admin", PASSWORD).unwrap();
    (folder, daemon, root)
}

fn user(daemon: &Daemon, root: &str, name: &str, role: &str) -> String {
    let email = format!("{name}@x.org");
    let user =
        json!({"username": name, "email": email, "password": PASSWORD, "role": role, "groups": ["ALL"]});
    let (status, answer) = daemon.call("POST", "/platform/user", root, Some(user)).unwrap();
    assert_eq!(status, 201, "{answer}");
    daemon.login(name, PASSWORD).unwrap()
}

/// Whether any file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => holds(&entry.path(), bytes),
        kind if kind.is_file() => {
            let text = std::fs::read(entry.path()).unwrap();
            text.windows(bytes.len()).any(|window| window == bytes)
        }
        _ => false,
    })
}

#[test]
fn a_vault_keeps_what_it_is_given_to_itself() {
    let (folder, daemon, root) = house();
    let (ana, eva) = (user(&daemon, &root, "ana", "user"), user(&daemon, &root, "eva", "user"));
    let secret = "xyzzy-open-sesame-42";
    let entry = json!({"key_name": "bank", "value": secret, "description": "mine"});
    let call = |method: &str, path: &str, token: &str, body: Option<Value>| {
        let (status, answer) = daemon.call(method, &format!("/platform/vault{path}"), token, body).unwrap();
        assert!(!answer.to_string().contains(secret), "{method} {path}: {answer}");
        (status, answer)
    };
    assert_eq!(call("POST", "", "", Some(entry.clone())).0, 401);
    assert_eq!(call("POST", "", &ana, Some(entry.clone())).0, 201);
    let (status, again) = call("POST", "", &ana, Some(entry.clone()));
    assert_eq!((status, &again["error_code"]), (409, &json!("VAULT004")));
    assert_eq!(call("GET", "", &ana, None).1["count"], 1);
    assert_eq!(call("PUT", "/bank", &ana, Some(json!({"description": "other", "value": "ignored"}))).0, 200);
    assert_eq!(call("GET", "/bank", &ana, None).1["description"], "other");
    for method in ["GET", "DELETE"] {
        let (status, answer) = call(method, "/bank", &eva, None);
        assert_eq!((status, &answer["error_code"]), (404, &json!("VAULT007")), "another's");
    }
    assert_eq!(call("GET", "", &root, None).1["entries"], json!([]));
    assert_eq!(daemon.call("DELETE", "/platform/user/ana", &root, None).unwrap().0, 200);
    let ana = user(&daemon, &root, "ana", "user");
    assert_eq!(call("GET", "", &ana, None).1["count"], 0, "another one of that name");
    assert_eq!(call("POST", "", &ana, Some(entry)).0, 201);
    assert_eq!(call("DELETE", "/bank", &ana, None).0, 200);
    daemon.kill().unwrap();
    assert!(!holds(folder.path(), secret.as_bytes()), "not in the store, the trail or a log");
}

fn api(name: &str, server: &str) -> Value {
    json!({"api_name": name, "api_version": "v1", "api_servers": [server], "api_allowed_groups": ["ALL"]})
}

fn endpoint(api: &str, uri: &str) -> Value {
    json!({"api_name": api, "api_version": "v1", "endpoint_method": "GET", "endpoint_uri": uri,
           "endpoint_description": "test"})
}

#[test]
fn what_is_exported_can_be_imported_elsewhere() {
    let (_first, one, root) = house();
    let made = |path: &str, body: Value| {
        let (status, answer) = one.call("POST", path, &root, Some(body)).unwrap();
        assert_eq!(status, 201, "{path}: {answer}");
    };
    made("/platform/api", api("shop", "http://127.0.0.1:9"));
    made("/platform/endpoint", endpoint("shop", "/items/{id}"));
    made("/platform/role", json!({"role_name": "helper", "manage_apis": true}));
    made("/platform/group", json!({"group_name": "staff"}));
    made(
        "/platform/routing",
        json!({"routing_name": "r", "routing_servers": ["http://127.0.0.1:9"], "client_key": "k"}),
    );
    let (_, exported) = one.call("GET", "/platform/config/export/all", &root, None).unwrap();
    let (_, single) =
        one.call("GET", "/platform/config/export/apis?api_name=shop&api_version=v1", &root, None).unwrap();
    for (path, code) in [
        ("apis?api_name=none&api_version=v1", "CFG404"),
        ("roles?role_name=none", "CFG405"),
        ("groups?group_name=none", "CFG406"),
        ("routings?client_key=none", "CFG407"),
    ] {
        let (status, answer) =
            one.call("GET", &format!("/platform/config/export/{path}"), &root, None).unwrap();
        assert_eq!((status, &answer["error_code"]), (404, &json!(code)));
    }
    let (_second, two, other) = house();
    let import = |body: Value| two.call("POST", "/platform/config/import", &other, Some(body)).unwrap();
    let (status, counts) = import(exported.clone());
    assert_eq!(
        (status, &counts["imported"]["apis"], &counts["imported"]["roles"]),
        (200, &json!(1), &json!(2))
    );
    let (_, again) = two.call("GET", "/platform/config/export/all", &other, None).unwrap();
    assert_eq!(again, exported, "ids too");
    let wrapped = json!({"apis": [single["api"]], "endpoints": single["endpoints"], "unknown": [1]});
    let (status, counts) = import(wrapped);
    assert_eq!((status, &counts["imported"]["endpoints"]), (200, &json!(1)));
    assert_eq!(counts["snapshot_id"], Value::Null, "nothing changed");
}

#[test]
fn an_import_is_whole_or_not_at_all_and_can_be_taken_back() {
    let (folder, daemon, root) = house();
    let call = |method: &str, path: &str, body: Option<Value>| {
        daemon.call(method, &format!("/platform{path}"), &root, body).unwrap()
    };
    assert_eq!(call("POST", "/config/rollback", None).0, 404, "nothing to take back");
    assert_eq!(call("POST", "/api", Some(api("old", "http://127.0.0.1:1"))).0, 201);
    let before = call("GET", "/config/export/all", None).1;
    let bad = json!({"apis": [api("a", "http://127.0.0.1:2"), api("b", "nowhere")]});
    let (status, refused) = call("POST", "/config/import", Some(bad));
    assert!(
        status == 400 && refused["error_message"].as_str().unwrap().starts_with("apis[1]: "),
        "{refused}"
    );
    let orphan = json!({"groups": [{"group_name": "g"}], "endpoints": [endpoint("none", "/")]});
    let (status, refused) = call("POST", "/config/import", Some(orphan));
    assert_eq!((status, &refused["error_code"]), (400, &json!("END002")));
    let twice = json!({"endpoints": [endpoint("old", "/x/{a}"), endpoint("old", "/x/{b}")]});
    assert_eq!(call("POST", "/config/import", Some(twice)).1["error_code"], "END001");
    assert_eq!(call("GET", "/config/export/all", None).1, before, "nothing of the refused ones");
    let first = json!({"apis": [api("old", "http://127.0.0.1:3"), api("new", "http://127.0.0.1:4")],
                       "endpoints": [endpoint("new", "/x")]});
    let (status, first) = call("POST", "/config/import", Some(first));
    assert_eq!(status, 200, "{first}");
    let second = json!({"groups": [{"group_name": "staff"}]});
    assert_eq!(call("POST", "/config/import", Some(second)).0, 200);
    daemon.kill().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let root = daemon.login("admin", PASSWORD).unwrap();
    let call = |method: &str, path: &str, body: Option<Value>| {
        daemon.call(method, &format!("/platform{path}"), &root, body).unwrap()
    };
    assert_eq!(call("POST", "/config/rollback", None).0, 200, "the newest");
    assert_eq!(call("GET", "/group/staff", None).0, 404);
    assert_eq!(call("GET", "/api/new/v1", None).0, 200);
    let path = format!("/config/rollback?snapshot_id={}", first["snapshot_id"].as_str().unwrap());
    assert_eq!(call("POST", &path, None).0, 200);
    assert_eq!(call("GET", "/config/export/all", None).1, before);
    assert_eq!(call("POST", &path, None).0, 404, "taken back already");
}

#[test]
fn an_import_gives_nobody_a_power_they_lack() {
    let (_folder, daemon, root) = house();
    let role =
        json!({"role_name": "gate", "manage_gateway": true, "manage_apis": true, "manage_roles": true});
    assert_eq!(daemon.call("POST", "/platform/role", &root, Some(role)).unwrap().0, 201);
    let role = json!({"role_name": "narrow", "manage_gateway": true});
    assert_eq!(daemon.call("POST", "/platform/role", &root, Some(role)).unwrap().0, 201);
    let (gate, narrow) = (user(&daemon, &root, "gate", "gate"), user(&daemon, &root, "narrow", "narrow"));
    let plain = user(&daemon, &root, "eva", "user");
    let import = |token: &str, body: Value| {
        let (status, answer) = daemon.call("POST", "/platform/config/import", token, Some(body)).unwrap();
        (status, answer["error_code"].as_str().unwrap_or_default().to_owned())
    };
    let lists = json!({"apis": [api("shop", "http://127.0.0.1:9")]});
    assert_eq!(import("", lists.clone()).0, 401);
    assert_eq!(import(&plain, lists.clone()), (403, "CFG006".to_owned()));
    assert_eq!(import(&narrow, lists.clone()), (403, "CFG006".to_owned()));
    assert_eq!(import(&gate, lists).0, 200);
    for role in [
        json!({"role_name": "admin", "manage_tiers": false}),
        json!({"role_name": "gate", "platform_admin": true}),
    ] {
        assert_eq!(import(&gate, json!({ "roles": [role] })), (403, "ROLE014".to_owned()));
    }
    let (_, seen) = daemon.call("GET", "/platform/config/export/all", &gate, None).unwrap();
    assert!(!seen["roles"].to_string().contains("\"admin\""), "{}", seen["roles"]);
}

#[test]
fn settings_are_shown_and_read_anew() {
    let (_folder, daemon, root) = house();
    let (status, now) = daemon.call("GET", "/platform/config/current", &root, None).unwrap();
    assert_eq!((status, &now["config"]["login_rate_disabled"]), (200, &json!("true")));
    assert_eq!(now["sources"]["login_rate_disabled"], "environment GATEHOUSE_LOGIN_RATE_DISABLED");
    assert!(!now.to_string().contains(PASSWORD), "{now}");
    let (status, done) = daemon.call("POST", "/platform/config/reload", &root, None).unwrap();
    assert_eq!((status, &done["needs_restart"]), (200, &json!([])), "{done}");
    let (_, keys) = daemon.call("GET", "/platform/config/reloadable-keys", &root, None).unwrap();
    assert!(keys["reloadable_keys"].as_array().unwrap().contains(&json!("log_level")), "{keys}");
    let eva = user(&daemon, &root, "eva", "user");
    for (method, path) in
        [("GET", "current"), ("POST", "reload"), ("POST", "rollback"), ("GET", "export/all")]
    {
        let (status, _) = daemon.call(method, &format!("/platform/config/{path}"), &eva, None).unwrap();
        assert_eq!(status, 403, "{path}");
    }
}

#[test]
fn a_dump_is_encrypted_and_brings_everything_back() {
    let (folder, daemon, root) = house();
    let call = |method: &str, path: &str, token: &str, body: Option<Value>| {
        daemon.call(method, &format!("/platform{path}"), token, body).unwrap()
    };
    assert_eq!(call("POST", "/memory/restore", &root, Some(json!({}))).0, 404, "none yet");
    assert_eq!(call("POST", "/group", &root, Some(json!({"group_name": "needle-in-a-dump"}))).0, 201);
    let settings = json!({"ip_blacklist": ["203.0.113.7"]});
    assert_eq!(call("PUT", "/security/settings", &root, Some(settings)).0, 200);
    let (status, made) = call("POST", "/memory/dump", &root, None);
    assert_eq!(status, 200, "{made}");
    let path = Path::new(made["response"]["path"].as_str().unwrap()).to_owned();
    let bytes = std::fs::read(&path).unwrap();
    assert!(
        bytes.starts_with(b"DMP1") && path.starts_with(folder.path().canonicalize().unwrap()),
        "{path:?}"
    );
    assert!(!bytes.windows(6).any(|part| part == b"needle"));
    for bad in ["/etc/cron.d/x.bin", "../x.bin", "store/x.bin"] {
        assert_eq!(call("POST", "/memory/dump", &root, Some(json!({ "path": bad }))).0, 400, "{bad}");
    }
    let role = json!({"role_name": "guard", "manage_security": true});
    assert_eq!(call("POST", "/role", &root, Some(role)).0, 201);
    let guard = user(&daemon, &root, "guard", "guard");
    assert_eq!(call("POST", "/memory/restore", &guard, None).0, 403, "roles come with it");
    assert_eq!(call("DELETE", "/group/needle-in-a-dump", &root, None).0, 200);
    assert_eq!(call("PUT", "/security/settings", &root, Some(json!({"ip_blacklist": []}))).0, 200);
    let (status, back) =
        call("POST", "/memory/restore", &root, Some(json!({"path": "dumps/memory_dump.bin"})));
    assert_eq!((status, &back["response"]["version"]), (200, &json!(1)), "{back}");
    assert_eq!(call("GET", "/group/needle-in-a-dump", &root, None).0, 200);
    assert_eq!(call("GET", "/security/settings", &root, None).1["ip_blacklist"], json!(["203.0.113.7"]));
    assert_eq!(call("GET", "/user/guard", &root, None).0, 404, "what came later goes");
    let mut cut = bytes;
    cut.truncate(100);
    std::fs::write(folder.path().join("dumps/cut.bin"), cut).unwrap();
    assert_eq!(call("POST", "/memory/restore", &root, Some(json!({"path": "dumps/cut.bin"}))).0, 400);
}

#[test]
fn what_was_done_and_served_is_found_in_the_files() {
    let (_folder, daemon, admin, ana) = shop::shop(&[]);
    for path in ["/api/rest/shop/v1/echo", "/api/rest/shop/v1/echo", "/api/rest/shop/v1/nowhere"] {
        daemon.call("GET", path, &ana, None).unwrap();
    }
    let get = |token: &str, path: &str| daemon.call("GET", &format!("/platform{path}"), token, None).unwrap();
    let gateway = eventually("the records to be written", || {
        let (_, found) = get(&admin, "/logging/logs?type=gateway&limit=2");
        if found["total"] == 3 { Ok(found) } else { Err(found) }
    })
    .unwrap();
    assert_eq!((gateway["logs"].as_array().unwrap().len(), &gateway["has_more"]), (2, &json!(true)));
    assert_eq!(gateway["logs"][0]["status_code"], 404, "newest first: {gateway}");
    let (_, of_ana) = get(&admin, "/logging/logs?user=ana&api=shop&method=get&endpoint=echo");
    assert_eq!(of_ana["total"], 2);
    eventually("the trail to be written", || {
        let (_, found) = get(&admin, "/logging/logs?type=platform&endpoint=api%2Fshop");
        if found["total"] == 1 { Ok(()) } else { Err(found) }
    })
    .unwrap();
    assert_eq!(get(&admin, "/logging/logs?start_date=2020-01-01&end_date=2020-01-02").1["total"], 0);
    assert_eq!(get(&admin, "/logging/logs?start_date=yesterday").0, 422);
    let (_, statistics) = get(&admin, "/logging/logs/statistics?type=gateway");
    assert_eq!(
        (&statistics["total_logs"], &statistics["top_apis"][0]["name"]),
        (&json!(3), &json!("shop/v1"))
    );
    assert!(get(&admin, "/logging/logs/files").1["count"].as_u64().unwrap() >= 2);
    let (_, csv) = get(&admin, "/logging/logs/export?format=csv&user=ana");
    assert!(csv["data"].as_str().unwrap().lines().nth(1).unwrap().ends_with(",ALL,user"), "{csv}");
    let (status, text) = get(&admin, "/logging/logs/download?format=csv&type=gateway");
    assert!(status == 200 && text.as_str().unwrap().starts_with("timestamp,level"), "{text}");
    let (_, overview) = get(&admin, "/analytics/overview?range=1h");
    assert_eq!(
        (&overview["summary"]["total_requests"], &overview["summary"]["unique_users"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(overview["status_distribution"]["200"], 2, "{overview}");
    let (_, series) = get(&admin, "/analytics/timeseries?granularity=minute");
    assert!(series["series"][0]["value"].is_u64(), "{series}");
    assert_eq!(get(&admin, "/analytics/top-endpoints?sort_by=avg_ms&limit=1").1["total_endpoints"], 2);
    assert_eq!(
        (get(&admin, "/analytics/api/shop/v1").0, get(&admin, "/analytics/user/nobody").0),
        (200, 404)
    );
    assert_eq!(get(&ana, "/dashboard").0, 200);
    assert!(get(&admin, "/dashboard").1["totalRequests"].as_u64().unwrap() >= 3);
    for (path, code) in [
        ("/logging/logs", "LOG001"),
        ("/logging/logs/statistics", "LOG002"),
        ("/logging/logs/export", "LOG003"),
        ("/logging/logs/download", "LOG004"),
        ("/logging/logs/files", "LOG005"),
        ("/analytics/overview", "ANALYTICS001"),
        ("/tools/grpc/check", "TLS001"),
        ("/tools/chaos/stats", "TLS001"),
    ] {
        let (status, answer) = get(&ana, path);
        assert_eq!((status, &answer["error_code"]), (403, &json!(code)), "{path}");
    }
}

#[test]
fn an_outage_of_what_is_not_there_is_told_and_ends() {
    let (_folder, daemon, root) = house();
    let toggle =
        |body: Value| daemon.call("POST", "/platform/tools/chaos/toggle", &root, Some(body)).unwrap();
    let stats = || daemon.call("GET", "/platform/tools/chaos/stats", &root, None).unwrap().1;
    assert_eq!(toggle(json!({"backend": "oracle", "enabled": true})).1["error_code"], "TLS002");
    let (status, answer) = toggle(json!({"backend": "redis", "enabled": true, "duration_ms": 300}));
    assert_eq!((status, &answer["enabled"]), (200, &json!(true)));
    assert_eq!(stats()["redis_outage"], true);
    let over = || if stats()["redis_outage"] == false { Ok(()) } else { Err(stats()) };
    eventually("the outage to end", over).unwrap();
    assert_eq!(stats()["error_budget_burn"], 0);
    let (_, grpc) = daemon.call("GET", "/platform/tools/grpc/check", &root, None).unwrap();
    assert_eq!(grpc["available"]["grpc"], false);
}
