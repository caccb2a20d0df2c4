//! Traffic of the last month, for reports: fed with finished records by their one writer, read by who may. A minute in full
//! is kept for an hour and its sums for a day, an hour for a month; so a month at full breadth is a few megabytes
//! (`holds_a_month` measures it), and a gateway without traffic holds nothing.

mod bucket;
mod sketch;

pub use bucket::{Bucket, Detail};
pub use sketch::{Top, Unique};

use crate::telemetry::AccessRecord;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

/// Seconds of a minute, an hour and a day.
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// Seconds for which a minute keeps its breakdown: the hour it belongs to, and the last hour.
const DETAIL_SECS: i64 = 61 * MINUTE;
/// Seconds for which a minute is kept: a day from the begin of an hour on.
const MINUTES_SECS: i64 = 25 * HOUR + MINUTE;
/// Seconds for which an hour is kept: a month of 31 days from the begin of a day on.
const HOURS_SECS: i64 = 32 * DAY;

/// Length of a report's points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Kept for a day; broken down for an hour.
    Minute,
    /// Kept for 32 days.
    Hour,
    /// Made of hours; UTC.
    Day,
}

impl Step {
    /// Seconds.
    #[must_use]
    pub fn secs(self) -> i64 {
        match self {
            Self::Minute => MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// Begin of the step that a moment lies in; both Unix seconds.
    #[must_use]
    pub fn begin(self, secs: i64) -> i64 {
        secs - secs.rem_euclid(self.secs())
    }
}

/// An hour that has ended, as text: a quarter of the memory that its maps would take, and few ask for it.
#[derive(Debug)]
struct Packed {
    at: i64,
    requests: u64,
    text: Box<str>,
}

impl Packed {
    fn new(hour: &Bucket) -> Self {
        // Numbers and names: this cannot fail.
        let text = serde_json::to_string(hour).unwrap_or_default().into_boxed_str();
        Self { at: hour.at, requests: hour.requests, text }
    }

    fn unpacked(&self) -> Bucket {
        // It was packed above.
        serde_json::from_str(&self.text).unwrap_or_else(|_| Bucket::begun(self.at))
    }
}

#[derive(Debug, Default)]
struct Kept {
    open: Bucket,
    minutes: VecDeque<Arc<Bucket>>,
    hours: VecDeque<Arc<Packed>>,
    /// Records known to be dropped when the last ones were counted.
    dropped: u64,
}

/// What has ended, to be written down.
#[derive(Debug, Clone, Default)]
pub struct Closed {
    /// The minute, if there was traffic in it.
    pub minute: Option<Arc<Bucket>>,
    /// The hour ended with it: what was kept of older times has changed.
    pub hour: bool,
}

/// A row of a file that keeps the history over a restart.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Row {
    /// A minute; one may stand in several rows, which add up.
    Minute(Arc<Bucket>),
    /// An hour.
    Hour(Arc<Bucket>),
}

/// The history; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<RwLock<Kept>>);

impl History {
    /// Counts finished requests in the present minute. `dropped`: records dropped since the start.
    pub fn count(&self, records: &[AccessRecord], dropped: u64) {
        // Outside the lock: readers are workers of the server.
        let mut batch = Bucket::default();
        if !records.is_empty() {
            batch.count(records);
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        batch.unseen = dropped.saturating_sub(std::mem::replace(&mut kept.dropped, dropped));
        batch.requests += batch.unseen;
        if batch.requests > 0 {
            kept.open.merge(&batch);
        }
    }

    /// Goes on to the minute that it is now; what has ended if it is another one than before.
    pub fn advance(&self, now_ms: i64) -> Option<Closed> {
        let minute = Step::Minute.begin(now_ms.div_euclid(1_000));
        if self.0.read().unwrap_or_else(PoisonError::into_inner).open.at == minute {
            return None;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::replace(&mut kept.open, Bucket::begun(minute));
        let hour = Step::Hour.begin(ended.at);
        let minute_row = (ended.requests > 0).then(|| Arc::new(ended));
        if let Some(row) = &minute_row {
            kept.put_minute(Arc::clone(row));
        }
        let hour_ended = hour != Step::Hour.begin(minute);
        if hour_ended {
            kept.close_hour(hour);
        }
        kept.forget(minute);
        Some(Closed { minute: minute_row, hour: hour_ended })
    }

    /// The minute that has not ended yet, if there was traffic in it.
    #[must_use]
    pub fn open(&self) -> Option<Row> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (kept.open.requests > 0).then(|| Row::Minute(Arc::new(kept.open.clone())))
    }

    /// All that has ended and is kept, as rows.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (hours, minutes) = (kept.hours.clone(), kept.minutes.clone());
        drop(kept);
        let hours = hours.iter().map(|hour| Row::Hour(Arc::new(hour.unpacked())));
        hours.chain(minutes.into_iter().map(Row::Minute)).collect()
    }

