//! Personal access tokens, and what a cookie alone may not do.

use crate::raw::{Reply, Wire, json_request};
use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use serde_json::{Value, json};

fn made(daemon: &Daemon, session: &str, body: Value) -> (String, String) {
    let (status, made) = daemon.call("POST", "/auth/tokens", session, Some(body)).unwrap();
    assert_eq!(status, 201, "{made}");
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

#[test]
fn a_token_does_what_its_scopes_say_and_no_more() {
    let (_folder, daemon, admin, _ana) = shop(&[]);
    let status = |method: &str, path: &str, token: &str, body: Option<Value>| {
        daemon.call(method, path, token, body).unwrap().0
    };
    let (_, reader) = made(&daemon, &admin, json!({"name": "ci", "scopes": ["apis:read", "auth:read"]}));
    assert!(reader.starts_with("gh_pat_"), "{reader}");
    let role = json!({"role_name": "r1", "manage_users": true});
    for (method, path, body, expected) in [
        ("GET", "/platform/api/all", None, 200),
        ("GET", "/platform/api/shop/v1", None, 200),
        ("PUT", "/platform/api/shop/v1", Some(json!({"api_description": "x"})), 403),
        ("GET", "/platform/user/admin", None, 403),
        ("POST", "/platform/role", Some(role.clone()), 403),
        ("GET", "/auth/tokens", None, 200),
        ("POST", "/auth/tokens", Some(json!({"name": "more", "scopes": ["admin"]})), 403),
        ("GET", "/auth/admin/tokens", None, 403),
        ("POST", "/auth/totp/enrol", None, 403),
        ("GET", "/api/rest/shop/v1/echo", None, 401),
    ] {
        assert_eq!(status(method, path, &reader, body), expected, "{method} {path}");
    }
    let (_, whole) = made(&daemon, &admin, json!({"name": "all", "scopes": ["admin"]}));
    assert_eq!(status("POST", "/platform/role", &whole, Some(role)), 201);
    assert_eq!(status("GET", "/auth/admin/tokens", &whole, None), 200);
    for (path, body) in [
        ("/auth/tokens", json!({"name": "more", "scopes": ["admin"]})),
        ("/platform/authorization/invalidate", json!({})),
    ] {
        assert_eq!(status("POST", path, &whole, Some(body)), 403, "{path} takes somebody who logged in");
    }
    let password = json!({"new_password": PASSWORD});
    assert_eq!(status("PUT", "/platform/user/ana/update-password", &whole, Some(password)), 403);
}

#[test]
fn a_token_ends_with_its_owner_its_time_and_by_itself() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let echo = |token: &str| daemon.call("GET", "/api/rest/shop/v1/echo", token, None).unwrap().0;
    let status = |method: &str, path: &str, token: &str| daemon.call(method, path, token, None).unwrap().0;
    let (id, token) =
        made(&daemon, &ana, json!({"name": "job", "scopes": ["gateway"], "expires_in_days": 1}));
    let wrong = format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { '1' } else { '0' });
    assert_eq!((echo(&token), echo(&wrong)), (200, 401));
    assert_eq!(status("GET", "/platform/user/me", &token), 403, "it has the one scope");
    let path = format!("/auth/tokens/{id}");
    assert_eq!(status("DELETE", &path, &admin), 404, "not the administrator's own");
    assert_eq!((status("GET", &path, &ana), status("GET", &path, &admin)), (200, 404));
    assert_eq!(status("DELETE", &path, &token), 204, "it may end itself");
    assert_eq!((echo(&token), status("DELETE", &path, &ana)), (401, 204));
    let (_, listed) = daemon.call("GET", "/auth/tokens", &ana, None).unwrap();
    assert!(listed[0]["revoked_at"].is_string() && !listed.to_string().contains(&token), "{listed}");
    let networks = json!({"name": "far", "scopes": ["gateway", "users:read"], "networks": ["10.0.0.0/8"]});
    let (_, far) = made(&daemon, &ana, networks);
    assert_eq!((echo(&far), status("GET", "/platform/user/me", &far)), (401, 401));
    let (other, near) =
        made(&daemon, &ana, json!({"name": "near", "scopes": ["gateway"], "networks": ["127.0.0.1"]}));
    assert_eq!(echo(&near), 200);
    assert_eq!(status("DELETE", &format!("/auth/admin/tokens/{other}"), &admin), 204);
    let (_, last) = made(&daemon, &ana, json!({"name": "last", "scopes": ["gateway"]}));
    assert_eq!((echo(&near), echo(&last)), (401, 200));
    let begun = std::time::Instant::now();
    assert_eq!(status("POST", "/platform/authorization/admin/disable/ana", &admin), 200);
    assert_eq!(echo(&last), 401);
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    let (status, refused) = daemon
        .call(
            "POST",
            "/auth/tokens",
            &admin,
            Some(json!({"name": "x", "scopes": ["admin"], "expires_in_days": 31})),
        )
        .unwrap();
    assert_eq!(status, 422, "{refused}");
}

