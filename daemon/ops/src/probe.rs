//! Asks the gateway as any client would, so that a verification believes the world and not our own flags.

use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest time of a probe.
const WAIT: Duration = Duration::from_secs(5);

/// The status that `GET path` gets, with a token if one is given.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn status(
    gateway: SocketAddr,
    path: &str,
    token: Option<&Secret<String>>,
) -> Result<u16, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        Problem::new(Code::Internal, format!("probe of http://{gateway}{path}: {error}"))
    };
    let asked = tokio::time::timeout(WAIT, ask(gateway, path, token)).await;
    asked.map_err(|_| failed(&"no answer in 5 s"))?.map_err(|error| failed(&error))
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn ask(gateway: SocketAddr, path: &str, token: Option<&Secret<String>>) -> Result<u16, Failed> {
    let stream = TcpStream::connect(gateway).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(path).header(HOST, gateway.to_string()).header(CONNECTION, "close");
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The head is all that is wanted; the connection is dropped with its body.
    tokio::select! {
        answer = &mut answer => return Ok(answer?.status().as_u16()),
        ended = connection => ended?,
    }
    // The connection may end in the moment in which it hands the answer over.
    Ok(answer.await?.status().as_u16())
}
