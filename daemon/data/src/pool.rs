//! Upstream connections of one worker: last in, first out, so many for each peer. No lock, and no wake-up across threads.

use crate::failure::Failure;
use crate::upstream::connect::connect;
use crate::upstream::connection::Connection;
use crate::upstream::names::Names;
use crate::upstream::peer::{Host, Peer};
use crate::upstream::stream::{Stream, Unreached};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Between two looks at what is idle.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections of one peer, idle and in use.
#[derive(Debug, Default)]
struct Open {
    /// The peer's place in memory, which a [`Line`] keeps from being another's.
    peer: usize,
    count: Cell<usize>,
    waiting: Cell<usize>,
    free: Notify,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket(Rc<Open>);

impl Ticket {
    /// Of no pool: it counts nowhere.
    pub(crate) fn free() -> Self {
        Self(Rc::default())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.wake();
    }
}

impl Open {
    fn wake(&self) {
        if self.waiting.get() > 0 {
            self.free.notify_one();
        }
    }
}

/// Counts who waits, until they do not any more.
struct Waits<'a>(&'a Open);

impl<'a> Waits<'a> {
    fn at(open: &'a Open) -> Self {
        open.waiting.set(open.waiting.get() + 1);
        Self(open)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// A peer and its idle connections.
struct Line {
    /// Gone when no route names it any more.
    peer: Weak<Peer>,
    open: Rc<Open>,
    idle: Vec<(Connection, Instant)>,
    /// Of its name, as of the last look; `None`: any will do.
    addresses: Option<Vec<IpAddr>>,
}

impl Line {
    fn new(peer: &Arc<Peer>) -> Self {
        let open = Rc::new(Open { peer: place(peer), ..Open::default() });
        Self { peer: Arc::downgrade(peer), open, idle: Vec::new(), addresses: None }
    }

    fn may_stay(&self, connection: &Connection) -> bool {
        let known = |addresses: &Vec<IpAddr>| addresses.contains(&connection.address());
        self.peer.strong_count() > 0 && self.addresses.as_ref().is_none_or(known)
    }
}

fn place(peer: &Arc<Peer>) -> usize {
    Arc::as_ptr(peer).addr()
}

struct Inner {
    /// By the place of the peer in memory.
    lines: RefCell<FxHashMap<usize, Line>>,
    names: Names,
    /// The last that was heard of it, milliseconds.
    idle_ms: Cell<u64>,
    sweeping: Cell<bool>,
}

/// A worker's connections.
#[derive(Clone)]
pub(crate) struct Pool(Rc<Inner>);

/// Bounds of opening a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// To wait for one to come free, and to connect.
    pub(crate) connect_ms: u64,
    /// Connections of the peer on this worker.
    pub(crate) most: usize,
    /// An idle one will not do.
    pub(crate) fresh: bool,
}

impl Pool {
    pub(crate) fn new(names: Names) -> Self {
        let (lines, idle_ms, sweeping) = Default::default();
        Self(Rc::new(Inner { lines, names, idle_ms, sweeping }))
    }

    /// The names that connections are opened by.
    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    /// A connection that was used before, if one is still open and young enough.
    pub(crate) fn take(&self, peer: &Arc<Peer>, idle_ms: u64, now: Instant) -> Option<Connection> {
        self.0.idle_ms.set(idle_ms);
        let mut lines = self.0.lines.borrow_mut();
        let line = lines.get_mut(&place(peer))?;
        while let Some((mut connection, since)) = line.idle.pop() {
            if now.saturating_duration_since(since) < Duration::from_millis(idle_ms) && connection.again() {
                return Some(connection);
            }
        }
        None
    }

