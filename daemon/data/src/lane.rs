//! One per worker: the cached snapshot, the connection pool, verified tokens. Nothing here is shared.

use crate::agents::Agents;
use crate::client::stream::{Pace, READ_BYTES};
use crate::deadlines::Deadlines;
use crate::policies::cache::Invalidations;
use crate::policies::cache::shelf::Shelf;
use crate::pool::Pool;
use crate::prepare::Prepared;
use crate::targets::local::Local;
use crate::tokens::{Tokens, Verified};
use crate::upstream::names::{Names, Resolution};
use arc_swap::ArcSwap;
use bytes::BytesMut;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::credits::CreditBell;
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_corridor::text::Text;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Emptied buffers kept, the size of a new one, which few heads exceed, and the largest that is kept.
const SPARE_BUFFERS: usize = 256;
const SPARE_BYTES: usize = 2_048;
const SPARE_BYTES_MAX: usize = 8_192;

/// A snapshot in the hands of one worker, whose calls count among themselves: the shared count would travel
/// between the processors with every call.
pub(crate) struct Held(Arc<Prepared>);

impl Deref for Held {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.0
    }
}

/// Bounds of clients' connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// A connection that asks for nothing.
    pub idle: Duration,
    /// A head, from its first byte.
    pub head: Duration,
    /// Bodies and answers: so many bytes in each period, or all there is.
    pub pace: Pace,
    /// Connections of one address.
    pub per_address: u64,
    /// Every peer begins with a PROXY header.
    pub proxy_protocol: bool,
}

/// What the workers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) prepared: Arc<ArcSwap<Prepared>>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) clock: Clock,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) limits: ClientLimits,
    pub(crate) bell: Arc<CreditBell>,
    pub(crate) resolution: Arc<ArcSwap<Resolution>>,
    /// Which kept answers became void.
    pub(crate) invalidations: Arc<Invalidations>,
    /// Told of each snapshot that is served.
    pub(crate) loaded: watch::Receiver<()>,
    /// How many there are.
    pub(crate) workers: usize,
}

/// A worker's own state.
pub(crate) struct Lane {
    pub(crate) worker: usize,
    workers: usize,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) deadlines: Deadlines,
    /// The appliance's own surface.
    pub(crate) local: Local,
    /// How long a connection may ask for nothing, and how long a head may take from its first byte.
    pub(crate) idle: Duration,
    pub(crate) head_time: Duration,
    /// How fast clients must send bodies and take answers.
    pub(crate) pace: Pace,
    pub(crate) proxy_protocol: bool,
    /// By which control is asked for credits.
    pub(crate) bell: Arc<CreditBell>,
    draining: Arc<AtomicBool>,
    moving: Cell<bool>,
    prepared: Arc<ArcSwap<Prepared>>,
    shelf: Rc<Shelf>,
    cached: RefCell<Rc<Held>>,
    /// Revision of who may show what, as this worker saw it last.
    identity: Cell<u64>,
    verified: RefCell<Tokens>,
    agents: RefCell<Agents>,
    spare: RefCell<Vec<Vec<u8>>>,
    inputs: RefCell<Vec<BytesMut>>,
    /// Unix seconds, and the `Date` field of that second.
    date: RefCell<(i64, String)>,
    peer: RefCell<(Option<IpAddr>, Text)>,
}

impl Lane {
    pub(crate) fn new(worker: usize, shared: Shared, local: Local) -> Self {
        let Shared { prepared, telemetry, clock, draining, limits, bell, resolution, workers, .. } = shared;
        Self {
            worker,
            workers: workers.max(1),
            telemetry,
            clock,
            pool: Pool::new(Names::new(resolution)),
            deadlines: Deadlines::default(),
            local,
            idle: limits.idle,
            head_time: limits.head,
            pace: limits.pace,
            proxy_protocol: limits.proxy_protocol,
            bell,
            draining,
            moving: Cell::new(false),
            shelf: Rc::new(Shelf::new(shared.invalidations)),
            cached: RefCell::new(Rc::new(Held(prepared.load_full()))),
            identity: Cell::new(prepared.load().identity.0),
            prepared,
            verified: RefCell::default(),
            agents: RefCell::default(),
            spare: RefCell::default(),
            inputs: RefCell::default(),
            date: RefCell::default(),
            peer: RefCell::default(),
        }
    }

