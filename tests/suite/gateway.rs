//! Traffic and management, black box over HTTP.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::wait::eventually;
use serde_json::json;
use std::io::{Read as _, Write as _};

#[test]
fn a_call_is_carried_or_refused_with_its_code() {
    let (_folder, daemon, admin, ana) = shop(&[("HTTP_READ_TIMEOUT", "0.3")]);
    for (method, path, token, status, code) in [
        ("GET", "/api/rest/shop/v1/echo", &*ana, 200, ""),
        ("HEAD", "/api/rest/shop/v1/echo", &ana, 200, ""),
        ("GET", "/api/rest/shop/v1/none", &ana, 204, ""),
        ("GET", "/api/rest/shop/v1/echo", "", 401, "Unauthorized"),
        ("GET", "/api/rest/shop/v1/echo", "a.b.c", 401, "Unauthorized"),
        ("GET", "/api/rest/shop/v2/echo", &ana, 404, "GTW001"),
        ("GET", "/api/rest/shop/v1/other", &ana, 404, "GTW003"),
        ("DELETE", "/api/rest/shop/v1/echo", &ana, 404, "GTW003"),
        ("GET", "/api/rest/shop/v1/%2e%2e/echo", &ana, 400, "GTW011"),
        ("GET", "/api/rest/shop/v1/broken", &ana, 502, "GTW006"),
        ("GET", "/api/rest/shop/v1/slow", &ana, 504, "GTW010"),
    ] {
        let (got, body) = daemon.call(method, path, token, None).unwrap();
        assert_eq!(got, status, "{method} {path}: {body}");
        assert_eq!(body.get("error_code").and_then(|code| code.as_str()).unwrap_or_default(), code, "{path}");
    }
    let (status, _) = daemon.call("POST", "/platform/authorization/admin/revoke/ana", &admin, None).unwrap();
    assert_eq!(status, 200);
    let (status, _) = daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap();
    assert_eq!(status, 401, "the very next call after the revocation was answered");
}

#[test]
fn an_answer_without_a_body_is_recorded_as_it_was() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let statuses = [("HEAD", "/echo", 200), ("GET", "/none", 204)].map(|(method, path, status)| {
        let path = format!("/api/rest/shop/v1{path}");
        assert_eq!(daemon.call(method, &path, &ana, None).unwrap().0, status);
        format!("{method} {path} {status} ")
    });
    let recorded = || {
        let lines: String = daemon.stream("/v1/logs?q=target:record").unwrap().map(Result::unwrap).collect();
        if statuses.iter().all(|wanted| lines.contains(wanted)) { Ok(()) } else { Err(lines) }
    };
    eventually("both records", recorded).unwrap();
}

#[test]
fn what_goes_upstream_is_what_should() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let (_, seen) = daemon.call("GET", "/api/rest/shop/v1/echo?a=1&a=2", &ana, None).unwrap();
    let seen = seen.as_str().unwrap().to_lowercase();
    assert!(seen.starts_with("get /echo?a=1&a=2 http/1.1"), "{seen}");
    assert!(seen.contains("x-doorman-user: ana") && seen.contains("x-request-id: "), "{seen}");
    assert!(!seen.contains("authorization"), "{seen}");
}

#[test]
fn a_chunked_body_arrives_and_a_long_one_is_refused() {
    let (_folder, daemon, _admin, ana) = shop(&[("MAX_BODY_SIZE_BYTES", "1000")]);
    let send = |body: &str| {
        let mut stream = std::net::TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
        write!(
            stream,
            "POST /api/rest/shop/v1/echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ana}\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\n11"), "{answer}");
    let long = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2_000));
    assert!(send(&long).starts_with("HTTP/1.1 413"), "a long body");
}

