//! The binary as a script sees it: what it prints and how it exits.

use crate::stub::{Stub, serve};
use gatehouse_common::ops::hello::Door;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A box with its daemon.
struct There {
    stub: Arc<Stub>,
    folder: tempfile::TempDir,
}

impl There {
    async fn new(door: Door) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stub = Arc::new(Stub::new(door));
        serve(Arc::clone(&stub), folder.path()).await;
        Self { stub, folder }
    }

    async fn run(&self, line: &str) -> (i32, String, String) {
        gatehouse(&self.folder.path().join("operate.sock"), line).await
    }
}

async fn gatehouse(socket: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.env("GATEHOUSE_SOCKET", socket).args(shlex::split(line).unwrap()).stdin(Stdio::null());
    finished(command).await
}

async fn finished(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_captive_session_has_the_same_grammar_and_no_shell() {
    let there = There::new(Door::Operate).await;
    let socket = there.folder.path().join("operate.sock");
    for (asked, wanted, part) in [
        ("health", 0, "UPSTREAM-DOWN"),
        ("audit --json ben", 0, "user/ben"),
        ("", 0, "edge-1"),
        ("health; id", 64, "unknown verb health;"),
        ("$(id)", 64, "unknown verb"),
        ("--socket /tmp/other status", 64, "not for you"),
        ("status 'open", 64, "quotes"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.arg("--captive").arg("--socket").arg(&socket).env("SSH_ORIGINAL_COMMAND", asked);
        command.stdin(Stdio::null());
        let (code, words, errors) = finished(command).await;
        assert_eq!(code, wanted, "{asked}: {errors}");
        assert!(words.contains(part) || errors.contains(part), "{asked}: {words} {errors}");
    }
}

#[tokio::test]
async fn every_verb_has_words_and_json() {
    let there = There::new(Door::Operate).await;
    for verb in ["status", "routes", "logs", "consumers", "tokens", "health", "audit", "runs", "hello"] {
        let (code, words, errors) = there.run(verb).await;
        assert_eq!((code, errors.as_str()), (0, ""), "{verb}");
        assert!(!words.is_empty() && !words.contains('\x1b'), "{verb}: {words}");
        let (code, json, _) = there.run(&format!("{verb} --json")).await;
        assert_eq!(code, 0, "{verb}");
        for line in json.lines() {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|error| panic!("{verb}: {error}: {line}"));
        }
    }
    let (code, once, _) = there.run("").await;
    assert_eq!(code, 0);
    assert!(once.contains("edge-1") && !once.contains('\x1b'), "{once}");
}

#[tokio::test]
async fn runs_what_was_planned_and_tells_by_its_exit_code() {
    let there = There::new(Door::Operate).await;
    let (code, plan, _) = there.run("plan revoke_tokens --consumer acme --json").await;
    assert_eq!(code, 0);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let digest = plan["digest"].as_str().unwrap().to_owned();
    let run = format!("run revoke_tokens --consumer acme --plan {digest} --reason 'key leaked'");
    let (code, lines, errors) = there.run(&format!("{run} --follow")).await;
    assert_eq!(code, 0, "{errors}");
    assert!(lines.contains("done 3 tokens revoked"), "{lines}");
    there.stub.moved.store(true, Ordering::Relaxed);
    let (code, new, _) = there.run(&format!("{run} --json")).await;
    assert_eq!(code, 75);
    assert!(new.contains("ffff0000ffff0000"), "the new plan is printed: {new}");
}

#[tokio::test]
async fn says_what_is_wrong() {
    let there = There::new(Door::View).await;
    for (line, wanted, part) in [
        ("plan revoke_tokns --consumer acme", 64, "did you mean revoke_tokens"),
        ("plan revoke_tokens --consumr acme", 64, "did you mean --consumer"),
        ("plan revoke_tokens", 64, "missing --consumer"),
        ("run revoke_tokens --consumer acme", 64, "gatehouse plan"),
        ("run revoke_tokens --consumer acme --plan 7f3a19c2b5d8e1f0", 77, "view socket"),
        ("staus", 64, "did you mean status"),
    ] {
        let (code, _, errors) = there.run(line).await;
        assert_eq!(code, wanted, "{line}: {errors}");
        assert!(errors.contains(part), "{line}: {errors}");
    }
    let (code, _, errors) = gatehouse(Path::new("/nonexistent/x.sock"), "status").await;
    assert_eq!(code, 69, "{errors}");
}
