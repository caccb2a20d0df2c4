//! The one client for URLs that operators name: documents of APIs, keys of issuers. A host is resolved once, each of its
//! addresses is judged, and what was judged is what is connected to, with the host's own name in `Host` and in TLS; a
//! redirect is judged like the first URL. Nothing of ours goes along but the credential that was meant for it.

use crate::subjects::egress::EgressAllow;
use bytes::Bytes;
use gatehouse_common::secret::Secret;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_service::Service;
use url::{Host, Position, Url};

/// Longest time for an answer, its redirects included.
const TIME: Duration = Duration::from_secs(10);
/// Largest answer, bytes.
pub(crate) const ANSWER_BYTES: usize = 8 * 1_024 * 1_024;
/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// Questions at the same time; the next one waits, within its time.
const AT_ONCE: usize = 8;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EgressError {
    // Without the URL: what may not be in it may be a password.
    #[error("expected a URL of http or https, without user and password")]
    Url,
    #[error("the credential holds what no header may hold")]
    Credential,
    #[error("{0:?} is an address that may not be asked; the setting egress_allow lists exceptions")]
    Blocked(String),
    #[error("{0:?} could not be resolved")]
    Unknown(String),
    #[error("no connection to {0:?}: {1}")]
    Connect(String, String),
    #[error("no answer in {} seconds", TIME.as_secs())]
    Time,
    #[error("the answer is larger than {0} bytes")]
    Large(usize),
    #[error("more than {REDIRECTS} redirects, or one that may not be followed")]
    Redirects,
    #[error("the answer could not be read: {0}")]
    Broken(String),
    #[error("it answered {0}")]
    Status(StatusCode),
}

/// One question.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a str,
    pub(crate) accept: &'static str,
    /// Content type and body to post; `None` gets.
    pub(crate) post: Option<(&'static str, Bytes)>,
    /// `Authorization`, for the URL alone: with it no redirect is followed.
    pub(crate) authorization: Option<&'a Secret<String>>,
    /// Largest answer, bytes.
    pub(crate) most: usize,
    /// `HOST:PORT` that an administrator named as upstreams or issuers: they may be in private networks.
    pub(crate) named: &'a [String],
}

/// What was answered with 200.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// `HOST:PORT` of a URL, as [`Ask::named`] lists it.
pub(crate) fn place(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    Some(format!("{}:{}", url.host()?, url.port_or_known_default()?))
}

/// Connects to addresses that were judged, whatever the URI says.
#[derive(Clone)]
struct Dial(Arc<[SocketAddr]>);

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let addresses = Arc::clone(&self.0);
        Box::pin(async move { TcpStream::connect(&*addresses).await.map(TokioIo::new) })
    }
}

/// The client.
pub(crate) struct Egress {
    tls: Arc<ClientConfig>,
    slots: Semaphore,
    time: Duration,
}

enum Hop {
    Answer(Answer),
    Elsewhere(Url),
}

impl Egress {
    /// Reads the system's roots; without them no certificate is believed.
    pub(crate) fn new() -> Self {
        let roots = ClientConfig::builder().with_native_roots().unwrap_or_else(|error| {
            tracing::error!(target: "egress", %error, "the system's roots cannot be read; no https URL can be asked");
            ClientConfig::builder().with_root_certificates(RootCertStore::empty())
        });
        Self { tls: Arc::new(roots.with_no_client_auth()), slots: Semaphore::new(AT_ONCE), time: TIME }
    }

    /// Asks.
    ///
    /// # Errors
    /// Everything but an answer with 200 that fits.
    pub(crate) async fn ask(&self, allow: &EgressAllow, ask: Ask<'_>) -> Result<Answer, EgressError> {
        let work = async {
            // It is never closed.
            let _slot = self.slots.acquire().await.map_err(|_| EgressError::Time)?;
            self.follow(allow, &ask).await
        };
        tokio::time::timeout(self.time, work).await.unwrap_or(Err(EgressError::Time))
    }

