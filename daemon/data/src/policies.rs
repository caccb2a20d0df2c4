//! THE LIST of policies. Each is one file; its place in a stage says when it runs.
//!
//! - `cache`: around forward, after validation and transforms of the request.
//! - `compress`: in reply, after the transforms and the cache.
//! - `cors`: in admit, before authentication, for preflights; in reply for the fields of every other answer.
//! - `external`: in authenticate, for tokens that are not our own.
//! - `rate_limit`: in authorize, after subscription and group, so that only calls that may pass count.
//! - `trace`: in forward, for the fields of the request; its id is in the record.
//! - `transform`: in shape for requests, in reply for answers.
//! - `validate`: in shape, on the collected body, before the transforms.

#[cfg_attr(not(test), expect(dead_code, reason = "wired by the pipeline"))]
pub(crate) mod cache;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the pipeline"))]
pub(crate) mod compress;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the pipeline"))]
pub(crate) mod cors;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the pipeline"))]
pub(crate) mod external;
pub(crate) mod rate_limit;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the pipeline"))]
pub(crate) mod trace;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the pipeline"))]
pub(crate) mod transform;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the pipeline"))]
pub(crate) mod validate;
