//! The terminal console and command line of Gatehouse. It knows nothing that did not come over the socket.

pub mod cli;
pub mod client;
pub mod clock;
pub mod environment;
pub mod exit;
pub mod output;
pub mod plain;
pub mod report;
pub mod text;
pub mod verbs;
