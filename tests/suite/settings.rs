//! The command line: `--check`, exit codes, secrets kept out of sight.

use gatehouse_tests::daemon::{Daemon, command};
use std::os::unix::fs::PermissionsExt as _;

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
fn a_made_password_is_left_in_a_file_when_nobody_watches() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[("BOOTSTRAP_ADMIN_PASSWORD", "")]).unwrap();
    let path = folder.path().join("admin-password");
    let password = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    daemon.login("admin", password.trim()).unwrap();
}
