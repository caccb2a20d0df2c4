//! The control plane: decides and remembers. It knows no client's socket and no terminal, and can be driven
//! wholly by tests.

mod api;
mod change;
mod commands;
mod compile;
mod config;
mod declared;
mod egress;
mod envelope;
mod housekeeping;
mod index;
mod keysets;
mod leases;
mod observe;
mod openapi;
mod schema;
mod session;
mod state;
mod subjects;
mod tending;

pub use config::{
    Argon2Config, Bootstrap, ControlConfig, Effective, HistoryLimits, Identity, LoginLimit, Oidc,
    PlatformCors, Versioned,
};
pub use observe::{MetricsAccess, Networks};
pub use openapi::text as openapi;
pub use subjects::egress::EgressAllow;
pub use subjects::tokens::key_id;

use actix_web::web::{self, ServiceConfig};
use api::chaos::Chaos;
use api::contract::Contract;
use api::v1::Remembered;
use arc_swap::ArcSwap;
use change::Changes;
use egress::Egress;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::shutdown::Phase;
use gatehouse_corridor::snapshot::Publisher;
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_store::Store;
use std::sync::Arc;
use subjects::discovery::documents::Documents;
use subjects::logins::Accounts;
use subjects::oidc::provider::Provider;
use subjects::passwords::Hasher;
use subjects::personal::Uses;
use subjects::refusals::Refusals;
use subjects::sealing::Sealer;
use subjects::sessions::LoginLimiter;
use subjects::usage::Usages;
use tokio::sync::Semaphore;

/// Looks through the files of records at once.
const LOOKS: usize = 2;

/// The control plane; cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

pub(crate) struct Inner {
    config: ArcSwap<ControlConfig>,
    pub(crate) clock: Clock,
    pub(crate) started_unix_ms: i64,
    pub(crate) store: Store,
    pub(crate) changes: Changes,
    pub(crate) hasher: Hasher,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) accounts: Accounts,
    pub(crate) logins: LoginLimiter,
    pub(crate) registrations: LoginLimiter,
    pub(crate) once_tries: LoginLimiter,
    pub(crate) oidc_tries: LoginLimiter,
    /// The OpenID provider, as it was seen last.
    pub(crate) provider: Provider,
    pub(crate) token_uses: Uses,
    pub(crate) usages: Arc<Usages>,
    /// Bounds how many look through the files of records at once.
    pub(crate) looks: Semaphore,
    pub(crate) chaos: Chaos,
    /// What moves credits; it ends before what is left of them is written down.
    pub(crate) lending: TaskGroup,
    /// What was refused, on its way to the audit trail.
    pub(crate) refusals: Refusals,
    /// What is known of the folder that declares the configuration.
    pub(crate) folder: declared::folder::Known,
    pub(crate) versioned: Remembered,
    pub(crate) egress: Egress,
    /// What was fetched of APIs' documents.
    pub(crate) documents: Documents,
    pub(crate) contract: Contract,
}

impl Inner {
    /// The settings as they are now.
    pub(crate) fn config(&self) -> Arc<ControlConfig> {
        self.config.load_full()
    }

    /// Whether the daemon is about to end.
    pub(crate) fn draining(&self) -> bool {
        self.config.load().shutdown.phase() >= Phase::Draining
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("revision", &self.0.changes.state().revision).finish_non_exhaustive()
    }
}

/// Checks the rows of an archive before they are imported.
///
/// # Errors
/// Naming table, key and field of the first row that is not what its table holds.
pub fn check_rows(rows: &[gatehouse_store::archive::Row]) -> Result<(), Problem> {
    rows.iter().try_for_each(|(table, key, value)| match value {
        serde_json::Value::Object(row) => subjects::stored::check(table, key, row),
        _ => Ok(()),
    })
}

impl Control {
    /// Reads the store, seeds what every appliance has, publishes the first snapshot.
    ///
    /// # Errors
    /// A store that cannot be read or written.
    pub async fn start(config: ControlConfig, store: Store, publisher: Publisher) -> Result<Self, Problem> {
        let hasher = Hasher::start(config.argon2, config.hash_threads)?;
        let usages = Arc::new(Usages::load(&store).map_err(|error| error.problem())?);
        let sealer = Arc::new(Sealer::new(&config.encryption_key)?);
        // Before the first snapshot is made: what turns after this is followed.
        let started_unix_ms = config.clock.unix_ms();
        let changes =
            Changes::start(&config, store.clone(), publisher, (Arc::clone(&sealer), Arc::clone(&usages)))?;
        subjects::bootstrap::seed(&config, &changes, &hasher).await?;
        let (clock, config) = (config.clock.clone(), ArcSwap::from_pointee(config));
        let (logins, registrations, once_tries, oidc_tries) = Default::default();
        Ok(Self(Arc::new(Inner {
            config,
            clock,
            started_unix_ms,
            store,
            changes,
            hasher,
            sealer,
            accounts: Accounts::default(),
            logins,
            registrations,
            once_tries,
            oidc_tries,
            provider: Provider::default(),
            token_uses: Uses::default(),
            usages,
            looks: Semaphore::new(LOOKS),
            chaos: Chaos::default(),
            lending: TaskGroup::new("lending"),
            refusals: Refusals::default(),
            folder: Default::default(),
            versioned: Remembered::default(),
            egress: Egress::new(),
            documents: Documents::default(),
            contract: Contract::default(),
        })))
    }

    /// Takes new settings: lives of tokens, keys, limits, cookies, envelope. Cost and number of password hashes stay
    /// as they were at the start. Answers when the data plane serves them.
    ///
    /// # Errors
    /// What keeps the change from the disk; the old settings stay then.
    pub async fn reload(&self, config: ControlConfig) -> Result<(), Problem> {
        self.0.changes.configure(&config).await?;
        self.0.config.store(Arc::new(config));
        Ok(())
    }

    /// Mounts the management surface.
    pub fn configure(&self, config: &mut ServiceConfig) {
        config.app_data(web::Data::from(Arc::clone(&self.0)));
        api::routes(&self.0, config);
    }
}
