//! Cached: what was kept answers in place of an upstream, and what an upstream answers is kept, for APIs that say so
//! (RFC 9111). It comes behind all checks: a kept answer is as hard to get as any other.

use crate::call::{Allowed, Call};
use crate::client::stream::Client;
use crate::failure::Failure;
use crate::http1::Framing;
use crate::http1::fields::Name;
use crate::policies::cache::invalidation::voids;
use crate::policies::cache::shelf::{Keeper, Shelf};
use crate::policies::cache::stored::is_of_304;
use crate::policies::cache::{Exchange, Fields, Found, Place, Stored, Ticket};
use crate::stages::forward::{Answered, forward};
use crate::stages::record::Record;
use crate::stages::shape::{Shaped, lines};
use crate::stages::streamed::Streamed;
use crate::upstream::head::Head;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;

/// Fields by which a client speaks to caches; they count as the client sent them, whether they pass upstream or not.
const TO_CACHES: [&str; 8] = [
    "cache-control",
    "pragma",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

/// An answer that was kept.
pub(crate) struct Kept {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    pub(crate) age_secs: i64,
}

/// Who answers.
#[expect(clippy::large_enum_variant, reason = "one for each call, and the larger one is the common one")]
pub(crate) enum Origin {
    Upstream(Answered),
    Kept(Kept),
}

impl Origin {
    /// What is answered, as the upstream said it.
    pub(crate) fn head(&self) -> &Head {
        match self {
            Self::Upstream(answered) => &answered.connection.head,
            Self::Kept(kept) => &kept.head,
        }
    }
}

/// An answer to be given.
pub(crate) struct Given {
    pub(crate) origin: Origin,
    /// `X-Cache`; `None` where nothing is kept.
    pub(crate) state: Option<&'static str>,
    /// Takes the body as it passes.
    pub(crate) keeper: Option<Keeper>,
}

pub(crate) async fn cached<'a>(
    shaped: Shaped<'a>,
    call: &Call<'a, Allowed<'a>>,
    client: &mut Client,
    record: &mut Record<'a>,
) -> Result<Given, Failure> {
    if !call.stage.0.routed.route.api.cache {
        let answered = forward(shaped, call, client, record).await?;
        return Ok(Given { origin: Origin::Upstream(answered), state: None, keeper: None });
    }
    let visit = Visit::new(&shaped, call);
    match visit.look(&shaped) {
        Found::Pass => {
            let answered = forward(shaped, call, client, record).await?;
            if voids(call.head.method(), answered.connection.head.status) {
                visit.shelf.void(visit.place().route, &visit.target);
            }
            Ok(Given { origin: Origin::Upstream(answered), state: Some("bypass"), keeper: None })
        }
        Found::OnlyIfCached => Err(Failure::NotKept),
        Found::Fresh(stored) => {
            call.lane.spare(shaped.into_fields());
            Ok(visit.kept(&stored, "hit"))
        }
        Found::Miss(ticket) => {
            let answered = forward(shaped, call, client, record).await?;
            Ok(visit.came(answered, ticket))
        }
        Found::Stale(stored, ticket) => {
            let asking = shaped.validating(stored.validators(), call.lane.buffer());
            let answered = forward(asking, call, client, record).await?;
            if answered.connection.head.status != 304 {
                return Ok(visit.came(answered, ticket));
            }
            let confirmed = visit.confirmed((&stored, ticket), &answered);
            // It has no body: the connection goes home.
            drop(Streamed::begin(answered, false, call.lane, call.prepared.limits.idle_connections));
            if let Some(stored) = confirmed {
                return Ok(visit.kept(&stored, "stale"));
            }
            let answered = forward(shaped, call, client, record).await?;
            Ok(visit.came(answered, ticket))
        }
    }
}

/// One call's business with the cache.
struct Visit<'v, 'a> {
    call: &'v Call<'a, Allowed<'a>>,
    shelf: &'v Rc<Shelf>,
    /// Path and query as the client gave them: they tell the endpoint, and so what is asked for upstream.
    target: String,
    routing: &'v str,
    version: u64,
    authenticated: bool,
    /// The fields that go upstream.
    fields: Vec<u8>,
}

