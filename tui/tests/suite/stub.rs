//! A daemon that answers with samples over a Unix socket, one request a connection.

use crate::samples::{self, NOW};
use gatehouse_common::ops::Item;
use gatehouse_common::ops::hello::Door;
use gatehouse_common::ops::runs::{PlanRequest, StartRequest};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::{Plan, RunState, Tier};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What the stub says.
pub(crate) struct Stub {
    pub(crate) door: Door,
    pub(crate) boot: String,
    /// The world moved: plans get another digest, runs of old ones are refused.
    pub(crate) moved: AtomicBool,
    pub(crate) pace: Duration,
    /// What is added to the samples' moments; the real clock when a person looks at it.
    pub(crate) shift: AtomicI64,
}

impl Stub {
    pub(crate) fn new(door: Door) -> Self {
        Self {
            door,
            boot: "b1".into(),
            moved: AtomicBool::new(false),
            pace: Duration::from_millis(2),
            shift: AtomicI64::new(0),
        }
    }

    fn now(&self) -> i64 {
        NOW + self.shift.load(Ordering::Relaxed)
    }

    fn plan(&self, request: &PlanRequest) -> Plan {
        let consumer = request.params.get("consumer").cloned().unwrap_or_else(|| "edge-1".into());
        let tier = match request.runbook.as_str() {
            "revoke_tokens" => Tier::Name,
            "restore_backup" => Tier::NameReason,
            "restart_service" => Tier::Yes,
            _ => Tier::Safe,
        };
        let word = match tier {
            Tier::Safe => String::new(),
            Tier::Yes => "yes".into(),
            Tier::Name | Tier::NameReason => consumer.clone(),
        };
        let mut plan = samples::plan(tier, &word);
        plan.title = format!("{} {consumer}", request.runbook.replace('_', " "));
        plan.runbook.clone_from(&request.runbook);
        plan.params.clone_from(&request.params);
        plan.valid_until_unix_ms = self.now() + 300_000;
        if self.moved.load(Ordering::Relaxed) {
            plan.digest = "ffff0000ffff0000".into();
        }
        plan.command =
            format!("gatehouse run {} --consumer {consumer} --plan {}", request.runbook, plan.digest);
        plan
    }
}

/// Serves until the runtime ends; gives the socket's path.
pub(crate) async fn serve(stub: Arc<Stub>, folder: &Path) -> PathBuf {
    let path = folder.join("operate.sock");
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(&path).unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stub = Arc::clone(&stub);
            tokio::spawn(async move { drop(answer(&stub, stream).await) });
        }
    });
    path
}

async fn answer(stub: &Stub, stream: UnixStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    stream.read_line(&mut head).await?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if let Some(host) = line.to_lowercase().strip_prefix("host:") {
            assert_eq!(host.trim(), "gatehouse");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let path = target.split('?').next().unwrap();
    let follow = target.contains("follow=1");
    match (method, path) {
        ("GET", "/v1/metrics" | "/v1/logs") => streamed(stub, &mut stream, path, follow).await,
        ("GET", path) if path.starts_with("/v1/runs/") => run(stub, &mut stream).await,
        _ => {
            let (status, text) = plain(stub, method, path, target, &body);
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(text.as_bytes()).await
        }
    }
}

fn ok<T: Serialize>(value: T) -> (u16, String) {
    (200, serde_json::to_string(&value).unwrap())
}

fn problem(code: Code, detail: &str) -> (u16, String) {
    let problem = Problem::new(code, detail);
    (problem.status, serde_json::to_string(&problem).unwrap())
}

fn plain(stub: &Stub, method: &str, path: &str, target: &str, body: &[u8]) -> (u16, String) {
    match (method, path) {
        ("GET", "/v1/hello") => {
            let mut hello = samples::hello(stub.door);
            hello.boot = stub.boot.as_str().into();
            hello.started_unix_ms += stub.shift.load(Ordering::Relaxed);
            ok(hello)
        }
        ("GET", "/v1/health") => ok(samples::health()),
        ("GET", "/v1/routes") => ok(samples::routes()),
        ("GET", "/v1/consumers") => ok(samples::consumers()),
        ("GET", "/v1/tokens") => ok(samples::tokens()),
        ("GET", "/v1/sessions") => ok(samples::sessions()),
        ("GET", "/v1/runs") => ok(vec![samples::run_summary("r1", RunState::Done)]),
        ("GET", "/v1/audit") if target.contains("q=ben") => {
            let mut page = samples::audit();
            page.records.retain(|record| record.entry.object.contains("ben"));
            ok(page)
        }
        ("GET", "/v1/audit") => ok(samples::audit()),
        ("POST", "/v1/plans") => ok(stub.plan(&serde_json::from_slice(body).unwrap())),
        ("POST", "/v1/runs") if stub.door == Door::View => {
            problem(Code::NotPermitted, "this is the view socket")
        }
        ("POST", "/v1/runs") => {
            let start: StartRequest = serde_json::from_slice(body).unwrap();
            if !start.plan.starts_with("7f3a") || stub.moved.load(Ordering::Relaxed) {
                return problem(Code::PlanOutdated, "the world moved");
            }
            (202, serde_json::to_string(&samples::run_summary("r2", RunState::Running)).unwrap())
        }
        ("POST", "/v1/runs/r2/stop") => ok(samples::run_summary("r2", RunState::Stopping)),
        _ => problem(Code::NotFound, path),
    }
}

async fn chunk<T: Serialize>(stream: &mut BufReader<UnixStream>, value: &T) -> std::io::Result<()> {
    let line = serde_json::to_string(value).unwrap() + "\n";
    stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await
}

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

async fn streamed(
    stub: &Stub,
    stream: &mut BufReader<UnixStream>,
    path: &str,
    follow: bool,
) -> std::io::Result<()> {
    stream.write_all(STREAM).await?;
    let mut seq = 0;
    loop {
        if path == "/v1/metrics" {
            let mut body = samples::window(seq);
            body.at_unix_ms += stub.shift.load(Ordering::Relaxed);
            chunk(stream, &Item { seq, body }).await?;
        } else {
            chunk(stream, &Item { seq, body: samples::log_item(seq) }).await?;
        }
        seq += 1;
        let enough = if path == "/v1/metrics" { 1 } else { 12 };
        if !follow && seq >= enough {
            return stream.write_all(b"0\r\n\r\n").await;
        }
        if seq > enough {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn run(stub: &Stub, stream: &mut BufReader<UnixStream>) -> std::io::Result<()> {
    stream.write_all(STREAM).await?;
    for mut event in samples::run_events("r2") {
        event.at_unix_ms += stub.shift.load(Ordering::Relaxed);
        chunk(stream, &event).await?;
        tokio::time::sleep(stub.pace).await;
    }
    stream.write_all(b"0\r\n\r\n").await
}
