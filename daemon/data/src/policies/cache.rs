//! The response cache of one worker: a shared cache as of RFC 9111, bounded in bytes, without a lock. `http-cache-semantics`
//! was looked at and left: it takes `No-Store` for an unknown word, drops doubled fields and overflows on a huge `Age`.

mod conditional;
mod control;
pub(crate) mod invalidation;
pub(crate) mod shelf;
pub(crate) mod stored;

pub(crate) use invalidation::Invalidations;
pub(crate) use stored::{Exchange, Fields, Stored};

use bytes::Bytes;
use control::Control;
use quick_cache::unsync::{Cache as Store, DefaultLifecycle};
use quick_cache::{Equivalent, OptionsBuilder, Weighter};
use std::hash::RandomState;
use std::sync::Arc;
use stored::{Head, Times};

/// Answers kept for one target, by what `Vary` names.
const VARIANTS: usize = 8;
/// One answer takes at most this part of the cache.
const PART: u64 = 16;
/// Bytes an answer is thought to have, when places are reckoned.
const TYPICAL_BYTES: u64 = 8_192;

/// Where answers are kept. `version` is another number for each version of the API's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place<'a> {
    /// Of the compiled API.
    pub(crate) version: u64,
    /// `name/version` of the API.
    pub(crate) route: &'a str,
    /// The client key that chose the servers; empty: none did.
    pub(crate) routing: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    version: u64,
    route: Box<str>,
    routing: Box<str>,
    target: Box<str>,
}

impl Equivalent<Key> for Place<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == Place { version: key.version, route: &key.route, routing: &key.routing, target: &key.target }
    }
}

impl From<Place<'_>> for Key {
    fn from(place: Place<'_>) -> Self {
        Self {
            version: place.version,
            route: place.route.into(),
            routing: place.routing.into(),
            target: place.target.into(),
        }
    }
}

type Variants = Arc<[Arc<Stored>]>;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Key, Variants> for ByBytes {
    fn weight(&self, key: &Key, variants: &Variants) -> u64 {
        let texts = key.route.len() + key.routing.len() + key.target.len();
        let bodies: usize = variants.iter().map(|stored| stored.bytes()).sum();
        u64::try_from(texts + bodies).unwrap_or(u64::MAX >> 16).max(1)
    }
}

/// Leave to keep what the upstream answers to this call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    stamp: u64,
    asked_ms: i64,
}

/// What the cache has for a call.
#[derive(Debug)]
pub(crate) enum Found {
    /// This call is none for it, neither now nor with its answer.
    Pass,
    /// 504 answers: the client wants nothing from upstream.
    OnlyIfCached,
    /// Nothing; what comes may be offered.
    Miss(Ticket),
    /// This one answers, with its `Age`, or with 304 if [`Stored::not_modified`].
    Fresh(Arc<Stored>),
    /// To be confirmed: its [`Stored::validators`] go upstream instead of the client's own.
    Stale(Arc<Stored>, Ticket),
}

/// An answer being kept as its body comes.
#[derive(Debug)]
pub(crate) struct Recording {
    key: Key,
    head: Head,
    times: Times,
    stamp: u64,
    body: Vec<u8>,
    room: usize,
}

impl Recording {
    /// Takes a piece; false: it is too long, and is to be dropped.
    #[must_use]
    pub(crate) fn push(&mut self, piece: &[u8]) -> bool {
        let fits = self.body.len() + piece.len() <= self.room;
        if fits {
            self.body.extend_from_slice(piece);
        }
        fits
    }
}

/// The cache of one worker.
pub(crate) struct Cache {
    store: Store<Key, Variants, ByBytes, RandomState>,
    shared: Arc<Invalidations>,
    entry_bytes: u64,
    counters: u64,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.store.weight()).finish_non_exhaustive()
    }
}

impl Cache {
    /// `bytes` is this worker's share; `None`: too few for anything.
    pub(crate) fn new(bytes: u64, shared: Arc<Invalidations>) -> Option<Self> {
        let places = usize::try_from(bytes / TYPICAL_BYTES).ok()?;
        let options =
            OptionsBuilder::new().estimated_items_capacity(places).weight_capacity(bytes).build().ok()?;
        let store = Store::with_options(options, ByBytes, RandomState::new(), DefaultLifecycle::default());
        (places > 0).then(|| Self { store, shared, entry_bytes: bytes / PART, counters: 0 })
    }

    /// Forgets all when the snapshot's `counters` have moved (`DELETE /api/caches`).
    pub(crate) fn at(&mut self, counters: u64) {
        if self.counters != counters {
            self.store.clear();
            self.counters = counters;
        }
    }

