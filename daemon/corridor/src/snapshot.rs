//! Door 1, control to data: all that the data plane may know, immutable, with a revision.

use gatehouse_common::ids::{ConsumerId, Revision, RouteId, TokenId};
use gatehouse_common::secret::Secret;
use std::sync::Arc;
use tokio::sync::watch;

/// One upstream-facing API (spec/doorman.md 4.1), route of the data plane.
#[derive(Debug, Clone, Default)]
pub struct Api {
    /// Id.
    pub id: RouteId,
    /// Name, first path segment.
    pub name: String,
    /// Version, second path segment (`v1`).
    pub version: String,
    /// False answers 403 `GTW012`.
    pub active: bool,
    /// No authentication at all.
    pub public: bool,
    /// False: anonymous allowed, same effect as public.
    pub auth_required: bool,
    /// Empty: any role.
    pub allowed_roles: Vec<String>,
    /// Empty: nobody, on a protected API.
    pub allowed_groups: Vec<String>,
    /// Upstream base URLs, `http://host:port[/prefix]`.
    pub servers: Vec<String>,
    /// Lower-case header names passed both ways; `None` is the fixed set only.
    pub allowed_headers: Vec<String>,
    /// `Authorization` upstream takes the value of this header.
    pub authorization_swap: Option<String>,
    /// Milliseconds; `None` is the gateway's default.
    pub connect_timeout_ms: Option<u64>,
    /// Milliseconds until the first byte of the answer.
    pub read_timeout_ms: Option<u64>,
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
}

/// A user, as far as the data plane must know one.
#[derive(Debug, Clone, Default)]
pub struct Consumer {
    /// User name: `sub` of its tokens.
    pub id: ConsumerId,
    /// Role name.
    pub role: String,
    /// Skips the subscription check (spec/doorman.md 5.2 6a).
    pub subscription_exempt: bool,
    /// Groups.
    pub groups: Vec<String>,
    /// Subscribed `name/version`.
    pub subscriptions: Vec<String>,
    /// False: every credential is refused.
    pub active: bool,
    /// True: every token is dead until unrevoked.
    pub revoked: bool,
    /// Tokens with another `epoch` claim are dead: they were issued before a revocation, or to an earlier user
    /// of the same name.
    pub token_epoch: u64,
    /// Requests per window; `None` is no limit.
    pub rate: Option<Rate>,
}

/// A rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests allowed.
    pub limit: u64,
    /// Per this many milliseconds.
    pub window_ms: u64,
}

/// An API key: the data plane knows only its hash.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// SHA-256 of the whole key text.
    pub hash: [u8; 32],
    /// Id.
    pub id: TokenId,
    /// Whose.
    pub consumer: ConsumerId,
    /// Unix milliseconds; `None` is never.
    pub expires_unix_ms: Option<i64>,
}

/// A key that verifies access tokens (HS256).
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// `kid` of the token's header.
    pub kid: String,
    /// The shared secret.
    pub secret: Secret<Vec<u8>>,
}

/// Bounds of the gateway that settings give.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Largest request body, bytes.
    pub body_bytes: u64,
    /// Milliseconds to connect to an upstream.
    pub connect_timeout_ms: u64,
    /// Milliseconds until the first byte of an upstream's answer.
    pub read_timeout_ms: u64,
    /// Idle upstream connections kept per worker and upstream.
    pub idle_connections: usize,
    /// Milliseconds an idle upstream connection is kept.
    pub idle_timeout_ms: u64,
    /// Requests in flight over all workers before 503.
    pub in_flight: u64,
    /// `STRICT_RESPONSE_ENVELOPE`, spec/doorman.md 1.1.
    pub strict_envelope: bool,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            body_bytes: 1_048_576,
            connect_timeout_ms: 5_000,
            read_timeout_ms: 30_000,
            idle_connections: 256,
            idle_timeout_ms: 30_000,
            in_flight: 4_096,
            strict_envelope: false,
        }
    }
}

/// All that the data plane may know.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows by one with each change.
    pub revision: Revision,
    /// APIs.
    pub apis: Vec<Api>,
    /// Users.
    pub consumers: Vec<Consumer>,
    /// API keys that are not revoked.
    pub api_keys: Vec<ApiKey>,
    /// Keys that verify tokens; two during rotation.
    pub token_keys: Vec<TokenKey>,
    /// `jti` of tokens and `sid` of sessions that ended before the tokens expired.
    pub revoked_tokens: Vec<String>,
    /// Bounds.
    pub limits: GatewayLimits,
    /// Grows when counters (rate limits) are to begin anew.
    pub counters: u64,
}

/// Control's end of the door.
#[derive(Debug, Clone)]
pub struct Publisher {
    snapshots: watch::Sender<Arc<Snapshot>>,
    acknowledged: watch::Receiver<Revision>,
}

impl Publisher {
    /// Publishes; never blocks.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshots.send_replace(snapshot);
    }

    /// Waits until the data plane serves this revision or a later one.
    pub async fn acknowledged(&self, revision: Revision) {
        let mut acknowledged = self.acknowledged.clone();
        // An error means that the data plane has ended: nothing serves an older revision then.
        drop(acknowledged.wait_for(|served| *served >= revision).await);
    }
}

/// Data's end of the door.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// Newest snapshot.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    acknowledge: watch::Sender<Revision>,
}

impl Subscriber {
    /// Says that every worker serves this revision from now on.
    pub fn acknowledge(&self, revision: Revision) {
        self.acknowledge.send_replace(revision);
    }

    /// The revision served.
    #[must_use]
    pub fn served(&self) -> Revision {
        *self.acknowledge.borrow()
    }
}

/// Makes the door.
#[must_use]
pub fn door() -> (Publisher, Subscriber) {
    let (snapshots, receiver) = watch::channel(Arc::new(Snapshot::default()));
    let (acknowledge, acknowledged) = watch::channel(Revision(0));
    (Publisher { snapshots, acknowledged }, Subscriber { snapshots: receiver, acknowledge })
}

impl Api {
    /// `name/version`, as subscriptions, records and the console call it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}
