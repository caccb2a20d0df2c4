//! HTTP/1.1 towards upstreams, in the task of the handler that asks: no driver task, no channel, no lock. `head` and
//! `body` are pure and take bytes in any pieces; `connection` and `upload` move them.

pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod head;
pub(crate) mod upload;

/// An answer that breaks the grammar or the bounds. What it was is for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's answer: {0}")]
pub(crate) struct Wrong(pub(crate) &'static str);
