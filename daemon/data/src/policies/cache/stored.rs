//! One kept answer: whether it may be kept (RFC 9111 3), how long it is fresh (4.2), whom it suits (4.1), and what a 304
//! of its upstream makes of it (4.3.4). No heuristic: what says nothing about its life is not kept.

use super::conditional::{Tag, date, has_it};
use super::control::Control;
use bytes::Bytes;

/// Statuses whose answers are understood as a whole.
const STATUSES: [u16; 14] = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];
/// Names that one `Vary` may have.
const VARY_NAMES: usize = 16;
/// Fields of the stored answer that a 304 does not change: they belong to the body.
const OF_THE_BODY: [&str; 4] = ["content-encoding", "content-length", "content-range", "content-type"];
/// Fields of a 304 (RFC 9110 15.4.5).
const OF_304: [&str; 7] =
    ["cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary"];
/// Bytes an entry takes beside its texts.
const OVERHEAD: usize = 256;

/// Fields of a message, names in any case.
pub(crate) trait Fields<'f>: Iterator<Item = (&'f str, &'f [u8])> + Clone {}
impl<'f, F: Iterator<Item = (&'f str, &'f [u8])> + Clone> Fields<'f> for F {}

/// A field as it is kept.
pub(super) type Field = (Box<str>, Box<[u8]>);

/// When a call was sent and its head came, Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) asked_ms: i64,
    pub(super) answered_ms: i64,
}

/// What of a call and its answer's head decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<Q, A> {
    /// Fields of the request as they were sent upstream.
    pub(crate) asked: Q,
    /// The call had a credential of whatever kind.
    pub(crate) authenticated: bool,
    /// Status of the answer.
    pub(crate) status: u16,
    /// End-to-end fields of the answer as the upstream sent them.
    pub(crate) answered: A,
}

/// A kept answer.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Status.
    pub(crate) status: u16,
    fields: Vec<Field>,
    /// Body.
    pub(crate) body: Bytes,
    /// Names of `Vary` in lower case, with what this answer's request had.
    vary: Vec<(Box<str>, Box<[u8]>)>,
    /// Milliseconds it had behind it when it came.
    initial_age_ms: i64,
    answered_ms: i64,
    lifetime_ms: i64,
    revalidate: bool,
    /// State of its place when its call was sent; see `Invalidations`.
    pub(super) stamp: u64,
}

/// A head that may be kept.
#[derive(Debug)]
pub(super) struct Head {
    status: u16,
    fields: Vec<Field>,
    vary: Vec<(Box<str>, Box<[u8]>)>,
    lifetime_ms: i64,
    revalidate: bool,
    age_value_ms: i64,
    date_ms: Option<i64>,
}

/// All values of a field as one; empty and missing are the same.
pub(super) fn combined<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>, name: &str) -> Vec<u8> {
    let mut whole = Vec::new();
    for (_, value) in fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)) {
        if !whole.is_empty() {
            whole.extend_from_slice(b", ");
        }
        whole.extend_from_slice(value.trim_ascii());
    }
    whole
}

impl Head {
    /// A head that may be kept.
    pub(super) fn read<'q, 'a, Q: Fields<'q>, A: Fields<'a>>(exchange: &Exchange<Q, A>) -> Option<Self> {
        let (asked, answered) = (&exchange.asked, &exchange.answered);
        let values = |wanted: &'static str| {
            answered
                .clone()
                .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value)
        };
        let control = Control::parse(values("cache-control"));
        let asked_control = Control::parse(
            asked
                .clone()
                .filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"))
                .map(|(_, value)| value),
        );
        let credentials = exchange.authenticated
            || asked.clone().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let forbidden = control.no_store || control.private || asked_control.no_store;
        // A cookie is for one client, whatever the upstream says of the rest.
        let own = values("set-cookie").next().is_some() || values("content-range").next().is_some();
        if forbidden || own || !STATUSES.contains(&exchange.status) || (credentials && !control.shares()) {
            return None;
        }
        let date_ms = single(values("date")).and_then(date);
        let lifetime_secs = lifetime(&control, values("expires"), date_ms)?;
        let validated =
            single(values("etag")).and_then(Tag::parse).is_some() || values("last-modified").next().is_some();
        let revalidate = control.no_cache;
        if (revalidate || lifetime_secs <= 0) && !validated {
            return None;
        }
        let age =
            single(values("age")).and_then(|text| std::str::from_utf8(text).ok()?.trim().parse::<u32>().ok());
        Some(Self {
            status: exchange.status,
            fields: answered
                .clone()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("age"))
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            vary: nominated(values("vary"), asked)?,
            lifetime_ms: lifetime_secs.saturating_mul(1_000),
            revalidate,
            age_value_ms: i64::from(age.unwrap_or(0)) * 1_000,
            date_ms,
        })
    }

    /// The answer as a whole, fit for [`Stored::suits`].
    pub(super) fn with(self, body: Bytes, times: Times, stamp: u64) -> Stored {
        let apparent = self.date_ms.map_or(0, |date| times.answered_ms.saturating_sub(date).max(0));
        let delay = times.answered_ms.saturating_sub(times.asked_ms).max(0);
        Stored {
            status: self.status,
            fields: self.fields,
            body,
            vary: self.vary,
            initial_age_ms: apparent.max(self.age_value_ms.saturating_add(delay)),
            answered_ms: times.answered_ms,
            lifetime_ms: self.lifetime_ms,
            revalidate: self.revalidate,
            stamp,
        }
    }

    /// Bytes without the body.
    pub(super) fn bytes(&self) -> usize {
        bytes(&self.fields) + bytes(&self.vary) + OVERHEAD
    }
}

