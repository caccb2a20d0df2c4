//! THE LIST of policies. Each is one file; its place in a stage says when it runs.
//!
//! - `proxy_protocol`: before the first byte of HTTP, on listeners that say so.
//! - `connections`: when a connection is accepted.
//! - `forwarded`: tells the client's address, which all later ones count and decide by.
//! - `addresses`: the platform's lists in identify, an API's in admit.
//! - `cors`: in route for preflights, before authentication; in the pipeline for the fields of every other answer, refusals
//!   too.
//! - `shed`: in admit; the permit is held until the answer's last byte.
//! - `tier`: in authorize, as soon as the user is known; `standing` are the numbers that its answers carry.
//! - `rate_limit`: in authorize, after subscription and group, so that only calls that may pass count.
//! - `rules`: with `rate_limit`; `table` counts for those of each address or user.
//! - `throttle`: behind `rate_limit`; may wait.
//! - `bandwidth`: last of authorize, and when a call ends.
//! - `anonymous`: in place of `credits` for who calls without a credential, of whom only `rules` count the calls.
//! - `credits`: in shape, behind limits, rules and validation, so that what they refuse costs nothing; may wait.
//! - `cache`: around forward, after validation and transforms of the request.
//! - `compress`: in reply, after the transforms and the cache.
//! - `external`: in authenticate, for tokens that are not our own.
//! - `trace`: in shape, for the fields of the request; its id is in the record.
//! - `transform`: in shape for requests, in reply for answers.
//! - `validate`: in shape, on the collected body, before the transforms.

pub(crate) mod addresses;
pub(crate) mod anonymous;
pub(crate) mod bandwidth;
pub(crate) mod cache;
pub(crate) mod compress;
pub(crate) mod connections;
pub(crate) mod cors;
pub(crate) mod credits;
pub(crate) mod external;
pub(crate) mod forwarded;
pub(crate) mod proxy_protocol;
pub(crate) mod rate_limit;
pub(crate) mod rules;
pub(crate) mod shed;
pub(crate) mod standing;
pub(crate) mod table;
pub(crate) mod throttle;
pub(crate) mod tier;
pub(crate) mod trace;
pub(crate) mod transform;
pub(crate) mod validate;
