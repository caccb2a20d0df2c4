//! Door 1, control to data: all that the data plane may know, immutable, with a revision. Rows are shared from one
//! snapshot to the next, so that a change costs what it changes and not what there is.

pub mod api;
pub mod consumer;
pub mod limits;

pub use api::{Api, Endpoint};
pub use consumer::{ApiKey, Consumer, CreditGroup, Rate, RateRule, TokenKey};
pub use limits::{GatewayLimits, Routing, Security};

use crate::credits::CreditBell;
use gatehouse_common::ids::Revision;
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Rows of a snapshot are told apart by their identity: a change makes another row, and what is shared is the same. So
/// two snapshots can be compared at the cost of what differs.
macro_rules! told_apart_by_identity {
    ($($row:ty),*) => {$(
        impl PartialEq for $row {
            fn eq(&self, other: &Self) -> bool {
                std::ptr::eq(self, other)
            }
        }

        impl Eq for $row {}
    )*};
}

told_apart_by_identity!(Api, Consumer, ApiKey, CreditGroup);

/// All that the data plane may know.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows by one with each change.
    pub revision: Revision,
    /// APIs by `name/version`.
    pub apis: OrdMap<String, Arc<Api>>,
    /// Users by name.
    pub consumers: OrdMap<String, Arc<Consumer>>,
    /// API keys that are not revoked, by hash.
    pub api_keys: OrdMap<[u8; 32], Arc<ApiKey>>,
    /// Keys that verify tokens; two during rotation.
    pub token_keys: Vec<TokenKey>,
    /// `jti` of tokens and `sid` of sessions that ended before the tokens expired.
    pub revoked_tokens: OrdSet<String>,
    /// Credit groups by name.
    pub credit_groups: OrdMap<String, Arc<CreditGroup>>,
    /// Routings by client key.
    pub routings: OrdMap<String, Arc<Routing>>,
    /// Rate-limit rules that are switched on.
    pub rules: Arc<Vec<RateRule>>,
    /// The platform's security settings.
    pub security: Arc<Security>,
    /// Bounds.
    pub limits: Arc<GatewayLimits>,
    /// Grows when counters (rate limits) and caches are to begin anew.
    pub counters: u64,
}

/// Control's end of the door.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// By which the data plane asks for credits; control listens.
    pub bell: Arc<CreditBell>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    acknowledged: watch::Receiver<Revision>,
}

impl Publisher {
    /// Publishes; never blocks.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshots.send_replace(snapshot);
    }

    /// What was published last.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
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
    /// By which the data plane asks for credits.
    pub bell: Arc<CreditBell>,
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
    let bell = Arc::new(CreditBell::default());
    let publisher = Publisher { bell: Arc::clone(&bell), snapshots, acknowledged };
    (publisher, Subscriber { bell, snapshots: receiver, acknowledge })
}