impl<'v, 'a> Visit<'v, 'a> {
    fn new(shaped: &Shaped<'a>, call: &'v Call<'a, Allowed<'a>>) -> Self {
        let (known, head, prepared) = (&call.stage.0, call.head, call.prepared);
        let path = head.path().get(known.routed.rest_at..).filter(|path| !path.is_empty());
        let mut target = path.unwrap_or("/").to_owned();
        if let Some(query) = head.query().filter(|query| !query.is_empty()) {
            target.extend(["?", query]);
        }
        let mut version = known.routed.route.version;
        let key = head.get_text(Name::ClientKey).filter(|key| prepared.routings.contains_key(*key));
        if key.is_some() {
            version = version.max(prepared.routed.0);
        }
        let mut fields = call.lane.buffer();
        fields.extend_from_slice(shaped.fields());
        Self {
            call,
            shelf: call.lane.shelf(prepared),
            target,
            routing: key.unwrap_or_default(),
            version,
            // Where a key of the credit group goes upstream, what is answered may be the caller's own.
            authenticated: known.who.is_some()
                || shaped.keyed
                || head.get(Name::Authorization).is_some()
                || head.get(Name::ApiKey).is_some(),
            fields,
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            version: self.version,
            route: &self.call.stage.0.routed.route.name,
            routing: self.routing,
            target: &self.target,
        }
    }

    /// The request's fields for the cache.
    fn asked(&self) -> impl Fields<'_> {
        let of_client = |name: &str| TO_CACHES.iter().any(|one| name.eq_ignore_ascii_case(one));
        let client = self.call.head.fields();
        let client = client.filter_map(|(_, name, value)| Some((std::str::from_utf8(name).ok()?, value)));
        lines(&self.fields)
            .filter(move |(name, _)| !of_client(name))
            .chain(client.filter(move |(name, _)| of_client(name)))
    }

    fn look(&self, shaped: &Shaped<'_>) -> Found {
        if !shaped.bodiless() || self.call.stage.0.routed.switch {
            return Found::Pass;
        }
        let method = self.call.head.method();
        let now_ms = self.call.lane.clock.unix_ms();
        let found = self.shelf.with(self.call.prepared.counters, |cache| {
            cache.look(self.place(), method, &self.asked(), now_ms)
        });
        found.unwrap_or(Found::Pass)
    }

    fn kept(&self, stored: &Stored, state: &'static str) -> Given {
        let age_secs = stored.age_secs(self.call.lane.clock.unix_ms());
        let kept = if stored.not_modified(self.asked()) {
            let fields = stored.fields().filter(|(name, _)| is_of_304(name));
            Kept { head: Head::made(304, None, fields), body: Bytes::new(), age_secs }
        } else {
            let length = Some(stored.body.len() as u64);
            let head = Head::made(stored.status, length, stored.fields());
            Kept { head, body: stored.body.clone(), age_secs }
        };
        Given { origin: Origin::Kept(kept), state: Some(state), keeper: None }
    }

    /// An upstream's answer, to be kept if it may be.
    fn came(&self, answered: Answered, ticket: Ticket) -> Given {
        let counters = self.call.prepared.counters;
        let head = &answered.connection.head;
        // Where the connection's end is the body's, nobody knows whether it was cut.
        let recording = (head.framing(false) != Framing::UntilClose).then(|| {
            let now_ms = self.call.lane.clock.unix_ms();
            let exchange = self.exchange(head);
            self.shelf.with(counters, |cache| cache.offer(self.place(), ticket, &exchange, now_ms))
        });
        let keeper = recording.flatten().flatten();
        let keeper = keeper.map(|recording| Keeper::new(self.shelf, recording, counters));
        Given { origin: Origin::Upstream(answered), state: Some("miss"), keeper }
    }

    fn confirmed(&self, stale: (&Stored, Ticket), answered: &Answered) -> Option<Arc<Stored>> {
        let now_ms = self.call.lane.clock.unix_ms();
        let exchange = self.exchange(&answered.connection.head);
        let counters = self.call.prepared.counters;
        self.shelf.with(counters, |cache| cache.confirm(self.place(), stale, exchange, now_ms)).flatten()
    }

    fn exchange<'x>(&'x self, head: &'x Head) -> Exchange<impl Fields<'x>, impl Fields<'x>> {
        let fields = head.fields().filter(|(name, text, _)| !name.hop_by_hop() && !head.ends(text));
        let answered = fields.filter_map(|(_, name, value)| Some((std::str::from_utf8(name).ok()?, value)));
        Exchange { asked: self.asked(), authenticated: self.authenticated, status: head.status, answered }
    }
}

impl Drop for Visit<'_, '_> {
    fn drop(&mut self) {
        self.call.lane.spare(std::mem::take(&mut self.fields));
    }
}
