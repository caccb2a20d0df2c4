//! Who is let in below `/api/v1`, and by what: keys, tokens of ours and of an outer platform, sessions; what introspection
//! says of them; how often they may come.

use crate::octoprox::{daemon, raw, user};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The key that an outer platform shares with us.
const SHARED: &str = "shared-with-the-outer-platform-0123456789";

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::digest([&pad(0x36)[..], text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()).to_vec()
}

/// A token as the outer platform mints it.
fn mint(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac(SHARED.as_bytes(), text.as_bytes())))
}

fn later() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 600
}

fn cookies(head: &str) -> Vec<(String, String)> {
    let lines = head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    let pairs = lines.filter_map(|line| line.split(';').next()?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn cookie(head: &str, name: &str) -> String {
    cookies(head).into_iter().find(|(given, _)| given == name).unwrap().1
}

#[test]
fn each_refusal_has_its_text() {
    let (_folder, daemon, admin) = daemon(&[("JWT_SECRET_KEY", SHARED)]);
    let ana = user(&daemon, &admin, "ana", "user");
    let key = daemon.call("POST", "/api/v1/api-keys", &admin, Some(json!({"user_id": ana}))).unwrap().1;
    let key = key["data"]["token"].as_str().unwrap().to_owned();
    let me = |token: &str| daemon.call("GET", "/api/v1/users/me", token, None).unwrap();
    let (exp, sub) = (later(), ana.to_string());
    let good = mint(&json!({"sub": sub, "type": "access", "exp": exp, "role": "admin"}));
    let (status, answer) = me(&good);
    assert_eq!((status, &answer["data"]["id"], &answer["data"]["role"]), (200, &json!(ana), &json!("user")));
    for (token, text) in [
        ("", "Not authenticated"),
        ("mcp_00000000_x", "Invalid API key"),
        (&format!("{key}x"), "Invalid API key"),
        (&mint(&json!({"sub": sub, "type": "access", "exp": 5})), "Token has expired"),
        ("rubbish", "Invalid token"),
        (&format!("{good}x"), "Invalid token"),
        (&mint(&json!({"sub": sub, "type": "access", "exp": exp, "aud": "x"})), "Invalid token"),
        (&mint(&json!({"sub": sub, "exp": exp})), "Invalid token type"),
        (&mint(&json!({"type": "access", "exp": exp})), "Invalid token payload"),
        (&mint(&json!({"sub": "ana", "type": "access", "exp": exp})), "Invalid authentication credentials"),
        (&mint(&json!({"sub": "999", "type": "access", "exp": exp})), "User not found or inactive"),
    ] {
        let (status, answer) = me(token);
        assert_eq!((status, &answer["detail"]), (401, &json!(text)), "{token}");
    }
    assert_eq!(daemon.call("DELETE", &format!("/api/v1/users/{ana}"), &admin, None).unwrap().0, 200);
    assert_eq!(me(&key).1["detail"], "Invalid API key");
    assert_eq!(me(&good).1["detail"], "User not found or inactive");
}

#[test]
fn introspection_tells_both_shapes_and_only_what_is_true() {
    let secret = "0123456789abcdef";
    let settings = [
        ("INTROSPECT_SECRET", secret),
        ("JWT_SECRET_KEY", SHARED),
        ("GATEHOUSE_WORKSPACE_NETWORKS", "127.0.0.0/8"),
    ];
    let (_folder, daemon, admin) = daemon(&settings);
    let ana = user(&daemon, &admin, "ana", "user");
    let key = daemon.call("POST", "/api/v1/api-keys", &admin, Some(json!({"user_id": ana}))).unwrap().1;
    let key = key["data"]["token"].as_str().unwrap().to_owned();
    let token = mint(&json!({"sub": ana.to_string(), "type": "access", "exp": later(), "role": "admin"}));
    let public = |headers: &[(&str, &str)], body: &str| {
        let (head, body) = raw(&daemon, "POST /api/v1/auth/introspect", headers, body);
        (head.get(9..12).unwrap().to_owned(), serde_json::from_str::<Value>(&body).unwrap(), body)
    };
    let inside = |headers: &[(&str, &str)], body: &str| {
        let (head, body) = raw(&daemon, "POST /internal/auth/introspect", headers, body);
        (head.get(9..12).unwrap().to_owned(), serde_json::from_str::<Value>(&body).unwrap())
    };
    let ours = ("x-introspect-secret", secret);
    let body = |token: &str| json!({ "token": token }).to_string();
    for headers in [vec![], vec![("x-introspect-secret", "wrong")]] {
        let (status, answer, _) = public(&headers, &body(&key));
        assert_eq!((&*status, &answer["detail"]), ("401", &json!("Invalid or missing introspect secret")));
    }
    for (token, kind) in
        [(&key, "api_key"), (&token, "jwt"), (&daemon.login("ana", PASSWORD).unwrap(), "jwt")]
    {
        let (status, answer, text) = public(&[ours], &body(token));
        assert!(status == "200" && text.starts_with("{\"active\":true,"), "{status} {text}");
        let told = json!([ana.to_string(), ana.to_string(), "ana", "user", kind]);
        for half in [&answer, &answer["data"]] {
            assert_eq!(
                json!([half["sub"], half["user_id"], half["username"], half["role"], half["token_type"]]),
                told
            );
        }
        assert_eq!(answer["exp"].is_i64(), kind == "jwt");
        assert_eq!(inside(&[], &body(token)), (status, answer));
    }
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(public(&[ours, form], &format!("token={key}")).1["active"], true);
    for given in [json!({}), json!({"token": null}), json!({"token": ""}), json!({"token": "test"})] {
        let (status, _, text) = public(&[ours], &given.to_string());
        assert_eq!((&*status, &*text), ("200", r#"{"active":false,"data":{"active":false}}"#), "{given}");
    }
    for given in ["", "[]", "{", r#"{"token":5}"#] {
        assert_eq!(public(&[ours], given).0, "422", "{given}");
    }
    assert_eq!(
        inside(&[("x-forwarded-for", "127.0.0.1")], &body(&key)).0,
        "404",
        "a proxy speaks for somebody else"
    );
    assert_eq!(daemon.call("DELETE", &format!("/api/v1/users/{ana}"), &admin, None).unwrap().0, 200);
    assert_eq!(public(&[ours], &body(&token)).1["active"], false, "the database is asked");
    assert_eq!(inside(&[], &body(&key)).1["active"], false);
}

#[test]
fn a_browser_logs_in_by_the_form_and_out_for_good() {
    let (_folder, daemon, admin) = daemon(&[]);
    let ana = user(&daemon, &admin, "ana", "user");
    let form = |session: &str, csrf: &str, password: &str, path: &str| {
        let cookie = format!("session={session}");
        let body = format!("username=ana&password={password}&csrf_token={csrf}");
        raw(
            &daemon,
            &format!("POST {path}"),
            &[("cookie", &cookie), ("content-type", "application/x-www-form-urlencoded")],
            &body,
        )
    };
    let (head, page) = raw(&daemon, "GET /app/login", &[], "");
    let (before, csrf) = (cookie(&head, "session"), cookie(&head, "csrftoken"));
    assert!(page.contains(&format!("value=\"{csrf}\"")) && page.contains("action=\"/app/login\""), "{page}");
    assert!(
        !page.contains("<script") && !page.contains("style=") && page.contains("<label for=\"password\"")
    );
    let (head, page) = form(&before, "wrong", PASSWORD, "/login");
    assert!(head.starts_with("http/1.1 403") && page.contains(&csrf), "the next try has its token: {head}");
    assert!(form(&before, &csrf, "wrong", "/login").0.starts_with("http/1.1 401"));
    assert!(raw(&daemon, "POST /login", &[], "username=ana").0.starts_with("http/1.1 422"));
    let (head, _) = form(&before, &csrf, PASSWORD, "/app/login");
    assert!(head.starts_with("http/1.1 303") && head.contains("location: /app/workspaces"), "{head}");
    let session = cookie(&head, "session");
    let flags = head.lines().find(|line| line.starts_with("set-cookie: session=")).unwrap();
    assert!(session != before && flags.contains("httponly") && flags.contains("samesite=lax"), "{flags}");
    let shown = format!("session={session}");
    let me = |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", &*shown)], headers].concat();
        raw(&daemon, "GET /api/v1/users/me", &headers, "").0.get(9..12).unwrap().to_owned()
    };
    let make = |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", &*shown)], headers].concat();
        raw(&daemon, "POST /api/v1/api-keys", &headers, "{}").0.get(9..12).unwrap().to_owned()
    };
    assert_eq!((me(&[]), me(&[("authorization", "Basic eDp5")])), ("200".to_owned(), "200".to_owned()));
    assert_eq!(me(&[("authorization", "Bearer rubbish")]), "401", "a bearer that fails is never a session");
    assert_eq!((make(&[]), make(&[("origin", "http://box")])), ("201".to_owned(), "201".to_owned()));
    assert_eq!(make(&[("origin", "http://elsewhere.example")]), "403");
    let token = cookie(&head, "csrftoken");
    assert_eq!(make(&[("origin", "http://elsewhere.example"), ("x-csrf-token", &token)]), "201");
    let (head, _) = raw(&daemon, "POST /logout", &[("cookie", &shown)], "");
    assert!(
        head.starts_with("http/1.1 303") && head.contains("location: /login") && head.contains("max-age=0"),
        "{head}"
    );
    assert_eq!(me(&[]), "401", "a copy of the cookie is worth nothing");
    assert_eq!(daemon.call("DELETE", &format!("/api/v1/users/{ana}"), &admin, None).unwrap().0, 200);
    let (head, page) = form(&before, &csrf, PASSWORD, "/login");
    assert!(head.starts_with("http/1.1 403") && page.contains("deactivated"), "{head}");
}

#[test]
fn tokens_by_json_serve_everywhere_and_renew_once() {
    let (_folder, daemon, admin) = daemon(&[]);
    user(&daemon, &admin, "ana", "user");
    let post = |path: &str, body: Value| daemon.call("POST", path, "", Some(body)).unwrap();
    assert_eq!(post("/api/v1/auth/login", json!({"username": "ana", "password": "x"})).0, 401);
    assert_eq!(post("/api/v1/auth/login", json!({"username": "ana"})).0, 422);
    let (status, first) = post("/api/v1/auth/login", json!({"username": "ana", "password": PASSWORD}));
    assert_eq!(status, 200, "{first}");
    let text = |value: &Value, name: &str| value["data"][name].as_str().unwrap().to_owned();
    let me = |token: &str, path: &str| daemon.call("GET", path, token, None).unwrap().0;
    let access = text(&first, "access_token");
    assert_eq!((me(&access, "/api/v1/users/me"), me(&access, "/platform/user/me")), (200, 200));
    assert_eq!(me(&text(&first, "refresh_token"), "/api/v1/users/me"), 401);
    let renew = |token: String| post("/api/v1/auth/refresh", json!({ "refresh_token": token }));
    let (status, second) = renew(text(&first, "refresh_token"));
    assert_eq!((status, me(&text(&second, "access_token"), "/api/v1/users/me")), (200, 200));
    assert_eq!(renew(text(&first, "refresh_token")).0, 401, "used before");
    assert_eq!(me(&text(&second, "access_token"), "/api/v1/users/me"), 401, "the session has ended");
    assert_eq!(renew(access).0, 401);
}

fn status(daemon: &Daemon, line: &str, headers: &[(&str, &str)], body: &str) -> (String, String, Value) {
    let (head, body) = raw(daemon, line, headers, body);
    (head.get(9..12).unwrap().to_owned(), head, serde_json::from_str(&body).unwrap_or_default())
}

#[test]
fn requests_are_counted_by_class_and_by_who_asks() {
    let (_folder, daemon, admin) =
        daemon(&[("API_RATE_LIMIT", "8"), ("GATEHOUSE_LOGIN_RATE_DISABLED", "false")]);
    let ask =
        |line: &str, token: &str| status(&daemon, line, &[("authorization", &format!("Bearer {token}"))], "");
    for sent in 0..8 {
        let (got, head, _) = ask("GET /api/v1/users", &format!("rubbish{sent}"));
        assert!(got == "401" && head.contains("x-ratelimit-limit: 8"), "{head}");
    }
    let (got, head, body) = ask("GET /app/api/v1/users", "more-rubbish");
    let secs = body["retry_after"].as_i64().unwrap();
    assert!(
        got == "429" && (1..=120).contains(&secs) && head.contains(&format!("retry-after: {secs}")),
        "{head}"
    );
    assert_eq!(
        (&body["error"], &body["detail"]),
        (&json!("Rate limit exceeded"), &json!("Rate limit exceeded"))
    );
    assert!(head.contains("x-frame-options: deny") && head.contains("x-ratelimit-remaining: 0"), "{head}");
    assert_eq!(ask("GET /api/v1/users", &admin).0, "200", "who is known is counted as such");
    assert_eq!(ask("GET /api/v1/health", "").0, "200");
    assert_eq!(ask("GET /login", "").0, "200", "another class");
    let introspected: Vec<_> =
        (0..65).map(|_| status(&daemon, "POST /api/v1/auth/introspect", &[], r#"{"token":"x"}"#).0).collect();
    assert!(introspected.first().is_some_and(|first| first == "200"), "{introspected:?}");
    assert_eq!(introspected.last().map(String::as_str), Some("429"));
}

#[test]
fn failed_logins_are_counted_and_good_ones_are_not() {
    let (_folder, daemon, _admin) = daemon(&[("GATEHOUSE_LOGIN_RATE_DISABLED", "false")]);
    let login = |password: &str, from: &str| {
        let body = json!({"username": "admin", "password": password}).to_string();
        status(&daemon, "POST /api/v1/auth/login", &[("x-forwarded-for", from)], &body)
    };
    for _ in 0..7 {
        assert_eq!(login(PASSWORD, "192.0.2.1").0, "200");
    }
    for sent in 0..5 {
        assert_eq!(login("wrong", &format!("192.0.2.{sent}")).0, "401");
    }
    let (got, head, body) = login(PASSWORD, "192.0.2.9");
    assert!(
        got == "429" && head.contains("retry-after: ") && body["detail"].is_string(),
        "no field helps: {head}"
    );
}