/// One raw exchange; the whole answer as far as it came.
fn raw(daemon: &Daemon, request: &str, pieces: &[&str]) -> String {
    let mut stream = std::net::TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    for piece in pieces {
        // Longer between two pieces than the whole upload may take without progress being counted.
        std::thread::park_timeout(std::time::Duration::from_millis(200));
        stream.write_all(piece.as_bytes()).unwrap();
    }
    let mut answer = Vec::new();
    // A broken answer ends in an error, which is what some callers look for.
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

fn access_records(daemon: &Daemon, path: &str) -> Result<serde_json::Value, String> {
    let mut text = String::new();
    for file in std::fs::read_dir(daemon.data.join("logs")).unwrap() {
        text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let mut records = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    records.rfind(|record| record["path"] == path).ok_or(text)
}

#[test]
fn a_stalled_upstream_is_given_up_and_a_client_that_leaves_is_recorded() {
    let (_folder, daemon, _admin, ana) = shop(&[("HTTP_READ_TIMEOUT", "0.3")]);
    let path = "/api/rest/shop/v1/stall";
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ana}\r\n\r\n");
    assert!(raw(&daemon, &request, &[]).ends_with("first"), "what came is passed on");
    let record = eventually("the record", || access_records(&daemon, path)).unwrap();
    assert_eq!((&record["status"], &record["failure"]), (&json!(504), &json!("GTW010")), "{record}");
    let path = "/api/rest/shop/v1/flood";
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ana}\r\n\r\n");
    let mut stream = std::net::TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1_000]).unwrap();
    drop(stream);
    let record = eventually("the record of the one who left", || access_records(&daemon, path)).unwrap();
    assert_eq!(record["status"], 499, "{record}");
}

#[test]
fn an_upload_that_moves_is_not_timed_out_and_hop_by_hop_fields_end() {
    let (_folder, daemon, _admin, ana) = shop(&[("HTTP_READ_TIMEOUT", "0.3")]);
    let request = format!(
        "POST /api/rest/shop/v1/echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ana}\r\nX-Hop: 1\r\n\
         X-Inner: 1\r\nConnection: close, X-Hop\r\nContent-Length: 4\r\n\r\n"
    );
    let answer = raw(&daemon, &request, &["a", "b", "c", "d"]).to_lowercase();
    let (head, seen) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("http/1.1 200"), "{answer}");
    assert!(head.contains("x-inner") && !head.contains("x-hop"), "{head}");
    assert!(seen.contains("x-inner") && !seen.contains("x-hop"), "{seen}");
}

#[test]
fn a_user_name_may_hold_any_letter() {
    let (_folder, daemon, admin, _ana) = shop(&[]);
    let user = json!({"username": "zo\u{eb}", "email": "zoe@x.org", "password": PASSWORD, "role": "user", "groups": ["ALL"]});
    assert_eq!(daemon.call("POST", "/platform/user", &admin, Some(user)).unwrap().0, 201);
    let subscription = json!({"username": "zo\u{eb}", "api_name": "shop", "api_version": "v1"});
    let path = "/platform/subscription/subscribe";
    assert_eq!(daemon.call("POST", path, &admin, Some(subscription)).unwrap().0, 200);
    let zoe = daemon.login("zoe@x.org", PASSWORD).unwrap();
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &zoe, None).unwrap().0, 200);
}

#[test]
fn a_rate_limit_holds() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let limit = json!({"rate_limit_duration": 2, "rate_limit_duration_type": "hour"});
    assert_eq!(daemon.call("PUT", "/platform/user/ana", &admin, Some(limit.clone())).unwrap().0, 200);
    let calls = [(); 3].map(|()| daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0);
    assert_eq!(calls, [200, 200, 429]);
    assert_eq!(daemon.call("DELETE", "/api/caches", &ana, None).unwrap().1["error_code"], "GTW008");
    let (status, cleared) = daemon.call("DELETE", "/api/caches", &admin, None).unwrap();
    assert_eq!((status, &cleared["message"]), (200, &json!("All caches cleared")));
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200, "counted anew");
    let (status, body) = daemon.call("PUT", "/platform/user/ana", &ana, Some(limit)).unwrap();
    assert_eq!((status, &body["error_code"]), (403, &json!("USR023")), "nobody raises their own limits");
}

#[test]
fn a_refresh_token_serves_once() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let refresh = |token: &str| daemon.call("POST", "/platform/authorization/refresh", token, None).unwrap();
    let first = refresh(&ana).1["refresh_token"].as_str().unwrap().to_owned();
    let second = refresh(&first).1["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(refresh(&first).0, 401, "used before");
    assert_eq!(refresh(&second).0, 401, "the whole session has ended");
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &second, None).unwrap().0, 401);
}

#[test]
fn an_api_key_opens_the_gateway_until_it_is_revoked() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let (status, made) = daemon.call("POST", "/api/v1/api-keys", &ana, Some(json!({"name": "ci"}))).unwrap();
    let key = made["data"]["api_key"].as_str().unwrap().to_owned();
    assert_eq!(status, 201);
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &key, None).unwrap().0, 200);
    let (_, listed) = daemon.call("GET", "/api/v1/api-keys", &ana, None).unwrap();
    assert!(!listed.to_string().contains(&key), "shown once");
    let path = format!("/api/v1/api-keys/{}", made["data"]["id"]);
    assert_eq!(daemon.call("DELETE", &path, &ana, None).unwrap().0, 200);
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &key, None).unwrap().0, 401);
}

