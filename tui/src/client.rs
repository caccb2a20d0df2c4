//! HTTP/1.1 over the daemon's Unix socket: one connection a request, JSON, streams line by line.

use bytes::Bytes;
use gatehouse_common::problem::Problem;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;

const OPERATE: &str = "/run/gatehouse/operate.sock";
const VIEW: &str = "/run/gatehouse/view.sock";
/// What is escaped in a path or query: all but the unreserved (RFC 3986 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest line of a stream; a peer that sends more is not the daemon.
const LINE_BYTES: usize = 4 * 1_048_576;
/// Longest reply of a list of 1000 rows, generously.
const REPLY_BYTES: usize = 32 * 1_048_576;
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Examinations may take 5 s each.
const REPLY_WAIT: Duration = Duration::from_secs(60);

/// Where the daemon is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// Here and nowhere else.
    At(PathBuf),
    /// The operate socket if it may be opened, else the view socket.
    Usual,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("the daemon does not answer at {at}: {why}")]
    Unreachable {
        /// Path of the socket.
        at: String,
        /// The system's words.
        why: String,
    },
    /// The socket may not be opened.
    #[error("no permission to open {at}; it belongs to a group you are not in")]
    Refused {
        /// Path of the socket.
        at: String,
    },
    /// The daemon answered with a problem.
    #[error("{}: {}", .0.code, .0.detail)]
    Problem(Box<Problem>),
    /// The answer is not what the treaty says.
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

impl ClientError {
    /// The daemon's problem, if it is one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    fn protocol(error: impl std::fmt::Display) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// A client; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    socket: Socket,
    tasks: TaskTracker,
}

async fn open(path: &str) -> Result<UnixStream, ClientError> {
    let unreachable = |why: String| ClientError::Unreachable { at: path.to_owned(), why };
    match tokio::time::timeout(CONNECT_WAIT, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Err(ClientError::Refused { at: path.to_owned() })
        }
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("no answer within 2s".to_owned())),
    }
}

impl Client {
    /// A client for this socket.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self { socket, tasks: TaskTracker::new() }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        match &self.socket {
            Socket::At(path) => open(&path.to_string_lossy()).await,
            Socket::Usual => match open(OPERATE).await {
                Ok(stream) => Ok(stream),
                Err(first) => open(VIEW).await.map_err(|_| first),
            },
        }
    }

    async fn send(&self, method: &str, target: &str, body: Bytes) -> Result<Incoming, ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::protocol)?;
        // The connection ends by itself when sender and body are dropped.
        let _driver = self.tasks.spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(target)
            .header(http::header::HOST, "gatehouse")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(ClientError::protocol)?;
        let reply = sender.send_request(request).await.map_err(ClientError::protocol)?;
        let status = reply.status();
        if status.is_success() {
            return Ok(reply.into_body());
        }
        let text = collect(reply.into_body()).await?;
        Err(match serde_json::from_slice::<Problem>(&text) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => ClientError::Protocol(format!("status {status} without a problem")),
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let whole = async { collect(self.send(method, path, body).await?).await };
        let text = match tokio::time::timeout(REPLY_WAIT, whole).await {
            Ok(text) => text?,
            Err(_) => return Err(ClientError::Protocol(format!("{path}: no answer within 60s"))),
        };
        serde_json::from_slice(&text).map_err(|error| ClientError::Protocol(format!("{path}: {error}")))
    }

    /// Reads one object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call("GET", path, Bytes::new()).await
    }

    /// Asks for something.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::protocol)?;
        self.call("POST", path, body.into()).await
    }

    /// Opens a stream of JSON lines.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stream(&self, path: &str) -> Result<Lines, ClientError> {
        match tokio::time::timeout(REPLY_WAIT, self.send("GET", path, Bytes::new())).await {
            Ok(body) => Ok(Lines { body: body?, buffer: Vec::new() }),
            Err(_) => Err(ClientError::Protocol(format!("{path}: no answer within 60s"))),
        }
    }
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, ClientError> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ClientError::protocol)?;
        text.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        if text.len() > REPLY_BYTES {
            return Err(ClientError::Protocol("the answer is too large".to_owned()));
        }
    }
    Ok(text)
}

/// Lines of a stream, as they come.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next item; `None` when the daemon ended the stream.
    ///
    /// # Errors
    /// The connection broke, or a line is not such an item.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(ClientError::protocol);
            }
            if self.buffer.len() > LINE_BYTES {
                return Err(ClientError::Protocol("a line is too long".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.map_err(ClientError::protocol)?;
                    self.buffer.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
                }
            }
        }
    }
}

/// A path with its query, values percent-encoded.
#[must_use]
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (index, (name, value)) in pairs.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&encoded(value));
    }
    out
}

/// Text as one part of a path or query.
#[must_use]
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes() {
        assert_eq!(
            query("/v1/logs", &[("q", "level>=warn é"), ("follow", "1")]),
            "/v1/logs?q=level%3E%3Dwarn%20%C3%A9&follow=1"
        );
    }
}
