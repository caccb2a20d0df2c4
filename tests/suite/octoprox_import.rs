//! Importing what Octoprox kept, through the console's verb and the ops socket, from real SQLite files.

use crate::octoprox::{daemon, user};
use gatehouse_tests::daemon::{Daemon, console};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The schema of the last version (spec/octoprox.md 10).
const SCHEMA: &str = "
    CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, username VARCHAR(64) NOT NULL, password_hash VARCHAR(255) NOT NULL,
      role VARCHAR(5) NOT NULL, status VARCHAR(8) NOT NULL, created_at DATETIME, updated_at DATETIME,
      nexusgate_user_id VARCHAR(36) UNIQUE, nexusgate_role VARCHAR(64), last_synced_at DATETIME);
    CREATE UNIQUE INDEX ix_users_username ON users (username);
    CREATE TABLE api_keys (id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
      key_prefix VARCHAR(32) NOT NULL, key_hash VARCHAR(255) NOT NULL, created_at DATETIME, last_used_at DATETIME,
      nexusgate_token_id VARCHAR(64) UNIQUE, name VARCHAR(128), expires_at DATETIME);
    CREATE TABLE workspaces (id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
      name VARCHAR(128) NOT NULL, status VARCHAR(8) NOT NULL, created_at DATETIME, deleted_at DATETIME, purge_after DATETIME,
      updated_at DATETIME, metadata JSON DEFAULT '{}', nexusgate_service_id VARCHAR(64), container_id VARCHAR(64),
      container_status VARCHAR(32));";
/// Of `old-Password` and of the key below; of the product's kind, at a cost that a test can bear.
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=8192,t=1,p=4$JHtplv6AKBe6YGI9S3+MYQ$dAu1UDihRZ6kMavlGQS4DD1YbGIKK7h3NW2XXQeJusY";
const KEY: &str = "mcp_0a1b2c3d_abcdefghijklmnopqrstuvwxyz_-0123";
const KEY_HASH: &str =
    "$argon2id$v=19$m=8192,t=1,p=4$7XL9RUftpmK95Tu9KQIKfQ$8iUUU+0oJylG8Dg2Fvzrjb0M9R0J2UOXGmKBf3c8i3w";

