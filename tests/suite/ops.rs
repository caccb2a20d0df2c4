//! The ops sockets: who may do what, what is refused and why, what is shown and how soon.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD, command};
use gatehouse_tests::ops::call;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn daemon() -> (tempfile::TempDir, Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    (folder, daemon)
}

#[test]
fn each_bad_request_is_told_what_was_expected() {
    let (_folder, daemon) = daemon();
    let long = format!("{{\"runbook\":\"{}\"}}", "x".repeat(300_000));
    for (method, path, body, status, code, part) in [
        ("GET", "/v1/nothing", None, 404, "GH-NOT-FOUND", "/v1/hello"),
        ("DELETE", "/v1/hello", None, 405, "GH-BAD-INPUT", "DELETE"),
        ("GET", "/v1/metrics?every=5m", None, 400, "GH-BAD-INPUT", "1s to 60s"),
        ("GET", "/v1/metrics?history=many", None, 400, "GH-BAD-INPUT", "invalid digit"),
        ("GET", "/v1/logs?q=level%3E%3Dloud", None, 400, "GH-BAD-INPUT", "expected trace"),
        ("GET", "/v1/runs/none", None, 404, "GH-NOT-FOUND", "none"),
        ("POST", "/v1/runs/none/stop", None, 404, "GH-NOT-FOUND", "none"),
        ("POST", "/v1/plans", Some("{"), 400, "GH-BAD-INPUT", "EOF"),
        ("POST", "/v1/plans", Some("{\"runbook\": 5}"), 400, "GH-BAD-INPUT", "expected a string"),
        ("POST", "/v1/plans", Some("{\"runbook\": \"\\ud800\"}"), 400, "GH-BAD-INPUT", "body"),
        ("POST", "/v1/plans", Some("{\"runbook\": \"format_disk\"}"), 404, "GH-NOT-FOUND", "revoke_tokens"),
        (
            "POST",
            "/v1/plans",
            Some("{\"runbook\": \"revoke_tokens\"}"),
            400,
            "GH-BAD-INPUT",
            "\"user\" is missing",
        ),
        (
            "POST",
            "/v1/plans",
            Some("{\"runbook\": \"revoke_tokens\", \"params\": {\"usr\": \"a\"}}"),
            400,
            "GH-BAD-INPUT",
            "expected: user",
        ),
        (
            "POST",
            "/v1/plans",
            Some("{\"runbook\": \"revoke_tokens\", \"params\": {\"user\": \"nobody\"}}"),
            404,
            "GH-NOT-FOUND",
            "nobody",
        ),
        (
            "POST",
            "/v1/plans",
            Some("{\"runbook\": \"restore_backup\", \"params\": {\"backup\": \"../../etc/passwd\"}}"),
            400,
            "GH-BAD-INPUT",
            "expected letters",
        ),
        ("POST", "/v1/plans", Some(&*long), 413, "GH-TOO-LARGE", "262144"),
        ("POST", "/v1/runs", Some("{\"plan\": \"0123\"}"), 409, "GH-PLAN-EXPIRED", "0123"),
        ("POST", "/v1/runs", Some("{}"), 400, "GH-BAD-INPUT", "plan"),
    ] {
        let (got, answer) = call(&daemon.socket("operate.sock"), method, path, "", body).unwrap();
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{method} {path}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(part), "{method} {path}: {answer}");
    }
}

#[test]
fn a_browser_is_refused_whatever_it_asks() {
    let (_folder, daemon) = daemon();
    let socket = daemon.socket("operate.sock");
    for headers in [
        "Origin: http://evil.example\r\n",
        "Referer: http://evil.example/\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\n",
        "Host: gatehouse.evil.example\r\n",
    ] {
        let (status, answer) = call(&socket, "GET", "/v1/hello", headers, None).unwrap();
        assert_eq!((status, &answer["code"]), (403, &json!("GH-BROWSER-REFUSED")), "{headers}: {answer}");
    }
    assert_eq!(call(&socket, "GET", "/v1/hello", "Host: gatehouse:80\r\n", None).unwrap().0, 200);
}

#[test]
fn the_view_socket_looks_and_changes_nothing() {
    let (_folder, daemon) = daemon();
    let view = daemon.socket("view.sock");
    let (status, hello) = call(&view, "GET", "/v1/hello", "", None).unwrap();
    assert_eq!((status, &hello["door"]), (200, &json!("view")));
    let body = json!({"runbook": "backup_now"}).to_string();
    let (status, plan) = call(&view, "POST", "/v1/plans", "", Some(&body)).unwrap();
    assert_eq!(status, 200, "looking at a plan changes nothing: {plan}");
    let start = json!({"plan": plan["digest"], "confirm": ""}).to_string();
    for (path, body) in [("/v1/runs", Some(&*start)), ("/v1/runs/x/stop", None), ("/v1/runs/x/undo", None)] {
        let (status, answer) = call(&view, "POST", path, "", body).unwrap();
        assert_eq!((status, &answer["code"]), (403, &json!("GH-NOT-PERMITTED")), "{path}: {answer}");
    }
    assert_eq!(daemon.ops("GET", "/v1/runs", None).unwrap().1, json!([]));
    assert!(!daemon.data.join("backups").exists());
}

