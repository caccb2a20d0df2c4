//! HTTP: connections, the token, health, and `/mcp`, which is rmcp's.

use crate::mcp::Handler;
use crate::root::Root;
use crate::settings::{Settings, Token};
use crate::tools::Bench;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once; more of them wait in the listener.
const CONNECTIONS: usize = 256;
/// Longest time for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Largest request: a file to be written, with what JSON makes of it.
const BODY_BYTES: usize = 16 * 1024 * 1024;
/// Sessions at once. One owner has the token, and few clients.
const SESSIONS: usize = 128;
/// A session that asks for nothing ends; its client opens another.
const SESSION_IDLE: Duration = Duration::from_secs(3_600);
/// Longest time that calls may take once the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);

type Answer = Response<BoxBody<Bytes, Infallible>>;

struct Server {
    root: Root,
    token: Token,
    sessions: Arc<LocalSessionManager>,
    mcp: StreamableHttpService<Handler, LocalSessionManager>,
}

/// Binds; the future serves until `ending`.
///
/// # Errors
/// A root that cannot be opened, or an address that cannot be had.
pub async fn start(settings: Settings, ending: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    let named =
        |what: String| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    let open = || Root::open(&settings.root).map_err(named(settings.root.display().to_string()));
    let (root, seen) = (open()?, open()?);
    let (home, made) = home(&settings).map_err(named("making a home for git".to_owned()))?;
    let listener = TcpListener::bind(settings.listen).await.map_err(named(settings.listen.to_string()))?;
    tracing::info!(address = %listener.local_addr()?, root = %settings.root.display(), "serving");
    let config = protocol(&settings, &ending);
    let mut sessions = LocalSessionManager::default();
    sessions.session_config = idle();
    let sessions = Arc::new(sessions);
    let token = settings.token.clone();
    let handler = Handler::new(Bench { root, settings, home });
    let mcp = StreamableHttpService::new(move || Ok(handler.clone()), Arc::clone(&sessions), config);
    let server = Server { root: seen, token, sessions, mcp };
    Ok(async move {
        accept(listener, Arc::new(server), ending).await;
        drop(made);
    })
}

/// git's home: the one that was named, or one for this run, which goes with the second value.
fn home(settings: &Settings) -> io::Result<(PathBuf, Option<TempDir>)> {
    if let Some(home) = &settings.home {
        std::fs::create_dir_all(home)?;
        return Ok((home.clone(), None));
    }
    let made = tempfile::Builder::new().prefix("gatehouse-workspace-").tempdir()?;
    Ok((made.path().to_owned(), Some(made)))
}

fn idle() -> SessionConfig {
    let mut config = SessionConfig::default();
    config.keep_alive = Some(SESSION_IDLE);
    config
}

fn protocol(settings: &Settings, ending: &CancellationToken) -> StreamableHttpServerConfig {
    let config = StreamableHttpServerConfig::default()
        .with_max_request_body_bytes(BODY_BYTES)
        .with_cancellation_token(ending.clone())
        .with_allowed_origins(settings.origins.iter().cloned())
        .enforce_origin_validation();
    // The token is what keeps others out; the list is for a browser whose name server lies, which has none.
    match settings.hosts.iter().any(|host| host == "*") {
        true => config.disable_allowed_hosts(),
        false => config.with_allowed_hosts(settings.hosts.iter().cloned()),
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>, ending: CancellationToken) {
    let (tasks, room) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            () = ending.cancelled() => break,
        };
        match (accepted, permit) {
            (Ok((stream, _)), Ok(permit)) => {
                tasks.spawn(connection(stream, Arc::clone(&server), permit, ending.clone()));
            }
            (Err(error), _) => {
                // Out of files, mostly: others must end first.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (_, Err(_)) => break,
        }
    }
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("calls were cut");
    }
}

async fn connection(
    stream: TcpStream,
    server: Arc<Server>,
    permit: OwnedSemaphorePermit,
    ending: CancellationToken,
) {
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection");
    }
    drop(permit);
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/health" => self.health(request.method()),
            "/mcp" | "/mcp/" => self.mcp(request).await,
            _ => plain(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#),
        }
    }

    fn health(&self, method: &Method) -> Answer {
        if ![Method::GET, Method::HEAD].contains(method) {
            return allowing(
                plain(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"method_not_allowed"}"#),
                "GET, HEAD",
            );
        }
        match self.root.dir().entries() {
            Ok(_) => plain(StatusCode::OK, r#"{"status":"healthy"}"#),
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unhealthy"}"#),
        }
    }

    async fn mcp(&self, request: Request<Incoming>) -> Answer {
        if !authorized(&request, &self.token) {
            let body = r#"{"error":"invalid_token","error_description":"Authentication required"}"#;
            let mut answer = plain(StatusCode::UNAUTHORIZED, body);
            let challenge = r#"Bearer error="invalid_token", error_description="Authentication required""#;
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            return answer;
        }
        let in_session = request.headers().contains_key("mcp-session-id");
        if request.method() == Method::GET && !in_session {
            // Clients take another answer for a dead server.
            let answer = plain(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"method_not_allowed"}"#);
            return allowing(answer, "POST, DELETE");
        }
        if !in_session && self.sessions.sessions.read().await.len() >= SESSIONS {
            return plain(StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"too_many_sessions"}"#);
        }
        self.mcp.handle(request).await
    }
}

fn authorized(request: &Request<Incoming>, token: &Token) -> bool {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = given.and_then(|value| value.split_once(' '));
    bearer.is_some_and(|(scheme, text)| scheme.eq_ignore_ascii_case("bearer") && token.is(text.trim()))
}

fn plain(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn allowing(mut answer: Answer, methods: &'static str) -> Answer {
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}
