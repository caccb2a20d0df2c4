//! The verbs of `gatehouse` as a script calls them: JSON, exit codes, errors that say what was expected.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, console};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

fn command(daemon: &Daemon, socket: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(console());
    command.env_clear().stdin(Stdio::null()).arg("--socket").arg(daemon.socket(socket)).args(arguments);
    command
}

fn gatehouse(daemon: &Daemon, arguments: &[&str]) -> Output {
    command(daemon, "operate.sock", arguments).output().unwrap()
}

fn json(daemon: &Daemon, arguments: &[&str]) -> Value {
    let output = gatehouse(daemon, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
}

#[test]
fn every_verb_answers_json_and_words() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    daemon.call("POST", "/api/v1/api-keys", &ana, Some(serde_json::json!({"name": "ci"}))).unwrap();
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200);
    assert!(json(&daemon, &["status"]).to_string().contains("revision"));
    assert_eq!(json(&daemon, &["routes"])["items"][0]["name"], "shop/v1");
    assert_eq!(json(&daemon, &["tokens"])["items"][0]["name"], "ci");
    assert!(json(&daemon, &["health"]).to_string().contains("BACKUP-NONE"));
    assert_eq!(json(&daemon, &["audit"])["chain_ok"], true);
    for verb in ["status", "routes", "tokens", "health", "audit", "logs"] {
        let output = gatehouse(&daemon, &[verb]);
        assert!(output.status.success() && !output.stdout.is_empty(), "{verb}: {output:?}");
        assert!(!output.stdout.contains(&0x1b), "{verb}: an escape code in a pipe");
    }
    let bare = String::from_utf8(gatehouse(&daemon, &[]).stdout).unwrap();
    assert!(
        bare.contains("requests") && bare.contains("BACKUP-NONE"),
        "without a verb and without a terminal the overview is printed: {bare}"
    );
}

#[test]
fn logs_follow_and_filter() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let mut follow = command(&daemon, "view.sock", &["logs", "-f", "--json", "route:shop/*"]);
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let item: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(item["fields"]["consumer"], "ana", "{item}");
}

#[test]
fn a_run_by_script_is_planned_confirmed_by_digest_and_followed() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let plan = json(&daemon, &["plan", "revoke_tokens", "--user", "ana"]);
    let digest = plan["digest"].as_str().unwrap();
    let run = ["run", "revoke_tokens", "--user", "ana", "--plan", digest, "--reason", "leak", "--follow"];
    let output = gatehouse(&daemon, &run);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 401);
    let again = gatehouse(&daemon, &run);
    assert_eq!(again.status.code(), Some(75), "the world has moved: {again:?}");
}

#[test]
fn exit_codes_tell_the_outcome_and_errors_what_was_expected() {
    let (folder, daemon, _admin, _ana) = shop(&[]);
    let plan = json(&daemon, &["plan", "revoke_tokens", "--user", "ana"]);
    let digest = plan["digest"].as_str().unwrap();
    let viewed = command(
        &daemon,
        "view.sock",
        &["run", "revoke_tokens", "--user", "ana", "--plan", digest, "--reason", "x"],
    );
    let absent = folder.path().join("absent.sock");
    let mut unreachable = Command::new(console());
    unreachable.env_clear().stdin(Stdio::null()).arg("--socket").arg(&absent).arg("status");
    let of = |arguments: &[&str]| command(&daemon, "operate.sock", arguments);
    for (mut command, code, part) in [
        (viewed, 77, "operate"),
        (unreachable, 69, "absent.sock"),
        (of(&["stauts"]), 64, "status"),
        (of(&["plan", "revoke_tokens", "--usr", "ana"]), 64, "user"),
        (of(&["plan", "revoke_tokens"]), 64, "user"),
        (of(&["plan", "format_disk"]), 64, "format_disk"),
        (of(&["run", "revoke_tokens", "--user", "ana", "--reason", "x"]), 64, "plan"),
        (
            of(&["run", "revoke_tokens", "--user", "ana", "--plan", "0123456789abcdef", "--reason", "x"]),
            75,
            "",
        ),
        (of(&["logs", "level>=loud"]), 64, "expected trace"),
        (of(&["plan", "revoke_tokens", "--user", "nobody"]), 1, "nobody"),
    ] {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
        assert!(said.contains(part), "{command:?}: {said}");
    }
}
