//! The data plane: takes requests, decides by one snapshot each, forwards, answers, records.
//!
//! It knows no store, no Docker, no file and no environment variable, and none of them can block it.
//! Read `pipeline.rs` first.

mod call;
mod deadlines;
mod failure;
mod lane;
mod pipeline;
mod policies;
mod pool;
mod prepare;
mod rescue;
mod stages;
mod upstream;

use actix_web::web::{self, ServiceConfig};
use arc_swap::ArcSwap;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::snapshot::{Snapshot, Subscriber};
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::Telemetry;
use lane::Lane;
use prepare::Prepared;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the gateway's routes lie; what lies elsewhere and is nobody's it answers too.
const PREFIX: &str = "/api/rest";

/// The data plane; cheap to clone.
#[derive(Clone)]
pub struct DataPlane {
    subscriber: Subscriber,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    prepared: Arc<ArcSwap<Prepared>>,
    draining: Arc<AtomicBool>,
}

impl std::fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataPlane").field("revision", &self.prepared.load().revision).finish_non_exhaustive()
    }
}

impl DataPlane {
    /// A data plane that serves revision 0: nothing.
    #[must_use]
    pub fn new(subscriber: Subscriber, telemetry: Arc<Telemetry>, clock: Clock) -> Self {
        let prepared = Arc::new(ArcSwap::from_pointee(Prepared::default()));
        Self { subscriber, telemetry, clock, prepared, draining: Arc::default() }
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

    fn load(&self, snapshot: &Snapshot) {
        let mut prepared = prepare::prepare(snapshot, &self.prepared.load());
        let names: Vec<_> = snapshot.apis.values().map(|api| (api.id.clone(), api.path())).collect();
        prepared.adopt_stats(self.telemetry.set_routes(&names));
        self.prepared.store(Arc::new(prepared));
        self.subscriber.acknowledge(snapshot.revision);
    }

    /// While true, answers carry `Connection: close`, so that clients open their next connection elsewhere.
    pub fn draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Mounts the gateway of one worker as the service for its own prefix and for whatever no other route takes.
    /// Best before all others.
    pub fn configure_default(&self, worker: usize, config: &mut ServiceConfig) {
        let lane = Rc::new(Lane::new(
            worker,
            Arc::clone(&self.prepared),
            Arc::clone(&self.telemetry),
            self.clock.clone(),
            Arc::clone(&self.draining),
        ));
        let gateway = move |request, payload| pipeline::handle(Rc::clone(&lane), request, payload);
        // By its prefix, so that a call is not held against the patterns of all other routes first.
        config.service(web::scope(PREFIX).default_service(web::to(gateway.clone())));
        config.default_service(web::to(gateway));
    }
}
