//! The disk: an answer comes after the write is on it; a full one refuses, keeps serving, recovers by itself.

use gatehouse_tests::daemon::{Daemon, PASSWORD, binary};
use serde_json::json;
use std::path::Path;
use std::process::Command;

fn create(daemon: &Daemon, token: &str, name: &str) -> (u16, serde_json::Value) {
    daemon.call("POST", "/platform/group", token, Some(json!({ "group_name": name }))).unwrap()
}

#[test]
fn an_acknowledgement_follows_the_fdatasync_that_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut tracer = Command::new("strace");
    tracer.args(["-f", "-y", "-s", "200", "-e", "trace=fdatasync,pwrite64,sendto,recvfrom", "-o"]);
    tracer.arg(&trace).arg(binary()).env_clear();
    let daemon = Daemon::start_as(tracer, &folder.path().join("data"), &[])
        .expect("strace must be installed (make setup) and allowed to trace");
    let token = daemon.login("admin", PASSWORD).unwrap();
    for name in ["first", "second", "third"] {
        assert_eq!(create(&daemon, &token, name).0, 201);
    }
    let ended = Command::new("kill").arg(child_of(daemon.pid())).status().unwrap();
    assert!(ended.success());
    daemon.ended().unwrap();
    let text = std::fs::read_to_string(&trace).unwrap();
    assert_eq!(acknowledged_late(&text), Ok(3));
}

/// The traced process.
fn child_of(tracer: u32) -> String {
    let listed = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap();
    listed.split_whitespace().next().unwrap().to_owned()
}

/// Walks a trace; how many creations were answered after a write to the database and a sync behind it.
fn acknowledged_late(trace: &str) -> Result<usize, String> {
    let (mut asked, mut written, mut synced, mut answered) = (false, false, false, 0);
    for line in trace.lines() {
        let database = line.contains("/store/db>");
        if line.contains("POST /platform/group ") {
            (asked, written, synced) = (true, false, false);
        } else if line.contains("pwrite64(") && database {
            // The mover of audit records writes too, after our sync and before our answer: what is covered stays so.
            written = true;
        } else if (line.contains("fdatasync(") && database) || line.contains("<... fdatasync resumed>") {
            // An unfinished call has no result yet.
            synced |= written && line.ends_with("= 0");
        } else if asked && line.contains("HTTP/1.1 201") {
            if !synced {
                return Err(line.to_owned());
            }
            (asked, answered) = (false, answered + 1);
        }
    }
    Ok(answered)
}

#[test]
fn an_early_acknowledgement_is_found() {
    let call = |sync: &str| {
        format!(
            "1 recvfrom(\"POST /platform/group \n2 pwrite64(9</d/store/db>\n{sync}1 sendto(\"HTTP/1.1 201\n"
        )
    };
    assert_eq!(acknowledged_late(&call("2 fdatasync(9</d/store/db>) = 0\n")), Ok(1));
    assert!(acknowledged_late(&call("")).is_err());
    assert!(acknowledged_late(&call("2 fdatasync(9</d/store/db> <unfinished ...>\n")).is_err());
}

/// A small disk of its own, unmounted when dropped.
struct SmallDisk<'d>(&'d Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_serving_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "small"]).arg(&disk).status().unwrap();
    assert!(mounted.success(), "this test mounts a tmpfs and needs root");
    let _small = SmallDisk(&disk);
    let daemon = Daemon::start(&disk.join("data"), &[]).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    assert_eq!(create(&daemon, &token, "before").0, 201);
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 34 << 20]).ok();
    for attempt in 0..3 {
        let (status, answer) = create(&daemon, &token, "refused");
        assert_eq!((status, &answer["error_code"]), (507, &json!("GH-DISK-FULL")), "{attempt}: {answer}");
    }
    let (status, groups) = daemon.call("GET", "/platform/group/all?page_size=100", &token, None).unwrap();
    assert_eq!(status, 200, "reads go on");
    assert!(groups.to_string().contains("before") && !groups.to_string().contains("refused"), "{groups}");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(create(&daemon, &token, "refused").0, 201, "nothing half of it was kept");
    daemon.kill().unwrap();
    let daemon = Daemon::start(&disk.join("data"), &[]).unwrap();
    let token = daemon.login("admin", PASSWORD).unwrap();
    assert_eq!(daemon.call("GET", "/platform/group/refused", &token, None).unwrap().0, 200);
}
