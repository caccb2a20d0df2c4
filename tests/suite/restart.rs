//! Restart: under a service manager a second process takes over while the first one finishes; elsewhere the process
//! executes the binary anew. No request is lost in either way.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD, binary, signal};
use gatehouse_tests::manager::Manager;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that ask without a pause, and how often the daemon is restarted meanwhile.
const CLIENTS: usize = 6;
const RESTARTS: usize = 3;
/// Longest wait of a new connection in a handover.
const WAIT: Duration = Duration::from_millis(500);

/// A client that tries nothing twice.
pub(crate) struct Client {
    address: String,
    token: String,
    open: Option<BufReader<TcpStream>>,
    opened: usize,
}

impl Client {
    pub(crate) fn new(daemon: &Daemon, token: &str) -> Self {
        let address = daemon.url.trim_start_matches("http://").to_owned();
        Self { address, token: token.to_owned(), open: None, opened: 0 }
    }

    /// Begins a request; the head of its answer, and how long its content is.
    pub(crate) fn ask(&mut self, path: &str, id: &str) -> (String, usize) {
        let stream = self.open.get_or_insert_with(|| {
            self.opened += 1;
            BufReader::new(TcpStream::connect(&self.address).unwrap())
        });
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-ID: {id}\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        );
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut answer).unwrap() > 0, "{id} was lost, behind {answer:?}");
        }
        let lower = answer.to_lowercase();
        let length =
            lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        (lower, length.unwrap())
    }

    pub(crate) fn content(&mut self, bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        self.open.as_mut().unwrap().read_exact(&mut content).unwrap();
        content
    }

    /// A whole request; its status.
    pub(crate) fn get(&mut self, path: &str, id: &str) -> String {
        let (head, length) = self.ask(path, id);
        self.content(length);
        if head.contains("connection: close") {
            self.open = None;
        }
        head.split(' ').nth(1).unwrap().to_owned()
    }
}

fn boot(daemon: &Daemon) -> Result<String, String> {
    match daemon.ops("GET", "/v1/hello", None) {
        Ok((200, hello)) => Ok(hello["boot"].as_str().unwrap().to_owned()),
        other => Err(format!("{other:?}")),
    }
}

/// What is said of restarts; while there is none of the sockets, why.
pub(crate) fn health(daemon: &Daemon) -> String {
    let (_, items) = match daemon.ops("GET", "/v1/health", None) {
        Ok(items) => items,
        Err(error) => return error.to_string(),
    };
    let found = items.as_array().and_then(|items| items.iter().find(|item| item["check"] == "restart"));
    found.map_or_else(|| items.to_string(), Value::to_string)
}

