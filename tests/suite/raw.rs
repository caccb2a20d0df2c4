//! A client that speaks HTTP/1.1 byte by byte, a daemon in front of an upstream that misbehaves, and what both left behind.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::mischief::Mischief;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest wait for bytes.
const WAIT: Duration = Duration::from_secs(15);

/// A connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    come: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Status line and fields, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    /// It came to the end that its head told.
    pub(crate) whole: bool,
}

impl Reply {
    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// Error code of a refusal.
    pub(crate) fn code(&self) -> String {
        let value: Value = serde_json::from_str(&self.body).unwrap_or_default();
        value["error_code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Wire {
    pub(crate) fn open(daemon: &Daemon) -> Self {
        let stream = TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        Self { stream, come: Vec::new() }
    }

    /// A connection on which this was sent.
    pub(crate) fn with(daemon: &Daemon, bytes: impl AsRef<[u8]>) -> Self {
        let mut wire = Self::open(daemon);
        wire.send(bytes);
        wire
    }

    /// Sends; a connection that was closed takes nothing, which the answer will show.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).ok();
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// False at the end, whether it was orderly or not.
    fn more(&mut self) -> bool {
        let mut room = [0; 65_536];
        match self.stream.read(&mut room) {
            Ok(count) => {
                self.come.extend_from_slice(&room[..count]);
                count > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("nothing came for long; before: {:?}", String::from_utf8_lossy(&self.come))
            }
            Err(_) => false,
        }
    }

    fn take(&mut self, count: usize) -> String {
        let rest = self.come.split_off(count);
        String::from_utf8_lossy(&std::mem::replace(&mut self.come, rest)).into_owned()
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.come.windows(2).position(|two| two == b"\r\n") {
                return Some(self.take(at + 2));
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next answer, if one begins.
    pub(crate) fn answer_to(&mut self, method: &str) -> Option<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push_str(&self.line()?);
        }
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new(), whole: true };
        if method == "HEAD" || matches!(status, 100..200 | 204 | 304) {
            return Some(reply);
        }
        if reply.field("transfer-encoding") == Some("chunked") {
            (reply.body, reply.whole) = self.chunks();
        } else if let Some(length) = reply.field("content-length") {
            let length: usize = length.parse().unwrap();
            while self.come.len() < length && self.more() {}
            reply.whole = self.come.len() >= length;
            reply.body = self.take(length.min(self.come.len()));
        } else {
            reply.body = self.rest();
        }
        Some(reply)
    }

    /// The next answer to a request that is not HEAD.
    pub(crate) fn answer(&mut self) -> Reply {
        self.answer_to("GET")
            .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&self.come)))
    }

    fn chunks(&mut self) -> (String, bool) {
        let mut body = String::new();
        loop {
            let Some(line) = self.line() else { return (body, false) };
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            while self.come.len() < size + 2 && self.more() {}
            if self.come.len() < size + 2 {
                body.push_str(&self.take(size.min(self.come.len())));
                return (body, false);
            }
            body.push_str(&self.take(size));
            assert_eq!(self.take(2), "\r\n", "behind a chunk");
            if size == 0 {
                return (body, true);
            }
        }
    }

    /// All that comes until the connection ends.
    pub(crate) fn rest(&mut self) -> String {
        while self.more() {}
        self.take(self.come.len())
    }

    /// Whether it has ended and nothing more came; waits for that.
    pub(crate) fn ended(&mut self) -> bool {
        self.rest().is_empty()
    }
}

/// A request without a body.
pub(crate) fn get(path: &str) -> String {
    request("GET", path, "", "")
}

/// A request with more fields, each with its line end, and a body they frame.
pub(crate) fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n{body}")
}

/// As [`request`], with a body of JSON or none.
pub(crate) fn json_request(method: &str, path: &str, fields: &str, body: &str) -> String {
    let framed = format!("{fields}Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    request(method, path, if body.is_empty() { fields } else { &framed }, body)
}

/// A path of the public API in front of an upstream.
pub(crate) fn odd(name: &str) -> String {
    format!("/api/rest/odd/v1/{name}")
}

/// A daemon with the public API `odd/v1` in front of this address; every path of one segment is an endpoint.
pub(crate) fn daemon(settings: &[(&str, &str)], upstream: SocketAddr) -> (tempfile::TempDir, Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), settings).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let made = |path: &str, body| {
        let (status, answer) = daemon.call("POST", path, &admin, Some(body)).unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    };
    let api = json!({"api_name": "odd", "api_version": "v1", "api_public": true,
                     "api_servers": [format!("http://{upstream}")], "api_allowed_headers": ["x-inner"]});
    made("/platform/api", api);
    for method in ["GET", "POST", "PUT"] {
        let endpoint = json!({"api_name": "odd", "api_version": "v1", "endpoint_method": method,
                              "endpoint_uri": "/{name}", "endpoint_description": "test"});
        made("/platform/endpoint", endpoint);
    }
    (folder, daemon)
}

/// As [`daemon`], with an upstream that misbehaves. One worker, so that there is one pool.
pub(crate) fn mischief(settings: &[(&str, &str)]) -> (tempfile::TempDir, Daemon, Mischief) {
    let upstream = Mischief::start().unwrap();
    let settings = [settings, &[("GATEHOUSE_WORKERS", "1")]].concat();
    let (folder, daemon) = daemon(&settings, upstream.address);
    (folder, daemon, upstream)
}

/// The access records of a path, oldest first.
pub(crate) fn records(daemon: &Daemon, path: &str) -> Vec<Value> {
    let mut text = String::new();
    for file in std::fs::read_dir(daemon.data.join("logs")).unwrap() {
        text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["path"] == path).collect()
}

/// The access record of a path that was asked for so many times, once that is written.
pub(crate) fn record(daemon: &Daemon, path: &str, times: usize) -> Value {
    let look = || {
        let mut found = records(daemon, path);
        if found.len() == times { found.pop().ok_or(0) } else { Err(found.len()) }
    };
    eventually(&format!("record {times} of {path}"), look).unwrap()
}

/// Lets time pass, for a client that is slow.
pub(crate) fn pause(millis: u64) {
    let (begun, length) = (Instant::now(), Duration::from_millis(millis));
    while let Some(left) = length.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Waits until no client is connected, which the ops socket tells.
pub(crate) fn nobody_is_connected(daemon: &Daemon) {
    let look = || {
        let line = daemon.stream("/v1/metrics?follow=0").unwrap().next().unwrap().unwrap();
        let window: Value = serde_json::from_str(&line).unwrap();
        let left = (window["connections"].as_u64(), window["in_flight"].as_u64());
        if left == (Some(0), Some(0)) { Ok(()) } else { Err(window) }
    };
    eventually("every connection to be counted off", look).unwrap();
}
