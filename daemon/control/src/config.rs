//! What the control plane is given at the start.

pub use crate::change::history::HistoryLimits;
use crate::observe::{MetricsAccess, Networks};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::history::History;
use gatehouse_corridor::reload::Reloader;
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

/// Cross-origin rules of the management surface (spec/doorman.md 4.23).
#[derive(Debug, Clone)]
pub struct PlatformCors {
    /// Origins, or `*`.
    pub origins: Vec<String>,
    /// Methods that a page may use, upper case.
    pub methods: Vec<String>,
    /// Request headers that a page may send, or `*`.
    pub headers: Vec<String>,
    /// Cookies and such, for origins that are named.
    pub credentials: bool,
    /// `*` means the origins of this machine.
    pub strict: bool,
}

impl Default for PlatformCors {
    fn default() -> Self {
        let texts = |list: &str| list.split(',').map(str::to_owned).collect();
        Self {
            origins: Vec::new(),
            methods: texts("GET,POST,PUT,DELETE,OPTIONS,PATCH,HEAD"),
            headers: texts(crate::subjects::cors::USUAL_HEADERS),
            credentials: false,
            strict: false,
        }
    }
}

/// One setting as it counts now, for whoever may see it.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Its name.
    pub name: &'static str,
    /// Its value; a secret's mask.
    pub value: String,
    /// Where it was given.
    pub source: String,
    /// Whether it is taken anew without a restart.
    pub live: bool,
}

/// Settings of the surface below `/api/v1` (spec/octoprox.md 4, 5.4, 11).
#[derive(Debug, Clone)]
pub struct Versioned {
    /// What an outer platform must show to ask about a token; `None` lets everybody ask.
    pub introspect_secret: Option<Secret<String>>,
    /// Peers that may ask as workspaces do.
    pub workspace_networks: Networks,
    /// Requests of one user, key or address in a minute.
    pub requests_per_minute: u64,
    /// Logins and questions about tokens of one address in a minute.
    pub auth_per_minute: u64,
    /// Value of `Strict-Transport-Security`; `None` sends none.
    pub hsts: Option<String>,
}

impl Default for Versioned {
    fn default() -> Self {
        Self {
            introspect_secret: None,
            workspace_networks: Networks::default(),
            requests_per_minute: 200,
            auth_per_minute: 60,
            hsts: None,
        }
    }
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
    /// Cross-origin rules of the management surface.
    pub cors: PlatformCors,
    /// Whether loopback passes the address lists, if the settings say; `None` leaves it to the platform's own settings.
    pub localhost_bypass: Option<bool>,
    /// Bounds handed to the data plane.
    pub limits: GatewayLimits,
    /// Folder of files that declare the configuration; `None` watches none.
    pub config_dir: Option<PathBuf>,
    /// Reads a variable of the environment, for secrets that a declared configuration names.
    pub environment: fn(&str) -> Option<String>,
    /// How much of the history of changes is kept.
    pub history_limits: HistoryLimits,
    /// The surface below `/api/v1`.
    pub versioned: Versioned,
    /// Largest page.
    pub page_size_max: usize,
    /// Number of the last record in the audit trail: numbering never falls behind it, also on a store that was
    /// made anew.
    pub audit_floor: u64,
    /// Folder of the backups.
    pub backups: PathBuf,
    /// The settings file, kept in backups; `None` if there is none.
    pub settings_file: Option<PathBuf>,
    /// All settings of the daemon, as they are shown.
    pub effective: Vec<Effective>,
    /// How the daemon is asked to read its settings anew.
    pub reloader: Reloader,
    /// The data folder; files that are asked for lie below it.
    pub data_dir: PathBuf,
    /// Folder of the access records.
    pub log_dir: PathBuf,
    /// How a restart is asked for.
    pub shutdown: Shutdown,
    /// All that keeps the data plane from loading the second snapshot whole; it has loaded the first, so that rows
    /// which the two share need not be looked at.
    pub check: fn(&Snapshot, &Snapshot) -> Vec<Problem>,
    /// The data plane's counters, for the status page.
    pub telemetry: Arc<Telemetry>,
    /// Traffic of the last month, for reports.
    pub history: History,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// The container engine; `None` if the settings name none.
    pub engine: Option<Arc<Probe>>,
    /// Time.
    pub clock: Clock,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    /// Settings that a test can start with.
    pub(crate) fn config(folder: &Path) -> ControlConfig {
        let unlimited = LoginLimit { per_window: 1, window_secs: 1, disabled: true };
        ControlConfig {
            bootstrap: None,
            signing_keys: Vec::new(),
            encryption_key: Secret::new("0123456789abcdefghijklmnopqrstuvwxyz".to_owned()),
            access_ttl_secs: 1_800,
            refresh_ttl_secs: 604_800,
            argon2: Argon2Config { memory_kib: 8_192, iterations: 1, lanes: 1 },
            hash_threads: 1,
            login_limit: unlimited,
            registration: false,
            register_limit: unlimited,
            strict_envelope: false,
            enforce_admin_subscription: false,
            cookie_secure: false,
            cookie_samesite: "strict".to_owned(),
            cookie_domain: None,
            cors: PlatformCors::default(),
            localhost_bypass: None,
            limits: GatewayLimits::default(),
            config_dir: None,
            environment: |_| None,
            history_limits: HistoryLimits::default(),
            versioned: Versioned::default(),
            page_size_max: 1_000,
            audit_floor: 0,
            backups: folder.join("backups"),
            settings_file: None,
            effective: Vec::new(),
            reloader: gatehouse_corridor::reload::door().0,
            data_dir: PathBuf::new(),
            log_dir: PathBuf::new(),
            shutdown: Shutdown::new(Duration::ZERO),
            check: |_, _| Vec::new(),
            telemetry: Telemetry::new(1),
            history: History::default(),
            metrics: MetricsAccess::default(),
            engine: None,
            clock: Clock::manual(1_700_000_000_000),
        }
    }
}
