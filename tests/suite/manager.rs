//! What the manager takes, keeps and answers: every field of an API, routings, credits, the platform's security settings.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::Path;

fn daemon(settings: &[(&str, &str)]) -> (tempfile::TempDir, Daemon, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), settings).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    (folder, daemon, admin)
}

/// One exchange with header lines of its own.
fn raw(daemon: &Daemon, line: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = std::net::TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether a text lies anywhere below a folder.
fn lies_in(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return lies_in(&path, text);
        }
        std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    })
}

#[test]
fn every_field_of_an_api_is_kept_and_answered() {
    let (folder, daemon, admin) = daemon(&[]);
    let fields = json!({
        "api_name": "all", "api_version": "v1", "api_servers": ["https://up.example.org/base"],
        "api_allowed_retry_count": 2, "api_retry_non_idempotent": true, "api_credits_enabled": true,
        "api_credit_group": "gold", "api_cors_allow_origins": ["https://*.example.org"],
        "api_cors_allow_methods": ["GET"], "api_cors_allow_headers": ["*"], "api_cors_expose_headers": ["x-a"],
        "api_cors_allow_credentials": true, "api_ip_mode": "whitelist", "api_ip_whitelist": ["10.0.0.0/8"],
        "api_ip_blacklist": ["10.1.0.0/16"], "api_trust_x_forwarded_for": true,
        "api_request_transform": {"headers": {"remove": ["x-a"]}}, "api_response_transform": {"status_map": {"500": 502}},
        "api_connect_timeout": 1.5, "api_read_timeout": 2.0, "api_write_timeout": 3.0, "api_total_timeout": 4.0,
        "api_hostname": "Api.Example.org", "api_auth_required": false, "api_anonymous_allowed": true,
        "api_anonymous_credit_group": "free", "api_balance": "hash:X-Tenant",
        "api_health_check": {"path": "/up", "interval": 1}, "api_cache": true, "api_compress": false,
        "api_websocket": true, "api_body_bytes": 1000, "api_in_flight": 5, "api_priority": 9,
        "api_graphql_max_depth": 3, "api_grpc_allowed_methods": ["Svc.Get"], "api_is_crud": false,
        "api_ws_security": {"username": "u", "password": "hidden-from-everyone"},
    });
    let (status, made) = daemon.call("POST", "/platform/api", &admin, Some(fields.clone())).unwrap();
    assert_eq!(status, 201, "{made}");
    let (_, got) = daemon.call("GET", "/platform/api/all/v1", &admin, None).unwrap();
    for (name, value) in fields.as_object().unwrap().iter().filter(|(name, _)| *name != "api_ws_security") {
        assert_eq!(&got[name], value, "{name}");
        assert_eq!(&made["api"][name], value, "{name}");
    }
    assert_eq!(got["api_ws_security"], json!({"username": "u", "password_present": true}));
    assert!(!lies_in(folder.path(), "hidden-from-everyone"), "in clear on the disk");
    let put = |body: Value| daemon.call("PUT", "/platform/api/all/v1", &admin, Some(body)).unwrap();
    assert_eq!(put(json!({"api_ip_whitelist": null, "api_ip_mode": null, "api_priority": null})).0, 200);
    let (_, got) = daemon.call("GET", "/platform/api/all/v1", &admin, None).unwrap();
    assert_eq!(
        (&got["api_ip_whitelist"], &got["api_ip_mode"], &got["api_priority"]),
        (&Value::Null, &json!("allow_all"), &json!(5)),
        "null sets back"
    );
    let other = json!({"api_name": "other", "api_version": "v1", "api_hostname": "api.example.ORG"});
    for (body, field) in [
        (json!({"api_balance": "random"}), "api_balance"),
        (json!({"api_ip_whitelist": ["x"]}), "api_ip_whitelist"),
        (json!({"api_priority": 10}), "api_priority"),
        (json!({"api_health_check": {"path": "up"}}), "api_health_check"),
        (json!({"api_issuer": {"name": "i"}}), "api_issuer"),
        (json!({"api_upstream_roots": "none"}), "api_upstream_roots"),
    ] {
        let (status, problem) = put(body);
        let text = problem["error_message"].as_str().unwrap_or_default();
        assert!(
            matches!(status, 400 | 422) && text.contains(field) && text.contains("expected"),
            "{problem}"
        );
    }
    let (status, problem) = daemon.call("POST", "/platform/api", &admin, Some(other)).unwrap();
    assert!(status == 400 && problem["error_message"].as_str().unwrap().contains("all/v1"), "{problem}");
}