    /// Opens a connection; where there are as many as may be, waits for one to come free, which then may be an idle one.
    pub(crate) async fn open(&self, peer: &Arc<Peer>, bounds: Bounds) -> Result<Connection, Failure> {
        self.sweep();
        let until = tokio::time::Instant::now() + Duration::from_millis(bounds.connect_ms);
        let ticket = match self.ticket(peer, bounds.most) {
            Some(ticket) => ticket,
            None => {
                let waited = tokio::time::timeout_at(until, self.wait(peer, bounds)).await;
                match waited.map_err(|_| Failure::Crowded)? {
                    Ok(connection) => return Ok(connection),
                    Err(ticket) => ticket,
                }
            }
        };
        let connected = tokio::time::timeout_at(until, connect(peer, &self.0.names)).await;
        let (wire, address) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(why)) => return Err(failed(peer, &why)),
            Err(_) => {
                failed(peer, &Unreached::Refused(std::io::ErrorKind::TimedOut.into()));
                return Err(Failure::Timeout);
            }
        };
        if peer.connected(true) {
            tracing::info!(target: "upstream", host = ?peer.host, port = peer.port, "reached again");
        }
        Ok(Connection::new(Stream::new(wire, address, ticket)))
    }

    /// Leave for one more connection.
    fn ticket(&self, peer: &Arc<Peer>, most: usize) -> Option<Ticket> {
        let mut lines = self.0.lines.borrow_mut();
        let line = lines.entry(place(peer)).or_insert_with(|| Line::new(peer));
        if line.open.count.get() >= most {
            // Who wants a fresh one gets the place of the one that has been idle the longest.
            if line.idle.is_empty() {
                return None;
            }
            drop(line.idle.remove(0));
        }
        line.open.count.set(line.open.count.get() + 1);
        Some(Ticket(Rc::clone(&line.open)))
    }

    /// Waits for an idle connection, or for leave to open one.
    async fn wait(&self, peer: &Arc<Peer>, bounds: Bounds) -> Result<Connection, Ticket> {
        loop {
            if !bounds.fresh
                && let Some(connection) = self.take(peer, self.0.idle_ms.get(), Instant::now())
            {
                return Ok(connection);
            }
            if let Some(ticket) = self.ticket(peer, bounds.most) {
                return Err(ticket);
            }
            // There is one, since it is full.
            let open = self.0.lines.borrow().get(&place(peer)).map(|line| Rc::clone(&line.open));
            if let Some(open) = open {
                let _waits = Waits::at(&open);
                open.free.notified().await;
            }
        }
    }

    /// Gives a connection back after its answer was read to the end.
    pub(crate) fn give(&self, connection: Connection, most: usize) {
        let mut lines = self.0.lines.borrow_mut();
        let open = Rc::clone(&connection.ticket().0);
        if let Some(line) = lines.get_mut(&open.peer)
            && line.idle.len() < most
            && line.may_stay(&connection)
        {
            line.idle.push((connection, Instant::now()));
            open.wake();
        }
    }

    /// Looks after what is idle for as long as there is any connection.
    fn sweep(&self) {
        if self.0.sweeping.replace(true) {
            return;
        }
        let pool = self.clone();
        // Of the worker itself, and gone with the last connection.
        drop(tokio::task::spawn_local(async move {
            while pool.0.sweeping.get() {
                tokio::time::sleep(SWEEP).await;
                pool.tidy(Instant::now());
            }
        }));
    }

    /// Drops what is idle for too long, has closed, leads to an address that is its name's no more, or to a peer that no
    /// route names.
    fn tidy(&self, now: Instant) {
        let most = Duration::from_millis(self.0.idle_ms.get());
        let mut lines = self.0.lines.borrow_mut();
        for line in lines.values_mut() {
            if let Some(Host::Name(name)) = line.peer.upgrade().as_deref().map(|peer| &peer.host) {
                line.addresses = self.0.names.lately(name);
            }
            let mut idle = std::mem::take(&mut line.idle);
            idle.retain_mut(|(connection, since)| {
                let young = now.saturating_duration_since(*since) < most;
                young && line.may_stay(connection) && connection.again()
            });
            line.idle = idle;
        }
        lines.retain(|_, line| line.open.count.get() > 0 || line.open.waiting.get() > 0);
        self.0.sweeping.set(!lines.is_empty());
        drop(lines);
        self.0.names.tidy(now);
    }
}

