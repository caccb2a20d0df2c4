//! What Octoprox's scripts find below `/api/v1`: users, keys, lists, errors, audit, and the guide's checks.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};

pub(crate) fn daemon(settings: &[(&str, &str)]) -> (tempfile::TempDir, Daemon, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), settings).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    (folder, daemon, admin)
}

/// One exchange with header lines of its own; head and body.
pub(crate) fn raw(daemon: &Daemon, line: &str, headers: &[(&str, &str)], body: &str) -> (String, String) {
    let mut stream = std::net::TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: box\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// Makes a user below `/api/v1`; the number.
pub(crate) fn user(daemon: &Daemon, admin: &str, name: &str, role: &str) -> i64 {
    let body = json!({"username": name, "password": PASSWORD, "role": role});
    let (status, made) = daemon.call("POST", "/api/v1/users", admin, Some(body)).unwrap();
    assert_eq!(status, 201, "{made}");
    made["data"]["id"].as_i64().unwrap()
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn users_are_made_listed_changed_and_deactivated() {
    let (_folder, daemon, admin) = daemon(&[]);
    let call =
        |method: &str, path: &str, body: Option<Value>| daemon.call(method, path, &admin, body).unwrap();
    let (ana, bob) = (user(&daemon, &admin, "ana", "user"), user(&daemon, &admin, "b", "admin"));
    assert!(ana > 0 && bob > ana);
    let (status, list) = call("GET", "/api/v1/users?per_page=2&page=2", None);
    assert_eq!((status, texts(&list["data"]["users"], "username")), (200, vec!["b".to_owned()]));
    let pages = json!({"page": 2, "per_page": 2, "total": 3, "total_pages": 2});
    assert_eq!((&list["meta"]["pagination"], &list["meta"]["total"]), (&pages, &json!(3)));
    for (query, names) in
        [("role=user", vec!["ana"]), ("role=admin&status=active", vec!["admin", "b"]), ("status=odd", vec![])]
    {
        let list = call("GET", &format!("/api/v1/users?{query}"), None).1;
        assert_eq!(texts(&list["data"]["users"], "username"), names, "{query}");
    }
    let (_, one) = call("GET", &format!("/api/v1/users/{ana}"), None);
    let one = &one["data"];
    assert_eq!(
        (&one["role"], &one["status"], &one["is_active"]),
        (&json!("user"), &json!("active"), &json!(true))
    );
    assert_eq!(
        (&one["workspaces"], &one["api_keys"], &one["nexusgate_role"]),
        (&json!([]), &json!([]), &Value::Null)
    );
    assert!(one["created_at"].as_str().unwrap().ends_with("+00:00"), "{one}");

    let link = json!({"nexusgate_user_id": "0B5E3C1E-7F0E-4A52-9A7C-3A2F7F1D2C11", "unknown": 1});
    let (status, changed) = call("PUT", &format!("/api/v1/users/{ana}"), Some(link.clone()));
    assert_eq!(
        (status, &changed["data"]["nexusgate_user_id"]),
        (200, &json!("0b5e3c1e-7f0e-4a52-9a7c-3a2f7f1d2c11"))
    );
    assert_eq!(call("PUT", &format!("/api/v1/users/{bob}"), Some(link)).0, 409);
}

#[test]
fn bad_changes_are_named_and_what_ended_stays_ended() {
    let (_folder, daemon, admin) = daemon(&[]);
    let call =
        |method: &str, path: &str, body: Option<Value>| daemon.call(method, path, &admin, body).unwrap();
    let ana = user(&daemon, &admin, "ana", "user");
    for (method, path, body, status, word) in [
        ("PUT", format!("/api/v1/users/{ana}"), json!({"role": "root"}), 422, "role"),
        ("PUT", format!("/api/v1/users/{ana}"), json!([]), 422, "dictionary"),
        ("PUT", "/api/v1/users/999".to_owned(), json!({}), 404, "User not found"),
        ("PUT", "/api/v1/users/x".to_owned(), json!({}), 422, "valid integer"),
        ("POST", "/api/v1/users".to_owned(), json!({"username": "ana", "password": PASSWORD}), 409, "exists"),
        ("POST", "/api/v1/users".to_owned(), json!({"username": "eva"}), 422, "Field required"),
        ("POST", "/api/v1/users".to_owned(), json!({"username": "e/a", "password": PASSWORD}), 422, "slash"),
        (
            "POST",
            "/api/v1/users".to_owned(),
            json!({"username": "eva", "password": "short"}),
            422,
            "16 to 50",
        ),
    ] {
        let (got, answer) = call(method, &path, Some(body.clone()));
        assert!(
            got == status && answer["detail"].to_string().contains(word),
            "{method} {path} {body}: {got} {answer}"
        );
        assert!(!answer.to_string().contains(PASSWORD) && !answer.to_string().contains("\"short\""));
    }

    let me = call("GET", "/api/v1/users/me", None).1["data"]["id"].as_i64().unwrap();
    for (path, body, word) in [
        (format!("/api/v1/users/{me}"), Some(json!({"role": "user"})), "demote"),
        (format!("/api/v1/users/{me}"), Some(json!({"is_active": false})), "deactivate"),
        (format!("/api/v1/users/{me}"), None, "deactivate"),
    ] {
        let method = if body.is_some() { "PUT" } else { "DELETE" };
        let (status, answer) = call(method, &path, body);
        assert!(
            status == 400 && answer["detail"].as_str().unwrap().contains(word),
            "{path}: {status} {answer}"
        );
    }
    let token = daemon.login("ana", PASSWORD).unwrap();
    let (status, gone) = call("DELETE", &format!("/api/v1/users/{ana}"), None);
    assert!(status == 200 && gone["data"]["message"].as_str().unwrap().contains("deactivated"), "{gone}");
    assert_eq!(call("DELETE", &format!("/api/v1/users/{ana}"), None).0, 200, "repeatable");
    assert_eq!(daemon.call("GET", "/platform/user/me", &token, None).unwrap().0, 401);
    assert_eq!(call("PUT", &format!("/api/v1/users/{ana}"), Some(json!({"status": "active"}))).0, 200);
    assert_eq!(
        daemon.call("GET", "/platform/user/me", &token, None).unwrap().0,
        401,
        "what ended stays ended"
    );
    daemon.login("ana", PASSWORD).unwrap();
}

#[test]
fn who_is_no_administrator_sees_themselves() {
    let (_folder, daemon, admin) = daemon(&[]);
    let (ana, bob) = (user(&daemon, &admin, "ana", "user"), user(&daemon, &admin, "bob", "user"));
    let token = daemon.login("ana", PASSWORD).unwrap();
    let call =
        |method: &str, path: &str, body: Option<Value>| daemon.call(method, path, &token, body).unwrap();
    let list = call("GET", "/api/v1/users?page=7&role=admin", None).1;
    assert_eq!(
        (texts(&list["data"]["users"], "username"), &list["meta"]["total"]),
        (vec!["ana".to_owned()], &json!(1))
    );
    assert_eq!(call("GET", &format!("/api/v1/users/{ana}"), None).0, 200);
    for id in [bob, 999] {
        let (status, answer) = call("GET", &format!("/api/v1/users/{id}"), None);
        assert_eq!((status, &answer["detail"]), (403, &json!("Access denied")), "{id}");
    }
    for (method, path, body) in [
        ("PUT", format!("/api/v1/users/{ana}"), Some(json!({"role": "admin"}))),
        ("DELETE", format!("/api/v1/users/{bob}"), None),
        ("POST", "/api/v1/users".to_owned(), Some(json!({}))),
        ("PUT", format!("/api/v1/users/{bob}/password"), Some(json!({"new_password": PASSWORD}))),
        ("POST", "/api/v1/api-keys".to_owned(), Some(json!({"user_id": ana}))),
        ("GET", "/api/v1/audit".to_owned(), None),
        ("POST", "/api/v1/admin/database/backup".to_owned(), None),
    ] {
        let (status, answer) = call(method, &path, body);
        assert_eq!((status, &answer["detail"]), (403, &json!("Admin access required")), "{method} {path}");
    }
    let new = "Another-Horse-8-Battery";
    let change = |current: &str| {
        call(
            "PUT",
            "/api/v1/users/me/password",
            Some(json!({"current_password": current, "new_password": new})),
        )
        .0
    };
    assert_eq!((change("wrong"), change(PASSWORD), change(PASSWORD)), (422, 200, 401), "sessions have ended");
    assert!(daemon.login("ana", PASSWORD).is_err());
    daemon.login("ana", new).unwrap();
}

#[test]
fn keys_are_numbered_paged_noted_and_expire() {
    let (_folder, daemon, admin) = daemon(&[]);
    let ana = user(&daemon, &admin, "ana", "user");
    let call =
        |method: &str, path: &str, body: Option<Value>| daemon.call(method, path, &admin, body).unwrap();
    let soon = json!({"user_id": ana, "name": 7, "expires_at": "2999-01-01T00:00:00+00:00"});
    let (status, made) = call("POST", "/api/v1/api-keys", Some(soon));
    let made = &made["data"];
    assert_eq!((status, &made["user_id"], &made["name"]), (201, &json!(ana), &json!("7")), "{made}");
    assert_eq!((&made["token"], &made["token"]), (&made["api_key"], &made["key"]));
    let (key, id) = (made["token"].as_str().unwrap().to_owned(), made["id"].as_i64().unwrap());
    assert_eq!(made["prefix"].as_str(), key.get(4..12));
    assert_eq!(daemon.call("POST", "/api/v1/api-keys", &key, None).unwrap().0, 201, "a key serves as well");
    let list = daemon.call("GET", "/api/v1/api-keys?per_page=1", &key, None).unwrap().1;
    assert_eq!((&list["meta"]["total"], &list["data"]["api_keys"][0]["id"]), (&json!(2), &json!(id)));
    assert!(list["data"]["api_keys"][0]["last_used_at"].is_string(), "{list}");
    let list = call("GET", &format!("/api/v1/api-keys?user_id={ana}&page=2&per_page=1"), None).1;
    assert!(list["data"]["api_keys"][0]["last_used_at"].is_null(), "{list}");
    for (body, word) in [
        (json!({"user_id": 999}), "User not found"),
        (json!({"user_id": "ana"}), "number"),
        (json!({"expires_at": "2001-01-01"}), "future"),
    ] {
        let (status, answer) = call("POST", "/api/v1/api-keys", Some(body));
        assert!([404, 422].contains(&status) && answer.to_string().contains(word), "{status} {answer}");
    }
    let near = (std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() + 3.0) as i64 + 1;
    let short =
        call("POST", "/api/v1/api-keys", Some(json!({"expires_at": near}))).1["data"]["token"].clone();
    let me = |key: &str| daemon.call("GET", "/api/v1/users/me", key, None).unwrap().0;
    assert_eq!(me(short.as_str().unwrap()), 200);
    eventually("the key to expire", || match me(short.as_str().unwrap()) {
        401 => Ok(()),
        other => anyhow::bail!("{other}"),
    })
    .unwrap();
    let path = format!("/api/v1/api-keys/{id}");
    let (status, gone) = daemon.call("DELETE", &path, &key, None).unwrap();
    assert!(status == 200 && gone["data"]["message"].as_str().unwrap().contains("revoked"), "{gone}");
    assert_eq!((&gone["data"]["deleted"], &gone["data"]["id"]), (&json!(true), &json!(id)));
    assert_eq!((me(&key), call("DELETE", &path, None).0), (401, 404));
}

#[test]
fn numbers_stay_over_a_restart_and_are_not_given_twice() {
    let (folder, daemon, admin) = daemon(&[]);
    let eva = user(&daemon, &admin, "eva", "user");
    assert_eq!(daemon.call("DELETE", "/platform/user/eva", &admin, None).unwrap().0, 200);
    daemon.kill().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    assert!(user(&daemon, &admin, "eva", "user") > eva);
    // Whatever way a user is made.
    let body = json!({"username": "kim", "email": "kim@x.org", "password": PASSWORD, "role": "user"});
    assert_eq!(daemon.call("POST", "/platform/user", &admin, Some(body)).unwrap().0, 201);
    let list = daemon.call("GET", "/api/v1/users", &admin, None).unwrap().1;
    let ids: Vec<_> =
        list["data"]["users"].as_array().unwrap().iter().map(|user| user["id"].as_i64().unwrap()).collect();
    assert!(ids.len() == 3 && ids.is_sorted() && ids[0] > 0, "{ids:?}");
}

#[test]
fn answers_are_as_older_scripts_expect() {
    let (_folder, daemon, admin) = daemon(&[("ENFORCE_HTTPS", "true")]);
    let bearer = format!("Bearer {admin}");
    let token = ("authorization", bearer.as_str());
    for (line, headers, status, parts) in [
        ("GET /api/v1/users", vec![], 401, vec!["www-authenticate: bearer", "not authenticated"]),
        ("GET /app/api/v1/users", vec![token], 200, vec!["\"pagination\""]),
        ("HEAD /api/v1/users", vec![token], 200, vec!["content-length: "]),
        ("HEAD /api/v1/health", vec![], 200, vec![]),
        ("HEAD /login", vec![], 200, vec!["set-cookie: session="]),
        ("GET /health", vec![], 200, vec![r#"{"status":"healthy"}"#]),
        ("GET /app/api/v1/users/?page=2", vec![token], 307, vec!["location: /app/api/v1/users?page=2\r\n"]),
        ("PATCH /api/v1/users", vec![token], 405, vec!["allow: get, post, head", "method not allowed"]),
        ("GET /api/v1/nothing", vec![token], 404, vec![r#"{"detail":"not found"}"#]),
        ("GET /app/nothing", vec![token], 404, vec![r#"{"detail":"not found"}"#]),
        ("GET /api/v1/users?per_page=500", vec![token], 422, vec!["less_than_equal"]),
        ("POST /internal/auth/introspect", vec![], 404, vec![]),
        ("POST /app/internal/auth/introspect", vec![("x-forwarded-for", "10.0.0.1")], 404, vec![]),
        ("GET /logout", vec![], 405, vec!["allow: post"]),
    ] {
        let (head, body) = raw(&daemon, line, &headers, "");
        let whole = format!("{head}\r\n\r\n{}", body.to_lowercase());
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{line}: {head}");
        for part in parts {
            assert!(whole.contains(part), "{line}: {part} in {whole}");
        }
        assert_eq!(body.is_empty(), line.starts_with("HEAD") || status == 307, "{line}");
        for name in [
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "x-xss-protection: 1; mode=block",
            "content-security-policy: default-src 'self'",
            "referrer-policy: strict-origin-when-cross-origin",
            "strict-transport-security: max-age=31536000; includesubdomains",
        ] {
            assert!(head.contains(name), "{line}: {name} in {head}");
        }
    }
    let (head, _) = raw(&daemon, "POST /api/v1/users", &[], "{broken");
    assert!(head.starts_with("http/1.1 422"), "broken JSON comes before who asks: {head}");
}

#[test]
fn audit_and_database_are_told_to_administrators() {
    let (_folder, daemon, admin) = daemon(&[]);
    let call = |method: &str, path: &str| daemon.call(method, path, &admin, None).unwrap();
    let ana = user(&daemon, &admin, "ana", "user");
    let (status, made) = call("POST", "/api/v1/admin/database/backup");
    assert!(
        status == 200 && std::path::Path::new(made["data"]["backup_path"].as_str().unwrap()).exists(),
        "{made}"
    );
    let (_, verified) = call("GET", "/api/v1/admin/database/verify");
    assert_eq!(
        (&verified["data"]["valid"], &verified["data"]["issues"]),
        (&json!(true), &json!([])),
        "{verified}"
    );
    assert!(verified["data"]["tables_checked"].as_array().unwrap().contains(&json!("users")));
    assert_eq!(call("GET", "/api/v1/admin/database/health").1["data"]["connected"], true);
    let found = eventually("the trail to be written", || {
        let list = call("GET", "/api/v1/audit?action=user_created&username=admin").1;
        let record = list["data"]["audit"][0].clone();
        anyhow::ensure!(record.is_object(), "{list}");
        Ok(record)
    })
    .unwrap();
    assert_eq!(
        (&found["resource"], &found["outcome"]),
        (&json!(format!("user:{ana}")), &json!("ok")),
        "{found}"
    );
    for action in
        ["database_backup_created", "database_schema_verified", "database_health_checked", "auth_success"]
    {
        eventually("every action", || {
            let list = call("GET", &format!("/api/v1/audit?action={action}")).1;
            anyhow::ensure!(list["meta"]["total"] == 1, "{action}: {list}");
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(call("GET", "/api/v1/audit?since=soon").0, 422);
}

/// The five checks of the deployment guide's script, by the texts it greps for.
#[test]
fn the_guides_checks_pass() {
    let (_folder, daemon, _admin) = daemon(&[]);
    let (head, body) = raw(&daemon, "GET /api/v1/health", &[], "");
    let engine = std::path::Path::new("/var/run/docker.sock").exists();
    for (check, passes) in [
        ("health", head.starts_with("http/1.1 200")),
        ("format", body.contains("\"status\"")),
        ("database", body.contains(r#""database":{"status":"healthy""#)),
        // The suite's daemons are given no engine: truthfully unavailable.
        ("docker", body.contains(r#""docker":{"status":"unavailable""#)),
        ("authentication", raw(&daemon, "GET /api/v1/users", &[], "").0.starts_with("http/1.1 401")),
    ] {
        assert!(passes, "{check}: {head}\n{body} (engine here: {engine})");
    }
    let whole: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(whole["data"]["components"], whole["checks"]);
}
