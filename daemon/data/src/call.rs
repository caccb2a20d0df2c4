//! What is known about a request so far. Each stage takes what the one before proved and returns more, so
//! that a stage out of order does not compile.

use crate::client::head::Head;
use crate::lane::Lane;
use crate::prepare::Prepared;
use crate::prepare::route::{Endpoint, Route};
use crate::prepare::who::Who;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

/// A call at a stage.
pub(crate) struct Call<'a, S> {
    pub(crate) lane: &'a Lane,
    pub(crate) prepared: &'a Prepared,
    /// Unix milliseconds of its arrival.
    pub(crate) now_ms: i64,
    pub(crate) head: &'a Head,
    /// Of the connection.
    pub(crate) peer: IpAddr,
    /// Holds who calls, where that is not the snapshot's to hold: else each stage would count itself in.
    pub(crate) seat: &'a OnceCell<Arc<Who>>,
    pub(crate) stage: S,
}

impl<'a, S> Call<'a, S> {
    /// The same call, one stage on.
    pub(crate) fn on<T>(self, next: impl FnOnce(S) -> T) -> Call<'a, T> {
        let Self { lane, prepared, now_ms, head, peer, seat, stage } = self;
        Call { lane, prepared, now_ms, head, peer, seat, stage: next(stage) }
    }
}

/// It came.
pub(crate) struct Arrived;

/// It is known from where.
#[derive(Clone, Copy)]
pub(crate) struct Placed {
    /// The client's, behind proxies that are trusted.
    pub(crate) client: IpAddr,
    /// No address list counts for it.
    pub(crate) exempt: bool,
}

/// It names a route and an endpoint.
pub(crate) struct Routed<'a> {
    pub(crate) client: IpAddr,
    pub(crate) route: &'a Route,
    pub(crate) endpoint: &'a Endpoint,
    /// Where the path after `/api/rest/{api}/{version}` begins.
    pub(crate) rest_at: usize,
    /// It asks to switch to WebSocket.
    pub(crate) switch: bool,
}

/// It fits the limits.
pub(crate) struct Admitted<'a>(pub(crate) Routed<'a>);

/// It is known who calls; `None` is nobody in particular.
pub(crate) struct Known<'a> {
    pub(crate) routed: Routed<'a>,
    pub(crate) who: Option<&'a Who>,
}

/// It may.
pub(crate) struct Allowed<'a>(pub(crate) Known<'a>);
