//! The console on a pseudo terminal: it comes up, lives and ends with it.

use crate::stub::{Stub, serve};
use gatehouse_common::ops::hello::Door;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A console and the other end of its terminal.
struct Pty {
    child: Child,
    master: File,
    seen: Vec<u8>,
}

impl Pty {
    fn start(socket: &Path, variables: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || OwnedFd::from(slave.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.arg("--socket").arg(socket).env_clear().envs(variables.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, master: File::from(master), seen: Vec::new() }
    }

    /// Reads until a text was written since the last wait, at most 5 s.
    fn wait_for(&mut self, text: &str) {
        let from = self.seen.len();
        let began = Instant::now();
        while !String::from_utf8_lossy(&self.seen[from..]).contains(text) {
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "waits for {text}: {}",
                String::from_utf8_lossy(&self.seen)
            );
            let mut bytes = [0; 4_096];
            let count = self.master.read(&mut bytes).unwrap();
            self.seen.extend_from_slice(&bytes[..count]);
        }
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, waited for at most this long.
    fn ended_within(child: &mut Child, most: Duration) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(began.elapsed() < most, "the console ends");
            std::thread::yield_now();
        }
    }
}

const RICH: &[(&str, &str)] = &[("TERM", "xterm-256color"), ("LANG", "C.UTF-8")];

async fn started(variables: &'static [(&'static str, &'static str)], work: fn(Pty)) {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::new(Door::Operate);
    stub.shift.store(
        gatehouse_tui::clock::now_unix_ms() - crate::samples::NOW,
        std::sync::atomic::Ordering::Relaxed,
    );
    let path = serve(Arc::new(stub), folder.path()).await;
    tokio::task::spawn_blocking(move || work(Pty::start(&path, variables))).await.unwrap();
}

#[tokio::test]
async fn gives_the_terminal_back() {
    started(RICH, |mut pty| {
        pty.wait_for("edge-1");
        pty.press("7");
        pty.wait_for("UPSTREAM-DOWN");
        pty.press("q");
        pty.wait_for("\x1b[?1049l");
        assert_eq!(Pty::ended_within(&mut pty.child, Duration::from_secs(1)), 0);
    })
    .await;
}

#[tokio::test]
async fn dies_with_its_terminal() {
    started(RICH, |mut pty| {
        pty.wait_for("edge-1");
        // No SIGHUP comes: the terminal is not a controlling one.
        drop(pty.master);
        Pty::ended_within(&mut pty.child, Duration::from_secs(1));
    })
    .await;
}

#[tokio::test]
async fn a_poor_terminal_gets_ascii_without_colour() {
    const POOR: &[(&str, &str)] = &[("TERM", "linux"), ("LANG", "C"), ("NO_COLOR", "1")];
    started(POOR, |mut pty| {
        pty.wait_for("edge-1");
        pty.press("5");
        pty.wait_for("restart_service");
        pty.press("q");
        pty.wait_for("\x1b[?1049l");
        Pty::ended_within(&mut pty.child, Duration::from_secs(1));
        assert!(pty.seen.is_ascii());
        let text = String::from_utf8_lossy(&pty.seen).into_owned();
        assert!(!text.contains("\x1b[38;") && !text.contains("\x1b[48;"), "no colour");
    })
    .await;
}

#[tokio::test]
async fn a_run_by_its_keys() {
    started(RICH, |mut pty| {
        pty.wait_for("edge-1");
        pty.press("5");
        pty.wait_for("restart_service");
        pty.press("j\r");
        pty.wait_for("consumer:");
        pty.press("ana\r");
        pty.wait_for("confirmation line");
        pty.press("x");
        pty.wait_for("Type ana");
        // Keys from before the line was wholly written are thrown away; a person takes longer than this.
        std::thread::park_timeout(Duration::from_millis(100));
        pty.press("\r");
        pty.wait_for("ana");
        pty.press("ana\r");
        pty.wait_for("revoked");
        pty.press("q");
        assert_eq!(Pty::ended_within(&mut pty.child, Duration::from_secs(1)), 0);
    })
    .await;
}

#[tokio::test]
async fn a_dumb_terminal_gets_the_plain_session() {
    started(&[("TERM", "dumb")], |mut pty| {
        pty.wait_for("gatehouse (help, quit)>");
        pty.press("tokns\n");
        pty.wait_for("did you mean tokens");
        pty.press("tokens\n");
        pty.wait_for("mcp_7f3a");
        pty.press("quit\n");
        assert_eq!(Pty::ended_within(&mut pty.child, Duration::from_secs(2)), 0);
        assert!(!pty.seen.contains(&0x1b), "no escape codes");
    })
    .await;
}
