//! The audit trail: one record for each acknowledged change, whatever happened to the store.

use gatehouse_tests::daemon::{Daemon, PASSWORD, binary, console};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// The records of the trail.
pub(crate) fn records(data: &Path) -> Vec<Value> {
    let mut files: Vec<_> =
        std::fs::read_dir(data.join("audit")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn create(daemon: &Daemon, token: &str, name: &str) {
    let (status, answer) =
        daemon.call("POST", "/platform/group", token, Some(json!({"group_name": name}))).unwrap();
    assert_eq!(status, 201, "{answer}");
}

fn recorded(data: &Path, name: &str) -> Result<(), String> {
    let object = format!("group/{name}");
    let count = records(data).iter().filter(|record| record["object"] == object.as_str()).count();
    if count == 1 { Ok(()) } else { Err(format!("{count} records of {object}")) }
}

fn store(data: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new(binary()).arg("--data-dir").arg(data).arg("store").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn numbering_goes_on_behind_the_trail_after_an_import_into_a_fresh_store() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = Daemon::start(&data, &[]).unwrap();
    create(&daemon, &daemon.login("admin", PASSWORD).unwrap(), "before");
    eventually("the record of before", || recorded(&data, "before")).unwrap();
    drop(daemon);
    let archive = folder.path().join("archive.jsonl");
    store(&data, &["export", archive.to_str().unwrap()]);
    std::fs::rename(data.join("store"), folder.path().join("old")).unwrap();
    store(&data, &["import", archive.to_str().unwrap()]);
    let daemon = Daemon::start(&data, &[]).unwrap();
    create(&daemon, &daemon.login("admin", PASSWORD).unwrap(), "after");
    eventually("the record of after", || recorded(&data, "after")).unwrap();
    drop(daemon);
    recorded(&data, "before").unwrap();
    assert!(store(&data, &["check"]).contains("chain intact"));
}

#[test]
fn what_lies_in_the_data_folder_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _daemon = Daemon::start(&data, &[]).unwrap();
    for name in ["", "keys", "logs"] {
        let mode = std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{name}");
    }
}

/// `gatehoused audit …` on a data folder.
fn offline(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.env_clear().arg("--data-dir").arg(data).arg("audit").args(arguments).output().unwrap()
}

/// `gatehouse audit …` over the daemon's socket.
fn online(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = Command::new(console());
    command.env_clear().arg("--socket").arg(daemon.socket("view.sock")).arg("audit").args(arguments);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn segment(data: &Path) -> PathBuf {
    data.join("audit").join("audit-00000001.jsonl")
}

/// A trail with some records, the daemon that wrote it.
fn trail(data: &Path) -> Daemon {
    let daemon = Daemon::start(data, &[]).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    for name in ["one", "two", "three"] {
        create(&daemon, &admin, name);
    }
    eventually("the record of three", || recorded(data, "three")).unwrap();
    daemon
}

#[test]
fn a_trail_that_was_changed_is_found_out_at_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = trail(&data);
    let verified = online(&daemon, &["verify"]);
    assert!(verified.status.success() && said(&verified).contains("chain intact"), "{}", said(&verified));
    let whole = std::fs::read_to_string(segment(&data)).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let at = lines.iter().position(|line| line.contains("group/two")).unwrap();
    let changed = |index: usize, line: String| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        lines[index] = line;
        lines.concat()
    };
    let swapped = {
        let mut lines = lines.clone();
        lines.swap(at, at + 1);
        lines.concat()
    };
    let last = lines.len() - 1;
    for (text, line, online_only) in [
        // One byte, one record, two in another order, half a record, the last one.
        (changed(at, lines[at].replacen("group/two", "group/twO", 1)), at + 1, false),
        (changed(at, String::new()), at + 1, false),
        (swapped, at + 1, false),
        (changed(last, lines[last][..20].to_owned()), last + 1, false),
        (changed(last, String::new()), 0, true),
    ] {
        std::fs::write(segment(&data), &text).unwrap();
        let place = if online_only {
            "ends with record".to_owned()
        } else {
            format!("audit-00000001.jsonl line {line}")
        };
        let verified = online(&daemon, &["verify"]);
        assert_eq!(verified.status.code(), Some(1), "{}", said(&verified));
        let told = said(&verified);
        assert!(told.contains(&place) || told.contains("ends with record"), "{place}: {told}");
        let verified = offline(&data, &["verify"]);
        assert_eq!(verified.status.success(), online_only, "{}", said(&verified));
        assert!(online_only || said(&verified).contains(&place), "{place}: {}", said(&verified));
    }
    std::fs::write(segment(&data), &whole).unwrap();
    assert!(online(&daemon, &["verify"]).status.success());
    drop(daemon);
    let copy = folder.path().join("copy");
    std::fs::rename(data.join("audit"), &copy).unwrap();
    let verified = offline(&data, &["verify", "--folder", copy.to_str().unwrap()]);
    assert!(verified.status.success() && said(&verified).contains("chain intact"), "{}", said(&verified));
    assert!(!offline(&data, &["verify"]).status.success(), "no folder is no whole trail");
}

