//! A worker's cache as settings and control want it: as large as its share, begun anew when that changes or when caches
//! are to be emptied. What is on its way into it is bounded too.

use super::{Cache, Invalidations, Recording};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Bodies that are being recorded take at most this part of the share, all together.
const RECORDING_PART: u64 = 4;

/// A worker's cache.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    shared: Arc<Invalidations>,
    state: RefCell<State>,
    /// Bytes of bodies that are being recorded.
    recording: Cell<u64>,
}

#[derive(Debug, Default)]
struct State {
    bytes: u64,
    counters: u64,
    cache: Option<Cache>,
}

impl Shelf {
    /// An empty one without any room.
    pub(crate) fn new(shared: Arc<Invalidations>) -> Self {
        Self { shared, ..Self::default() }
    }

    /// Said before each look: this worker's share, and the snapshot's `counters`.
    pub(crate) fn at(&self, bytes: u64, counters: u64) {
        let mut state = self.state.borrow_mut();
        if state.bytes != bytes {
            state.cache = Cache::new(bytes, Arc::clone(&self.shared));
            state.bytes = bytes;
        }
        if let Some(cache) = &mut state.cache {
            cache.at(counters);
        }
        state.counters = counters;
    }

    /// Works on the cache. `None`: there is none, or it was emptied since `counters`.
    pub(crate) fn with<R>(&self, counters: u64, work: impl FnOnce(&mut Cache) -> R) -> Option<R> {
        let mut state = self.state.borrow_mut();
        if state.counters != counters {
            return None;
        }
        state.cache.as_mut().map(work)
    }

    /// As [`Invalidations::void`].
    pub(crate) fn void(&self, route: &str, target: &str) {
        self.shared.void(route, target);
    }

    /// Takes so many bytes more among those being recorded, if there is room.
    fn takes(&self, bytes: u64) -> bool {
        let all = self.recording.get() + bytes;
        let fits = all <= self.state.borrow().bytes / RECORDING_PART;
        if fits {
            self.recording.set(all);
        }
        fits
    }
}

/// An answer on its way into a cache; dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Keeper {
    shelf: Rc<Shelf>,
    recording: Option<Recording>,
    counters: u64,
    held: u64,
}

impl Keeper {
    /// Begins. `counters` are those of the call's look.
    pub(crate) fn new(shelf: &Rc<Shelf>, recording: Recording, counters: u64) -> Self {
        Self { shelf: Rc::clone(shelf), recording: Some(recording), counters, held: 0 }
    }

    /// Takes a piece; false: there is no room, and this is to be dropped.
    #[must_use]
    pub(crate) fn push(&mut self, piece: &[u8]) -> bool {
        let bytes = piece.len() as u64;
        if !self.shelf.takes(bytes) {
            return false;
        }
        self.held += bytes;
        self.recording.as_mut().is_some_and(|recording| recording.push(piece))
    }

    /// The body has come as a whole.
    pub(crate) fn keep(mut self) {
        if let Some(recording) = self.recording.take() {
            self.shelf.with(self.counters, |cache| cache.keep(recording));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shelf.recording.set(self.shelf.recording.get().saturating_sub(self.held));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Exchange, Found, Place};
    use super::*;

    const PLACE: Place<'static> = Place { version: 1, route: "a/v1", routing: "", target: "/" };

    fn nothing() -> std::iter::Empty<(&'static str, &'static [u8])> {
        std::iter::empty()
    }

    /// A call that is answered later.
    fn begin(shelf: &Rc<Shelf>, counters: u64) -> Option<Keeper> {
        let recording = shelf.with(counters, |cache| {
            let Found::Miss(ticket) = cache.look(PLACE, "GET", &nothing(), 0) else { return None };
            let fields = [("cache-control", b"max-age=9".as_slice())];
            let exchange = Exchange {
                asked: nothing(),
                authenticated: false,
                status: 200,
                answered: fields.into_iter(),
            };
            cache.offer(PLACE, ticket, &exchange, 0)
        });
        Some(Keeper::new(shelf, recording??, counters))
    }

    fn has(shelf: &Shelf, counters: u64) -> bool {
        let found = shelf.with(counters, |cache| cache.look(PLACE, "GET", &nothing(), 0));
        matches!(found, Some(Found::Fresh(_)))
    }

    #[test]
    fn what_was_emptied_stays_empty() {
        let shelf = Rc::new(Shelf::default());
        assert!(begin(&shelf, 0).is_none(), "without room nothing is looked for");
        shelf.at(1 << 20, 1);
        let (first, second) = (begin(&shelf, 1).unwrap(), begin(&shelf, 1).unwrap());
        first.keep();
        assert!(has(&shelf, 1));
        shelf.at(1 << 20, 2);
        assert!(!has(&shelf, 2));
        second.keep();
        assert!(!has(&shelf, 2), "it was asked for before");
        begin(&shelf, 2).unwrap().keep();
        assert!(has(&shelf, 2));
        shelf.at(1 << 21, 2);
        assert!(!has(&shelf, 2), "another bound is another cache");
        shelf.at(0, 2);
        assert!(begin(&shelf, 2).is_none());
    }

    #[test]
    fn what_is_recorded_is_bounded_and_counted_off() {
        let shelf = Rc::new(Shelf::default());
        shelf.at(1 << 20, 0);
        let mut keepers: Vec<_> = (0..8).map(|_| begin(&shelf, 0).unwrap()).collect();
        let piece = vec![0; 60_000];
        let taken = keepers.iter_mut().map(|keeper| keeper.push(&piece)).filter(|taken| *taken).count();
        assert_eq!(taken, 4, "a quarter of the share");
        let last = keepers.pop();
        drop(keepers);
        assert_eq!(shelf.recording.get(), 0);
        assert!(last.unwrap().push(&piece));
        assert_eq!(shelf.recording.get(), 0);
    }
}
