//! What is known about a request so far. Each stage takes what the one before proved and returns more, so
//! that a stage out of order does not compile.

use crate::client::head::Head;
use crate::lane::Lane;
use crate::prepare::{Prepared, Route, Targets, Who};
use std::sync::Arc;

/// A call at a stage.
pub(crate) struct Call<'a, S> {
    pub(crate) lane: &'a Lane,
    pub(crate) prepared: &'a Prepared,
    /// Unix milliseconds of its arrival.
    pub(crate) now_ms: i64,
    pub(crate) head: &'a Head,
    pub(crate) stage: S,
}

impl<'a, S> Call<'a, S> {
    /// The same call, one stage on.
    pub(crate) fn on<T>(self, next: impl FnOnce(S) -> T) -> Call<'a, T> {
        let Self { lane, prepared, now_ms, head, stage } = self;
        Call { lane, prepared, now_ms, head, stage: next(stage) }
    }
}

/// It came.
pub(crate) struct Arrived;

/// It names a route and an endpoint.
pub(crate) struct Routed<'a> {
    pub(crate) route: &'a Route,
    pub(crate) endpoint: &'a Targets,
    /// Where the path after `/api/rest/{api}/{version}` begins.
    pub(crate) rest_at: usize,
}

/// It fits the limits.
pub(crate) struct Admitted<'a>(pub(crate) Routed<'a>);

/// It is known who calls; `None` on a public route.
pub(crate) struct Known<'a> {
    pub(crate) routed: Routed<'a>,
    pub(crate) who: Option<Arc<Who>>,
}

/// It may.
pub(crate) struct Allowed<'a>(pub(crate) Known<'a>);
