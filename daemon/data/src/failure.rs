//! Why a call cannot go on. Stages refuse here; only [`crate::rescue`] turns it into an answer.

use crate::client::head::BadHead;
use crate::policies::standing::Standing;

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
    /// The platform's address lists keep it out.
    PlatformNotAllowed,
    PlatformDenied,
    /// The API's do.
    ApiNotAllowed,
    ApiDenied,
    UnknownApi,
    NoUpstream,
    Inactive,
    NoEndpoints,
    UnknownEndpoint,
    Method,
    BodyTooLarge,
    /// The gateway is full, or the share of the API's priority.
    Overloaded,
    /// The API has its own bound.
    ApiOverloaded,
    Unauthenticated,
    NotSubscribed,
    WrongGroup,
    WrongRole,
    /// Milliseconds until the next one passes.
    RateLimited(u64),
    /// A rate-limit rule says so.
    Rule(Standing),
    Tier(Standing),
    Throttled,
    Bandwidth(Standing),
    /// Nothing is left to pay with.
    Credits,
    /// Control did not lease credits in time.
    CreditsLate,
    /// A body that breaks the endpoint's rules; the text says which.
    Invalid,
    /// A body that the API's transform cannot change.
    Untransformed,
    /// Every server's breaker is open; milliseconds until one may be tried.
    CircuitOpen(u64),
    /// The server has as many connections as are allowed, and none came free.
    Crowded,
    Connect,
    Upstream,
    Timeout,
    /// The client wants a kept answer only, and there is none.
    NotKept,
}
