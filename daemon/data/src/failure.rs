//! Why a call cannot go on. Stages refuse here; only [`crate::rescue`] turns it into an answer.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No path of ours.
    UnknownPath,
    /// A path that two programs could read differently.
    BadPath,
    /// `Upgrade` or `CONNECT`, which no route takes.
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
    /// The client's body ended before its length.
    ClientBody,
}