#[test]
fn records_are_asked_for_by_actor_action_object_and_time_and_exported_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = trail(folder.path());
    let (_, page) = daemon.ops("GET", "/v1/audit?q=object:group/two%20actor:admin%20since:1h", None).unwrap();
    assert_eq!(page["records"].as_array().map(Vec::len), Some(1), "{page}");
    assert_eq!(daemon.ops("GET", "/v1/audit?q=since:soon", None).unwrap().0, 400);
    for (query, wanted) in [
        ("object:group/*", vec!["group/one", "group/two", "group/three"]),
        ("object:group/* -two", vec!["group/one", "group/three"]),
        ("object:group/* to:2020-01-01", vec![]),
        ("object:group/* actor:nobody", vec![]),
    ] {
        for output in [online(&daemon, &["export", query]), offline(folder.path(), &["export", query])] {
            assert!(output.status.success(), "{}", said(&output));
            let text = String::from_utf8(output.stdout).unwrap();
            let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let objects: Vec<&str> =
                records.iter().map(|record| record["object"].as_str().unwrap()).collect();
            assert_eq!(objects, wanted, "{query}");
            assert!(records.iter().all(|record| record["hash"].is_string()));
        }
    }
    let all = online(&daemon, &["export"]);
    assert_eq!(
        String::from_utf8(all.stdout).unwrap(),
        std::fs::read_to_string(segment(folder.path())).unwrap()
    );
}

#[test]
fn records_go_to_the_journal_where_the_settings_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let journal = UnixDatagram::bind(folder.path().join("socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A mount namespace of its own, in which the journal's socket is ours.
    let script = "set -e; mount -t tmpfs none /run; mkdir -p /run/systemd/journal; \
                  mount --bind \"$1\" /run/systemd/journal; exec \"$0\"";
    let mut command = Command::new("unshare");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-m", "sh", "-c", script]);
    command.arg(binary()).arg(folder.path());
    let settings = [("GATEHOUSE_AUDIT_JOURNALD", "true")];
    let daemon = Daemon::start_as(command, &folder.path().join("data"), &settings).unwrap();
    create(&daemon, &daemon.login("admin", PASSWORD).unwrap(), "journalled");
    let mut bytes = vec![0; 65_536];
    loop {
        let count = journal.recv(&mut bytes).unwrap();
        let told = String::from_utf8_lossy(&bytes[..count]).into_owned();
        if told.contains("group/journalled") {
            for part in [
                "SYSLOG_IDENTIFIER",
                "gatehoused-audit",
                "GATEHOUSE_ACTOR",
                "GATEHOUSE_HASH",
                "GATEHOUSE_SEQ",
            ] {
                assert!(told.contains(part), "{part}: {told}");
            }
            break;
        }
    }
}
