//! The data plane: takes requests, decides by one snapshot each, forwards, answers, records.
//!
//! It knows no store, no Docker, no file and no environment variable, and none of them can block it.
//! Read `pipeline.rs` first.

mod agents;
mod balance;
mod breaker;
mod call;
mod client;
mod deadlines;
mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http1;
mod lane;
mod listener;
mod moving;
mod pipeline;
mod policies;
mod pool;
mod prepare;
mod probes;
mod rescue;
mod retry;
mod stages;
mod targets;
mod tokens;
mod upstream;
mod worker;

pub use client::stream::Pace;
pub use lane::ClientLimits;
pub use moving::{Adopter, Moved};
pub use targets::local::Mount;
pub use upstream::names::Resolution;
pub use worker::Workers;

use arc_swap::ArcSwap;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::snapshot::{Snapshot, Subscriber};
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::Telemetry;
use lane::Shared;
use prepare::Prepared;
use rustls_pki_types::CertificateDer;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use upstream::peer::Peers;

/// The data plane; cheap to clone.
#[derive(Clone)]
pub struct DataPlane {
    subscriber: Subscriber,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    prepared: Arc<ArcSwap<Prepared>>,
    draining: Arc<AtomicBool>,
    resolution: Arc<ArcSwap<Resolution>>,
    loaded: watch::Sender<()>,
}

impl std::fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataPlane").field("revision", &self.prepared.load().revision).finish_non_exhaustive()
    }
}

impl DataPlane {
    /// A data plane that serves revision 0: nothing. `roots` (DER) are what certificates of upstreams are checked
    /// against where an API brings none of its own.
    #[must_use]
    pub fn new(
        subscriber: Subscriber,
        telemetry: Arc<Telemetry>,
        clock: Clock,
        roots: &[CertificateDer<'static>],
    ) -> Self {
        let first = Prepared { peers: Arc::new(Peers::new(roots)), ..Prepared::default() };
        let prepared = Arc::new(ArcSwap::from_pointee(first));
        let (draining, resolution, loaded) = Default::default();
        Self { subscriber, telemetry, clock, prepared, draining, resolution, loaded }
    }

    /// How names of upstreams are resolved from now on; until it is said, none can be.
    pub fn resolve_by(&self, resolution: Resolution) {
        // What is equal stays, with its name servers' sockets.
        if **self.resolution.load() != resolution {
            self.resolution.store(Arc::new(resolution));
        }
    }

    /// All that is wrong with a snapshot; what passes is certain to load. APIs that it shares with the one before are
    /// not looked at again.
    #[must_use]
    pub fn check(before: &Snapshot, snapshot: &Snapshot) -> Vec<Problem> {
        prepare::check(before, snapshot)
    }

    /// Starts the preparer: each published snapshot is compiled off the request path, swapped in whole and
    /// acknowledged.
    pub fn run(&self, tasks: &TaskGroup) {
        let data = self.clone();
        tasks.spawn(async move {
            let mut snapshots = data.subscriber.snapshots.clone();
            loop {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                data.load(&snapshot);
                if snapshots.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn load(&self, snapshot: &Arc<Snapshot>) {
        let prepared = prepare::prepare(snapshot, &self.prepared.load(), &self.telemetry);
        self.prepared.store(Arc::new(prepared));
        self.loaded.send_replace(());
        self.subscriber.acknowledge(snapshot.revision);
    }

    /// While true, connections end behind their answers, so that clients open their next connection elsewhere.
    pub fn draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Serves the listener with so many workers; what is no route of the gateway goes to the routes that `mount` makes.
    ///
    /// # Errors
    /// When a thread cannot be made or a route not be mounted.
    pub async fn serve(
        &self,
        listener: TcpListener,
        workers: usize,
        limits: ClientLimits,
        mount: Mount,
    ) -> std::io::Result<Workers> {
        let shared = Shared {
            prepared: Arc::clone(&self.prepared),
            telemetry: Arc::clone(&self.telemetry),
            clock: self.clock.clone(),
            draining: Arc::clone(&self.draining),
            limits,
            bell: Arc::clone(&self.subscriber.bell),
            resolution: Arc::clone(&self.resolution),
            invalidations: Arc::default(),
            loaded: self.loaded.subscribe(),
            workers,
        };
        Workers::start(listener, workers, &shared, &mount).await
    }
}