    async fn follow(&self, allow: &EgressAllow, ask: &Ask<'_>) -> Result<Answer, EgressError> {
        let mut url: Url = ask.url.parse().map_err(|_| EgressError::Url)?;
        for _ in 0..=REDIRECTS {
            match self.hop(allow, ask, &url).await? {
                Hop::Answer(answer) => return Ok(answer),
                // Not from TLS to clear text.
                Hop::Elsewhere(next) if url.scheme() == "https" && next.scheme() != "https" => break,
                Hop::Elsewhere(next) => url = next,
            }
        }
        Err(EgressError::Redirects)
    }

    async fn hop(&self, allow: &EgressAllow, ask: &Ask<'_>, url: &Url) -> Result<Hop, EgressError> {
        let (host, addresses) = judged(allow, ask.named, url).await?;
        let uri: Uri = url.as_str().parse().map_err(|_| EgressError::Url)?;
        let mut connector = HttpsConnector::from((Dial(addresses), Arc::clone(&self.tls)));
        let io = connector.call(uri).await.map_err(|error| EgressError::Connect(host, chain(&*error)))?;
        exchange(io, request(ask, url)?, ask, url).await
    }
}

/// The addresses of a URL's host that may be connected to.
async fn judged(
    allow: &EgressAllow,
    named: &[String],
    url: &Url,
) -> Result<(String, Arc<[SocketAddr]>), EgressError> {
    let bad = || EgressError::Url;
    let web = matches!(url.scheme(), "http" | "https");
    if !web || !url.username().is_empty() || url.password().is_some() {
        return Err(bad());
    }
    let host = url.host().ok_or_else(bad)?;
    let (text, port) = (host.to_string(), url.port_or_known_default().ok_or_else(bad)?);
    let found: Vec<SocketAddr> = match host {
        Host::Ipv4(address) => vec![(IpAddr::V4(address), port).into()],
        Host::Ipv6(address) => vec![(IpAddr::V6(address), port).into()],
        Host::Domain(name) => match tokio::net::lookup_host((name, port)).await {
            Ok(found) => found.collect(),
            Err(_) => return Err(EgressError::Unknown(text)),
        },
    };
    let known = named.contains(&format!("{text}:{port}")) || allow.names(&text);
    let good: Vec<_> = found.iter().filter(|at| allow.permits(at.ip(), known)).copied().collect();
    match (found.is_empty(), good.is_empty()) {
        (true, _) => Err(EgressError::Unknown(text)),
        (_, true) => Err(EgressError::Blocked(text)),
        _ => Ok((text, good.into())),
    }
}

fn request(ask: &Ask<'_>, url: &Url) -> Result<Request<Full<Bytes>>, EgressError> {
    let method = if ask.post.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, ask.accept)
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close");
    if let Some(given) = ask.authorization {
        let mut value = HeaderValue::from_str(given.expose()).map_err(|_| EgressError::Credential)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if let Some((kind, _)) = &ask.post {
        request = request.header(header::CONTENT_TYPE, *kind);
    }
    let body = ask.post.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
    request.body(Full::new(body)).map_err(|_| EgressError::Url)
}

/// One request and its answer over a fresh connection.
async fn exchange<I>(
    io: I,
    request: Request<Full<Bytes>>,
    ask: &Ask<'_>,
    url: &Url,
) -> Result<Hop, EgressError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let broken = |error: hyper::Error| EgressError::Broken(chain(&error));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
    let answered = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        if head.status.is_redirection() && ask.post.is_none() && ask.authorization.is_none() {
            let next = head.headers.get(header::LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
            return next.map(Hop::Elsewhere).ok_or(EgressError::Status(head.status));
        }
        if head.status != StatusCode::OK {
            return Err(EgressError::Status(head.status));
        }
        // It was asked for as it is: what unpacks to more than its size is not read.
        if head.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(EgressError::Broken("expected no Content-Encoding".to_owned()));
        }
        let body = Limited::new(body, ask.most).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                EgressError::Large(ask.most)
            } else {
                EgressError::Broken(chain(&*error))
            }
        })?;
        Ok(Hop::Answer(Answer { headers: head.headers, body: body.to_bytes() }))
    };
    let mut answered = pin!(answered);
    tokio::select! {
        hop = &mut answered => hop,
        // What came before the end of the connection can still be read.
        _ = connection => answered.await,
    }
}

/// An error with what is behind it: the outermost one mostly says nothing.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