/// Ids of all records on the disk; every line must be whole.
fn recorded(data: &Path) -> Vec<String> {
    let mut ids = Vec::new();
    for file in std::fs::read_dir(data.join("logs")).unwrap() {
        for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let record: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            ids.push(record["request_id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

/// Ends the others' loops also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks without a pause until the daemon was restarted some times; ids asked for, connections opened for them.
fn storm(daemon: &Daemon, token: &str, mut restart: impl FnMut()) -> (BTreeSet<String>, usize) {
    let (over, mut ids, mut opened) = (AtomicBool::new(false), BTreeSet::new(), 0);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let _end = Over(&over);
        let ask = |client: usize| {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                let (mut connection, mut ids) = (Client::new(daemon, token), Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let id = format!("c{client}-{}", ids.len());
                    assert_eq!(connection.get("/api/rest/shop/v1/echo", &id), "200", "{id}");
                    ids.push(id);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                (ids, connection.opened)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
        for _ in 0..RESTARTS {
            let wanted = answered.load(Ordering::Relaxed) + CLIENTS * 10;
            let blows = || if answered.load(Ordering::Relaxed) < wanted { Err(wanted) } else { Ok(()) };
            eventually("the storm to blow", blows).unwrap();
            let before = boot(daemon).unwrap();
            restart();
            let again = || boot(daemon).and_then(|boot| if boot == before { Err(boot) } else { Ok(()) });
            eventually("the next boot", again).unwrap();
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            let (asked, connections) = client.join().unwrap();
            ids.extend(asked);
            opened += connections;
        }
    });
    assert!(ids.len() > CLIENTS * RESTARTS * 10, "{}", ids.len());
    (ids, opened)
}

fn all_recorded_once(data: &Path, ids: &BTreeSet<String>) {
    eventually("a record of each request", || {
        let found = recorded(data);
        let of_ours: Vec<_> = found.iter().filter(|id| ids.contains(*id)).collect();
        if of_ours.len() == ids.len() { Ok(()) } else { Err(format!("{} of {}", of_ours.len(), ids.len())) }
    })
    .unwrap();
    let found = recorded(data);
    let once: BTreeSet<_> = found.iter().filter(|id| ids.contains(*id)).collect();
    assert_eq!(once.len(), ids.len());
}

#[test]
fn a_storm_over_handovers_loses_no_request_no_connection_and_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let (data, daemon, _admin, ana) = shop(&[("NOTIFY_SOCKET", manager.path())]);
    let mut main = daemon.pid();
    let (ids, opened) = storm(&daemon, &ana, || {
        signal(main, "-USR2").unwrap();
        let next = manager.next_main().unwrap();
        assert_ne!(std::mem::replace(&mut main, next), next);
    });
    assert_eq!(opened, CLIENTS, "connections go along");
    all_recorded_once(data.path(), &ids);
    assert!(health(&daemon).contains("no restart has failed"));
    assert_eq!(daemon.ended().unwrap(), 0);
}

#[test]
fn a_storm_over_restarts_in_place_loses_no_request_and_no_record() {
    let (data, daemon, _admin, ana) = shop(&[]);
    let (ids, _) = storm(&daemon, &ana, || daemon.signal("-USR2").unwrap());
    all_recorded_once(data.path(), &ids);
    daemon.signal("-TERM").unwrap();
    assert_eq!(daemon.ended().unwrap(), 0);
}

#[test]
fn new_connections_do_not_wait_for_a_slow_request_and_that_one_ends_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let (_data, daemon, admin, ana) = shop(&[("NOTIFY_SOCKET", manager.path())]);
    let begun = Instant::now();
    let (mut slow, mut idle) = (Client::new(&daemon, &ana), Client::new(&daemon, &ana));
    let (head, length) = slow.ask("/api/rest/shop/v1/later", "slow");
    assert_eq!(slow.content(5), b"first", "{head}");
    assert_eq!(idle.get("/api/rest/shop/v1/echo", "before"), "200");
    let (mut main, mut longest) = (daemon.pid(), Vec::new());
    for round in 0..RESTARTS {
        let signalled = Instant::now();
        signal(main, "-USR2").unwrap();
        assert_eq!(Client::new(&daemon, &ana).get("/api/rest/shop/v1/echo", "new"), "200");
        let first = signalled.elapsed();
        main = manager.next_main().unwrap();
        let group = json!({ "group_name": format!("g{round}") });
        assert_eq!(daemon.call("POST", "/platform/group", &admin, Some(group)).unwrap().0, 201);
        assert_eq!(Client::new(&daemon, &ana).get("/api/rest/shop/v1/echo", "new"), "200");
        longest.push(first);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "the slow one is still under way: {longest:?}");
    // A machine that is busy with something else may make one of them late.
    assert!(longest.iter().min().unwrap() < &WAIT, "{longest:?}");
    assert_eq!(slow.content(length - 5), b"later");
    assert_eq!(slow.get("/api/rest/shop/v1/echo", "behind it"), "200");
    assert_eq!((slow.opened, idle.get("/api/rest/shop/v1/echo", "after")), (1, "200".to_owned()));
    assert_eq!(idle.opened, 1);
    assert_eq!(daemon.ended().unwrap(), 0);
}

#[test]
fn a_revocation_holds_on_connections_that_are_older_than_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let (_data, daemon, _admin, ana) = shop(&[("NOTIFY_SOCKET", manager.path())]);
    let mut idle = Client::new(&daemon, &ana);
    assert_eq!(idle.get("/api/rest/shop/v1/echo", "before"), "200");
    daemon.signal("-USR2").unwrap();
    manager.next_main().unwrap();
    let events = daemon.run("revoke_tokens", json!({"user": "ana"})).unwrap();
    assert_eq!(events.last().unwrap()["state"], "done", "{events:?}");
    assert_eq!(idle.get("/api/rest/shop/v1/echo", "after"), "401");
    assert_eq!(idle.opened, 1);
}

/// A daemon whose binary lies where it can be replaced.
pub(crate) fn replaceable(folder: &Path, manager: &Manager, settings: &[(&str, &str)]) -> Daemon {
    let path = folder.join("gatehoused");
    std::fs::copy(binary(), &path).unwrap();
    let mut command = Command::new(&path);
    command.env_clear().stdin(Stdio::null()).env("PATH", "/usr/bin:/bin");
    let settings = [&[("NOTIFY_SOCKET", manager.path())], settings].concat();
    Daemon::start_as(command, &folder.join("data"), &settings).unwrap()
}

pub(crate) fn replace(folder: &Path, script: &str) {
    let new = folder.join("new");
    std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, folder.join("gatehoused")).unwrap();
}

