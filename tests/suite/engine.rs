//! The container engine as health sees it: a real one, none, one that hangs, one that is not for us.

use gatehouse_tests::daemon::{Daemon, binary, command};
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn docker(daemon: &Daemon) -> Value {
    let (status, health) = daemon.call("GET", "/api/v1/health", "", None).unwrap();
    assert_eq!(status, 200, "{health}");
    assert_eq!(health["checks"]["docker"], health["data"]["components"]["docker"]);
    json!({ "status": health["status"], "docker": health["checks"]["docker"] })
}

/// The health item of the engine, as an operator sees it.
fn item(daemon: &Daemon) -> Value {
    let (_, health) = daemon.ops("GET", "/v1/health", None).unwrap();
    let items = health.as_array().unwrap();
    items.iter().find(|item| item["check"] == "engine").unwrap().clone()
}

fn starting(host: &str) -> (tempfile::TempDir, Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[("GATEHOUSE_DOCKER_HOST", host)]).unwrap();
    (folder, daemon)
}

#[test]
fn an_engine_that_is_not_there_is_told_and_no_illness() {
    let (_folder, daemon) = starting("unix:///nowhere/docker.sock");
    let seen = docker(&daemon);
    assert_eq!(seen["status"], "degraded");
    assert_eq!(seen["docker"], json!({ "status": "unavailable", "healthy": false }));
    let item = item(&daemon);
    assert_eq!((&item["code"], &item["severity"]), (&json!("ENGINE"), &json!("ok")), "{item}");
    assert!(item["summary"].as_str().unwrap().contains("/nowhere/docker.sock: no such socket"), "{item}");
}

#[test]
fn a_socket_that_hangs_delays_neither_the_start_nor_health_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    // Connections are taken by the kernel and never answered.
    let _silent = UnixListener::bind(&path).unwrap();
    let begun = Instant::now();
    let (_data, daemon) = starting(&format!("unix://{}", path.display()));
    assert!(begun.elapsed() < Duration::from_secs(9), "the start does not wait: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(docker(&daemon)["docker"]["status"], "unavailable");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let item = item(&daemon);
    assert_eq!(
        (&item["code"], &item["severity"]),
        (&json!("ENGINE-UNAVAILABLE"), &json!("warning")),
        "{item}"
    );
    assert_eq!(item["summary"], "no answer within 2000 ms");
}

#[test]
fn a_socket_that_is_not_for_us_is_told() {
    assert!(rustix_is_root(), "this test makes a file of another user: run it as root");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let _engine = UnixListener::bind(&path).unwrap();
    let data = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(data.path(), Some(65_534), Some(65_534)).unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary());
    other.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let host = format!("unix://{}", path.display());
    let daemon = Daemon::start_as(other, data.path(), &[("GATEHOUSE_DOCKER_HOST", &host)]).unwrap();
    assert_eq!(docker(&daemon)["docker"]["status"], "unavailable");
    let item = item(&daemon);
    assert_eq!(item["code"], "ENGINE-UNAVAILABLE", "{item}");
    assert!(item["summary"].as_str().unwrap().contains("permission denied"), "{item}");
}

fn rustix_is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[test]
fn a_wrong_address_is_refused_at_the_start() {
    let ended = command().env("DOCKER_HOST", "ssh://root@h").arg("--check").output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("docker_host"), "{told}");
    assert_eq!(ended.status.code(), Some(78), "{told}");
}

/// A dockerd of our own, ended by its pid.
struct Dockerd(Child);

impl Dockerd {
    fn start(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let started = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["--host", &format!("unix://{}", path("docker.sock")), "--bridge=none", "--iptables=false"])
            .args(["--storage-driver=vfs"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        match started {
            Ok(child) => Self(child),
            Err(error) => panic!(
                "dockerd CANNOT BE HAD: {error}. packaging/setup.sh installs docker.io; without it nothing here is shown."
            ),
        }
    }

    fn end(mut self) {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // dockerd ends its containerd with itself when it is asked to; a test that failed asks too.
        if matches!(self.0.try_wait(), Ok(None)) {
            Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().ok();
            self.0.wait().ok();
        }
    }
}

#[test]
fn a_real_dockerd_is_seen_to_come_and_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let host = format!("unix://{}", folder.path().join("docker.sock").display());
    let dockerd = Dockerd::start(folder.path());
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    eventually("dockerd to listen", || match log().contains("API listen on") {
        true => Ok(()),
        false => Err(log().lines().last().unwrap_or_default().to_owned()),
    })
    .unwrap();
    let (_data, daemon) = starting(&host);
    let seen = docker(&daemon);
    assert_eq!(
        (&seen["status"], &seen["docker"]["status"]),
        (&json!("healthy"), &json!("healthy")),
        "{seen}"
    );
    assert!(seen["docker"]["response_time_ms"].as_f64().unwrap() > 0.0, "{seen}");
    assert!(seen["docker"]["version"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()), "{seen}");
    let well = item(&daemon);
    assert!(well["summary"].as_str().unwrap().starts_with("Docker "), "{well}");
    dockerd.end();
    // What was seen counts for ten seconds, and eventually() waits for ten.
    let gone = || match docker(&daemon)["docker"]["status"] == "unavailable" {
        true => Ok(()),
        false => Err("healthy still"),
    };
    eventually("what was seen to age", gone).or_else(|_| eventually("the engine to be gone", gone)).unwrap();
}
