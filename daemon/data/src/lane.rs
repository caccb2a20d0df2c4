//! One per worker: the cached snapshot, the connection pool, verified tokens. Nothing here is shared.

use crate::deadlines::Deadlines;
use crate::pool::Pool;
use crate::prepare::{Prepared, Who};
use arc_swap::ArcSwap;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::telemetry::Telemetry;
use gatehouse_corridor::text::Text;
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Verified tokens kept; when full the cache starts anew, which costs one verification each.
const VERIFIED_TOKENS: usize = 4_096;

/// Emptied buffers kept, and the size of one, which few heads exceed.
const SPARE_BUFFERS: usize = 256;
const SPARE_BYTES: usize = 2_048;

/// The end of a token, which lies in its signature: as good as random, and short to hash.
type Mark = [u8; 16];

/// A token that was verified under the lane's present revision.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) who: Arc<Who>,
    /// Unix seconds.
    pub(crate) expires_secs: i64,
}

/// A snapshot in the hands of one worker, whose calls count among themselves: the shared count would travel
/// between the processors with every call.
pub(crate) struct Held(Arc<Prepared>);

impl Deref for Held {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.0
    }
}

/// A worker's own state.
pub(crate) struct Lane {
    pub(crate) worker: usize,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) deadlines: Deadlines,
    pub(crate) draining: Arc<AtomicBool>,
    prepared: Arc<ArcSwap<Prepared>>,
    cached: RefCell<Rc<Held>>,
    /// A quick hash: a client chooses what is looked up here and in the prepared tables, but not what lies there.
    verified: RefCell<FxHashMap<Mark, (String, Verified)>>,
    verified_under: Cell<u64>,
    spare: RefCell<Vec<Vec<u8>>>,
    peer: RefCell<(Option<IpAddr>, Text)>,
}

impl Lane {
    pub(crate) fn new(
        worker: usize,
        prepared: Arc<ArcSwap<Prepared>>,
        telemetry: Arc<Telemetry>,
        clock: Clock,
        draining: Arc<AtomicBool>,
    ) -> Self {
        Self {
            worker,
            telemetry,
            clock,
            pool: Pool::default(),
            deadlines: Deadlines::default(),
            draining,
            cached: RefCell::new(Rc::new(Held(prepared.load_full()))),
            prepared,
            verified: RefCell::default(),
            verified_under: Cell::new(0),
            spare: RefCell::default(),
            peer: RefCell::default(),
        }
    }

    /// An empty buffer for a request's head, one that was used before if there is one.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SPARE_BYTES))
    }

    /// Takes a buffer that is done with.
    pub(crate) fn spare(&self, mut bytes: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS && bytes.capacity() <= SPARE_BYTES {
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

    /// A token verified before, under the same revision: a revocation makes a new one.
    pub(crate) fn verified(&self, token: &str, revision: u64) -> Option<Verified> {
        if self.verified_under.replace(revision) != revision {
            self.verified.borrow_mut().clear();
        }
        let cache = self.verified.borrow();
        let (whole, verified) = cache.get(token.as_bytes().last_chunk::<16>()?)?;
        (whole == token).then(|| verified.clone())
    }

    /// Remembers a verified token.
    pub(crate) fn remember(&self, token: &str, verified: Verified) {
        let Some(mark) = token.as_bytes().last_chunk() else { return };
        let mut cache = self.verified.borrow_mut();
        if cache.len() >= VERIFIED_TOKENS {
            cache.clear();
        }
        cache.insert(*mark, (token.to_owned(), verified));
    }
}
