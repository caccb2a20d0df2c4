//! The contract: the OpenAPI document as it is served, kept and mounted, and what schemathesis finds when it asks a living
//! daemon whether it keeps to it.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::root;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest run of schemathesis, seconds.
const MOST_SECS: &str = "90";
/// What it looks at; whether valid data is accepted is not among it: what a name stands for decides that, too.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
    response_headers_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth";

fn house() -> (tempfile::TempDir, Daemon, String) {
    let folder = tempfile::tempdir().unwrap();
    // Not how often one may ask is looked at here.
    let often = [("API_RATE_LIMIT", "1000000"), ("AUTH_RATE_LIMIT", "1000000")];
    let daemon = Daemon::start(folder.path(), &often).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    (folder, daemon, token)
}

/// Status, a header and the body's length of a request without a credential.
fn ask(daemon: &Daemon, method: &str, path: &str, header: &str) -> (u16, String, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    let config = config.max_redirects(0).build();
    let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", daemon.url));
    let mut answer = config.new_agent().run(request.body(()).unwrap()).unwrap();
    let value = answer.headers().get(header).map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), value.unwrap_or_default(), answer.body_mut().read_to_string().unwrap())
}

fn kept() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join("docs/openapi.json")).unwrap()).unwrap()
}

#[test]
fn the_document_and_its_page_are_open_and_load_nothing_from_elsewhere() {
    let (_folder, daemon, _) = house();
    for path in ["/openapi.json", "/api/openapi.json", "/platform/openapi.json"] {
        let (status, kind, body) = ask(&daemon, "GET", path, "content-type");
        assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), kept(), "{path}: as in docs/openapi.json");
        let (status, length, body) = ask(&daemon, "HEAD", path, "content-length");
        assert!(status == 200 && body.is_empty() && length.len() > 4, "HEAD {path}: {status} {length}");
    }
    for path in ["/platform/docs", "/platform/redoc/"] {
        let (status, policy, body) = ask(&daemon, "GET", path, "content-security-policy");
        assert_eq!(status, 200, "{path}");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(body.contains("<code>/platform/authorization/refresh</code>"), "{path}");
    }
}

#[test]
fn every_documented_path_has_the_methods_that_it_is_said_to_have() {
    let (_folder, daemon, _) = house();
    let kept = kept();
    for (path, item) in kept["paths"].as_object().unwrap() {
        let mut methods: Vec<String> =
            item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        let mut others = ["PATCH", "PUT", "POST", "DELETE", "GET"].into_iter();
        let other = others.find(|other| !methods.iter().any(|method| method == other)).unwrap();
        if methods.contains(&"GET".to_owned()) {
            methods.push("HEAD".to_owned());
        }
        methods.sort();
        let parts: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        let asked = parts.join("/");
        let slash = format!("{asked}/");
        let (status, place, _) = ask(&daemon, other, &slash, "location");
        let leads = status == 307;
        assert!(!leads || place == asked, "{slash} leads to {place}");
        for asked in [asked, slash].iter().take(if leads { 1 } else { 2 }) {
            let (status, allow, _) = ask(&daemon, other, asked, "allow");
            let mut allowed: Vec<_> = allow.split(", ").map(str::to_owned).collect();
            allowed.sort();
            assert_eq!((status, &allowed), (405, &methods), "{other} {asked}");
        }
    }
}

/// What the names in packaging/schemathesis.toml stand for.
fn furnish(daemon: &Daemon, token: &str) {
    let make = |path: &str, body: Value| {
        let (status, answer) = daemon.call("POST", &format!("/platform{path}"), token, Some(body)).unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    };
    for name in ["kept", "doomed"] {
        let email = format!("{name}@x.org");
        let server = "http://127.0.0.1:9";
        let tier = json!({"tier_name": "basic", "credits": 5, "input_limit": 0, "output_limit": 0,
                          "reset_frequency": "monthly"});
        for (path, body) in [
            ("/role", json!({ "role_name": name })),
            ("/group", json!({ "group_name": name })),
            (
                "/user",
                json!({"username": name, "email": email, "password": PASSWORD, "role": name, "groups": [name]}),
            ),
            (
                "/api",
                json!({"api_name": name, "api_version": "v1", "api_allowed_groups": [name], "api_servers": [server]}),
            ),
            (
                "/endpoint",
                json!({"api_name": name, "api_version": "v1", "endpoint_method": "GET",
                       "endpoint_uri": format!("/{name}"), "endpoint_description": name}),
            ),
            ("/routing", json!({"routing_name": name, "routing_servers": [server], "client_key": name})),
            (
                "/credit",
                json!({"api_credit_group": name, "api_key": "k", "api_key_header": "x-key", "credit_tiers": [tier]}),
            ),
            ("/vault", json!({"key_name": name, "value": "v"})),
            ("/tiers", json!({"tier_id": name, "name": "custom", "display_name": name})),
            ("/tiers/assignments", json!({"user_id": name, "tier_id": name})),
            (
                "/rate-limits",
                json!({"rule_id": name, "rule_type": "per_user", "time_window": "minute", "limit": 5,
                       "target_identifier": name}),
            ),
            ("/subscription/subscribe", json!({"username": name, "api_name": name, "api_version": "v1"})),
        ] {
            make(path, body);
        }
    }
}

