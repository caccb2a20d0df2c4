//! THE LIST of policies. Each is one file; its place in a stage says when it runs.
//!
//! - `rate_limit`: in authorize, after subscription and group, so that only calls that may pass count.

pub(crate) mod rate_limit;
