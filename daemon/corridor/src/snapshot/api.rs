//! An API and its endpoints, as the data plane may know them (spec/doorman.md 4.1 to 4.3, 5, 8.5).

use gatehouse_common::ids::RouteId;
use serde_json::Value;
use std::sync::Arc;

/// One upstream-facing API, route of the data plane.
#[derive(Debug, Clone, Default)]
pub struct Api {
    /// Id.
    pub id: RouteId,
    /// Name, first path segment.
    pub name: String,
    /// Version, second path segment (`v1`).
    pub version: String,
    /// Host names served without a prefix, lower case, no port.
    pub hostname: Option<String>,
    /// False answers 403 `GTW012`.
    pub active: bool,
    /// No authentication at all.
    pub public: bool,
    /// False: anonymous callers are let in.
    pub auth_required: bool,
    /// With `auth_required` false: an anonymous caller is `anon:{address}`, with limits and credits of its own; a
    /// credential that is sent counts.
    pub anonymous: bool,
    /// Empty: any role.
    pub allowed_roles: Vec<String>,
    /// Empty: nobody, on a protected API.
    pub allowed_groups: Vec<String>,
    /// Who may call at all.
    pub addresses: AddressRules,
    /// Upstream base URLs, `http(s)://host:port[/prefix]`.
    pub servers: Vec<String>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// Probes of the servers; `None`: traffic alone tells.
    pub health_check: Option<HealthCheck>,
    /// PEM text of roots that upstream certificates are checked against; `None` takes the system's.
    pub upstream_roots: Option<String>,
    /// Lower-case header names passed both ways, beside the fixed set.
    pub allowed_headers: Vec<String>,
    /// `Authorization` upstream takes the value of this header.
    pub authorization_swap: Option<String>,
    /// Cross-origin rules.
    pub cors: Cors,
    /// Attempts after the first.
    pub retries: Retries,
    /// Bounds of time.
    pub timeouts: Timeouts,
    /// Credit group that a call is paid from; `None` costs nothing.
    pub credit_group: Option<String>,
    /// The same for anonymous callers.
    pub anonymous_credit_group: Option<String>,
    /// Changes to the request (spec/doorman.md 5.9).
    pub request_transform: Option<Arc<Value>>,
    /// Changes to the answer.
    pub response_transform: Option<Arc<Value>>,
    /// Answers are kept (RFC 9111) if this is true.
    pub cache: bool,
    /// Answers are compressed if the client takes it; `None`: as the settings say.
    pub compress: Option<bool>,
    /// Requests may switch to WebSocket.
    pub websocket: bool,
    /// Largest request body, bytes; `None` is the gateway's bound.
    pub body_bytes: Option<u64>,
    /// Requests in flight; `None` is no bound of its own.
    pub in_flight: Option<u64>,
    /// 0 to 9: under pressure those with the lowest are refused first.
    pub priority: u8,
    /// Tokens of an external issuer that count here.
    pub issuer: Option<Issuer>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One method and path of an API.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// Upper case.
    pub method: String,
    /// `/items/{id}`; a parameter matches exactly one segment.
    pub uri: String,
    /// Own upstreams; empty takes the API's.
    pub servers: Vec<String>,
    /// What a body must be; `None`: anything.
    pub validation: Option<Validation>,
}

/// Rules for a request's body (spec/doorman.md 4.3).
#[derive(Debug, Clone)]
pub enum Validation {
    /// Flat map of path to rule.
    Rules(Arc<Value>),
    /// JSON Schema.
    Schema(Arc<Value>),
}

/// Addresses that may call and that may not (spec/doorman.md 5.2, 4.): deny comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Only those in `allow` may; an empty list then denies everybody.
    pub only_allowed: bool,
    /// Addresses and networks (CIDR).
    pub allow: Vec<String>,
    /// Addresses and networks that may not.
    pub deny: Vec<String>,
    /// Whether forwarding headers of trusted peers tell the address; `None`: as the platform's settings say.
    pub trust_forwarded: Option<bool>,
}

/// How an upstream is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Of two taken by chance the one with fewer requests in flight.
    LeastRequest,
    /// Consistent hash of this header's value; without one round robin.
    HashHeader(String),
}

/// Active probes of an API's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path asked with GET; 200 to 399 is healthy.
    pub path: String,
    /// Milliseconds between two probes of one server.
    pub interval_ms: u64,
    /// Milliseconds a probe may take.
    pub timeout_ms: u64,
    /// Failures in a row that take a server out.
    pub failures: u32,
    /// Successes in a row that bring it back.
    pub successes: u32,
}

/// Attempts after the first (spec/doorman.md 5.8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retries {
    /// At most.
    pub count: u32,
    /// Also methods that are not idempotent, after something of them was sent.
    pub non_idempotent: bool,
}

/// Milliseconds; `None` is the gateway's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect.
    pub connect_ms: Option<u64>,
    /// To the first byte of the answer, and between two pieces of it.
    pub read_ms: Option<u64>,
    /// Between two pieces of the request's body that the upstream takes.
    pub write_ms: Option<u64>,
    /// For the whole call with all attempts, until the answer's head.
    pub total_ms: Option<u64>,
}

/// Cross-origin rules (spec/doorman.md 5.7); `None` is an unset list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins, `*`, or `https://*.suffix`.
    pub origins: Option<Vec<String>>,
    /// Methods.
    pub methods: Option<Vec<String>>,
    /// Request headers.
    pub headers: Option<Vec<String>>,
    /// Response headers that a page may read.
    pub expose: Option<Vec<String>>,
    /// Cookies and such may be sent.
    pub credentials: bool,
}

/// An external issuer of tokens (OpenID Connect discovery's `jwks_uri`, RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`.
    pub name: String,
    /// Where its keys are.
    pub jwks_url: String,
    /// `aud`, if one is asked for.
    pub audience: Option<String>,
    /// Claim that holds the user name; mostly `sub`.
    pub user_claim: String,
    /// The keys fetched last, as JWKS text; control fetches, the data plane never does.
    pub jwks: Option<Arc<str>>,
}

impl Api {
    /// `name/version`, as subscriptions, records and the console call it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}
