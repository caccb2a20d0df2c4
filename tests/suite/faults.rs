//! What promises to survive: kill -9 under concurrent writers; an orderly end.

use gatehouse_tests::daemon::{Daemon, PASSWORD, binary};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Kills in a row, as the promise is made for a hundred.
const ROUNDS: usize = 100;
const WRITERS: usize = 4;

/// Creates groups until the daemon is gone; the acknowledged ones.
fn write_until_gone(daemon: &Daemon, token: &str, name: &str, gone: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let group = format!("{name}-{number}");
        let answer = daemon.call("POST", "/platform/group", token, Some(json!({ "group_name": group })));
        match answer {
            Ok((201, _)) => acknowledged.push(group),
            _ if gone.load(Ordering::Relaxed) => return acknowledged,
            other => panic!("{other:?}"),
        }
    }
    acknowledged
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let daemon = Daemon::start(folder.path(), &[]).unwrap();
        let token = daemon.login("admin", PASSWORD).unwrap();
        if round % 10 == 0 {
            assert_kept(&daemon, &token, &acknowledged);
        }
        let gone = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (daemon, token, gone) = (&daemon, &token, &gone);
                    scope.spawn(move || write_until_gone(daemon, token, &format!("{round}-{writer}"), gone))
                })
                .collect();
            // The kill falls at another point of the writing each round.
            let probes = 1 + round % 7;
            for _ in 0..probes {
                daemon.call("GET", "/platform/group/all", &token, None).unwrap();
            }
            gone.store(true, Ordering::Relaxed);
            let killed = Command::new("kill").args(["-9", &daemon.pid().to_string()]).status().unwrap();
            assert!(killed.success());
            for writer in writers {
                acknowledged.extend(writer.join().unwrap());
            }
        });
        daemon.kill().ok();
    }
    assert!(acknowledged.len() > ROUNDS, "the writers wrote: {}", acknowledged.len());
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    assert_kept(&daemon, &token, &acknowledged);
    drop(daemon);
    let check = Command::new(binary())
        .args(["--data-dir", folder.path().to_str().unwrap(), "store", "check"])
        .output();
    let check = check.unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && said.contains("chain intact"), "{said} {check:?}");
}

fn assert_kept(daemon: &Daemon, token: &str, acknowledged: &BTreeSet<String>) {
    let mut found = BTreeSet::new();
    for page in 1.. {
        let path = format!("/platform/group/all?page_size=1000&page={page}");
        let (_, answer) = daemon.call("GET", &path, token, None).unwrap();
        for group in answer["groups"].as_array().unwrap() {
            found.insert(group["group_name"].as_str().unwrap().to_owned());
        }
        if answer["has_next"] == false {
            break;
        }
    }
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[test]
fn sigterm_ends_cleanly_and_sigusr2_restarts_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    let signal = |name: &str| Command::new("kill").args([name, &daemon.pid().to_string()]).status().unwrap();
    signal("-USR2");
    // The listener is kept: no call is refused while the new one starts.
    for _ in 0..20 {
        let (status, _) = daemon.call("GET", "/platform/user/me", &token, None).unwrap();
        assert_eq!(status, 200);
    }
    signal("-TERM");
    assert_eq!(daemon.ended().unwrap(), 0);
}
