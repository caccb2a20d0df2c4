//! Who calls, with what, and how much (spec/doorman.md 2, 4.4, 4.9 to 4.11, 5.3).

use crate::meter::{Credit, Usage};
use gatehouse_common::ids::{ConsumerId, TokenId};
use gatehouse_common::secret::Secret;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

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
    /// Requests that wait instead of being refused.
    pub throttle: Option<Throttle>,
    /// Body bytes per window.
    pub bandwidth: Option<Rate>,
    /// Limits of its tier.
    pub tier: Option<Arc<Tier>>,
    /// What it may spend, by credit group.
    pub credits: Vec<Account>,
    /// What it has used; the same cells in every snapshot.
    pub usage: Arc<Usage>,
}

/// So many per window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests, or bytes, allowed.
    pub limit: u64,
    /// Per this many milliseconds.
    pub window_ms: u64,
}

/// Throttle (spec/doorman.md 5.3): the n-th call of a window waits `wait_ms` times (n - limit), and is refused
/// beyond `queue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Calls that pass at once.
    pub rate: Rate,
    /// Calls of a window altogether.
    pub queue: u64,
    /// Milliseconds for each call above the limit.
    pub wait_ms: u64,
}

/// A tier's limits (spec/doorman.md 4.10), overrides applied; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tier {
    /// Its id.
    pub id: String,
    /// Per second, minute, hour, day, month.
    pub per_second: Option<u64>,
    /// Per minute.
    pub per_minute: Option<u64>,
    /// Per hour.
    pub per_hour: Option<u64>,
    /// Per day.
    pub per_day: Option<u64>,
    /// Per month of 30 days.
    pub per_month: Option<u64>,
    /// On top of a second's.
    pub burst_per_second: u64,
    /// On top of a minute's.
    pub burst_per_minute: u64,
    /// On top of an hour's.
    pub burst_per_hour: u64,
    /// Requests of a calendar day, UTC.
    pub daily_quota: Option<u64>,
    /// Requests of a calendar month, UTC.
    pub monthly_quota: Option<u64>,
    /// Body bytes of a calendar month, UTC.
    pub monthly_bytes: Option<u64>,
    /// Waits this long, milliseconds, before it refuses; 0 refuses at once.
    pub queue_ms: u64,
}

/// What one consumer may spend of one credit group.
#[derive(Debug, Clone)]
pub struct Account {
    /// Credit group.
    pub group: String,
    /// The leased block; the same cell in every snapshot.
    pub credit: Arc<Credit>,
    /// Its own upstream key, sent instead of the group's.
    pub key: Option<Secret<String>>,
}

/// A credit group: the key that pays upstream.
#[derive(Debug, Clone)]
pub struct CreditGroup {
    /// Name.
    pub name: String,
    /// Header that carries the key.
    pub header: String,
    /// The key valid now.
    pub key: Secret<String>,
    /// What each anonymous address may spend: the credits of the first tier per its window. Counted by the data plane,
    /// not leased: nobody bought them.
    pub anonymous: Option<Rate>,
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
    /// When it was used last; the same cell in every snapshot.
    pub used: Arc<LastUse>,
}

/// When something was used last, unix milliseconds; 0 is never.
#[derive(Debug, Default)]
pub struct LastUse(AtomicI64);

/// Uses that are so near to each other, milliseconds, are one: workers need not fight for the cell.
const ONE_USE_MS: i64 = 1_000;

impl LastUse {
    /// Notes a use.
    pub fn touch(&self, now_ms: i64) {
        if now_ms - self.0.load(Ordering::Relaxed) >= ONE_USE_MS {
            self.0.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    /// The last one that was noted; `None` if there is none.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}

/// A key that verifies access tokens (HS256).
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// `kid` of the token's header.
    pub kid: String,
    /// The shared secret.
    pub secret: Secret<Vec<u8>>,
}

/// What a [`RateRule`] counts by (spec/doorman.md 4.11); the target is a user, `name/version`,
/// `METHOD/name/version/uri` or an address, and empty means each of its kind by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// One user.
    User,
    /// One API.
    Api,
    /// One endpoint.
    Endpoint,
    /// One client address.
    Address,
    /// One user at one API.
    UserApi,
    /// One user at one endpoint.
    UserEndpoint,
    /// All traffic.
    Global,
}

/// A rate-limit rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRule {
    /// Id.
    pub id: String,
    /// What it counts by.
    pub kind: RuleKind,
    /// Which one; `None`: each.
    pub target: Option<String>,
    /// Limit, burst included in neither.
    pub rate: Rate,
    /// Calls above the limit that still pass.
    pub burst: u64,
    /// Higher ones are asked first.
    pub priority: i64,
}