#[test]
fn a_request_has_one_id_in_the_answer_and_in_its_record() {
    let (_folder, daemon, token) = house();
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let agent = config.new_agent();
    let mut ids = Vec::new();
    for (path, given) in [
        ("/platform/role/admin", None),
        ("/platform/role/admin", Some("of-the-client-1")),
        ("/platform/no-such-path", None),
        ("/api/v1/users/me", None),
        ("/api/v1/users/me", Some("of-the-client-2")),
        ("/platform/docs", None),
    ] {
        let mut request = ureq::http::Request::builder()
            .uri(format!("{}{path}", daemon.url))
            .header("authorization", format!("Bearer {token}"));
        if let Some(given) = given {
            request = request.header("x-request-id", given);
        }
        let answer = agent.run(request.body(()).unwrap()).unwrap();
        let all = |name: &str| -> Vec<String> {
            let values = answer.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        let id = all("x-request-id");
        assert_eq!(id.len(), 1, "{path}: {id:?}");
        assert_eq!(all("request_id"), id, "{path}");
        assert!(given.is_none_or(|given| id[0] == given), "{path}: {id:?}");
        ids.extend(id);
    }
    eventually("the records to be written", || {
        let files = std::fs::read_dir(daemon.data.join("logs"))?;
        let texts = files.map(|file| std::fs::read_to_string(file?.path())).collect::<Result<Vec<_>, _>>()?;
        let logs = texts.concat();
        let known = |id: &String| logs.contains(&format!(r#""request_id":"{id}""#));
        anyhow::ensure!(ids.iter().all(known), "{ids:?} in {logs}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_was_taken_against_the_document_is_refused() {
    let (_folder, daemon, token) = house();
    furnish(&daemon, &token);
    for (method, path, body) in [
        ("POST", "/api/v1/api-keys", Some(json!([null]))),
        ("POST", "/platform/rate-limits/kept/duplicate?new_rule_id=third", Some(json!([1]))),
        ("GET", "/platform/rate-limits?enabled_only=perhaps", None),
        ("GET", "/platform/tiers?enabled_only=perhaps", None),
        ("GET", "/platform/authorization/why?permission=manage_apis&read=perhaps", None),
        ("POST", "/platform/role?dry_run=perhaps", Some(json!({"role_name": "third"}))),
        ("POST", "/api/v1/api-keys?dry_run=perhaps", None),
    ] {
        let (status, answer) = daemon.call(method, path, &token, body).unwrap();
        assert_eq!(status, 422, "{method} {path}: {answer}");
    }
    let copy = "/platform/rate-limits/kept/duplicate?new_rule_id=third";
    assert_eq!(
        daemon.call("POST", copy, &token, None).unwrap().0,
        201,
        "without a body, as older clients do"
    );
}

/// Where packaging/setup.sh puts it.
fn schemathesis() -> Option<PathBuf> {
    Some(root().join("target/schemathesis/bin/st")).filter(|path| path.exists())
}

/// Answers by hundreds of their status, as the report has them.
fn answers(report: &Path) -> [usize; 6] {
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let mut counts = [0; 6];
    for entry in report["log"]["entries"].as_array().unwrap() {
        let status = entry["response"]["status"].as_u64().unwrap_or(0);
        counts[usize::try_from(status / 100).unwrap().min(5)] += 1;
    }
    counts
}

#[test]
fn schemathesis_finds_no_answer_that_breaks_the_contract() {
    let Some(st) = schemathesis() else {
        let text = "SKIPPED: schemathesis is not installed (packaging/setup.sh, from PyPI); the contract WAS NOT TESTED";
        writeln!(std::io::stderr(), "{text}").unwrap();
        return;
    };
    let (folder, daemon, token) = house();
    furnish(&daemon, &token);
    let report = folder.path().join("report.har");
    let run = Command::new(st)
        .current_dir(folder.path())
        .env("GATEHOUSE_TOKEN", &token)
        .args(["--config-file".as_ref(), root().join("packaging/schemathesis.toml").as_os_str()])
        .args(["--no-color", "run", &format!("{}/openapi.json", daemon.url), "--checks", CHECKS])
        .args(["--exclude-by", "/x-gatehouse-disruptive == true"])
        .args(["--max-examples", "4", "--max-time", MOST_SECS, "--report", "har", "--report-har-path"])
        .arg(&report)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{told}\n{}", String::from_utf8_lossy(&run.stderr));
    let counts = answers(&report);
    let all: usize = counts.iter().sum();
    assert!(all > 500 && counts[2] * 10 > all, "it has come behind the door: {counts:?}\n{told}");
    let (status, answer) = daemon.call("GET", "/platform/security/settings", &token, None).unwrap();
    assert_eq!(status, 200, "the token has lived and may do what it could: {answer}");
}
