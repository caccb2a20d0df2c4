//! An upstream that misbehaves on purpose: the last segment of the path says how. A thread for each connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Between two pieces of what comes slowly.
const PAUSE: Duration = Duration::from_millis(20);

/// What a trick leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The connection serves on.
    Serve,
    Close,
    /// Closed with a reset.
    Reset,
    /// Nothing more comes; it waits until the other side closes.
    Silent,
}

/// Name, pieces, and what follows.
type Trick = (&'static str, &'static [&'static str], Then);

const TRICKS: &[Trick] = &[
    ("fine", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"], Then::Serve),
    ("silent", &[], Then::Silent),
    ("closes", &[], Then::Close),
    ("reset", &[], Then::Reset),
    ("reset-in-head", &["HTTP/1.1 200 OK\r\nContent-Le"], Then::Reset),
    ("reset-in-body", &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"], Then::Reset),
    ("head-cut", &["HTTP/1.1 200 OK\r\nContent-Le"], Then::Close),
    ("head-stalls", &["HTTP/1.1 200 OK\r\nContent-Le"], Then::Silent),
    ("head-slow", &["HTT", "P/1.1 20", "0 OK\r", "\nContent-Length: 4\r\n", "\r", "\nfine"], Then::Serve),
    ("body-slow", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "f", "i", "n", "e"], Then::Serve),
    ("body-stalls", &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"], Then::Silent),
    ("body-short", &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"], Then::Close),
    ("body-long", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine and more"], Then::Serve),
    ("two-answers", &[FINE_AND_POISON], Then::Serve),
    ("late-second-answer", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", POISON], Then::Serve),
    (
        "chunks",
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n", "2\r\nne\r\n0\r\n\r\n"],
        Then::Serve,
    ),
    ("chunks-cut", &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"], Then::Close),
    (
        "chunks-bad",
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "zz\r\n"],
        Then::Serve,
    ),
    (
        "chunks-huge",
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "fffffffffffffffff\r\n"],
        Then::Serve,
    ),
    ("no-length", &["HTTP/1.1 200 OK\r\n\r\nfi", "ne"], Then::Close),
    ("no-length-reset", &["HTTP/1.1 200 OK\r\n\r\nfirst"], Then::Reset),
    (
        "interim",
        &[
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
        ],
        Then::Serve,
    ),
    (
        "switches",
        &["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        Then::Silent,
    ),
    ("garbage", &["\u{16}\u{3}\u{1} no HTTP\r\n\r\n"], Then::Close),
    ("status-bad", &["HTTP/1.1 20 OK\r\n\r\n"], Then::Close),
    ("version-bad", &["HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"], Then::Serve),
    ("two-lengths", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfine!"], Then::Serve),
    (
        "length-and-chunks",
        &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n"],
        Then::Serve,
    ),
    ("folds", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: a\r\n b\r\n\r\nfine"], Then::Serve),
    ("204-with-body", &["HTTP/1.1 204 No Content\r\nContent-Length: 64\r\n\r\n", POISON], Then::Serve),
    (
        "204-with-chunks",
        &["HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nfine\r\n0\r\n\r\n"],
        Then::Serve,
    ),
    ("304-with-body", &["HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", POISON], Then::Serve),
    ("old", &["HTTP/1.0 200 OK\r\n\r\nfine"], Then::Close),
    ("closes-behind", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"], Then::Close),
    ("resets-behind", &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"], Then::Reset),
    ("refuses-early", &["HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"], Then::Reset),
];

/// An answer to a request that nobody made.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Inner: 1\r\n\r\npoison";
const FINE_AND_POISON: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

#[derive(Debug, Default)]
struct Seen {
    /// Method and path of each request whose head came, and how many had come on its connection.
    requests: RwLock<Vec<(String, usize)>>,
    open: AtomicUsize,
    accepted: AtomicUsize,
}

/// A running one; it ends with the test process.
#[derive(Debug)]
pub struct Mischief {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

impl Mischief {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, seen) = (listener.local_addr()?, Arc::new(Seen::default()));
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&all);
                seen.open.fetch_add(1, Ordering::SeqCst);
                seen.accepted.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    drop(serve(stream, &seen));
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { address, seen })
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Connections that were ever opened.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// How many requests of this method and path came.
    #[must_use]
    pub fn count(&self, request: &str) -> usize {
        let requests = self.seen.requests.read().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|(one, _)| one == request).count()
    }

    /// Of the newest request of this method and path: how many had come on its connection, itself included.
    #[must_use]
    pub fn place(&self, request: &str) -> Option<usize> {
        let requests = self.seen.requests.read().unwrap_or_else(PoisonError::into_inner);
        requests.iter().rfind(|(one, _)| one == request).map(|(_, place)| *place)
    }
}

fn serve(mut stream: TcpStream, seen: &Seen) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    for place in 1.. {
        let mut reader = BufReader::with_capacity(1, stream.try_clone()?);
        let head = head(&mut reader)?;
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let name = path.split('?').next().unwrap_or_default().trim_start_matches('/').to_owned();
        let request = format!("{method} {path}");
        seen.requests.write().unwrap_or_else(PoisonError::into_inner).push((request, place));
        // Its body stays unread, which makes the kernel send a reset when it is closed.
        let unread = name == "refuses-early" || name.starts_with("early");
        let length = if unread { 0 } else { body(&mut reader, &head)? };
        let then = match name.as_str() {
            "dies-on-reuse" if place > 1 => Then::Close,
            "resets-on-reuse" if place > 1 => Then::Reset,
            "count" => {
                let text = length.to_string();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
                Then::Serve
            }
            other => perform(other, &head, &mut reader, &mut stream)?,
        };
        match then {
            Then::Serve => {}
            Then::Close => return Ok(()),
            Then::Reset => return reset(&stream),
            Then::Silent => {
                drop(stream.read_to_end(&mut Vec::new()));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What is not told by pieces alone.
fn perform(
    name: &str,
    head: &str,
    reader: &mut BufReader<TcpStream>,
    stream: &mut TcpStream,
) -> anyhow::Result<Then> {
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    match name {
        "interim-flood" => stream.write_all("HTTP/1.1 100 Continue\r\n\r\n".repeat(5_000).as_bytes())?,
        "interim-drip" => {
            for _ in 0..200 {
                stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
                std::thread::park_timeout(PAUSE);
            }
        }
        "head-drips" => {
            for _ in 0..500 {
                stream.write_all(b"H".get(..1).unwrap_or_default())?;
                std::thread::park_timeout(PAUSE);
            }
        }
        "head-big" => {
            let field = format!("X-Big: {}\r\n", "x".repeat(50_000));
            stream.write_all(fine.replacen("\r\n", &format!("\r\n{field}"), 1).as_bytes())?;
        }
        "head-huge" => {
            let field = format!("X-Big: {}\r\n", "x".repeat(200_000));
            stream.write_all(fine.replacen("\r\n", &format!("\r\n{field}"), 1).as_bytes())?;
        }
        "head-endless" => loop {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            stream.write_all("X: endless\r\n".repeat(100_000).as_bytes())?;
        },
        "head-many" => {
            stream
                .write_all(fine.replacen("\r\n", &format!("\r\n{}", "X: 1\r\n".repeat(150)), 1).as_bytes())?;
        }
        // Answered before the body is read, which is taken all the same.
        "early" => {
            stream.write_all(fine.as_bytes())?;
            body(reader, head)?;
        }
        // As before, and it takes no more.
        "early-closes" => {
            stream.write_all(fine.as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            reader.read_exact(&mut [0; 1])?;
            return Ok(Then::Reset);
        }
        "dies-on-reuse" | "resets-on-reuse" => stream.write_all(fine.as_bytes())?,
        // More than any buffer between it and a client that reads nothing.
        "flood" | "flood-chunks" => return flood(name, head, stream),
        _ => return told(name, stream),
    }
    Ok(Then::Serve)
}

/// As many MiB as the query says, or 256.
fn flood(name: &str, head: &str, stream: &mut TcpStream) -> anyhow::Result<Then> {
    let piece = [b'x'; 65_536];
    let query = head.split(['?', ' ']).nth(2).and_then(|query| query.parse::<usize>().ok());
    let pieces = query.unwrap_or(256) * (1 << 20) / piece.len();
    if name == "flood" {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", pieces * piece.len())?;
    } else {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    }
    for _ in 0..pieces {
        if name == "flood" {
            stream.write_all(&piece)?;
        } else {
            stream.write_all(&[b"10000\r\n".as_slice(), &piece, b"\r\n"].concat())?;
        }
    }
    if name != "flood" {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(Then::Serve)
}

fn told(name: &str, stream: &mut TcpStream) -> anyhow::Result<Then> {
    let Some((_, pieces, then)) = TRICKS.iter().find(|(known, _, _)| *known == name) else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(Then::Serve);
    };
    for (place, piece) in pieces.iter().enumerate() {
        if place > 0 {
            std::thread::park_timeout(PAUSE);
        }
        stream.write_all(piece.as_bytes())?;
    }
    if *then == Then::Reset && !pieces.is_empty() {
        // What was sent is to arrive: a reset overtakes it.
        std::thread::park_timeout(PAUSE);
    }
    Ok(*then)
}

/// Closes with a reset instead of an orderly end.
fn reset(stream: &TcpStream) -> anyhow::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}

fn head(reader: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        anyhow::ensure!(reader.read_line(&mut head)? > 0, "closed");
    }
    Ok(head)
}

/// Reads a request's body; its length.
fn body(reader: &mut BufReader<TcpStream>, head: &str) -> anyhow::Result<u64> {
    let lower = head.to_lowercase();
    let field = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("transfer-encoding:") != Some("chunked") {
        let length: u64 = field("content-length:").unwrap_or("0").parse()?;
        let mut inner = reader.get_ref().take(length);
        let taken = std::io::copy(&mut inner, &mut std::io::sink())?;
        anyhow::ensure!(taken == length, "cut");
        return Ok(length);
    }
    let mut all = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16)?;
        let taken = std::io::copy(&mut reader.get_ref().take(size + 2), &mut std::io::sink())?;
        anyhow::ensure!(taken == size + 2, "cut");
        all += size;
        if size == 0 {
            return Ok(all);
        }
    }
}
