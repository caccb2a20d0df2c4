//! Active health checks (`Api.health_check`): one task on the first worker for each server of an API that has them,
//! which asks for a path now and then and takes the server out, or in again. They end when the API changes or goes.

use crate::lane::Lane;
use crate::pool::Ticket;
use crate::prepare::route::Route;
use crate::prepare::server::Server;
use crate::upstream::connect::connect;
use crate::upstream::connection::Connection;
use crate::upstream::stream::Stream;
use gatehouse_corridor::snapshot::api::HealthCheck;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use rustc_hash::FxHashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

/// Probes under way at once; more wait for their turn.
const AT_ONCE: usize = 64;
/// The first probe of a server comes within so long.
const SOON: Duration = Duration::from_secs(1);

/// The probes of one API, which end with it.
struct Probing(Vec<AbortHandle>);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Probes what each snapshot wants probed, for ever.
pub(crate) async fn watch(lane: Rc<Lane>, mut loaded: watch::Receiver<()>) {
    let gate = Rc::new(Semaphore::new(AT_ONCE));
    let mut running: FxHashMap<String, Probing> = FxHashMap::default();
    let mut before: OrdMap<String, Arc<Route>> = OrdMap::new();
    loop {
        loaded.mark_unchanged();
        let now = lane.snapshot().probed.clone();
        for item in before.diff(&now) {
            let (gone, come) = match item {
                DiffItem::Add(_, route) => (None, Some(route)),
                DiffItem::Update { old: (_, gone), new: (_, come) } => (Some(gone), Some(come)),
                DiffItem::Remove(_, gone) => (Some(gone), None),
            };
            if let Some(gone) = gone {
                running.remove(&gone.name);
                lane.telemetry.forget_probed(&gone.name.as_str().into());
            }
            if let Some(come) = come {
                running.insert(come.name.clone(), start(&lane, &gate, come));
            }
        }
        before = now;
        if loaded.changed().await.is_err() {
            return;
        }
    }
}

fn start(lane: &Rc<Lane>, gate: &Rc<Semaphore>, route: &Arc<Route>) -> Probing {
    let Some(check) = &route.api.health_check else { return Probing(Vec::new()) };
    let name: Arc<str> = route.name.as_str().into();
    // A server of several lists is asked once.
    let mut servers: FxHashMap<_, Vec<Arc<Server>>> = FxHashMap::default();
    for server in &route.probed {
        let same = (Arc::as_ptr(&server.peer).addr(), &server.host, &server.prefix);
        servers.entry(same).or_default().push(Arc::clone(server));
    }
    let task = |servers: Vec<Arc<Server>>| {
        let probed = Probed::new(Rc::clone(lane), Arc::clone(&name), servers)?;
        let task = tokio::task::spawn_local(probed.keep(Rc::clone(gate), check.clone()));
        Some(task.abort_handle())
    };
    Probing(servers.into_values().filter_map(task).collect())
}

/// One server, in all lists that have it.
struct Probed {
    lane: Rc<Lane>,
    route: Arc<str>,
    url: Arc<str>,
    first: Arc<Server>,
    servers: Vec<Arc<Server>>,
}

impl Probed {
    fn new(lane: Rc<Lane>, route: Arc<str>, servers: Vec<Arc<Server>>) -> Option<Self> {
        let first = Arc::clone(servers.first()?);
        let scheme = if first.peer.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{}", first.authority, first.prefix).into();
        Some(Self { lane, route, url, first, servers })
    }

    async fn keep(self, gate: Rc<Semaphore>, check: HealthCheck) {
        // Of several lists some may be new and know nothing yet.
        let out = self.servers.iter().any(|server| server.sick.load(Ordering::Relaxed));
        let mut judge = Judge { out, row: 0 };
        self.tell(judge.out);
        let head = format!(
            "GET {}{} HTTP/1.1\r\nhost: {}\r\nuser-agent: gatehouse-probe\r\naccept: */*\r\nconnection: close\r\n\r\n",
            self.first.prefix, check.path, self.first.host
        );
        let mut pause = Duration::from_millis(check.interval_ms).min(SOON).mul_f64(rand::random::<f64>());
        loop {
            tokio::time::sleep(pause).await;
            // It is never closed.
            let Ok(_leave) = gate.acquire().await else { return };
            let asked = tokio::time::timeout(Duration::from_millis(check.timeout_ms), self.ask(&head)).await;
            let why = match asked {
                Ok(Ok(200..=399)) => None,
                Ok(Ok(status)) => Some(format!("status {status}")),
                Ok(Err(why)) => Some(why),
                Err(_) => Some("no answer in time".to_owned()),
            };
            let (route, upstream) = (&*self.route, &*self.url);
            match (judge.heard(&check, why.is_none()), why) {
                (Some(true), why) => {
                    let why = why.unwrap_or_default();
                    tracing::warn!(target: "probe", route, upstream, why, "taken out");
                    self.tell(true);
                }
                (Some(false), _) => {
                    tracing::info!(target: "probe", route, upstream, "in again");
                    self.tell(false);
                }
                (None, Some(why)) => tracing::debug!(target: "probe", route, upstream, why, "a probe failed"),
                (None, None) => {}
            }
            pause = jittered(check.interval_ms, rand::random());
        }
    }

    fn tell(&self, out: bool) {
        self.servers.iter().for_each(|server| server.sick.store(out, Ordering::Relaxed));
        self.lane.telemetry.probed(&self.route, &self.url, out);
    }

    /// One probe, over a connection of its own: what is asked is also whether there can be one.
    async fn ask(&self, head: &str) -> Result<u16, String> {
        let connected = connect(&self.first.peer, self.lane.pool.names()).await;
        let (wire, address) = connected.map_err(|why| why.to_string())?;
        let mut connection = Connection::new(Stream::new(wire, address, Ticket::free()));
        connection.send(head.as_bytes()).await.map_err(|error| error.to_string())?;
        let answered = poll_fn(|context| connection.poll_head(false, context)).await;
        answered.map_err(|error| error.to_string())?;
        Ok(connection.head.status)
    }
}

/// So long, a tenth more or less, so that many do not come at the same moment for ever.
fn jittered(interval_ms: u64, chance: f64) -> Duration {
    Duration::from_millis(interval_ms).mul_f64(0.9 + 0.2 * chance)
}

/// Changes its mind when so many probes in a row speak against it.
struct Judge {
    out: bool,
    row: u32,
}

impl Judge {
    /// Hears of a probe; the new state, if it is one.
    fn heard(&mut self, check: &HealthCheck, well: bool) -> Option<bool> {
        if well != self.out {
            self.row = 0;
            return None;
        }
        self.row += 1;
        if self.row < if self.out { check.successes } else { check.failures } {
            return None;
        }
        *self = Self { out: !self.out, row: 0 };
        Some(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_change_it() {
        let (path, interval_ms, timeout_ms) = ("/".to_owned(), 1, 1);
        let check = HealthCheck { path, interval_ms, timeout_ms, failures: 3, successes: 2 };
        let mut judge = Judge { out: false, row: 0 };
        for (at, (well, wanted)) in [
            (true, None),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(true)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(false)),
            (true, None),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(judge.heard(&check, well), wanted, "{at}");
        }
    }

    #[test]
    fn pauses_differ_by_a_tenth() {
        let millis = |chance| jittered(1_000, chance).as_millis();
        assert_eq!([millis(0.0), millis(0.5), millis(1.0)], [900, 1_000, 1_100]);
    }
}
