//! The command line: `--check`, exit codes, secrets kept out of sight.

use gatehouse_tests::daemon::{Daemon, PASSWORD, command};
use gatehouse_tests::wait::eventually;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

#[test]
fn check_prints_sources_and_hides_secrets() {
    let output =
        command().arg("--check").env("JWT_SECRET_KEY", "Zx81-Zx81-Qw47-Qw47-Er56-Er56-Ty").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(said.contains("signing_key = •••  # environment JWT_SECRET_KEY"), "{said}");
    assert!(!said.contains("Zx81"), "{said}");
}

#[test]
fn a_wrong_setting_exits_with_78_and_a_wrong_flag_with_64() {
    for (arguments, variable, code, part) in [
        (vec!["--check"], ("GATEHOUSE_LISTN", "x"), 78, "GATEHOUSE_LISTEN"),
        (vec!["--check"], ("ENV", "production"), 78, "tls_in_front"),
        (vec!["--chek"], ("X", "x"), 64, "--check"),
        (vec!["--check", "--set", "drain_sec=1"], ("X", "x"), 78, "drain_sec"),
    ] {
        let output = command().args(&arguments).env(variable.0, variable.1).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

#[test]
fn a_hangup_rotates_the_signing_key_and_a_bad_file_changes_nothing() {
    let (first, second) = ("first-Zx81-Zx81-Qw47-Qw47-Er56-Ty", "second-Ab12-Cd34-Ef56-Gh78-Ij90-Kl");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatehouse.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(&format!("signing_key = \"{first}\"\n"));
    let config = file.to_str().unwrap();
    let daemon = Daemon::start(&folder.path().join("data"), &[("GATEHOUSE_CONFIG", config)]).unwrap();
    let old = daemon.login("admin", PASSWORD).unwrap();
    let status = |token: &str| daemon.call("GET", "/platform/authorization/status", token, None).unwrap().0;
    let lines = || {
        let stream = daemon.stream("/v1/logs?q=target:run%20settings").unwrap();
        stream.map(Result::unwrap).filter(|line| line.contains("reloaded")).collect::<Vec<_>>()
    };
    let hangup = |text: &str| {
        let before = lines().len();
        write(text);
        assert!(Command::new("kill").args(["-HUP", &daemon.pid().to_string()]).status().unwrap().success());
        let told = || lines().get(before).cloned().ok_or(before);
        eventually("the log to tell of the reload", told).unwrap()
    };
    hangup(&format!("signing_key = \"{second}\"\nsigning_key_previous = \"{first}\"\n"));
    let new = daemon.login("admin", PASSWORD).unwrap();
    assert_eq!((status(&old), status(&new)), (200, 200), "two keys are accepted during a rotation");
    assert!(hangup("signing_key = 5\nlog_levle = \"info\"\n").contains("log_level"), "the nearest name");
    assert_eq!((status(&old), status(&new)), (200, 200), "a bad file changes nothing");
    let said = hangup(&format!("signing_key = \"{second}\"\nworkers = 7\n"));
    assert!(said.contains("\"settings\":\"workers\""), "{said}");
    assert_eq!((status(&old), status(&new)), (401, 200));
}

#[test]
fn a_made_password_is_left_in_a_file_when_nobody_watches() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[("BOOTSTRAP_ADMIN_PASSWORD", "")]).unwrap();
    let path = folder.path().join("admin-password");
    let password = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    daemon.login("admin", password.trim()).unwrap();
}
