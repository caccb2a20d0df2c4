//! The ops socket as a script sees it: HTTP over a Unix socket, streams line by line.

use crate::daemon::{Answer, Daemon};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for an answer or for a line.
const WAIT: Duration = Duration::from_secs(15);

/// One call; a path with a name in front of `/v1` goes through that socket of the folder.
///
/// # Errors
/// When there is no answer.
pub fn call(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&str>,
) -> anyhow::Result<Answer> {
    let (status, mut reader) = ask(socket, method, path, headers, body)?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok((status, value))
}

/// HTTP/1.0, so that the end of the answer is the end of the connection.
fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&str>,
) -> anyhow::Result<(u16, BufReader<UnixStream>)> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("{}", socket.display()))?;
    stream.set_read_timeout(Some(WAIT))?;
    let body = body.unwrap_or_default();
    let length = body.len();
    let host = if headers.to_lowercase().contains("host:") { "" } else { "Host: gatehouse\r\n" };
    write!(stream, "{method} {path} HTTP/1.0\r\n{host}{headers}Content-Length: {length}\r\n\r\n{body}")?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        anyhow::ensure!(reader.read_line(&mut head)? > 0, "the answer ended in its head: {head:?}");
    }
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| head.clone())?, reader))
}

impl Daemon {
    /// Path of a socket.
    #[must_use]
    pub fn socket(&self, name: &str) -> std::path::PathBuf {
        self.data.join("run").join(name)
    }

    /// One call through the operate socket.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ops(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let body = body.map(|body| body.to_string());
        call(&self.socket("operate.sock"), method, path, "", body.as_deref())
    }

    /// A stream through the operate socket, line by line.
    ///
    /// # Errors
    /// When it is refused.
    pub fn stream(
        &self,
        path: &str,
    ) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let (status, reader) = ask(&self.socket("operate.sock"), "GET", path, "", None)?;
        anyhow::ensure!(status == 200, "{path}: {status}");
        // The server sends chunks also to HTTP/1.0; their sizes stand on lines of their own.
        Ok(reader.lines().filter(|line| line.as_ref().map_or(true, |line| line.starts_with('{'))))
    }

    /// Plans a runbook.
    ///
    /// # Errors
    /// When it is refused.
    pub fn plan(&self, runbook: &str, params: Value) -> anyhow::Result<Value> {
        let (status, plan) =
            self.ops("POST", "/v1/plans", Some(json!({"runbook": runbook, "params": params})))?;
        anyhow::ensure!(status == 200, "{status} {plan}");
        Ok(plan)
    }

    /// Starts a plan with its own word; the run's id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn start_plan(&self, plan: &Value) -> anyhow::Result<String> {
        let word = plan.get("confirm_word").cloned();
        let body = json!({"plan": plan.get("digest"), "confirm": word, "reason": "a test"});
        let (status, run) = self.ops("POST", "/v1/runs", Some(body))?;
        anyhow::ensure!(status == 202, "{status} {run}");
        Ok(run.get("id").and_then(Value::as_str).context("no id")?.to_owned())
    }

    /// Plans, starts and follows a run to its end; its events.
    ///
    /// # Errors
    /// When it does not come to an end.
    pub fn run(&self, runbook: &str, params: Value) -> anyhow::Result<Vec<Value>> {
        let id = self.start_plan(&self.plan(runbook, params)?)?;
        let lines = self.stream(&format!("/v1/runs/{id}?follow=1"))?;
        lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
    }
}
