//! Our parsers beside hyper's: what we take for a message, hyper takes for the same one, and never for two.
//!
//! We refuse more than hyper does, on purpose:
//! - `Content-Length` twice or beside chunks, a list of lengths, a coding before or behind `chunked`;
//! - lines that end in a line feed alone;
//! - `Host` missing, twice, no host, or other than that of the target;
//! - a target with a fragment or bytes beyond visible ASCII; one in absolute form without a path;
//! - control characters in chunk extensions.
//!
//! We take two things that hyper does not, both without a bearing on where a message ends:
//! - a target with `<`, `>`, a quote or a backtick, which `http::Uri` has no place for: it goes upstream as it came;
//! - a body up to 2^64 - 1 bytes, the last two of which hyper keeps for itself: our bound of a body is far below.

use super::Framing;
use super::body::{Decoder, Step};
use crate::client::head::Head;
use crate::upstream::head::Head as AnswerHead;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Method, target in origin form, whether of HTTP/1.1, body.
type Message = (String, String, bool, Vec<u8>);

/// A body at the front of these bytes, if it is whole; they are then those behind it. Never an error for one that ends with
/// the connection.
fn content(framing: Framing, bytes: &mut BytesMut) -> Option<Vec<u8>> {
    let (mut decoder, mut content) = (Decoder::new(framing), Vec::new());
    loop {
        match decoder.next(bytes).ok()? {
            Step::Data(count) => {
                content.extend_from_slice(&bytes[..count]);
                decoder.took(bytes, count);
            }
            Step::More => {
                decoder.closed().ok()?;
                return Some(content);
            }
            Step::End => return Some(content),
        }
    }
}

/// The requests that we find whole, as the life of a connection would; and whether hyper has an address for the last one.
fn ours(bytes: &[u8]) -> Vec<Message> {
    let (mut bytes, mut head, mut found) = (BytesMut::from(bytes), Head::default(), Vec::new());
    while let Ok(Some(used)) = head.read(&bytes) {
        bytes.advance(used);
        let target = match head.query() {
            Some(query) => format!("{}?{query}", head.path()),
            None => head.path().to_owned(),
        };
        if head.method() == "CONNECT" || http::Uri::try_from(&target).is_err() {
            break;
        }
        let (method, recent) = (head.method().to_owned(), head.recent);
        let Some(content) = content(head.framing.into(), &mut bytes) else { break };
        found.push((method, target, recent, content));
        if !head.keeps {
            break;
        }
    }
    found
}

/// The requests that hyper finds whole.
async fn hypers(bytes: &[u8]) -> Vec<Message> {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let found = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&found);
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.uri.path_and_query().map(|target| target.as_str().to_owned());
            if let Ok(body) = body.collect().await {
                seen.borrow_mut().push((
                    parts.method.to_string(),
                    target.unwrap_or_default(),
                    parts.version == http::Version::HTTP_11,
                    body.to_bytes().to_vec(),
                ));
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let served = builder.half_close(true).serve_connection(TokioIo::new(far), service);
    // An error is what it makes of bytes that are no request.
    drop(served.await);
    Rc::try_unwrap(found).map(RefCell::into_inner).unwrap_or_default()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), future).await.unwrap() })
    })
}

/// Each of ours is hyper's at the same place.
fn agree(bytes: &[u8]) -> Result<usize, String> {
    let ours = ours(bytes);
    let hypers = block(hypers(bytes));
    if hypers.starts_with(&ours) {
        return Ok(ours.len());
    }
    Err(format!("{:?}\nours: {ours:?}\nhyper: {hypers:?}", String::from_utf8_lossy(bytes)))
}

/// Status and body of the answer that we find whole.
fn our_answer(bytes: &[u8], to_head: bool) -> Option<(u16, Vec<u8>)> {
    let (mut bytes, mut head) = (BytesMut::from(bytes), AnswerHead::default());
    loop {
        let used = head.read(&bytes).ok()??;
        bytes.advance(used);
        match head.status {
            101 => return None,
            100..200 => {}
            _ => return Some((head.status, content(head.framing(to_head), &mut bytes)?)),
        }
    }
}

/// The one that hyper finds whole.
async fn hypers_answer(bytes: &[u8], to_head: bool) -> Option<(u16, Vec<u8>)> {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(far)).await.unwrap();
    let method = if to_head { "HEAD" } else { "GET" };
    let request = hyper::Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).unwrap();
    let asked = async {
        let answer = sender.send_request(request).await.ok()?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.ok()?;
        Some((parts.status.as_u16(), body.to_bytes().to_vec()))
    };
    let answers = async {
        // An answer that comes before it is asked for is an error to hyper.
        assert!(near.read(&mut [0; 1_024]).await.unwrap() > 0);
        near.write_all(bytes).await.ok();
        near.shutdown().await.ok();
        std::future::pending::<()>().await;
    };
    tokio::pin!(asked, connection, answers);
    let mut ended = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut asked => return answer,
            _ = &mut connection, if !ended => ended = true,
            () = &mut answers => {}
        }
    }
}