fn ask(daemon: &Daemon, method: &str, path: &str, fields: &str, body: &str) -> Reply {
    Wire::with(daemon, json_request(method, path, fields, body)).answer()
}

/// Both cookies of a fresh login: the token's and the value for changes.
fn cookies(daemon: &Daemon) -> (String, String, Reply) {
    let body = json!({"email": "admin", "password": PASSWORD}).to_string();
    let reply = ask(daemon, "POST", "/platform/authorization", "", &body);
    // Heads come in lower case, and a token has both.
    let token: Value = serde_json::from_str(&reply.body).unwrap();
    let csrf =
        reply.head.split("csrf_token=").nth(1).and_then(|rest| rest.split(';').next()).unwrap().to_owned();
    (token["access_token"].as_str().unwrap().to_owned(), csrf, reply)
}

#[test]
fn a_cookie_alone_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[("COOKIE_SAMESITE", "lax"), ("HTTPS_ONLY", "true")]).unwrap();
    let (token, csrf, login) = cookies(&daemon);
    let cookie = login.head.lines().find(|line| line.contains("access_token_cookie=")).unwrap();
    for flag in ["httponly", "samesite=lax", "secure", "path=/", "max-age=1800"] {
        assert!(cookie.contains(flag), "{flag}: {cookie}");
    }
    let readable = login.head.lines().find(|line| line.contains("csrf_token=")).unwrap();
    assert!(!readable.contains("httponly") && readable.contains("secure"), "{readable}");
    let both = format!("Cookie: access_token_cookie={token}; csrf_token={csrf}\r\n");
    let alone = format!("Cookie: access_token_cookie={token}\r\n");
    let (_, foreign, _) = cookies(&daemon);
    let group = |name: &str| json!({"group_name": name, "group_description": ""}).to_string();
    for (fields, status, told) in [
        (both.clone(), 403, "x-csrf-token is missing"),
        (format!("{alone}X-CSRF-Token: {csrf}\r\n"), 403, "cookie csrf_token is missing"),
        (format!("{both}X-CSRF-Token: {foreign}\r\n"), 403, "differs"),
        (
            format!(
                "Cookie: access_token_cookie={token}; csrf_token={foreign}\r\nX-CSRF-Token: {foreign}\r\n"
            ),
            403,
            "another session",
        ),
        (format!("{both}Authorization: Basic abc\r\n"), 403, "is missing"),
        (format!("{both}X-CSRF-Token: {csrf}\r\n"), 201, ""),
    ] {
        let reply = ask(&daemon, "POST", "/platform/group", &fields, &group("g1"));
        assert_eq!(reply.status, status, "{fields} {}", reply.body);
        assert!(reply.body.to_lowercase().contains(told), "{told}: {}", reply.body);
    }
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(ask(&daemon, "POST", "/platform/group", &bearer, &group("g2")).status, 201);
    assert_eq!(ask(&daemon, "POST", "/platform/group", &format!("{both}{bearer}"), &group("g3")).status, 201);
    assert_eq!(ask(&daemon, "GET", "/platform/user/me", &alone, "").status, 200, "looking needs none");
    let key = json!({"name": "k"}).to_string();
    assert_eq!(ask(&daemon, "POST", "/api/v1/api-keys", &alone, &key).status, 201, "a script");
    let page = format!("{alone}Origin: http://evil.example\r\n");
    assert_eq!(ask(&daemon, "POST", "/api/v1/api-keys", &page, &key).status, 403, "a page");
    assert_eq!(ask(&daemon, "POST", "/platform/authorization/invalidate", &alone, "{}").status, 200);
    assert_eq!(ask(&daemon, "GET", "/platform/user/me", &alone, "").status, 401);
}