#[test]
fn routings_answer_with_their_codes() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let routing =
        json!({"routing_name": "r", "routing_servers": ["http://127.0.0.1:1"], "client_key": "key-1"});
    for (method, path, token, body, status, code) in [
        ("POST", "/platform/routing", &*admin, Some(routing.clone()), 201, ""),
        ("POST", "/platform/routing", &admin, Some(routing.clone()), 400, "RTG001"),
        ("POST", "/platform/routing", &ana, Some(routing), 403, "RTG009"),
        (
            "POST",
            "/platform/routing",
            &admin,
            Some(json!({"routing_name": "r", "routing_servers": []})),
            400,
            "RTG002",
        ),
        ("GET", "/platform/routing/key-1", &admin, None, 200, ""),
        ("GET", "/platform/routing/key-1", &ana, None, 403, "RTG013"),
        ("GET", "/platform/routing/none", &admin, None, 400, "RTG004"),
        ("GET", "/platform/routing/all", &ana, None, 403, "RTG012"),
        ("PUT", "/platform/routing/key-1", &admin, Some(json!({"client_key": "other"})), 400, "RTG005"),
        ("PUT", "/platform/routing/key-1", &admin, Some(json!({})), 400, "RTG007"),
        ("PUT", "/platform/routing/key-1", &admin, Some(json!({"server_index": 1})), 200, ""),
        ("GET", "/platform/routing/all", "", None, 401, ""),
        ("DELETE", "/platform/routing/key-1", &admin, None, 200, ""),
        ("DELETE", "/platform/routing/key-1", &admin, None, 400, "RTG004"),
    ] {
        let (got, answer) = daemon.call(method, path, token, body).unwrap();
        let got_code = answer.get("error_code").and_then(Value::as_str).unwrap_or_default();
        assert_eq!((got, got_code), (status, code), "{method} {path}: {answer}");
    }
    let unnamed = json!({"routing_name": "r", "routing_servers": ["https://a.example.org"]});
    let (_, made) = daemon.call("POST", "/platform/routing", &admin, Some(unnamed)).unwrap();
    let (_, all) = daemon.call("GET", "/platform/routing/all?page_size=1", &admin, None).unwrap();
    let key = all["routings"][0]["client_key"].as_str().unwrap();
    assert!(made["message"].as_str().unwrap().contains(key), "{made} {all}");
}

