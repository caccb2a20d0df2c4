//! Who may be whom: what the manager must never allow.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use serde_json::{Value, json};

/// A daemon with the administrator `root1` and `hal`, whose role only manages users.
fn helpdesk() -> (tempfile::TempDir, Daemon, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[("BOOTSTRAP_ADMIN_USERNAME", "root1")]).unwrap();
    let root = daemon.login("root1", PASSWORD).unwrap();
    let role = json!({"role_name": "helpdesk", "manage_users": true, "manage_auth": true});
    assert_eq!(daemon.call("POST", "/platform/role", &root, Some(role)).unwrap().0, 201);
    make_user(&daemon, &root, "hal", "helpdesk");
    let hal = daemon.login("hal", PASSWORD).unwrap();
    (folder, daemon, root, hal)
}

fn make_user(daemon: &Daemon, token: &str, name: &str, role: &str) {
    let email = format!("{name}@x.org");
    let user =
        json!({"username": name, "email": email, "password": PASSWORD, "role": role, "groups": ["ALL"]});
    let (status, answer) = daemon.call("POST", "/platform/user", token, Some(user)).unwrap();
    assert_eq!(status, 201, "{answer}");
}

#[test]
fn a_user_manager_gets_no_hold_of_an_administrators_keys() {
    let (_folder, daemon, root, hal) = helpdesk();
    let key = |token: &str, body: Value| daemon.call("POST", "/api/v1/api-keys", token, Some(body)).unwrap();
    let (status, made) = key(&root, json!({"name": "mine"}));
    assert_eq!(status, 201);
    let own = daemon.call("GET", "/api/v1/users/me", &hal, None).unwrap().1["data"]["id"].clone();
    let roots = made["data"]["user_id"].clone();
    assert!(own.is_i64() && roots.is_i64() && own != roots);
    assert_eq!(key(&hal, json!({"user_id": roots})).0, 404);
    assert_eq!(key(&hal, json!({"user_id": own})).0, 201);
    let (_, listed) = daemon.call("GET", "/api/v1/api-keys", &hal, None).unwrap();
    assert!(
        listed["data"]["api_keys"].as_array().unwrap().iter().all(|key| key["user_id"] == own),
        "{listed}"
    );
    let path = format!("/api/v1/api-keys/{}", made["data"]["id"]);
    assert_eq!(daemon.call("DELETE", &path, &hal, None).unwrap().0, 404);
}

#[test]
fn tokens_of_a_deleted_user_stay_dead_when_the_name_is_used_again() {
    let (_folder, daemon, root, _hal) = helpdesk();
    make_user(&daemon, &root, "eva", "user");
    let old = daemon.login("eva", PASSWORD).unwrap();
    let me = |token: &str| daemon.call("GET", "/platform/user/me", token, None).unwrap().0;
    assert_eq!(me(&old), 200);
    assert_eq!(daemon.call("DELETE", "/platform/user/eva", &root, None).unwrap().0, 200);
    make_user(&daemon, &root, "eva", "user");
    assert_eq!(me(&old), 401);
    assert_eq!(me(&daemon.login("eva", PASSWORD).unwrap()), 200);
}

#[test]
fn the_last_administrator_stays() {
    let (_folder, daemon, root, _hal) = helpdesk();
    for (method, path, body, code) in [
        ("DELETE", "/platform/user/root1", None, "USR021"),
        ("PUT", "/platform/user/root1", Some(json!({"active": false})), "USR020"),
        ("PUT", "/platform/user/root1", Some(json!({"role": "helpdesk"})), "USR020"),
        ("POST", "/platform/authorization/admin/disable/root1", None, "AUTH900"),
    ] {
        let (status, answer) = daemon.call(method, path, &root, body).unwrap();
        assert_eq!((status, &answer["error_code"]), (403, &json!(code)), "{method} {path}");
    }
    make_user(&daemon, &root, "root2", "admin");
    assert_eq!(daemon.call("DELETE", "/platform/user/root1", &root, None).unwrap().0, 200);
}

