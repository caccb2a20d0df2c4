//! Runbooks against the real daemon: what they promise is asked of the world, not of their own words.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};

fn ended(events: &[Value]) -> &Value {
    events.last().unwrap()
}

fn done(events: &[Value]) {
    assert_eq!(
        (&ended(events)["event"], &ended(events)["state"]),
        (&json!("finished"), &json!("done")),
        "{events:?}"
    );
    let verified = events.iter().find(|event| event["event"] == "verified").unwrap();
    assert_eq!(verified["ok"], true);
}

fn audited(daemon: &Daemon, action: &str) -> Value {
    let find = || {
        let (_, page) = daemon.ops("GET", &format!("/v1/audit?q={action}"), None).unwrap();
        page["records"]
            .as_array()
            .unwrap()
            .iter()
            .find(|record| record["action"] == action)
            .cloned()
            .ok_or(page)
    };
    eventually("the audit record", find).unwrap()
}

#[test]
fn revoked_tokens_are_dead_for_the_very_next_call() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let (_, key) = daemon.call("POST", "/api/v1/api-keys", &ana, Some(json!({"name": "ci"}))).unwrap();
    let key = key["data"]["token"].as_str().unwrap().to_owned();
    let call = |token: &str| daemon.call("GET", "/api/rest/shop/v1/echo", token, None).unwrap().0;
    assert_eq!((call(&ana), call(&key)), (200, 200));
    let plan = daemon.plan("revoke_tokens", json!({"user": "ana"})).unwrap();
    assert_eq!((&plan["confirm_word"], &plan["tier"]), (&json!("ana"), &json!("name")));
    assert_eq!(plan["changes"], json!(["sessions 1 ended", "API keys 1 revoked"]));
    done(&daemon.run("revoke_tokens", json!({"user": "ana"})).unwrap());
    assert_eq!((call(&ana), call(&key)), (401, 401));
    let fresh = daemon.login("ana", PASSWORD).unwrap();
    assert_eq!(call(&fresh), 200, "ana may log in again");
    let record = audited(&daemon, "run.revoke_tokens");
    assert_eq!((&record["outcome"], &record["object"]), (&json!("ok"), &json!("user/ana")));
    assert!(record["actor"].as_str().unwrap().contains("uid "), "{record}");
    assert_eq!(record["detail"]["reason"], "a test");
    drop(daemon);
}

#[test]
fn a_plan_is_void_when_the_world_has_moved() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let plan = daemon.plan("revoke_tokens", json!({"user": "ana"})).unwrap();
    let (status, _) = daemon.call("POST", "/api/v1/api-keys", &ana, Some(json!({"name": "new"}))).unwrap();
    assert_eq!(status, 201);
    let refused = daemon.start_plan(&plan).unwrap_err().to_string();
    assert!(refused.contains("409") && refused.contains("GH-PLAN-OUTDATED"), "{refused}");
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200);
    let wrong = json!({"plan": plan["digest"], "confirm": "ana "});
    assert_eq!(daemon.ops("POST", "/v1/runs", Some(wrong)).unwrap().0, 409, "a spent plan stays spent");
}

#[test]
fn a_restore_takes_back_changes_and_not_revocations_and_can_be_undone() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let (_, key) = daemon.call("POST", "/api/v1/api-keys", &ana, Some(json!({"name": "ci"}))).unwrap();
    let key = key["data"]["token"].as_str().unwrap().to_owned();
    done(&daemon.run("backup_now", json!({})).unwrap());
    let (_, backups) = daemon.ops("GET", "/v1/backups", None).unwrap();
    let backup = backups["items"][0]["name"].clone();
    let group = |token: &str| daemon.call("GET", "/platform/group/late", token, None).unwrap().0;
    let made = daemon.call("POST", "/platform/group", &admin, Some(json!({"group_name": "late"}))).unwrap();
    assert_eq!((made.0, group(&admin)), (201, 200));
    assert_eq!(daemon.call("DELETE", "/platform/api/shop/v1", &admin, None).unwrap().0, 200);
    done(&daemon.run("revoke_tokens", json!({"user": "ana"})).unwrap());

    let plan = daemon.plan("restore_backup", json!({"backup": backup})).unwrap();
    assert_eq!(plan["tier"], "name_reason");
    let changes = plan["changes"].to_string();
    assert!(changes.contains("groups +0 -1 ~0") && changes.contains("apis +1 -0 ~0"), "{changes}");
    assert!(changes.contains("credentials 2 stay revoked"), "{changes}");
    let events = daemon.run("restore_backup", json!({"backup": backup})).unwrap();
    done(&events);
    assert_eq!(group(&admin), 404, "what came later is gone, and the administrator was not cut off");
    let call = |token: &str| daemon.call("GET", "/api/rest/shop/v1/echo", token, None).unwrap().0;
    assert_eq!((call(&ana), call(&key)), (401, 401), "what was revoked stays revoked");
    assert_eq!(call(&daemon.login("ana", PASSWORD).unwrap()), 200, "the API is back");

    let run = ended(&events)["run"].clone();
    done(&daemon.run("undo_run", json!({"run": run})).unwrap());
    assert_eq!(group(&admin), 200);
    assert_eq!(daemon.plan("undo_run", json!({"run": run})).unwrap()["findings"][0]["verdict"], "block");
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_touched() {
    let (_folder, daemon, admin, _ana) = shop(&[]);
    done(&daemon.run("backup_now", json!({})).unwrap());
    let (_, backups) = daemon.ops("GET", "/v1/backups", None).unwrap();
    let name = backups["items"][0]["name"].as_str().unwrap().to_owned();
    let path = daemon.data.join("backups").join(&name);
    let text = std::fs::read_to_string(&path).unwrap();
    let users = text.replace("\"role\":\"admin\"", "\"role\":\"user\"");
    for (damage, part) in [
        (text[..text.len() / 2].to_owned(), "archive line"),
        (text.replacen("ana@x.org", "eve@x.org", 1), "changed or cut"),
        (users, "changed or cut"),
        ("not an archive\n".to_owned(), "line 1"),
    ] {
        std::fs::write(&path, damage).unwrap();
        let refused = daemon.plan("restore_backup", json!({"backup": name})).unwrap_err().to_string();
        assert!(refused.contains("400") && refused.contains(part), "{part}: {refused}");
    }
    assert_eq!(daemon.call("GET", "/platform/api/shop/v1", &admin, None).unwrap().0, 200);
    assert_eq!(
        std::fs::read_dir(daemon.data.join("backups")).unwrap().count(),
        1,
        "no safety backup was needed"
    );
}

