//! What the control plane is given at the start.

use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::shutdown::Shutdown;
use gatehouse_corridor::snapshot::{GatewayLimits, Snapshot, TokenKey};
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_engine::Probe;
use std::path::PathBuf;
use std::sync::Arc;

/// The first administrator.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// User name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// Password.
    pub password: Secret<String>,
}

/// Cost of one password hash.
#[derive(Debug, Clone, Copy)]
pub struct Argon2Config {
    /// KiB.
    pub memory_kib: u32,
    /// Passes.
    pub iterations: u32,
    /// Lanes.
    pub lanes: u32,
}

/// Logins per address.
#[derive(Debug, Clone, Copy)]
pub struct LoginLimit {
    /// Attempts per window.
    pub per_window: u64,
    /// Seconds.
    pub window_secs: u64,
    /// Switched off.
    pub disabled: bool,
}

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Makes the first administrator if there is no user of that name; one who exists stays as they are.
    pub bootstrap: Option<Bootstrap>,
    /// The first signs, all verify.
    pub signing_keys: Vec<TokenKey>,
    /// What values at rest are encrypted with; the key of the start stays until the next one.
    pub encryption_key: Secret<String>,
    /// Life of an access token, seconds.
    pub access_ttl_secs: i64,
    /// Life of a refresh token, seconds.
    pub refresh_ttl_secs: i64,
    /// Cost of a hash.
    pub argon2: Argon2Config,
    /// Hashes at the same time.
    pub hash_threads: usize,
    /// Login limit.
    pub login_limit: LoginLimit,
    /// Anyone may make an account of their own.
    pub registration: bool,
    /// Limit of registrations.
    pub register_limit: LoginLimit,
    /// spec/doorman.md 1.1.
    pub strict_envelope: bool,
    /// Administrators need subscriptions too.
    pub enforce_admin_subscription: bool,
    /// `Secure` on cookies.
    pub cookie_secure: bool,
    /// strict, lax or none.
    pub cookie_samesite: String,
    /// Domain of cookies.
    pub cookie_domain: Option<String>,
    /// Bounds handed to the data plane.
    pub limits: GatewayLimits,
    /// Largest page.
    pub page_size_max: usize,
    /// Number of the last record in the audit trail: numbering never falls behind it, also on a store that was
    /// made anew.
    pub audit_floor: u64,
    /// Folder of the backups.
    pub backups: PathBuf,
    /// The settings file, kept in backups; `None` if there is none.
    pub settings_file: Option<PathBuf>,
    /// How a restart is asked for.
    pub shutdown: Shutdown,
    /// All that keeps the data plane from loading the second snapshot whole; it has loaded the first, so that rows
    /// which the two share need not be looked at.
    pub check: fn(&Snapshot, &Snapshot) -> Vec<Problem>,
    /// The data plane's counters, for the status page.
    pub telemetry: Arc<Telemetry>,
    /// The container engine; `None` if the settings name none.
    pub engine: Option<Arc<Probe>>,
    /// Time.
    pub clock: Clock,
}