#[test]
fn who_registers_has_an_account_and_reaches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[("REGISTER_IP_RATE_LIMIT", "4")]).unwrap();
    let register = |body: Value| {
        let (status, answer) =
            daemon.call("POST", "/platform/authorization/register", "", Some(body)).unwrap();
        (status, answer["error_code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(register(json!({"email": "eva@x.org"})), (400, "AUTH001".to_owned()));
    assert_eq!(register(json!({"email": "eva@x.org", "password": "weak"})), (400, "USR005".to_owned()));
    assert_eq!(register(json!({"email": "eva@x.org", "password": PASSWORD})).0, 201);
    assert_eq!(register(json!({"email": "admin@x.org", "password": PASSWORD})), (400, "USR001".to_owned()));
    let again = register(json!({"email": "eve@x.org", "password": PASSWORD}));
    assert_eq!(again, (429, "IP_RATE_LIMIT".to_owned()));
    let eva = daemon.login("eva", PASSWORD).unwrap();
    let me = daemon.call("GET", "/platform/user/me", &eva, None).unwrap().1;
    assert_eq!((&me["role"], &me["groups"], &me["ui_access"]), (&json!("user"), &json!([]), &json!(false)));
}

#[test]
fn a_revocation_is_served_within_100_ms() {
    let (_folder, daemon, root, _hal) = helpdesk();
    make_user(&daemon, &root, "eva", "user");
    let took = (0..5).map(|_| {
        let eva = daemon.login("eva", PASSWORD).unwrap();
        let begun = std::time::Instant::now();
        let revoked = daemon.call("POST", "/platform/authorization/admin/revoke/eva", &root, None).unwrap().0;
        let took = begun.elapsed();
        assert_eq!(revoked, 200);
        assert_eq!(daemon.call("GET", "/platform/user/me", &eva, None).unwrap().0, 401);
        let path = "/platform/authorization/admin/unrevoke/eva";
        assert_eq!(daemon.call("POST", path, &root, None).unwrap().0, 200);
        took
    });
    // The answer waits for the data plane; other tests share the machine, so the best of five counts.
    let best = took.min().unwrap();
    assert!(best < std::time::Duration::from_millis(100), "{best:?}");
}

#[test]
fn sessions_are_listed_and_ended() {
    let (_folder, daemon, root, hal) = helpdesk();
    make_user(&daemon, &root, "eva", "user");
    let (first, second) = (daemon.login("eva", PASSWORD).unwrap(), daemon.login("eva", PASSWORD).unwrap());
    let sessions = "/platform/authorization/sessions";
    let list =
        |token: &str, query: &str| daemon.call("GET", &format!("{sessions}{query}"), token, None).unwrap();
    let end = |token: &str, id: &Value| {
        daemon.call("DELETE", &format!("{sessions}/{}", id.as_str().unwrap()), token, None).unwrap().0
    };
    let (_, own) = list(&first, "");
    assert_eq!(own["total"], 2, "{own}");
    let find =
        |current: bool| own["sessions"].as_array().unwrap().iter().find(|one| one["current"] == current);
    let (this, other) = (&find(true).unwrap()["id"], &find(false).unwrap()["id"]);
    assert_eq!(list("", "").0, 401);
    assert_eq!((list(&first, "?username=root1").0, list(&hal, "?username=root1").0), (403, 404));
    assert_eq!(list(&hal, "?username=eva").1["total"], 2);
    let (_, of_root) = list(&root, "");
    assert_eq!(end(&hal, &of_root["sessions"][0]["id"]), 404, "no hold of an administrator's");
    assert_eq!(end(&first, other), 200);
    assert_eq!((list(&second, "").0, list(&first, "").1["total"].clone()), (401, json!(1)));
    assert_eq!(end(&first, other), 404);
    let refresh = daemon.call("POST", "/platform/authorization/refresh", &second, None).unwrap().0;
    assert_eq!(refresh, 401, "it cannot be made longer");
    assert_eq!((end(&hal, this), list(&first, "").0), (200, 401));
}
