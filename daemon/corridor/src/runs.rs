//! Door 4, control's HTTP surfaces to ops: plan, start, follow. Older clients start runbooks over HTTP;
//! they get the same plan, tiers and audit as the console.

use crate::actor::Actor;
use gatehouse_common::ids::RunId;
use gatehouse_common::ops::runs::{PlanRequest, RunSummary, StartRequest};
use gatehouse_common::problem::Problem;
use gatehouse_common::runbook::{Plan, RunEvent};
use std::future::Future;
use std::pin::Pin;
use tokio::sync::mpsc;

/// A future of the port.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// The port; ops fills it, `assemble.rs` hands it over.
pub trait Runs: Send + Sync {
    /// Examines and plans; changes nothing.
    fn plan<'a>(&'a self, actor: &'a Actor, request: PlanRequest) -> Answer<'a, Plan>;
    /// Starts exactly the plan of that digest.
    fn start<'a>(&'a self, actor: &'a Actor, request: StartRequest) -> Answer<'a, RunSummary>;
    /// All events of a run from the first on; ends with the verdict.
    fn follow<'a>(&'a self, run: &'a RunId) -> Answer<'a, mpsc::Receiver<RunEvent>>;
}