fn agree_on_answer(bytes: &[u8], to_head: bool) -> Result<bool, String> {
    let Some(ours) = our_answer(bytes, to_head) else { return Ok(false) };
    let hypers = block(hypers_answer(bytes, to_head));
    if hypers.as_ref() == Some(&ours) {
        return Ok(true);
    }
    Err(format!("{:?}\nours: {ours:?}\nhyper: {hypers:?}", String::from_utf8_lossy(bytes)))
}

/// Words that heads and bodies are made of, and near misses of them.
const LINES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b=c HTTP/1.1\r\n",
    "GET http://h/x HTTP/1.1\r\n",
    "PUT /a HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET http://h?a/b HTTP/1.0\r\n",
    "HEAD /%2e HTTP/1.1\r\n",
    "G /\"<>` HTTP/1.1\r\n",
    "POST /a HTTP/1.1\n",
];
const FIELDS: &[&str] = &[
    "Host: h\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 05\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length : 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: Chunked \r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, x\r\n",
    "Transfer-Encoding: \u{b}chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: close, keep-alive\r\n",
    "Connection: x,close\r\n",
    "Expect: 100-continue\r\n",
    "X: \u{e9}\r\n",
    "X:\r\n",
    "X: a\n",
    " folded\r\n",
    "X: a\r b\r\n",
    "X: a\0\r\n",
    "Upgrade: x\r\n",
    "TE: trailers\r\n",
];
const BODIES: &[&str] = &[
    "",
    "hello",
    "abc",
    "5\r\nhello\r\n0\r\n\r\n",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "0\r\nT: 1\r\n\r\n",
    "0\r\nT : 1\r\n\r\n",
    "0\r\nT\r\n\r\n",
    "5;a=b\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "5 a\r\nhello\r\n",
    "05\r\nhello\r\n",
    "0x5\r\nhello\r\n",
    "5\nhello\r\n",
    "5\r\nhello\n",
    "0\r\n",
    "\r\n",
    "\n",
    "0\r\nT: 1\r\n 2\r\n\r\n",
    "5;\r\nhello\r\n",
];
const STATUSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200\r\n",
    "HTTP/1.1 200 \r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No\r\n",
    "HTTP/1.1 304 No\r\n",
    "HTTP/1.1 404 \u{e9}\r\n",
    "HTTP/1.1 999 X\r\n",
    "HTTP/1.1 99 X\r\n",
    "HTTP/1.1 200 OK\n",
    "HTTP/2 200 OK\r\n",
    "HTTP/1.1 205 R\r\n",
    "HTTP/1.1 500 a\rb\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n",
];

/// Where a body ends, mostly said once.
const FRAMINGS: &[&str] = &["", "Content-Length: 5\r\n", "Content-Length: 3\r\n", CHUNKED, CHUNKED, CHUNKED];
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const ENDS: &[&str] = &["0\r\n\r\n", "0\r\n\r\n", "hello", ""];

/// Some of the words, and a few bytes changed.
fn made(first: &'static [&'static str], host: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let select = proptest::sample::select::<&'static str>;
    let fields = proptest::collection::vec(select(FIELDS), 0..3);
    let bodies = proptest::collection::vec(select(BODIES), 0..3);
    let message = (select(first), select(FRAMINGS), fields, bodies, select(ENDS)).prop_map(
        move |(first, framing, fields, bodies, end)| {
            // Latin-1, so that there are bytes that are no text.
            let text = format!("{first}{host}{framing}{}\r\n{}{end}", fields.concat(), bodies.concat());
            text.chars().map(|one| u8::try_from(one).unwrap_or(b'?')).collect::<Vec<u8>>()
        },
    );
    let byte = proptest::sample::select(b"\r\n\t \0:;,05aAxX\x7f\xff/?\"".as_slice());
    let change = (any::<proptest::sample::Index>(), 0..3, byte);
    let changes = prop_oneof![Just(Vec::new()), proptest::collection::vec(change, 1..3)];
    (proptest::collection::vec(message, 1..4), changes).prop_map(|(messages, changes)| {
        let mut bytes = messages.concat();
        for (place, how, byte) in changes {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

#[test]
fn what_is_plain_is_taken_by_both() {
    for (text, count) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 1),
        (
            "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\nPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /c HTTP/1.1\r\nHost: h\r\n\r\n",
            3,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nT: 1\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n",
            2,
        ),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n", 1),
        ("GET / HTTP/1.0\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n", 1),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n", 2),
    ] {
        assert_eq!(agree(text.as_bytes()), Ok(count), "{text:?}");
    }
    for (text, to_head) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\nhello", false),
        ("HTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\n", false),
        ("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 304 OK\r\nContent-Length: 5\r\n\r\n", false),
    ] {
        assert_eq!(agree_on_answer(text.as_bytes(), to_head), Ok(true), "{text:?}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_hyper_reads_the_same_requests(bytes in made(LINES, "Host: h\r\n")) {
        agree(&bytes).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn never_panics_and_hyper_reads_the_same_answer(bytes in made(STATUSES, ""), to_head in any::<bool>()) {
        agree_on_answer(&bytes, to_head).map_err(TestCaseError::fail)?;
    }
}