fn bytes(fields: &[Field]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum()
}

/// The only one; several are none.
fn single<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
    values.next().filter(|_| values.next().is_none())
}

/// Seconds; `None`: the upstream says nothing.
fn lifetime<'v>(
    control: &Control,
    expires: impl Iterator<Item = &'v [u8]> + Clone,
    date_ms: Option<i64>,
) -> Option<i64> {
    if let Some(secs) = control.s_maxage.or(control.max_age) {
        return i64::try_from(secs).ok();
    }
    if expires.clone().next().is_some() {
        // Unreadable, or doubled: in the past. Without a date of its own nothing can be measured.
        let expires = single(expires).and_then(date);
        return Some(expires.zip(date_ms).map_or(0, |(until, from)| until.saturating_sub(from) / 1_000));
    }
    control.no_cache.then_some(0)
}

/// The names of `Vary` with what the request had under each; `None` for `*` and for too many.
fn nominated<'q, 'a>(values: impl Iterator<Item = &'a [u8]>, asked: &impl Fields<'q>) -> Option<Vec<Field>> {
    let mut found: Vec<Field> = Vec::new();
    for name in values.flat_map(|value| value.split(|byte| *byte == b',')) {
        let name = std::str::from_utf8(name.trim_ascii()).ok()?.to_ascii_lowercase();
        if name == "*" || found.len() >= VARY_NAMES {
            return None;
        }
        if !name.is_empty() && !found.iter().any(|(other, _)| **other == *name) {
            let value = combined(asked.clone(), &name);
            found.push((name.into(), value.into()));
        }
    }
    found.sort();
    Some(found)
}

impl Stored {
    /// Its fields, without `Age`.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    fn field(&self, wanted: &str) -> Option<&[u8]> {
        self.fields().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    }

    /// Value of `Age`, seconds.
    pub(crate) fn age_secs(&self, now_ms: i64) -> i64 {
        self.age_ms(now_ms) / 1_000
    }

    fn age_ms(&self, now_ms: i64) -> i64 {
        self.initial_age_ms.saturating_add(now_ms.saturating_sub(self.answered_ms).max(0))
    }

    /// Milliseconds it is still fresh for; not above 0 is stale.
    pub(super) fn fresh_ms(&self, now_ms: i64) -> i64 {
        if self.revalidate { 0 } else { self.lifetime_ms.saturating_sub(self.age_ms(now_ms)) }
    }

    /// Whether a request of these fields selects it.
    pub(super) fn suits<'f>(&self, asked: &impl Fields<'f>) -> bool {
        self.vary.iter().all(|(name, value)| combined(asked.clone(), name) == **value)
    }

    /// Whether another answer takes its place.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        self.vary == other.vary
    }

    /// Fields that ask the upstream whether it still holds, in place of the client's own; empty: it cannot be asked.
    pub(crate) fn validators(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let etag = self.field("etag").filter(|etag| Tag::parse(etag).is_some());
        let modified = self.field("last-modified").filter(|_| etag.is_none());
        [etag.map(|tag| ("if-none-match", tag)), modified.map(|date| ("if-modified-since", date))]
            .into_iter()
            .flatten()
    }

    /// Whether the client has it already; then 304 with the fields of [`is_of_304`] answers.
    pub(crate) fn not_modified<'f>(&self, asked: impl Iterator<Item = (&'f str, &'f [u8])>) -> bool {
        self.status == 200 && has_it(asked, self.field("etag"), self.field("last-modified"))
    }

    /// It may be confirmed by a 304 of these fields: that one is not about another version.
    pub(super) fn confirmed<'f>(&self, answered: &impl Fields<'f>) -> bool {
        let etag = answered.clone().find(|(name, _)| name.eq_ignore_ascii_case("etag"));
        match (etag.and_then(|(_, value)| Tag::parse(value)), self.field("etag").and_then(Tag::parse)) {
            (None, _) => true,
            (Some(new), Some(own)) => new.same(own) && (!new.is_strong() || own.is_strong()),
            (Some(_), None) => false,
        }
    }

    /// Its fields with those of a 304 in their place.
    pub(super) fn refreshed<'f>(&self, answered: &impl Fields<'f>) -> Vec<Field> {
        let belongs = |name: &str| OF_THE_BODY.iter().any(|of| name.eq_ignore_ascii_case(of));
        let replaced =
            |name: &str| !belongs(name) && answered.clone().any(|(new, _)| new.eq_ignore_ascii_case(name));
        let kept = self.fields().filter(|(name, _)| !replaced(name));
        let new = answered.clone().filter(|(name, _)| !belongs(name));
        kept.map(|(name, value)| (name.into(), value.into()))
            .chain(new.map(|(name, value)| (name.into(), value.into())))
            .collect()
    }

    /// For the call at hand only: with other fields, and stale at once.
    pub(super) fn once(&self, fields: Vec<Field>, times: Times) -> Self {
        Self {
            status: self.status,
            fields,
            body: self.body.clone(),
            vary: Vec::new(),
            initial_age_ms: 0,
            answered_ms: times.answered_ms,
            lifetime_ms: 0,
            revalidate: true,
            stamp: 0,
        }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        bytes(&self.fields) + bytes(&self.vary) + self.body.len() + OVERHEAD
    }
}

/// Whether a field of the answer goes into a 304.
pub(crate) fn is_of_304(name: &str) -> bool {
    OF_304.iter().any(|of| name.eq_ignore_ascii_case(of))
}

#[cfg(test)]
mod tests;
