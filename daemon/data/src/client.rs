//! HTTP/1.1 towards clients: `head` is pure, `stream` moves bytes, `answer` writes an answer, `connection` is the life
//! of one connection.

pub(crate) mod answer;
pub(crate) mod coded;
pub(crate) mod connection;
pub(crate) mod head;
pub(crate) mod known;
pub(crate) mod recorded;
pub(crate) mod stream;
pub(crate) mod tunnel;
