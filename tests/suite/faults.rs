//! What promises to survive: kill -9 under concurrent writers; an orderly end.

use crate::audit::records;
use gatehouse_tests::daemon::{Daemon, PASSWORD, binary};
use gatehouse_tests::wait::eventually;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
        assert_kept(&daemon, &token, &acknowledged);
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
    eventually("one audit record for each acknowledged change", || {
        each_recorded_once(folder.path(), &acknowledged)
    })
    .unwrap();
    drop(daemon);
    let check = Command::new(binary())
        .args(["--data-dir", folder.path().to_str().unwrap(), "store", "check"])
        .output();
    let check = check.unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && said.contains("chain intact"), "{said} {check:?}");
}

fn each_recorded_once(data: &Path, acknowledged: &BTreeSet<String>) -> Result<(), String> {
    let mut counts = BTreeMap::new();
    for record in records(data) {
        if record["action"] == "group.create" {
            *counts.entry(record["object"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    let wrong = acknowledged.iter().find(|group| counts.get(&format!("group/{group}")) != Some(&1));
    wrong.map_or(Ok(()), |group| Err(format!("{group}: not exactly one record")))
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
    // The new process is given its listener by the old one; the first one was not.
    let environment = format!("/proc/{}/environ", daemon.pid());
    eventually("the restarted process", || {
        let found = std::fs::read(&environment).map_err(|error| error.to_string())?;
        let found = String::from_utf8_lossy(&found).into_owned();
        if found.contains("LISTEN_FDS=1") { Ok(()) } else { Err(found) }
    })
    .unwrap();
    // The listener was kept: a call waits in its queue instead of being refused.
    for _ in 0..20 {
        let (status, _) = daemon.call("GET", "/platform/user/me", &token, None).unwrap();
        assert_eq!(status, 200);
    }
    signal("-TERM");
    assert_eq!(daemon.ended().unwrap(), 0);
}

/// Writers at the same time, and how long.
const CROWD: usize = 64;
const CROWD_SECS: u64 = 60;

/// Writes one group again and again until the time is over; how often, and the longest wait.
fn write_for(daemon: &Daemon, token: &str, name: &str, until: Instant) -> (usize, Duration) {
    let path = format!("/platform/group/{name}");
    let made = daemon.call("POST", "/platform/group", token, Some(json!({ "group_name": name }))).unwrap();
    assert_eq!(made.0, 201, "{}", made.1);
    let (mut count, mut longest) = (0, Duration::ZERO);
    while Instant::now() < until {
        let begun = Instant::now();
        let change = json!({ "group_description": format!("{name} {count}") });
        let (status, answer) = daemon.call("PUT", &path, token, Some(change)).unwrap();
        assert_eq!(status, 200, "{answer}");
        count += 1;
        longest = longest.max(begun.elapsed());
    }
    (count, longest)
}

#[test]
fn a_crowd_of_writers_never_hangs_and_a_backup_meanwhile_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    let until = Instant::now() + Duration::from_secs(CROWD_SECS);
    let wrote: Vec<(usize, Duration)> = std::thread::scope(|scope| {
        let write = |number| {
            let (daemon, token) = (&daemon, &token);
            scope.spawn(move || write_for(daemon, token, &format!("crowd-{number}"), until))
        };
        let writers: Vec<_> = (0..CROWD).map(write).collect();
        for _ in 0..3 {
            let events = daemon.run("backup_now", json!({})).unwrap();
            assert_eq!(events.last().unwrap()["state"], "done", "{events:?}");
        }
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(
        wrote.iter().all(|(count, longest)| *count > 10 && *longest < Duration::from_secs(5)),
        "{wrote:?}"
    );
    drop(daemon);
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    for (number, (count, _)) in wrote.iter().enumerate() {
        let (_, group) =
            daemon.call("GET", &format!("/platform/group/crowd-{number}"), &token, None).unwrap();
        assert_eq!(group["group_description"], format!("crowd-{number} {}", count - 1));
    }
}
