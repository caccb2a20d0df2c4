//! How the daemon ends, goes on and reads its settings anew: what must not be lost, and what a reload must leave alone.

use crate::restart::{BROKEN, Client, health, replace, replaceable};
use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD, binary, signal};
use gatehouse_tests::manager::Manager;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;

const FIRST: &str = "first-Zx81-Zx81-Qw47-Qw47-Er56-Ty";
const SECOND: &str = "second-Ab12-Cd34-Ef56-Gh78-Ij90-Kl";

fn status(daemon: &Daemon, token: &str) -> u16 {
    daemon.call("GET", "/platform/authorization/status", token, None).unwrap().0
}

/// What waits for a restart after the settings were read anew over the management surface.
fn reloaded(daemon: &Daemon, token: &str) -> Value {
    let (status, answer) = daemon.call("POST", "/platform/config/reload", token, None).unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["needs_restart"].clone()
}

#[test]
fn a_reload_keeps_the_folders_and_keys_of_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data, other) =
        (folder.path().join("g.toml"), folder.path().join("data"), folder.path().join("other"));
    let write = |data: &Path, more: &str| {
        std::fs::write(&file, format!("data_dir = {data:?}\n{more}")).unwrap();
    };
    write(&data, "");
    // Empty is not given: the file's counts.
    let settings = [("GATEHOUSE_DATA_DIR", ""), ("GATEHOUSE_CONFIG", file.to_str().unwrap())];
    let daemon = Daemon::start(&data, &settings).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    write(
        &other,
        &format!("encryption_key = \"{FIRST}\"\nlog_dir = \"/nowhere\"\nlog_level = \"warning\"\n"),
    );
    assert_eq!(reloaded(&daemon, &token), json!(["data_dir", "log_dir", "encryption_key"]));
    assert_eq!(status(&daemon, &token), 200, "the keys of the start sign and verify");
    assert!(!other.exists(), "nothing is made in the other folder");
    assert_eq!(reloaded(&daemon, &token), json!(["data_dir", "log_dir", "encryption_key"]), "they wait on");
}

#[test]
fn an_end_that_is_asked_for_while_a_restart_drains_is_the_end() {
    let (_data, daemon, _admin, ana) = shop(&[]);
    let mut slow = Client::new(&daemon, &ana);
    let (_, length) = slow.ask("/api/rest/shop/v1/later", "slow");
    daemon.signal("-USR2").unwrap();
    // Streams end with the drain, so that none has a line any more.
    eventually("the drain", || match daemon.ops("GET", "/v1/logs", None) {
        Ok((200, lines)) if !lines.to_string().contains("serving") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    daemon.signal("-TERM").unwrap();
    assert_eq!(slow.content(length), b"firstlater", "what is in flight is answered");
    let address = daemon.url.trim_start_matches("http://").to_owned();
    eventually("the listener's end", || match TcpStream::connect(&address) {
        Err(_) => Ok(()),
        Ok(_) => Err("it listens"),
    })
    .unwrap();
    assert_eq!(daemon.ended().unwrap(), 0);
}

#[test]
fn a_restart_that_failed_keeps_what_was_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let file = folder.path().join("g.toml");
    std::fs::write(&file, format!("signing_key = \"{FIRST}\"\n")).unwrap();
    let daemon = replaceable(folder.path(), &manager, &[("GATEHOUSE_CONFIG", file.to_str().unwrap())]);
    manager.hear("READY=1").unwrap();
    let old = daemon.login("admin", PASSWORD).unwrap();
    std::fs::write(&file, format!("signing_key = \"{SECOND}\"\nsigning_key_previous = \"{FIRST}\"\n"))
        .unwrap();
    assert_eq!(reloaded(&daemon, &old), json!([]));
    let new = daemon.login("admin", PASSWORD).unwrap();
    replace(folder.path(), BROKEN[1].0);
    daemon.signal("-USR2").unwrap();
    eventually("the health item", || match health(&daemon) {
        item if item.contains("RESTART-FAILED") => Ok(()),
        item => Err(item),
    })
    .unwrap();
    assert_eq!((status(&daemon, &old), status(&daemon, &new)), (200, 200));
    assert_eq!(reloaded(&daemon, &new), json!([]), "the doors of the new rooms lead to the new ones");
}

#[test]
fn what_was_used_just_before_a_handover_is_counted_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let (_data, daemon, admin, ana) = shop(&[("NOTIFY_SOCKET", manager.path())]);
    let made = |path: &str, body: Value| {
        let (status, answer) = daemon.call("POST", path, &admin, Some(body)).unwrap();
        assert_eq!(status, 201, "{answer}");
    };
    made(
        "/platform/tiers",
        json!({"tier_id": "pro", "name": "pro", "display_name": "Pro", "limits": {"monthly_request_quota": 1000}}),
    );
    made("/platform/tiers/assignments", json!({"user_id": "ana", "tier_id": "pro"}));
    let used = || {
        let (_, answer) = daemon.call("GET", "/platform/quota/status", &ana, None).unwrap();
        answer["usage_summary"]["total_requests_used"].as_u64()
    };
    let before = used().unwrap();
    for number in 0..5 {
        let id = format!("counted-{number}");
        assert_eq!(Client::new(&daemon, &ana).get("/api/rest/shop/v1/echo", &id), "200");
    }
    assert_eq!(used(), Some(before + 5));
    daemon.signal("-USR2").unwrap();
    manager.next_main().unwrap();
    assert_eq!(used(), Some(before + 5));
    assert_eq!(daemon.ended().unwrap(), 0);
}

#[test]
fn descriptors_that_nobody_would_serve_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let listeners = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    // A copy goes along to the child.
    let kept = listeners.each_ref().map(|listener| rustix::io::dup(listener).unwrap());
    let [first, second] = kept.each_ref().map(|descriptor| descriptor.as_raw_fd());
    let script = format!("exec 3<&{first} 4<&{second}; exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.env_clear().env("LISTEN_FDS", "2").args(["-c", &script]).arg(binary());
    command.arg("--data-dir").arg(folder.path().join("data")).arg("--runtime-dir").arg(folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("LISTEN_FDS"), "{output:?}");
    assert!(!folder.path().join("data").join("store").exists(), "nothing was begun");
}

#[test]
fn a_service_that_ends_while_it_is_handed_over_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let daemon = replaceable(folder.path(), &manager, &[]);
    manager.hear("READY=1").unwrap();
    // It reads its settings and says no word any more; its process id is left where it can be found.
    let pid = folder.path().join("pid");
    replace(
        folder.path(),
        &format!("echo $$ >{}; printf L >&4; head -c 1 <&4 >/dev/null; exec sleep 600", pid.display()),
    );
    daemon.signal("-USR2").unwrap();
    let stuck: u32 = eventually("the new process", || {
        std::fs::read_to_string(&pid).ok().and_then(|text| text.trim().parse().ok()).ok_or("no pid yet")
    })
    .unwrap();
    let refused = || match health(&daemon) {
        item if item.contains("RESTART-FAILED") && item.contains("did not say") => Ok(()),
        item => Err(item),
    };
    // It may take ten seconds, which is all that one wait has.
    eventually("the refusal", refused).or_else(|_| eventually("the refusal", refused)).unwrap();
    assert!(signal(stuck, "-0").is_err(), "it was ended by its parent");
}
