//! HTTP/1.1 towards upstreams, in the task of the handler that asks: no driver task, no channel, no lock. `head` is
//! pure; `connection` and `upload` move bytes.

pub(crate) mod connection;
pub(crate) mod head;
pub(crate) mod upload;