#[test]
fn security_settings_hold_for_the_manager_itself() {
    let (_folder, daemon, admin) = daemon(&[]);
    let path = "/platform/security/settings";
    let put = |body: Value| daemon.call("PUT", path, &admin, Some(body)).unwrap();
    let (status, settings) = daemon.call("GET", path, &admin, None).unwrap();
    assert_eq!(
        (status, &settings["memory_only"], &settings["client_ip"]),
        (200, &json!(true), &json!("127.0.0.1"))
    );
    assert_eq!(settings["allow_localhost_bypass_locked"], false);
    assert_eq!(put(json!({"ip_blacklist": ["not an address"]})).1["error_code"], "SEC005");
    let (status, problem) = put(json!({"ip_whitelist": ["9.9.9.9"]}));
    assert!(status == 400 && problem["error_message"].as_str().unwrap().contains("shut out"), "{problem}");
    let lists = json!({"ip_whitelist": ["9.9.9.9"], "ip_blacklist": ["6.6.6.6"], "allow_localhost_bypass": true,
                       "trust_x_forwarded_for": true, "xff_trusted_proxies": ["127.0.0.1"]});
    let (status, after) = put(lists.clone());
    assert_eq!(status, 200, "{after}");
    for (name, value) in lists.as_object().unwrap() {
        assert_eq!(&after[name], value, "echoed");
    }
    let ask = |line: &str, from: &str| raw(&daemon, line, &[("X-Forwarded-For", from)]);
    for (from, status, code) in [
        ("9.9.9.9", "200", "alive"),
        ("5.5.5.5, 9.9.9.9", "200", "alive"),
        ("9.9.9.9, 5.5.5.5", "403", "SEC010"),
        ("6.6.6.6", "403", "SEC011"),
    ] {
        let answer = ask("GET /platform/monitor/liveness", from);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code),
            "{from}: {answer}"
        );
    }
    assert!(
        ask("GET /platform/security/settings", "6.6.6.6").starts_with("HTTP/1.1 401"),
        "the way to mend it is open"
    );
    assert_eq!(daemon.call("GET", "/platform/user/me", &admin, None).unwrap().0, 200, "loopback passes");
}

