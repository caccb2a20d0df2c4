//! An upstream that answers what it is told to, one answer after the other, and else tells as JSON what it was asked.
//! A path with `hold` in it is answered when it is let go.

use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    /// Whole answers that come next.
    answers: RwLock<VecDeque<Vec<u8>>>,
    /// What comes when they are given.
    usual: RwLock<Option<Vec<u8>>>,
    requests: AtomicU64,
    held: AtomicU64,
    go: AtomicBool,
}

/// A running one; it ends with the test process.
#[derive(Debug)]
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Scripted {
    /// Starts it; what it tells has this name in it.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(name: &'static str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, state) = (listener.local_addr()?, Arc::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A connection that breaks off is the gateway's affair.
                std::thread::spawn(move || drop(serve(stream, name, &state)));
            }
        });
        Ok(Self { address, state })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answer after those that are told already; `fields` each with its line end.
    pub fn say(&self, status: u16, fields: &str, body: &[u8]) {
        let mut answers = self.state.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.push_back(answer(status, fields, body));
    }

    /// The answer of all requests for which none is told.
    pub fn always(&self, status: u16, fields: &str, body: &[u8]) {
        let mut usual = self.state.usual.write().unwrap_or_else(PoisonError::into_inner);
        *usual = Some(answer(status, fields, body));
    }

    /// Answers told and not given yet.
    #[must_use]
    pub fn unsaid(&self) -> usize {
        self.state.answers.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Requests read whole so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Requests that wait to be let go.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.state.held.load(Ordering::SeqCst)
    }

    /// Lets go all that wait, and lets nobody wait any more; or the other way round.
    pub fn go(&self, go: bool) {
        self.state.go.store(go, Ordering::SeqCst);
    }
}

fn answer(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn serve(mut stream: TcpStream, name: &str, state: &State) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (path, told) = request(&mut reader, name)?;
        state.requests.fetch_add(1, Ordering::SeqCst);
        if path.contains("hold") {
            state.held.fetch_add(1, Ordering::SeqCst);
            while !state.go.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            state.held.fetch_sub(1, Ordering::SeqCst);
        }
        let next = state.answers.write().unwrap_or_else(PoisonError::into_inner).pop_front();
        let next = next.or_else(|| state.usual.read().unwrap_or_else(PoisonError::into_inner).clone());
        let fields = "Content-Type: application/json\r\nX-Inner: 1\r\nX-Other: 2\r\n";
        stream.write_all(&next.unwrap_or_else(|| answer(200, fields, told.to_string().as_bytes())))?;
    }
}

/// The path asked for, and all that was asked: fields by their name in lower case.
fn request(reader: &mut BufReader<TcpStream>, name: &str) -> anyhow::Result<(String, Value)> {
    let (mut line, mut fields, mut length) = (String::new(), Map::new(), 0);
    anyhow::ensure!(reader.read_line(&mut line)? > 0, "closed");
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    loop {
        let mut line = String::new();
        anyhow::ensure!(reader.read_line(&mut line)? > 0, "closed");
        let Some((field, value)) = line.trim_end().split_once(':') else { break };
        if field.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
        fields.insert(field.to_lowercase(), json!(value.trim()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let told = json!({"upstream": name, "method": method, "path": path, "fields": fields, "body": body});
    Ok((path, told))
}
