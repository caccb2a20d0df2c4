//! The appliance's own surface: an actix-web service of this worker, fed with requests that the column let through.

use crate::call::{Call, Placed};
use crate::client::answer::{Answer, Content, Cut};
use crate::client::stream::{BodyError, Client};
use crate::failure::Failure;
use crate::lane::Lane;
use crate::rescue::UNKNOWN_PATH;
use actix_http::{BoxedPayloadStream, Payload, Request};
use actix_web::body::{BodySize, BoxBody, MessageBody as _};
use actix_web::dev::{AppConfig, Service, ServiceFactory as _, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, Uri, Version};
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpResponse, web};
use bytes::{Buf as _, Bytes};
use futures_util::future::LocalBoxFuture;
use futures_util::stream;
use gatehouse_corridor::telemetry::Telemetry;
use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Pieces of a request's body on their way to a handler; then the client waits.
const PIECES: usize = 4;

/// Mounts the appliance's own routes on a worker.
pub type Mount = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

type Called = LocalBoxFuture<'static, Result<ServiceResponse<BoxBody>, actix_web::Error>>;

/// The service of one worker.
pub(crate) type Local = Rc<dyn Fn(Request) -> Called>;

/// Builds it.
///
/// # Errors
/// When a route cannot be mounted.
pub(crate) async fn build(mount: Mount) -> std::io::Result<Local> {
    let app = App::new().configure(move |config| mount(config)).default_service(web::to(unknown));
    let factory = actix_service::IntoServiceFactory::into_factory(app);
    let service = factory.new_service(AppConfig::default()).await;
    let service =
        Rc::new(service.map_err(|()| std::io::Error::other("the management surface cannot be mounted"))?);
    Ok(Rc::new(move |request| Box::pin(service.call(request))))
}

async fn unknown() -> HttpResponse {
    HttpResponse::NotFound().content_type("application/json").body(UNKNOWN_PATH)
}

/// Counts a request to the service until its answer is whole.
struct Busy(Arc<Telemetry>);

impl Busy {
    fn new(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.local.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(telemetry))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.local.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body as the service makes it.
pub(crate) struct Own {
    body: Pin<Box<BoxBody>>,
    piece: Bytes,
    _busy: Busy,
}

impl Own {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<usize, Cut>>> {
        while self.piece.is_empty() {
            match self.body.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(piece))) => self.piece = piece,
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!(target: "local", %error, "an answer broke off");
                    return Poll::Ready(Some(Err(Cut::Upstream)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Some(Ok(self.piece.len())))
    }

    pub(crate) fn piece(&self, count: usize) -> &[u8] {
        self.piece.get(..count).unwrap_or_default()
    }

    pub(crate) fn took(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

/// Asks the service, while the request's body flows in.
pub(crate) async fn call(call: &Call<'_, Placed>, client: &mut Client) -> Result<Answer, Failure> {
    let lane = call.lane;
    let busy = Busy::new(&lane.telemetry);
    let (pieces, mut taken) = mpsc::channel::<Result<Bytes, actix_http::error::PayloadError>>(PIECES);
    let wanted = Rc::new(Cell::new(false));
    let asked = Rc::clone(&wanted);
    let payload: BoxedPayloadStream = Box::pin(stream::poll_fn(move |context| {
        asked.set(true);
        taken.poll_recv(context)
    }));
    let request = request(call, client.peer.port(), payload)?;
    let mut called = (lane.local)(request);
    let mut pieces = (!client.body_done()).then(|| tokio_util::sync::PollSender::new(pieces));
    // A client that waits to be told to send is told so only when the handler wants the body: one that refuses by the head
    // has it sent for nothing (RFC 9110 10.1.1).
    let expects = call.head.expects;
    let response = std::future::poll_fn(|context| {
        if expects
            && !wanted.get()
            && let Poll::Ready(response) = called.as_mut().poll(context)
        {
            return Poll::Ready(Ok(response));
        }
        if (!expects || wanted.get())
            && let Poll::Ready(Some(failure)) = feed(client, &mut pieces, context)
        {
            return Poll::Ready(Err(failure));
        }
        if let Poll::Ready(response) = called.as_mut().poll(context) {
            return Poll::Ready(Ok(response));
        }
        if client.gone(context) { Poll::Ready(Err(Failure::ClientGone)) } else { Poll::Pending }
    })
    .await?;
    let response = match response {
        Ok(response) => response.into_parts().1,
        Err(error) => error.error_response(),
    };
    Ok(answer(response, lane, busy))
}

type Pieces = tokio_util::sync::PollSender<Result<Bytes, actix_http::error::PayloadError>>;

/// Hands on of the body what has come. Ready with a failure when the handler cannot be given the rest.
fn feed(
    client: &mut Client,
    pieces: &mut Option<Pieces>,
    context: &mut Context<'_>,
) -> Poll<Option<Failure>> {
    while let Some(sender) = pieces {
        match sender.poll_reserve(context) {
            Poll::Pending => return Poll::Pending,
            // The handler wants no more.
            Poll::Ready(Err(_)) => *pieces = None,
            Poll::Ready(Ok(())) => match client.poll_body(context) {
                Poll::Pending => {
                    sender.abort_send();
                    return Poll::Pending;
                }
                Poll::Ready(None) => *pieces = None,
                Poll::Ready(Some(Ok(count))) => {
                    let piece = Bytes::copy_from_slice(client.piece(count));
                    client.took(count);
                    drop(sender.send_item(Ok(piece)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(error.into())),
            },
        }
    }
    Poll::Pending
}

fn request(call: &Call<'_, Placed>, port: u16, payload: BoxedPayloadStream) -> Result<Request, Failure> {
    let head = call.head;
    let bad = |_| Failure::BadPath;
    let (mut request, _) = Request::new().replace_payload(Payload::from(payload));
    let parts = request.head_mut();
    parts.method = Method::from_bytes(head.method().as_bytes()).map_err(|_| Failure::Method)?;
    let target = match head.query() {
        Some(query) => Uri::try_from(format!("{}?{query}", head.path())).map_err(bad)?,
        None => Uri::try_from(head.path()).map_err(bad)?,
    };
    parts.uri = target;
    parts.version = if head.recent { Version::HTTP_11 } else { Version::HTTP_10 };
    // The client itself, if a trusted proxy speaks for it.
    parts.peer_addr = Some(SocketAddr::new(call.stage.client, port));
    for (_, name, value) in head.fields() {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        parts.headers.append(name, value);
    }
    Ok(request)
}

fn answer(response: HttpResponse, lane: &Lane, busy: Busy) -> Answer {
    let mut answer = Answer::new(response.status().as_u16(), lane);
    for (name, value) in response.headers() {
        // Framing is made by who writes the answer, and the request's id is the record's.
        if !crate::http1::fields::Name::of(name.as_str().as_bytes()).never_down() {
            answer.field(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let body = response.into_body();
    answer.length = match body.size() {
        BodySize::None => Some(0),
        BodySize::Sized(length) => Some(length),
        BodySize::Stream => None,
    };
    answer.content = Content::Own(Own { body: Box::pin(body), piece: Bytes::new(), _busy: busy });
    answer
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Ended => Self::ClientGone,
            BodyError::Malformed => Self::ClientBody,
            BodyError::Slow => Self::SlowBody,
        }
    }
}
