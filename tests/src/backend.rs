//! An upstream that counts: connections, requests, TLS sessions that were resumed. It answers its name, with the status
//! it is told, over plain TCP or TLS; a path with `slow` in it takes a while.

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

/// How long a slow answer takes.
pub const SLOW: Duration = Duration::from_millis(400);

/// What it counts, and what it does.
#[derive(Debug)]
pub struct State {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Requests read whole, probes too.
    pub requests: AtomicU64,
    /// Handshakes that took up an earlier session.
    pub resumed: AtomicU64,
    /// Status of its answers.
    pub status: AtomicU16,
    /// Each answer ends its connection.
    pub closes: AtomicBool,
}

impl State {
    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A running one; it ends with the test process.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it counts.
    pub state: Arc<State>,
}

impl Backend {
    /// Starts one at `ADDRESS:PORT`, by TLS if there is a configuration for it.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start(at: &str, name: &'static str, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(at).with_context(|| at.to_owned())?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            accepted: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            status: AtomicU16::new(200),
            closes: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                // A connection that breaks off is the client's affair.
                std::thread::spawn(move || drop(serve(stream, tls, name, &state)));
            }
        });
        Ok(Self { address, state })
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, name: &str, state: &State) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let Some(config) = tls else { return answer(stream, name, state) };
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed) {
        state.resumed.fetch_add(1, Ordering::SeqCst);
    }
    answer(stream, name, state)
}

fn answer(mut stream: impl Read + Write, name: &str, state: &State) -> anyhow::Result<()> {
    let (mut bytes, mut room) = (Vec::new(), [0; 4_096]);
    loop {
        while !bytes.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut room)?;
            anyhow::ensure!(count > 0, "closed");
            bytes.extend_from_slice(room.get(..count).unwrap_or_default());
        }
        state.requests.fetch_add(1, Ordering::SeqCst);
        let slow = String::from_utf8_lossy(&bytes).lines().next().is_some_and(|line| line.contains("slow"));
        bytes.clear();
        if slow {
            std::thread::park_timeout(SLOW);
        }
        let status = state.status.load(Ordering::SeqCst);
        let closes = state.closes.load(Ordering::SeqCst);
        let more = if closes { "Connection: close\r\n" } else { "" };
        let length = name.len();
        stream.write_all(
            format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\n\r\n{name}").as_bytes(),
        )?;
        stream.flush()?;
        if closes {
            return Ok(());
        }
    }
}

/// Who signs certificates of tests.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// One of its own.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// A server that shows a certificate for this name; an expired one, if `expired`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn server(&self, name: &str, expired: bool) -> anyhow::Result<Arc<ServerConfig>> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key.into())?))
    }
}