#[test]
fn a_restart_can_be_asked_for_and_settings_outlive_it() {
    let (_folder, daemon, admin, ana) = shop(&[("LOCAL_HOST_IP_BYPASS", "true")]);
    let path = "/platform/security/settings";
    let (_, settings) = daemon.call("GET", path, &admin, None).unwrap();
    assert_eq!(
        (&settings["allow_localhost_bypass"], &settings["allow_localhost_bypass_locked"]),
        (&json!(true), &json!(true))
    );
    let put = |body: Value| daemon.call("PUT", path, &admin, Some(body)).unwrap();
    assert_eq!(put(json!({"allow_localhost_bypass": false})).0, 400, "locked");
    assert_eq!(put(json!({"auto_save_frequency_seconds": 120})).0, 200);
    assert_eq!(daemon.call("GET", path, &ana, None).unwrap().1["error_code"], "SEC001");
    assert_eq!(
        daemon.call("POST", "/platform/security/restart", &ana, None).unwrap().1["error_code"],
        "SEC003"
    );
    assert_eq!(daemon.call("POST", "/platform/security/restart", &admin, None).unwrap().0, 202);
    let started = eventually("the new start", || match daemon.call("GET", "/api/status", &admin, None) {
        Ok((200, status)) if status["uptime_seconds"].as_u64() == Some(0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    started.unwrap();
    let (_, settings) = daemon.call("GET", path, &admin, None).unwrap();
    assert_eq!(settings["auto_save_frequency_seconds"], 120);
}

#[test]
fn credits_are_given_shown_and_filled_again_and_no_key_is_told() {
    let (folder, daemon, admin, ana) = shop(&[]);
    let definition = json!({
        "api_credit_group": "gold", "api_key": "the-key-that-pays", "api_key_header": "x-api-key",
        "credit_tiers": [{"tier_name": "free", "credits": 50, "input_limit": 0, "output_limit": 0, "reset_frequency": "daily"}],
    });
    let account = |user: &str, date: Value| {
        json!({"username": user, "users_credits": {"gold": {"tier_name": "free", "available_credits": 7,
               "reset_date": date, "user_api_key": "the-users-own-key"}}})
    };
    for (method, path, token, body, status, code) in [
        ("POST", "/platform/credit", &*ana, Some(definition.clone()), 403, "CRD001"),
        ("POST", "/platform/credit", &admin, Some(definition.clone()), 201, ""),
        ("POST", "/platform/credit", &admin, Some(definition), 400, "CRD001"),
        ("PUT", "/platform/credit/gold", &admin, Some(json!({"api_credit_group": "x"})), 400, "CRD003"),
        ("PUT", "/platform/credit/none", &admin, Some(json!({"api_key": "x"})), 400, "CRD004"),
        ("PUT", "/platform/credit/gold", &admin, Some(json!({})), 400, "CRD006"),
        ("PUT", "/platform/credit/gold", &admin, Some(json!({"api_key_header": "x-other"})), 200, ""),
        ("DELETE", "/platform/credit/none", &admin, None, 400, "CRD007"),
        ("GET", "/platform/credit/defs", &ana, None, 403, "CRD002"),
        ("GET", "/platform/credit/defs/none", &admin, None, 404, "CRD021"),
        ("GET", "/platform/credit/ana", &ana, None, 404, "CRD017"),
        ("POST", "/platform/credit/ana", &admin, Some(account("admin", Value::Null)), 400, "CRD014"),
        ("POST", "/platform/credit/ana", &admin, Some(account("ana", Value::Null)), 200, ""),
        ("POST", "/platform/credit/ana", &ana, Some(account("ana", Value::Null)), 403, "CRD001"),
        ("GET", "/platform/credit/admin", &ana, None, 403, "CRD003"),
        (
            "POST",
            "/platform/credit/rotate-key",
            &admin,
            Some(json!({"api_credit_group": "gold"})),
            400,
            "CRD020",
        ),
    ] {
        let (got, answer) = daemon.call(method, path, token, body).unwrap();
        let got_code = answer.get("error_code").and_then(Value::as_str).unwrap_or_default();
        assert_eq!((got, got_code), (status, code), "{method} {path}: {answer}");
    }
    let get = |path: &str| daemon.call("GET", path, &admin, None).unwrap().1;
    let (defs, one) = (get("/platform/credit/defs"), get("/platform/credit/defs/gold"));
    assert_eq!(
        (&defs["items"][0], &one["api_key_present"], &defs["page_size"]),
        (&one, &json!(true), &json!(50))
    );
    let mine = daemon.call("GET", "/platform/credit/ana", &ana, None).unwrap().1;
    assert_eq!(mine["users_credits"]["gold"]["available_credits"], 7);
    assert_eq!(get("/platform/credit/all?search=AN")["user_credits"][0], mine);
    assert_eq!(get("/platform/credit/all?search=nobody")["total"], 0);
    let (_, rotated) = daemon
        .call("POST", "/platform/credit/rotate-key", &ana, Some(json!({"api_credit_group": "gold"})))
        .unwrap();
    let fresh = rotated["api_key"].as_str().unwrap().to_owned();
    for secret in ["the-key-that-pays", "the-users-own-key", &fresh] {
        assert!(![&defs, &one, &mine].iter().any(|answer| answer.to_string().contains(secret)), "{secret}");
        assert!(!lies_in(folder.path(), secret), "{secret} in clear on the disk");
    }
    let due = account("ana", json!("2020-01-31"));
    assert_eq!(daemon.call("POST", "/platform/credit/ana", &admin, Some(due)).unwrap().0, 200);
    let filled = eventually("the account to be filled again", || {
        let gold = get("/platform/credit/ana")["users_credits"]["gold"].clone();
        if gold["available_credits"] == 50 { Ok(gold) } else { Err(gold) }
    });
    assert!(filled.unwrap()["reset_date"].as_str().unwrap() > "2026");
}

#[test]
fn pages_of_named_origins_may_use_the_manager() {
    let settings = [("ALLOWED_ORIGINS", "https://console.example.org"), ("ALLOW_CREDENTIALS", "true")];
    let (_folder, daemon, admin) = daemon(&settings);
    let ask = |origin: &str| raw(&daemon, "OPTIONS /platform/api", &[("Origin", origin)]).to_lowercase();
    let named = ask("https://console.example.org");
    assert!(named.starts_with("http/1.1 204"), "{named}");
    for line in [
        "access-control-allow-origin: https://console.example.org",
        "access-control-allow-credentials: true",
        "access-control-allow-methods: get, post, put, delete, options, patch, head",
        "vary: origin",
    ] {
        assert!(named.contains(line), "{line}: {named}");
    }
    let other = ask("http://localhost:3000");
    assert!(other.starts_with("http/1.1 204") && !other.contains("access-control-allow-origin"), "{other}");
    let actual = raw(&daemon, "GET /platform/monitor/liveness", &[("Origin", "https://console.example.org")]);
    assert!(actual.contains("access-control-allow-origin: https://console.example.org"), "{actual}");
    let body =
        json!({"origin": "https://console.example.org", "method": "put", "request_headers": ["X-Other"]});
    let (status, checked) = daemon.call("POST", "/platform/tools/cors/check", &admin, Some(body)).unwrap();
    assert_eq!(status, 200, "{checked}");
    let mut methods: Vec<&str> =
        checked["config"]["allow_methods"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    methods.sort_unstable();
    assert_eq!(methods, ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]);
    let preflight = &checked["preflight"];
    assert_eq!(
        (&preflight["allowed"], &preflight["method_allowed"]),
        (&json!(false), &json!(true)),
        "{checked}"
    );
    assert_eq!(preflight["not_allowed_headers"], json!(["X-Other"]));
    assert_eq!(checked["actual"]["allowed"], true);
}

#[test]
fn an_external_issuer_is_asked_for_its_keys() {
    let (_folder, daemon, admin) = daemon(&[]);
    let issuer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", issuer.local_addr().unwrap());
    let api =
        json!({"api_name": "ext", "api_version": "v1", "api_issuer": {"name": "https://i", "jwks_url": url}});
    assert_eq!(daemon.call("POST", "/platform/api", &admin, Some(api)).unwrap().0, 201);
    let (mut stream, _) = issuer.accept().unwrap();
    let mut head = [0; 512];
    let read = stream.read(&mut head).unwrap();
    assert!(head[..read].starts_with(b"GET /keys HTTP/1.1"));
    let keys = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{keys}", keys.len()).unwrap();
    eventually("the line that says so", || {
        let (_, api) = daemon.call("GET", "/platform/api/ext/v1", &admin, None).unwrap();
        // The keys are the issuer's and not a field of the API.
        if api["api_issuer"] == json!({"name": "https://i", "jwks_url": url}) { Ok(()) } else { Err(api) }
    })
    .unwrap();
}

#[test]
fn what_a_limit_of_bandwidth_was_used_of_is_answered() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let limits = json!({"bandwidth_limit_bytes": 5_000, "bandwidth_limit_window": "hour", "throttle_duration": 5,
                        "throttle_duration_type": "second", "throttle_queue_limit": 9, "throttle_wait_duration": 0.1});
    assert_eq!(daemon.call("PUT", "/platform/user/ana", &admin, Some(limits)).unwrap().0, 200);
    let (_, me) = daemon.call("GET", "/platform/user/me", &ana, None).unwrap();
    assert_eq!((&me["bandwidth_usage_bytes"], &me["throttle_wait_duration"]), (&json!(0), &json!(0)), "{me}");
    assert!(me["bandwidth_resets_at"].as_i64().unwrap() % 3_600 == 0, "{me}");
    // A null sets back to the default; where there is none, it says nothing.
    let form = json!({"email": "ana2@x.org", "role": null, "groups": null, "active": null, "bandwidth_limit_bytes": null});
    assert_eq!(daemon.call("PUT", "/platform/user/ana", &admin, Some(form)).unwrap().0, 200);
    let (_, me) = daemon.call("GET", "/platform/user/me", &ana, None).unwrap();
    assert_eq!(
        (&me["role"], &me["active"], me.get("bandwidth_usage_bytes")),
        (&json!("user"), &json!(true), None),
        "{me}"
    );
}