/// An archive that was edited by hand and sealed again.
fn sealed(text: &str, from: &str, to: &str) -> String {
    let edited = text.replacen(from, to, 1);
    assert_ne!(edited, text, "{from} is in the archive");
    let lines: Vec<&str> = edited.lines().collect();
    let body: String = lines[..lines.len() - 1].iter().map(|line| format!("{line}\n")).collect();
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sum.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let sum = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    format!("{body}{}\n", json!({"rows": lines.len() - 2, "sha256": sum.split_whitespace().next()}))
}

#[test]
fn a_backup_that_the_appliance_could_not_serve_is_refused_with_its_field() {
    let (_folder, daemon, _admin, _ana) = shop(&[]);
    done(&daemon.run("backup_now", json!({})).unwrap());
    let (_, backups) = daemon.ops("GET", "/v1/backups", None).unwrap();
    let name = backups["items"][0]["name"].as_str().unwrap().to_owned();
    let path = daemon.data.join("backups").join(&name);
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, part) in [
        ("\"api_servers\":[", "\"api_servers\":5,\"x\":[", "api_servers"),
        ("\"http://127.0.0.1:", "\"ftp://127.0.0.1:", "ftp://"),
        ("\"email\":\"ana@x.org\"", "\"email\":7", "email"),
        ("\"table\":\"groups\"", "\"table\":\"grups\"", "grups"),
    ] {
        std::fs::write(&path, sealed(&text, from, to)).unwrap();
        let refused = daemon.plan("restore_backup", json!({"backup": name})).unwrap_err().to_string();
        assert!(refused.contains("400") && refused.contains(part), "{part}: {refused}");
    }
    std::fs::write(&path, sealed(&text, "ana@x.org", "eve@x.org")).unwrap();
    let plan = daemon.plan("restore_backup", json!({"backup": name})).unwrap();
    assert!(plan["changes"].to_string().contains("users +0 -0 ~1"), "{plan}");
}

#[test]
fn a_restart_keeps_process_listener_and_run() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let boot = daemon.ops("GET", "/v1/hello", None).unwrap().1["boot"].clone();
    let id = daemon.start_plan(&daemon.plan("restart_service", json!({})).unwrap()).unwrap();
    let again = || match daemon.ops("GET", "/v1/hello", None) {
        Ok((200, hello)) if hello["boot"] != boot => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("the next boot", again).unwrap();
    let lines = daemon.stream(&format!("/v1/runs/{id}?follow=1")).unwrap();
    let events: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    done(&events);
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200);
    assert!(std::path::Path::new(&format!("/proc/{}", daemon.pid())).exists());
    assert_eq!(audited(&daemon, "run.restart_service")["outcome"], "ok");
}

#[test]
fn what_a_console_confirmed_survives_kill_9() {
    let (folder, daemon, _admin, ana) = shop(&[]);
    done(&daemon.run("revoke_tokens", json!({"user": "ana"})).unwrap());
    let (_, before) = daemon.ops("GET", "/v1/runs", None).unwrap();
    daemon.kill().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 401);
    assert_eq!(daemon.ops("GET", "/v1/runs", None).unwrap().1, before);
    audited(&daemon, "run.revoke_tokens");
}