    /// Looks for an answer. `asked` are the fields as they would be sent upstream, the client's conditions among them; a
    /// call with a body is none for the cache.
    pub(crate) fn look<'f>(
        &self,
        place: Place<'_>,
        method: &str,
        asked: &impl Fields<'f>,
        now_ms: i64,
    ) -> Found {
        let conditions = ["range", "if-range", "if-match", "if-unmodified-since"];
        let has = |names: &[&str]| {
            asked.clone().any(|(name, _)| names.iter().any(|one| name.eq_ignore_ascii_case(one)))
        };
        if !matches!(method, "GET" | "HEAD") || has(&conditions) {
            return Found::Pass;
        }
        let values = |wanted: &'static str| {
            asked.clone().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let control = Control::parse(values("cache-control"));
        if control.no_store {
            return Found::Pass;
        }
        let stamp = self.shared.stamp(place.route, place.target);
        let variants = self.store.get(&place).map(|variants| &**variants).unwrap_or_default();
        // The latest is the last one.
        let stored = variants.iter().rev().find(|stored| stored.stamp == stamp && stored.suits(asked));
        let pragma = values("pragma").any(|value| value.trim_ascii().eq_ignore_ascii_case(b"no-cache"));
        let insists = control.no_cache || (pragma && !has(&["cache-control"]));
        let usable = stored.filter(|stored| {
            let least_ms = secs_to_ms(control.min_fresh.unwrap_or(0)).max(1);
            let young =
                control.max_age.is_none_or(|secs| stored.age_secs(now_ms) * 1_000 <= secs_to_ms(secs));
            !insists && young && stored.fresh_ms(now_ms) >= least_ms
        });
        let ticket = Ticket { stamp, asked_ms: now_ms };
        match (usable, stored) {
            (Some(stored), _) => Found::Fresh(Arc::clone(stored)),
            _ if control.only_if_cached => Found::OnlyIfCached,
            // What HEAD is answered with keeps no body, so nothing is confirmed by it.
            _ if method == "HEAD" => Found::Pass,
            (_, Some(stored)) if stored.validators().next().is_some() => {
                Found::Stale(Arc::clone(stored), ticket)
            }
            _ => Found::Miss(ticket),
        }
    }

    /// Offers the head of an answer to a GET whose [`Ticket`] this is; `None`: it is not kept.
    pub(crate) fn offer<'f, Q: Fields<'f>, A: Fields<'f>>(
        &self,
        place: Place<'_>,
        ticket: Ticket,
        exchange: &Exchange<Q, A>,
        now_ms: i64,
    ) -> Option<Recording> {
        let head = Head::read(exchange)?;
        let room = usize::try_from(self.entry_bytes).ok()?.checked_sub(head.bytes())?;
        let times = Times { asked_ms: ticket.asked_ms, answered_ms: now_ms };
        Some(Recording { key: place.into(), head, times, stamp: ticket.stamp, body: Vec::new(), room })
    }

    /// Keeps an answer whose body came as a whole; one that was cut off is dropped instead.
    pub(crate) fn keep(&mut self, recording: Recording) {
        let Recording { key, head, times, stamp, body, .. } = recording;
        self.insert(key, Arc::new(head.with(Bytes::from(body.into_boxed_slice()), times, stamp)));
    }

    fn insert(&mut self, key: Key, stored: Arc<Stored>) {
        let place =
            Place { version: key.version, route: &key.route, routing: &key.routing, target: &key.target };
        let others = self.store.peek(&place).map(|variants| &**variants).unwrap_or_default();
        let mut variants: Vec<_> =
            others.iter().filter(|other| !other.same_place(&stored)).map(Arc::clone).collect();
        variants.push(stored);
        let mut bytes: usize = variants.iter().map(|stored| stored.bytes()).sum();
        let most = usize::try_from(self.entry_bytes).unwrap_or(usize::MAX);
        let mut gone = 0;
        while variants.len() - gone > VARIANTS || (bytes > most && variants.len() - gone > 1) {
            bytes -= variants.get(gone).map_or(0, |oldest| oldest.bytes());
            gone += 1;
        }
        self.store.insert(key, variants.into_iter().skip(gone).collect());
    }

    /// Takes the 304 that confirms a stale answer, and gives what answers the client now. `None`: it speaks of another
    /// version; the call is to be made again without validators.
    pub(crate) fn confirm<'f, Q: Fields<'f>, A: Fields<'f>>(
        &mut self,
        place: Place<'_>,
        (stale, ticket): (&Stored, Ticket),
        exchange: Exchange<Q, A>,
        now_ms: i64,
    ) -> Option<Arc<Stored>> {
        if !stale.confirmed(&exchange.answered) {
            return None;
        }
        let fields = stale.refreshed(&exchange.answered);
        let answered = fields.iter().map(|(name, value)| (&**name, &**value));
        let times = Times { asked_ms: ticket.asked_ms, answered_ms: now_ms };
        let refreshed = Exchange {
            asked: exchange.asked,
            authenticated: exchange.authenticated,
            status: stale.status,
            answered,
        };
        match Head::read(&refreshed) {
            Some(head) => {
                let stored = Arc::new(head.with(stale.body.clone(), times, ticket.stamp));
                self.insert(place.into(), Arc::clone(&stored));
                Some(stored)
            }
            None => {
                // It answers this call and is kept no longer.
                self.store.remove(&place);
                Some(Arc::new(stale.once(fields, times)))
            }
        }
    }
}

fn secs_to_ms(secs: u64) -> i64 {
    i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