#[test]
fn what_another_daemon_holds_is_left_to_it() {
    let (_folder, daemon) = daemon();
    let other = tempfile::tempdir().unwrap();
    let address = daemon.url.trim_start_matches("http://");
    for (data, run, listen, part) in [
        (other.path(), daemon.data.join("run"), "127.0.0.1:0", "another process answers there"),
        (&*daemon.data, other.path().join("run"), "127.0.0.1:0", "held by another process"),
        (other.path(), other.path().join("run"), address, "cannot bind"),
    ] {
        let output = command()
            .env("GATEHOUSE_DATA_DIR", data)
            .env("GATEHOUSE_RUNTIME_DIR", run)
            .env("GATEHOUSE_LISTEN", listen)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(75) && said.contains(part), "{:?} {said}", output.status);
    }
    assert_eq!(daemon.ops("GET", "/v1/hello", None).unwrap().0, 200);
}

/// The first item of a stream that is wanted, within a second.
fn within_a_second(
    lines: impl Iterator<Item = std::io::Result<String>>,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let begun = Instant::now();
    for line in lines {
        let item: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if wanted(&item) {
            assert!(begun.elapsed() < Duration::from_millis(1_500), "after {:?}", begun.elapsed());
            return item;
        }
    }
    panic!("the stream ended");
}

#[test]
fn a_request_shows_in_the_charts_and_in_the_log_within_a_second() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let metrics = daemon.stream("/v1/metrics?every=1s").unwrap();
    let logs = daemon.stream("/v1/logs?follow=1&limit=0&q=route:shop/*").unwrap();
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200);
    let line = within_a_second(logs, |item| item["item"] == "line");
    assert_eq!(
        (&line["fields"]["consumer"], &line["fields"]["status"]),
        (&json!("ana"), &json!("200")),
        "{line}"
    );
    let counted = |item: &Value| {
        item["routes"].as_array().unwrap().iter().any(|route| {
            route["name"] == "shop/v1"
                && route["traffic"]["requests"] == 1
                && route["traffic"]["p99_us"].is_u64()
        })
    };
    within_a_second(metrics, counted);
}

#[test]
fn tables_show_what_there_is_and_never_a_secret() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let (status, key) = daemon.call("POST", "/api/v1/api-keys", &ana, Some(json!({"name": "ci"}))).unwrap();
    assert_eq!(status, 201);
    let table = |path: &str| daemon.ops("GET", path, None).unwrap().1;
    assert_eq!(table("/v1/routes")["items"][0]["name"], "shop/v1");
    let consumers = table("/v1/consumers?q=ana");
    assert_eq!((&consumers["total"], &consumers["items"][0]["keys"]), (&json!(1), &json!(1)), "{consumers}");
    assert_eq!(consumers["items"][0]["sessions"], 1);
    let tokens = table("/v1/tokens").to_string();
    assert!(
        tokens.contains("\"ci\"") && !tokens.contains(key["data"]["token"].as_str().unwrap()),
        "{tokens}"
    );
    assert_eq!(table("/v1/sessions?page_size=1")["has_next"], true);
    daemon.call("POST", "/platform/authorization/invalidate", &ana, None).unwrap();
    assert_eq!(table("/v1/sessions?q=ana")["total"], 0, "a session that has ended is not listed");
    let health = table("/v1/health");
    let items = health.as_array().unwrap();
    assert!(
        items.iter().any(|item| item["code"] == "BACKUP-NONE" && item["runbook"] == "backup_now"),
        "{health}"
    );
    let all = [tokens, table("/v1/audit").to_string(), table("/v1/sessions").to_string()].concat();
    for secret in [&*admin, &ana, PASSWORD, "argon2"] {
        assert!(!all.contains(secret), "a secret is shown");
    }
}

#[test]
fn the_audit_page_says_whether_the_chain_holds() {
    let (_folder, daemon) = daemon();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let group = json!({"group_name": "g1"});
    assert_eq!(daemon.call("POST", "/platform/group", &admin, Some(group)).unwrap().0, 201);
    let page = |q: &str| daemon.ops("GET", &format!("/v1/audit?q={q}"), None).unwrap().1;
    let found = || {
        let page = page("group/g1");
        if page["records"][0]["actor"] == "admin" { Ok(page) } else { Err(page) }
    };
    assert_eq!(eventually("the record", found).unwrap()["chain_ok"], true);
    let segment = daemon.data.join("audit/audit-00000001.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("group/g1", "group/g2", 1)).unwrap();
    // What was verified is remembered until there is something new.
    let group = json!({"group_name": "g3"});
    assert_eq!(daemon.call("POST", "/platform/group", &admin, Some(group)).unwrap().0, 201);
    let broken = || {
        let page = page("");
        if page["chain_ok"] == false { Ok(page) } else { Err(page["total"].clone()) }
    };
    let page = eventually("the break to be seen", broken).unwrap();
    assert!(page["broken"].as_str().unwrap().contains("says something else"), "{}", page["broken"]);
}