    /// While true, connections end behind their answers, so that clients open the next one elsewhere.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether connections between two requests go to another process.
    pub(crate) fn is_moving(&self) -> bool {
        self.moving.get()
    }

    /// From now on they do; those that wait are told.
    pub(crate) fn move_on(&self) {
        self.moving.set(true);
        self.deadlines.wake_all();
    }

    /// This worker's part of a bound over all of them, at least one.
    pub(crate) fn share(&self, bound: usize) -> usize {
        bound.div_ceil(self.workers).max(1)
    }

    /// The kept answers, in as much room as this snapshot gives, and emptied if it says so.
    pub(crate) fn shelf(&self, prepared: &Prepared) -> &Rc<Shelf> {
        let workers = u64::try_from(self.workers).unwrap_or(u64::MAX);
        self.shelf.at(prepared.limits.cache_bytes / workers, prepared.counters);
        &self.shelf
    }

    /// Writes the `Date` field (RFC 9110 6.6.1), made once a second.
    pub(crate) fn date(&self, into: &mut Vec<u8>) {
        let now = self.clock.unix_ms() / 1_000;
        let mut date = self.date.borrow_mut();
        if date.0 != now || date.1.is_empty() {
            let since = Duration::from_secs(u64::try_from(now).unwrap_or(0));
            *date = (now, format!("date: {}\r\n", httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)));
        }
        into.extend_from_slice(date.1.as_bytes());
    }

    /// An empty buffer to read into.
    pub(crate) fn input(&self) -> BytesMut {
        self.inputs.borrow_mut().pop().unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES))
    }

    /// Takes one that is empty.
    pub(crate) fn spare_input(&self, mut bytes: BytesMut) {
        let mut inputs = self.inputs.borrow_mut();
        if inputs.len() < SPARE_BUFFERS && bytes.capacity() <= 2 * READ_BYTES {
            bytes.clear();
            inputs.push(bytes);
        }
    }

    /// An empty buffer for a request's head, one that was used before if there is one.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SPARE_BYTES))
    }

    /// Takes a buffer that is done with, if it saves the next one from growing.
    pub(crate) fn spare(&self, mut bytes: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS && (SPARE_BYTES..=SPARE_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            spare.push(bytes);
        }
    }

    /// A client's address as text; mostly the one asked for last.
    pub(crate) fn peer(&self, address: IpAddr) -> Text {
        let mut peer = self.peer.borrow_mut();
        if peer.0 != Some(address) {
            *peer = (Some(address), Text::from(&*address.to_string()));
        }
        peer.1.clone()
    }

    /// The newest snapshot; one for the whole call.
    pub(crate) fn snapshot(&self) -> Rc<Held> {
        let newest = self.prepared.load();
        if !Arc::ptr_eq(&newest, &self.cached.borrow().0) {
            self.cached.replace(Rc::new(Held(Arc::clone(&newest))));
        }
        Rc::clone(&self.cached.borrow())
    }

    /// A snapshot has come: where it says anew who may show what, answers that are on their way ask again.
    pub(crate) fn look(&self) {
        let identity = self.prepared.load().identity.0;
        if self.identity.replace(identity) != identity {
            self.deadlines.wake_all();
        }
    }

    /// Revision of who may show what, as this worker saw it last.
    pub(crate) fn identity(&self) -> u64 {
        self.identity.get()
    }

    /// What is known of tokens verified before, under the same revision: a revocation makes a new one.
    pub(crate) fn verified<T>(&self, revision: u64, look: impl FnOnce(&Tokens) -> T) -> T {
        let mut tokens = self.verified.borrow_mut();
        tokens.under(revision);
        look(&tokens)
    }

    /// Remembers a verified token.
    pub(crate) fn remember(&self, token: &str, verified: Verified) {
        self.verified.borrow_mut().put(token, verified);
    }

    /// A client's `User-Agent`; mostly one that another request had.
    pub(crate) fn agent(&self, value: &[u8]) -> Option<Arc<str>> {
        self.agents.borrow_mut().get(value)
    }
}
