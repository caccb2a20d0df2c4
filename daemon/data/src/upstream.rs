//! HTTP/1.1 towards upstreams, in the task of the handler that asks: no driver task, no channel, no lock. `head` is
//! pure; `connection` and `upload` move bytes over a `stream`, which `connect` opens to a `peer` whose address `names`
//! finds.

pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod head;
pub(crate) mod names;
pub(crate) mod peer;
pub(crate) mod stream;
pub(crate) mod upload;
