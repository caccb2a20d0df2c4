//! Why a call cannot go on. Stages refuse here; only [`crate::rescue`] turns it into an answer.

use crate::client::head::BadHead;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No head of a request.
    Head(BadHead),
    /// A head that did not end in time.
    LateHead,
    /// A body that came too slowly.
    SlowBody,
    /// A body whose chunks are broken.
    ClientBody,
    /// The client left; nobody reads the answer.
    ClientGone,
    /// A path that two programs could read differently.
    BadPath,
    /// `Upgrade` or `CONNECT`, which the route does not take.
    Upgrade,
    UnknownApi,
    NoUpstream,
    Inactive,
    NoEndpoints,
    UnknownEndpoint,
    Method,
    BodyTooLarge,
    Overloaded,
    Unauthenticated,
    NotSubscribed,
    WrongGroup,
    WrongRole,
    /// Milliseconds until the next one passes.
    RateLimited(u64),
    Connect,
    Upstream,
    Timeout,
}