fn import(daemon: &Daemon, words: &[&str], file: &Path) -> (i32, Value) {
    let socket = daemon.socket("operate.sock");
    let mut command = Command::new(console());
    command.args([
        "--socket",
        socket.to_str().unwrap(),
        "import",
        "octoprox",
        file.to_str().unwrap(),
        "--json",
    ]);
    let done = command.args(words).env_clear().output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.code().unwrap(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn users_keys_and_workspaces_come_over_as_they_were() {
    let (folder, daemon, admin) = daemon(&[]);
    let local = user(&daemon, &admin, "local", "user");
    let file = folder.path().join("manager.db");
    let database = Connection::open(&file).unwrap();
    database.execute_batch(SCHEMA).unwrap();
    // The product switches foreign keys on by connection; the file may hold rows without their owner.
    database.execute_batch("PRAGMA foreign_keys = OFF;").unwrap();
    let fill = format!(
        "INSERT INTO users VALUES ({local}, 'ana', '{PASSWORD_HASH}', 'user', 'active', '2026-01-31 12:30:00.123456',
           '2026-01-31 12:30:00.123456', NULL, NULL, NULL),
           (40, 'boss', '{PASSWORD_HASH}', 'admin', 'active', NULL, 'whenever', NULL, 'owner', NULL),
           (41, 'admin', '{PASSWORD_HASH}', 'admin', 'active', NULL, NULL, NULL, NULL, NULL),
           (42, 'odd', '', 'root', 'paused', NULL, NULL, NULL, NULL, NULL);
         INSERT INTO api_keys VALUES (7, {local}, '0a1b2c3d', '{KEY_HASH}', '2026-01-31 12:30:00.000000', NULL, 'outer-7', NULL, NULL),
           (8, 99, 'ffffffff', '{KEY_HASH}', NULL, NULL, NULL, NULL, NULL);
         INSERT INTO workspaces VALUES (3, {local}, 'Al.pha', 'active', NULL, NULL, NULL, NULL, 'null', NULL, NULL, NULL);"
    );
    database.execute_batch(&fill).unwrap();

    let (code, dry) = import(&daemon, &["--dry-run"], &file);
    assert_eq!((code, &dry["dry_run"], &dry["users"]["taken"]), (0, &json!(true), &json!(4)), "{dry}");
    let names = || {
        let list = daemon.call("GET", "/api/v1/users", &admin, None).unwrap().1;
        list["data"]["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["username"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 2, "a dry run changes nothing");
    let (code, report) = import(&daemon, &[], &file);
    assert_eq!(code, 0, "{report}");
    let told = json!([{"taken": 4, "unchanged": 0, "refused": 0}, {"taken": 1, "unchanged": 0, "refused": 1},
                      {"taken": 1, "unchanged": 0, "refused": 0}]);
    assert_eq!(json!([report["users"], report["api_keys"], report["workspaces"]]), told, "{report}");
    assert_eq!(report["notes"], dry["notes"]);
    assert_eq!(names().len(), 5);

    let me = |token: &str| daemon.call("GET", "/api/v1/users/me", token, None).unwrap();
    let (status, ana) = me(KEY);
    assert_eq!((status, &ana["data"]["id"], &ana["data"]["username"]), (200, &json!(local), &json!("ana")));
    assert_eq!(ana["data"]["created_at"], "2026-01-31T12:30:00.123+00:00");
    assert_eq!(me(KEY).1["data"]["api_keys"][0]["id"], 7);
    assert_eq!(me(KEY).1["data"]["workspaces"][0]["name"], "Al.pha");
    let (_, health) = daemon.call("GET", "/api/v1/health", "", None).unwrap();
    assert_eq!(health["workspaces"], json!({"total": 1, "active": 1}));
    let (_, verified) = daemon.call("GET", "/api/v1/admin/database/verify", &admin, None).unwrap();
    assert_eq!(verified["data"]["issues"], json!([]), "{verified}");
    assert_eq!(me(&KEY.replace("0123", "0124")).0, 401);
    let asked = daemon.ops("POST", "/v1/introspect", Some(json!({ "token": KEY }))).unwrap().1;
    assert_eq!((&asked["active"], &asked["sub"]), (&json!(true), &json!(local.to_string())));
    let boss = daemon.login("boss", "old-Password").unwrap();
    assert_eq!(me(&boss).1["data"]["role"], "admin");
    assert!(daemon.login("admin", "old-Password").is_err(), "whoever is here keeps their password");
    let moved = daemon.call(
        "GET",
        "/api/v1/users/me",
        &daemon.login("local", gatehouse_tests::daemon::PASSWORD).unwrap(),
        None,
    );
    assert!(moved.unwrap().1["data"]["id"].as_i64().unwrap() > 42, "it made room");

    let (_, again) = import(&daemon, &[], &file);
    assert_eq!(
        json!([again["users"]["taken"], again["users"]["unchanged"], again["api_keys"]["unchanged"]]),
        json!([0, 4, 1])
    );
    assert_eq!(me(KEY).0, 200, "what was learnt of a key stays");
}

#[test]
fn an_older_file_is_taken_and_what_is_none_is_refused() {
    let (folder, daemon, admin) = daemon(&[]);
    let file = folder.path().join("old.db");
    let older = format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(64), password_hash VARCHAR(255), role VARCHAR(5),
           status VARCHAR(8), created_at DATETIME);
         CREATE TABLE api_keys (id INTEGER PRIMARY KEY, user_id INTEGER, key_prefix VARCHAR(32), key_hash VARCHAR(255),
           created_at DATETIME);
         INSERT INTO users VALUES (1, 'ana', '{PASSWORD_HASH}', 'user', 'inactive', '2026-01-31 12:30:00');"
    );
    Connection::open(&file).unwrap().execute_batch(&older).unwrap();
    let (code, report) = import(&daemon, &[], &file);
    assert_eq!((code, &report["users"]["taken"]), (0, &json!(1)), "{report}");
    let list = daemon.call("GET", "/api/v1/users?status=inactive", &admin, None).unwrap().1;
    assert_eq!(
        (&list["data"]["users"][0]["username"], &list["data"]["users"][0]["id"]),
        (&json!("ana"), &json!(1))
    );
    std::fs::write(&file, "no database").unwrap();
    let (code, text) = import(&daemon, &[], &file);
    assert!(code == 1 && text.as_str().unwrap().contains("manager.db"), "{code} {text}");
    let body = json!({"dry_run": false, "users": [], "api_keys": [], "workspaces": []}).to_string();
    let view = daemon.socket("view.sock");
    let (status, _) =
        gatehouse_tests::ops::call(&view, "POST", "/v1/import/octoprox", "", Some(&body)).unwrap();
    assert_eq!(status, 403, "who may only look");
}
