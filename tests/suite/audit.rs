//! The audit trail: one record for each acknowledged change, whatever happened to the store.

use gatehouse_tests::daemon::{Daemon, PASSWORD, binary};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

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