#[test]
fn management_answers_with_its_codes() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    for (method, path, token, body, status, code) in [
        ("GET", "/platform/user/me", "", None, 401, "GTW998"),
        ("POST", "/platform/api", &*ana, Some(json!({})), 422, "VAL001"),
        ("POST", "/platform/api", &ana, Some(json!({"api_name": "a", "api_version": "v1"})), 403, "API007"),
        ("POST", "/platform/api", &admin, Some(json!({"api_name": "shop", "api_version": "v1"})), 200, ""),
        ("DELETE", "/platform/api/shop/v1", &ana, None, 403, "API007"),
        ("GET", "/platform/api/none/v1", &admin, None, 400, "API003"),
        ("DELETE", "/platform/user/admin", &admin, None, 403, "USR021"),
        ("POST", "/platform/group", &admin, Some(json!({"group_name": "ALL"})), 400, "GRP001"),
        ("GET", "/platform/role/none", &admin, None, 404, "ROLE004"),
        ("GET", "/platform/group/all?page_size=5000", &admin, None, 400, "PAG001"),
        ("GET", "/platform/group/all/?page_size=1000", &admin, None, 200, ""),
        (
            "POST",
            "/platform/group",
            &admin,
            Some(json!({"group_name": "x".repeat(1_100_000)})),
            413,
            "REQ001",
        ),
        ("PATCH", "/platform/group/all", &admin, None, 405, ""),
        ("GET", "/platform/nothing", &admin, None, 404, ""),
    ] {
        let (got, answer) = daemon.call(method, path, token, body).unwrap();
        let got_code = answer.get("error_code").and_then(|code| code.as_str()).unwrap_or_default();
        assert_eq!((got, got_code), (status, code), "{method} {path}: {answer}");
    }
}

#[test]
fn health_has_the_shapes_that_scripts_look_for() {
    let (_folder, daemon, admin, _ana) = shop(&[]);
    let text = raw(&daemon, "GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[]);
    assert!(text.contains("\"database\":{\"status\":\"healthy\""), "{text}");
    let (status, health) = daemon.call("GET", "/api/v1/health", "", None).unwrap();
    assert_eq!((status, &health["status"]), (200, &json!("degraded")), "there is no engine: {health}");
    assert_eq!(health["checks"], health["data"]["components"]);
    assert!(health["timestamp"].as_str().unwrap().ends_with("+00:00"), "{health}");
    let (_, status) = daemon.call("GET", "/api/status", &admin, None).unwrap();
    for field in ["memory_usage", "active_connections", "uptime", "uptime_seconds", "memory_usage_mb", "mode"]
    {
        assert!(!status[field].is_null(), "{field}: {status}");
    }
}

#[test]
fn a_draining_daemon_closes_behind_each_answer() {
    let (_folder, daemon, _admin, ana) = shop(&[("HTTP_READ_TIMEOUT", "3")]);
    let address = daemon.url.trim_start_matches("http://");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ana}\r\n\r\n");
    let mut kept = std::net::TcpStream::connect(address).unwrap();
    let mut other = std::net::TcpStream::connect(address).unwrap();
    // Keeps the daemon draining for as long as its upstream is silent.
    let mut slow = std::net::TcpStream::connect(address).unwrap();
    slow.write_all(get("/api/rest/shop/v1/slow").as_bytes()).unwrap();
    let mut answer = [0; 2_048];
    for stream in [&mut kept, &mut other] {
        stream.write_all(get("/api/rest/shop/v1/none").as_bytes()).unwrap();
        // Without a body it comes as one piece.
        assert!(stream.read(&mut answer).unwrap() > 0);
    }
    let pid = daemon.pid().to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    let mut drains = || {
        kept.write_all(get("/platform/monitor/readiness").as_bytes()).unwrap();
        let read = kept.read(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        if text.starts_with("HTTP/1.1 503") { Ok(text) } else { Err(text) }
    };
    let told = eventually("the drain to begin", &mut drains).unwrap();
    assert!(told.contains("connection: close"), "{told}");
    other.write_all(get("/api/rest/shop/v1/echo").as_bytes()).unwrap();
    let mut text = String::new();
    other.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
}