/// Says why a peer cannot be reached: once aloud, until it is reached again.
fn failed(peer: &Peer, why: &Unreached) -> Failure {
    let (host, port) = (&peer.host, peer.port);
    if peer.connected(false) {
        tracing::warn!(target: "upstream", ?host, port, error = %why, "not reached");
    } else {
        tracing::debug!(target: "upstream", ?host, port, error = %why, "not reached");
    }
    Failure::Connect
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stream::tests::run;
    use crate::upstream::peer::Peers;
    use tokio::net::TcpListener;

    /// A listener that takes connections and says nothing, and the peer that it is.
    async fn peer(peers: &Peers) -> (TcpListener, Arc<Peer>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, peers.trust(None).unwrap().peer("127.0.0.1", port, false).unwrap())
    }

    fn pool() -> Pool {
        Pool::new(Names::new(Arc::default()))
    }

    const ONE: Bounds = Bounds { connect_ms: 200, most: 1, fresh: false };

    #[test]
    fn over_the_bound_one_waits_for_a_connection_that_comes_free() {
        run(async {
            let (pool, peers) = (pool(), Peers::default());
            let (_listener, peer) = peer(&peers).await;
            pool.take(&peer, 10_000, Instant::now());
            let first = pool.open(&peer, ONE).await.unwrap();
            let (waited, ()) = tokio::join!(pool.open(&peer, ONE), async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                pool.give(first, 8);
            });
            let given = waited.unwrap();
            assert!(given.reused, "the same one");
            assert_eq!(pool.open(&peer, ONE).await.err(), Some(Failure::Crowded));
            let (waited, ()) = tokio::join!(pool.open(&peer, ONE), async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                drop(given);
            });
            let fresh = waited.unwrap();
            assert!(!fresh.reused, "a place came free");
            pool.give(fresh, 8);
            let fresh = pool.open(&peer, Bounds { fresh: true, ..ONE }).await.unwrap();
            assert!(!fresh.reused, "an idle one makes place");
        });
    }

    #[test]
    fn what_is_idle_goes_when_its_time_is_over_it_closed_or_no_route_names_its_peer() {
        run(async {
            let (pool, peers) = (pool(), Peers::default());
            let bounds = Bounds { most: 9, ..ONE };
            for (age_ms, closed, named, kept) in [
                (0, false, true, true),
                (20_000, false, true, false),
                (0, true, true, false),
                (0, false, false, false),
            ] {
                let (listener, peer) = peer(&peers).await;
                pool.take(&peer, 10_000, Instant::now());
                let connection = pool.open(&peer, bounds).await.unwrap();
                let other = listener.accept().await.unwrap();
                pool.give(connection, 8);
                let place = place(&peer);
                let _kept = (!closed).then_some(other);
                let _named = named.then_some(peer);
                tokio::time::sleep(Duration::from_millis(10)).await;
                pool.tidy(Instant::now() + Duration::from_millis(age_ms));
                let left = pool.0.lines.borrow().contains_key(&place);
                assert_eq!(left, kept, "{age_ms} {closed} {named}");
                pool.0.lines.borrow_mut().clear();
            }
        });
    }

    #[test]
    fn one_that_cannot_be_reached_leaves_its_place() {
        run(async {
            let (pool, peers) = (pool(), Peers::default());
            let gone = peer(&peers).await.1;
            assert_eq!(pool.open(&gone, ONE).await.err(), Some(Failure::Connect));
            let nameless = peers.trust(None).unwrap().peer("no.test", 80, false).unwrap();
            assert_eq!(pool.open(&nameless, ONE).await.err(), Some(Failure::Connect));
            assert_eq!(pool.0.lines.borrow().values().map(|line| line.open.count.get()).sum::<usize>(), 0);
        });
    }
}
