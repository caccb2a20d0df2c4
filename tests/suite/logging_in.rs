//! Logging in: waits of accounts, links of one use, the second factor.

use crate::raw::{Wire, json_request};
use gatehouse_tests::daemon::{Daemon, PASSWORD, console};
use serde_json::{Value, json};
use std::process::Command;

const OTHER: &str = "Another-Horse-7-Staple";

fn house(settings: &[(&str, &str)]) -> (tempfile::TempDir, Daemon, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), settings).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let user = json!({"username": "ana", "email": "ana@x.org", "password": PASSWORD, "role": "user", "groups": ["ALL"]});
    assert_eq!(daemon.call("POST", "/platform/user", &admin, Some(user)).unwrap().0, 201);
    (folder, daemon, admin)
}

/// A login, by way of a proxy that tells the client's address.
fn log_in(daemon: &Daemon, from: &str, body: &Value) -> (u16, Value) {
    let fields = format!("X-Forwarded-For: {from}\r\n");
    let sent = json_request("POST", "/platform/authorization", &fields, &body.to_string());
    let reply = Wire::with(daemon, sent).answer();
    (reply.status, serde_json::from_str(&reply.body).unwrap())
}

#[test]
fn guessing_waits_and_keeps_nobody_out() {
    let (_folder, daemon, admin) = house(&[("GATEHOUSE_LOGIN_ACCOUNT_FAILURES", "3")]);
    let trust = json!({"trust_x_forwarded_for": true, "xff_trusted_proxies": ["127.0.0.1"]});
    assert_eq!(daemon.call("PUT", "/platform/security/settings", &admin, Some(trust)).unwrap().0, 200);
    let try_as = |from: &str, name: &str, password: &str| {
        let (status, answer) = log_in(&daemon, from, &json!({"email": name, "password": password}));
        (status, answer["error_code"].as_str().unwrap_or_default().to_owned())
    };
    let wrong = (400, "AUTH002".to_owned());
    let wait = (429, "ACCOUNT_RATE_LIMIT".to_owned());
    assert_eq!(try_as("10.0.0.1", "ana", PASSWORD).0, 200);
    for guess in 0..3 {
        assert_eq!(
            try_as(&format!("10.9.9.{guess}"), ["ana", "ana@x.org", "ANA@x.org"][guess], "wrong"),
            wrong
        );
        assert_eq!(try_as(&format!("10.9.9.{guess}"), "nobody", "wrong"), wrong);
    }
    assert_eq!(try_as("10.9.9.9", "ana", PASSWORD), wait, "a right password too");
    assert_eq!(try_as("10.9.9.9", "nobody", "wrong"), wait, "who does not exist waits as well");
    assert_eq!(try_as("10.0.0.1", "ana", "wrong"), wrong, "from where ana logged in before");
    assert_eq!(try_as("10.0.0.1", "ana", PASSWORD).0, 200);
    assert_eq!(try_as("10.9.9.9", "ana", PASSWORD).0, 200, "forgotten with that");
}

fn user_verb(daemon: &Daemon, words: &[&str]) -> (i32, String) {
    let socket = daemon.socket("operate.sock");
    let output =
        Command::new(console()).arg("--socket").arg(socket).arg("user").args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), text)
}

/// Path and token of a link.
fn link(daemon: &Daemon, what: &str, name: &str) -> (String, String) {
    let (code, text) = user_verb(daemon, &[what, name]);
    assert_eq!(code, 0, "{text}");
    let link = text.lines().last().unwrap();
    let (path, token) = link.strip_prefix("https://gate.example").unwrap().split_once("?token=").unwrap();
    (path.to_owned(), token.to_owned())
}

