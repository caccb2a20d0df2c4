//! What settings and the platform's security settings say to the data plane.

/// Bounds of the gateway that settings give.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Largest request body, bytes, by protocol: REST.
    pub body_bytes: u64,
    /// Milliseconds to connect to an upstream.
    pub connect_timeout_ms: u64,
    /// Milliseconds until the first byte of an upstream's answer.
    pub read_timeout_ms: u64,
    /// Idle upstream connections kept per worker and upstream.
    pub idle_connections: usize,
    /// Connections to one upstream server over all workers, each of which has its share, at least one; over it calls
    /// wait, then get 503 `GTW999`.
    pub upstream_connections: usize,
    /// Milliseconds an idle upstream connection is kept.
    pub idle_timeout_ms: u64,
    /// Requests in flight over all workers before 503.
    pub in_flight: u64,
    /// `STRICT_RESPONSE_ENVELOPE`, spec/doorman.md 1.1.
    pub strict_envelope: bool,
    /// `STRICT_OPTIONS_405`, spec/doorman.md 5.7.
    pub strict_options: bool,
    /// `SKIP_TIER_RATE_LIMIT`.
    pub skip_tiers: bool,
    /// Circuit breakers, spec/doorman.md 5.8.
    pub breaker: Breaker,
    /// Delay before a retry, milliseconds: base and most.
    pub retry_delay_ms: (u64, u64),
    /// Compression of answers.
    pub compression: Compression,
    /// Bytes of the response cache over all workers.
    pub cache_bytes: u64,
    /// Begins a trace for calls that bring none (W3C trace context); one that is brought goes on in any case.
    pub trace: bool,
    /// `WEBSOCKETS_ENABLED`: every API's requests may switch, not only those of APIs that say so.
    pub websockets: bool,
}

/// Circuit breaker of one upstream server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Whether there is one.
    pub enabled: bool,
    /// Failures in a row that open it.
    pub failures: u32,
    /// Milliseconds it stays open.
    pub open_ms: u64,
}

/// Compression of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Whether, where the API does not say.
    pub enabled: bool,
    /// 1 to 9.
    pub level: u32,
    /// Shorter bodies stay as they are.
    pub least_bytes: u64,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            body_bytes: 1_048_576,
            connect_timeout_ms: 5_000,
            read_timeout_ms: 30_000,
            idle_connections: 256,
            upstream_connections: 1_024,
            idle_timeout_ms: 30_000,
            in_flight: 4_096,
            strict_envelope: false,
            strict_options: false,
            skip_tiers: false,
            breaker: Breaker { enabled: true, failures: 5, open_ms: 30_000 },
            retry_delay_ms: (250, 2_000),
            compression: Compression { enabled: true, level: 1, least_bytes: 500 },
            cache_bytes: 67_108_864,
            trace: false,
            websockets: false,
        }
    }
}

/// The platform's security settings (spec/doorman.md 4.17, 5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// If not empty, only these may call.
    pub allow: Vec<String>,
    /// These may not.
    pub deny: Vec<String>,
    /// Whether forwarding headers tell the client's address.
    pub trust_forwarded: bool,
    /// Peers whose forwarding headers count, where they are trusted at all; empty: loopback and private ones.
    pub trusted_proxies: Vec<String>,
    /// Loopback peers without a forwarding header pass all address lists.
    pub localhost_bypass: bool,
}

/// Servers by the request header `client-key` (spec/doorman.md 4.8, 5.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// The header's value.
    pub client_key: String,
    /// Upstream base URLs.
    pub servers: Vec<String>,
    /// Which of them is next at the start.
    pub server_index: usize,
}