/// The scripts that take the new program's place, and what is told of their end.
pub(crate) const BROKEN: &[(&str, &str)] = &[
    // It does not start at all.
    ("exit 1", "exit status: 1"),
    // It reads its settings, waits for the store and cannot open it.
    ("printf L >&4; head -c 1 <&4 >/dev/null; exit 75", "exit status: 75"),
    ("printf L >&4; head -c 1 <&4 >/dev/null; kill -9 $$", "signal: 9"),
    ("printf X >&4; exec head -c 1 <&4", "speaks otherwise"),
];

#[test]
fn a_broken_program_leaves_the_old_process_serving_with_everything_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let daemon = replaceable(folder.path(), &manager, &[]);
    manager.hear("READY=1").unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let (over, mut idle) = (AtomicBool::new(false), Client::new(&daemon, &admin));
    assert_eq!(idle.get("/platform/user/me", "before"), "200");
    let acknowledged: usize = std::thread::scope(|scope| {
        let _end = Over(&over);
        let writer = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                let group = json!({ "group_name": format!("kept-{count}") });
                let (status, answer) = daemon.call("POST", "/platform/group", &admin, Some(group)).unwrap();
                assert_eq!(status, 201, "{answer}");
                count += 1;
            }
            count
        });
        for (script, told) in BROKEN {
            replace(folder.path(), script);
            daemon.signal("-USR2").unwrap();
            let item = eventually("the health item", || match health(&daemon) {
                item if item.contains("RESTART-FAILED") && item.contains(told) => Ok(item),
                item => Err(item),
            });
            assert!(item.unwrap().contains("serves on"), "{script}");
            assert_eq!(idle.get("/platform/user/me", script), "200", "{script}");
        }
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(acknowledged > BROKEN.len() && idle.opened == 1, "{acknowledged} {}", idle.opened);
    let kept = |number: usize| {
        let path = format!("/platform/group/kept-{number}");
        assert_eq!(daemon.call("GET", &path, &admin, None).unwrap().0, 200, "{path}");
    };
    kept(0);
    kept(acknowledged - 1);
    // As a runbook it fails, whether the new program failed early or late.
    for (script, state) in [(BROKEN[0].0, "undone"), (BROKEN[1].0, "unverified")] {
        replace(folder.path(), script);
        let id = daemon.start_plan(&daemon.plan("restart_service", json!({})).unwrap()).unwrap();
        let ended = format!("\"finished\",\"state\":\"{state}\"");
        eventually("the run's end", || match daemon.ops("GET", &format!("/v1/runs/{id}"), None) {
            Ok((200, run)) if run.to_string().replace('\\', "").contains(&ended) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .unwrap();
    }
    // Mended, it restarts.
    std::fs::remove_file(folder.path().join("gatehoused")).unwrap();
    std::fs::copy(binary(), folder.path().join("gatehoused")).unwrap();
    daemon.signal("-USR2").unwrap();
    manager.next_main().unwrap();
    assert!(health(&daemon).contains("no restart has failed"));
    kept(acknowledged - 1);
    assert_eq!(daemon.ended().unwrap(), 0);
}

#[test]
fn a_new_process_that_is_killed_at_once_takes_nothing_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path()).unwrap();
    let (data, daemon, admin, ana) = shop(&[("NOTIFY_SOCKET", manager.path())]);
    let mut slow = Client::new(&daemon, &ana);
    let (_, length) = slow.ask("/api/rest/shop/v1/later", "slow");
    daemon.signal("-USR2").unwrap();
    let main = manager.next_main().unwrap();
    let group = json!({ "group_name": "kept" });
    assert_eq!(daemon.call("POST", "/platform/group", &admin, Some(group)).unwrap().0, 201);
    signal(main, "-KILL").unwrap();
    // What was in flight in the old one is answered all the same.
    assert_eq!(slow.content(length), b"firstlater");
    assert_eq!(daemon.ended().unwrap(), 0);
    let daemon = Daemon::start(data.path(), &[]).unwrap();
    assert_eq!(daemon.call("GET", "/platform/group/kept", &admin, None).unwrap().0, 200);
    all_recorded_once(data.path(), &BTreeSet::from(["slow".to_owned()]));
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", "ulimit -Sn 256; exec \"$0\"", binary().to_str().unwrap()]);
    let daemon = Daemon::start_as(command, folder.path(), &[]).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let files: Vec<_> =
        limits.lines().find(|line| line.contains("open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "{files:?}");
    assert_ne!(files[3], "256");
}