#[test]
fn links_serve_once_and_end_what_was() {
    let (_folder, daemon, _) = house(&[("PUBLIC_BASE_URL", "https://gate.example/")]);
    let post = |path: &str, body: Value| daemon.call("POST", path, "", Some(body)).unwrap();
    let old = daemon.login("ana", PASSWORD).unwrap();
    let pat = json!({"name": "job", "scopes": ["users:read"]});
    let (_, pat) = daemon.call("POST", "/auth/tokens", &old, Some(pat)).unwrap();
    let pat = pat["token"].as_str().unwrap().to_owned();
    let me = |token: &str| daemon.call("GET", "/platform/user/me", token, None).unwrap().0;
    assert_eq!((me(&old), me(&pat)), (200, 200));
    let (_, first) = link(&daemon, "reset", "ana");
    let (path, token) = link(&daemon, "reset", "ana");
    let confirm = "/auth/password/reset/confirm";
    let set = |token: &str, password: &str| post(confirm, json!({"token": token, "password": password})).0;
    assert_eq!(set(&first, OTHER), 400, "the newer one is in its place");
    // A mail scanner looks at it, and a typing error does not burn it.
    let (status, page) = daemon.call("GET", &format!("{path}?token={token}"), "", None).unwrap();
    assert!(status == 200 && page.as_str().unwrap().contains("<form method=\"post\""), "{page}");
    assert_eq!(set(&token, "short"), 400);
    let twice = json!({"token": token, "password": OTHER, "confirm_password": PASSWORD});
    assert_eq!(post(confirm, twice).0, 422);
    let both = std::thread::scope(|scope| {
        let tries = [0, 1].map(|_| scope.spawn(|| set(&token, OTHER)));
        let mut both = tries.map(|one| one.join().unwrap());
        both.sort_unstable();
        both
    });
    assert_eq!(both, [200, 400]);
    assert_eq!((me(&old), me(&pat)), (401, 401), "what was open has ended");
    assert!(daemon.login("ana", PASSWORD).is_err() && daemon.login("ana", OTHER).is_ok());
    let (_, token) = link(&daemon, "link", "ana");
    assert_eq!(set(&token, PASSWORD), 400, "it is for something else");
    let (status, entered) = post("/auth/email/verify", json!({ "token": token }));
    assert_eq!((status, &entered["role"]), (200, &json!("user")), "{entered}");
    assert_eq!(me(entered["access_token"].as_str().unwrap()), 200);
    assert_eq!(post("/auth/email/verify", json!({ "token": token })).0, 400);
    assert_ne!(user_verb(&daemon, &["link", "nobody"]).0, 0);
    assert_eq!(user_verb(&daemon, &["unheard-of", "ana"]).0, 64);
    let (_, trail) = daemon.ops("GET", "/v1/audit?q=one_time&limit=50", None).unwrap();
    assert!(
        trail.to_string().contains("one_time.create") && !trail.to_string().contains("gh_once_"),
        "{trail}"
    );
}

/// The code of a secret, by the tool that administrators have (`oathtool` or an authenticator), here by the crate.
fn code(secret: &str, steps: i64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    totp.generate(now.checked_add_signed(steps * 30).unwrap()).to_string()
}

#[test]
fn administrators_may_be_made_to_have_a_second_factor() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[("GATEHOUSE_REQUIRE_TOTP_FOR_ADMINS", "true")]).unwrap();
    let call = |method: &str, path: &str, token: &str, body: Value| {
        daemon.call(method, path, token, (method != "GET").then_some(body)).unwrap()
    };
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let (status, told) = call("GET", "/platform/user/all", &admin, json!({}));
    assert!(status == 403 && told.to_string().contains("/auth/totp/enrol"), "{told}");
    let (status, enrolled) = call("POST", "/auth/totp/enrol", &admin, json!({}));
    assert_eq!(status, 201, "{enrolled}");
    let secret = enrolled["secret"].as_str().unwrap();
    assert!(enrolled["otpauth_url"].as_str().unwrap().contains(secret));
    assert_eq!(call("POST", "/auth/totp/confirm", &admin, json!({"code": "abcdef"})).0, 401);
    let (status, confirmed) = call("POST", "/auth/totp/confirm", &admin, json!({"code": code(secret, -1)}));
    assert_eq!(status, 200, "{confirmed}");
    let recovery = confirmed["recovery_codes"][0].as_str().unwrap();
    assert_eq!(call("GET", "/platform/user/all", &admin, json!({})).0, 200);
    let try_with = |name: &str, given: &str| {
        let mut body = json!({"email": "admin", "password": PASSWORD});
        body[name] = json!(given);
        let (status, answer) = log_in(&daemon, "127.0.0.1", &body);
        (status, answer["error_code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(try_with("none", ""), (401, "AUTH010".to_owned()), "the second step is asked for");
    assert_eq!(try_with("totp_code", "000"), (401, "AUTH011".to_owned()));
    assert_eq!(
        try_with("totp_code", &code(secret, -1)),
        (401, "AUTH011".to_owned()),
        "used at the confirmation"
    );
    assert_eq!(try_with("totp_code", &code(secret, 0)).0, 200);
    assert_eq!(try_with("recovery_code", recovery).0, 200);
    assert_eq!(try_with("recovery_code", recovery), (401, "AUTH011".to_owned()));
    assert_eq!(user_verb(&daemon, &["forget-factor", "admin"]).0, 0);
    assert_eq!(try_with("none", "").0, 200);
}