    /// Takes rows that were kept over a restart.
    pub fn restore(&self, rows: impl Iterator<Item = Row>, now_ms: i64) {
        let now = Step::Minute.begin(now_ms.div_euclid(1_000));
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            match row {
                Row::Minute(bucket) => kept.put_minute(bucket),
                Row::Hour(bucket) => kept.hours.push_back(Arc::new(Packed::new(&bucket))),
            }
        }
        // Hours that ended while nobody was there.
        let mut hours: Vec<i64> = kept.minutes.iter().map(|minute| Step::Hour.begin(minute.at)).collect();
        hours.dedup();
        for hour in hours {
            if hour != Step::Hour.begin(now) && !kept.hours.iter().any(|known| known.at == hour) {
                kept.close_hour(hour);
            }
        }
        kept.open.at = now;
        kept.forget(now);
    }

    /// Buckets that begin within these Unix seconds, `from` inclusive, `to` exclusive; only those with traffic, by time.
    /// Both should be the begin of a step: a bucket counts as a whole.
    #[must_use]
    pub fn between(&self, from: i64, to: i64, step: Step) -> Vec<Bucket> {
        let within = |at: i64| (from..to).contains(&step.begin(at));
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let present = Step::Hour.begin(kept.open.at);
        // Of the present hour there are only minutes.
        let minutes: Vec<_> = kept
            .minutes
            .iter()
            .filter(|row| within(row.at) && (step == Step::Minute || Step::Hour.begin(row.at) == present))
            .cloned()
            .collect();
        let hours =
            kept.hours.iter().filter(|row| step != Step::Minute && row.at != present && within(row.at));
        let hours: Vec<_> = hours.cloned().collect();
        let open = kept.open.clone();
        // What follows takes its time, and the writer must not wait for it.
        drop(kept);
        let mut found: BTreeMap<i64, Bucket> = BTreeMap::new();
        let mut add = |row: &Bucket| {
            let at = step.begin(row.at);
            found.entry(at).or_insert_with(|| Bucket::begun(at)).merge(row);
        };
        hours.iter().for_each(|hour| add(&hour.unpacked()));
        minutes.iter().for_each(|minute| add(minute));
        if open.requests > 0 && within(open.at) {
            add(&open);
        }
        found.into_values().collect()
    }
}

impl Kept {
    /// A minute may come twice: before and after a restart, or when the clock was set back.
    fn put_minute(&mut self, minute: Arc<Bucket>) {
        match self.minutes.iter_mut().rev().find(|known| known.at == minute.at) {
            Some(known) => Arc::make_mut(known).merge(&minute),
            None => self.minutes.push_back(minute),
        }
    }

    fn close_hour(&mut self, hour: i64) {
        let mut sum = Bucket::begun(hour);
        for minute in self.minutes.iter().filter(|minute| Step::Hour.begin(minute.at) == hour) {
            sum.merge(minute);
        }
        let known = self.hours.iter().position(|known| known.at == hour);
        match known.and_then(|index| self.hours.get_mut(index)) {
            // A clock that was set back: what knows of more counts.
            Some(known) if known.requests < sum.requests => *known = Arc::new(Packed::new(&sum)),
            None if sum.requests > 0 => self.hours.push_back(Arc::new(Packed::new(&sum))),
            _ => {}
        }
    }

    fn forget(&mut self, now: i64) {
        self.hours.retain(|hour| hour.at > now - HOURS_SECS);
        self.minutes.retain(|minute| minute.at > now - MINUTES_SECS);
        for minute in &mut self.minutes {
            if minute.at <= now - DETAIL_SECS && minute.detail.is_some() {
                *minute = Arc::new(minute.stripped());
            }
        }
    }
}

#[cfg(test)]
mod tests;
