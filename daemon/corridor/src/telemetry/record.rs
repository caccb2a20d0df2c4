//! One finished request, as its record has it.

use crate::text::Text;
use gatehouse_common::ops::logs::Level;
use std::sync::Arc;

/// What kind of API a call went to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Plain HTTP.
    #[default]
    Rest,
    /// SOAP.
    Soap,
    /// GraphQL.
    GraphQl,
    /// gRPC over JSON.
    Grpc,
    /// A request that switched to WebSocket.
    WebSocket,
    /// The appliance's own surface: recorded, and not counted as traffic.
    Manage,
}

impl Protocol {
    /// Its word in records and statistics (spec/doorman.md 4.20, `rest:name`).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Soap => "soap",
            Self::GraphQl => "graphql",
            Self::Grpc => "grpc",
            Self::WebSocket => "websocket",
            Self::Manage => "manage",
        }
    }
}

/// One finished request; written on every exit, also a cancelled one.
#[derive(Debug, Clone, Default)]
pub struct AccessRecord {
    /// Unix milliseconds of the end.
    pub at_unix_ms: i64,
    /// Request id.
    pub request: Text,
    /// Method.
    pub method: Text,
    /// Path without its query.
    pub path: String,
    /// `name/version`; empty if no route matched.
    pub route: Text,
    /// User name; empty if anonymous.
    pub consumer: Text,
    /// Client address.
    pub peer: Text,
    /// Status answered; 499 when the client went away first.
    pub status: u16,
    /// From the head of the request to the last byte of the answer, microseconds.
    pub micros: u64,
    /// The upstream's part of it, microseconds.
    pub upstream_micros: u64,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Upstream asked; empty if none.
    pub upstream: Text,
    /// Code of the failure; empty if none.
    pub failure: &'static str,
    /// Kind of API.
    pub protocol: Protocol,
    /// Trace id (W3C trace context); all zero if there is none.
    pub trace: [u8; 16],
    /// Attempts after the first.
    pub retries: u8,
    /// Attempts that the upstream let time out.
    pub timeouts: u8,
    /// The client said `X-IS-TEST: true`.
    pub test: bool,
    /// Refused by a policy of ours.
    pub refused: bool,
    /// Priority of the API, 0 to 9.
    pub priority: u8,
    /// Name of the policy that refused; empty if none did.
    pub policy: &'static str,
    /// The client's `User-Agent`; `None` if it sent none or it is not kept. Shared, so that a lane that remembers the last
    /// one takes no memory for the next.
    pub agent: Option<Arc<str>>,
}

impl AccessRecord {
    /// How much it matters to who reads a log.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.status {
            500.. => Level::Error,
            499 | 429 => Level::Warn,
            _ => Level::Info,
        }
    }

    /// Attempts that timed out; a call that ended so had one.
    #[must_use]
    pub fn upstream_timeouts(&self) -> u64 {
        u64::from(self.timeouts.max(u8::from(self.failure == "GTW010")))
    }
}
