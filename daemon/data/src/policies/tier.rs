//! The limits of a user's tier (spec/doorman.md 4.10, 5.3): so many per second to month, with bursts on top, and the
//! quotas of the calendar day and month. All are looked at before any counts, so that a refused call uses up nothing.

use crate::policies::standing::{Standing, window_ends};
use gatehouse_corridor::meter::{Meter, Usage, calendar};
use gatehouse_corridor::snapshot::consumer::Tier;

const DAY_MS: i64 = 86_400_000;
/// Second, minute, hour, day, month of 30 days: the order of [`Usage::tier`].
const WINDOWS_MS: [u64; 5] = [1_000, 60_000, 3_600_000, 86_400_000, 2_592_000_000];
/// From here on a limit of a second to a day is none (spec/doorman.md 5.3).
const NO_LIMIT: u64 = 999_999;

/// What is to become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on; the numbers of the limit that is nearest, if there is one.
    Pass(Option<Standing>),
    /// It asks again after so many milliseconds.
    Wait(u64),
    /// 429 `RATE_LIMIT_EXCEEDED`, with the numbers of the limit that lasts longest.
    Refuse(Standing),
}

/// A tier, compiled.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Limit and burst, in the order of [`WINDOWS_MS`].
    windows: [Option<(u64, u64)>; 5],
    daily: Option<u64>,
    monthly: Option<u64>,
    monthly_bytes: Option<u64>,
    queue_ms: u64,
}

/// What a limit counts in.
#[derive(Clone, Copy)]
enum Span {
    Window(u64),
    Day(i64),
    Month(i64),
}

/// One limit and the meter it counts in.
#[derive(Clone, Copy)]
struct Gauge<'a> {
    meter: &'a Meter,
    limit: u64,
    burst: u64,
    span: Span,
}

impl Gauge<'_> {
    /// The time and window that the meter takes.
    fn at(&self, now_ms: i64) -> (i64, u64) {
        match self.span {
            Span::Window(window_ms) => (now_ms, window_ms),
            Span::Day(number) | Span::Month(number) => (number, 1),
        }
    }

    fn most(&self) -> u64 {
        self.limit.saturating_add(self.burst)
    }

    fn used(&self, now_ms: i64) -> u64 {
        let (now, window) = self.at(now_ms);
        self.meter.used(now, window)
    }

    fn take(&self, now_ms: i64) -> Option<u64> {
        let (now, window) = self.at(now_ms);
        self.meter.take(self.most(), now, window)
    }

    fn standing(&self, used: u64, now_ms: i64) -> Standing {
        let reset_ms = match self.span {
            Span::Window(window_ms) => window_ends(now_ms, window_ms),
            Span::Day(day) => day.saturating_add(1).saturating_mul(DAY_MS),
            Span::Month(month) => month_begins(month + 1),
        };
        Standing::new(self.limit, self.burst, used, reset_ms)
    }
}

/// The first millisecond of a month as [`calendar`] numbers it: the same arithmetic the other way.
fn month_begins(month: i64) -> i64 {
    let (year, march_month) = (month.div_euclid(12), month.rem_euclid(12));
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    (year * 365 + leaps + (153 * march_month + 2) / 5 - 719_468) * DAY_MS
}

impl Limits {
    /// Compiles a tier; an error names the field.
    pub(crate) fn compile(tier: &Tier) -> Result<Self, String> {
        let named = [
            ("requests_per_second", tier.per_second, tier.burst_per_second),
            ("requests_per_minute", tier.per_minute, tier.burst_per_minute),
            ("requests_per_hour", tier.per_hour, tier.burst_per_hour),
            ("requests_per_day", tier.per_day, 0),
            ("requests_per_month", tier.per_month, 0),
        ];
        let mut windows = [None; 5];
        for (index, (place, (field, limit, burst))) in windows.iter_mut().zip(named).enumerate() {
            if limit == Some(0) && burst == 0 {
                return Err(format!("{field}: 0: expected at least 1, or none for no limit"));
            }
            let limit = limit.filter(|limit| *limit < NO_LIMIT || index == 4);
            *place = limit.map(|limit| (limit, burst));
        }
        let (daily, monthly, monthly_bytes) = (tier.daily_quota, tier.monthly_quota, tier.monthly_bytes);
        Ok(Self { windows, daily, monthly, monthly_bytes, queue_ms: tier.queue_ms })
    }

    fn gauges<'a>(&'a self, usage: &'a Usage, now_ms: i64) -> impl Iterator<Item = Gauge<'a>> {
        // Only quotas ask for the calendar.
        let quotas = self.daily.is_some() || self.monthly.is_some();
        let (day, month) = if quotas { calendar(now_ms) } else { (0, 0) };
        let windows = self.windows.iter().zip(&usage.tier).zip(WINDOWS_MS);
        let windows = windows.filter_map(|((limit, meter), window_ms)| {
            limit.map(|(limit, burst)| Gauge { meter, limit, burst, span: Span::Window(window_ms) })
        });
        let quota =
            |limit: Option<u64>, meter, span| limit.map(|limit| Gauge { meter, limit, burst: 0, span });
        windows.chain(quota(self.daily, &usage.day_requests, Span::Day(day))).chain(quota(
            self.monthly,
            &usage.month_requests,
            Span::Month(month),
        ))
    }

    /// Decides and, if the call goes on, counts it. `waited_ms`: how long it has waited here already;
    /// `content_length`: what its body will have, 0 if that is not known.
    pub(crate) fn decide(&self, usage: &Usage, content_length: u64, now_ms: i64, waited_ms: u64) -> Verdict {
        let mut over: Option<Standing> = self.bytes_over(usage, content_length, now_ms);
        for gauge in self.gauges(usage, now_ms) {
            let used = gauge.used(now_ms);
            if used >= gauge.most() {
                let standing = gauge.standing(used, now_ms);
                over = over.filter(|other| other.reset_ms >= standing.reset_ms).or(Some(standing));
            }
        }
        if let Some(standing) = over {
            return self.late(standing, now_ms, waited_ms);
        }
        let mut nearest: Option<(u64, Gauge<'_>, u64)> = None;
        for gauge in self.gauges(usage, now_ms) {
            // Another call was quicker; what the limits before this one counted stays counted.
            let Some(used) = gauge.take(now_ms) else {
                return self.late(gauge.standing(gauge.most(), now_ms), now_ms, waited_ms);
            };
            let left = gauge.most() - used;
            if nearest.as_ref().is_none_or(|(least, ..)| left < *least) {
                nearest = Some((left, gauge, used));
            }
        }
        Verdict::Pass(nearest.map(|(_, gauge, used)| gauge.standing(used, now_ms)))
    }

    /// Waits for the limit's end if the queue's time suffices for that.
    fn late(&self, standing: Standing, now_ms: i64, waited_ms: u64) -> Verdict {
        let wait = u64::try_from(standing.reset_ms.saturating_sub(now_ms)).unwrap_or(0).max(1);
        match waited_ms.saturating_add(wait) <= self.queue_ms {
            true => Verdict::Wait(wait),
            false => Verdict::Refuse(standing),
        }
    }

    fn bytes_over(&self, usage: &Usage, content_length: u64, now_ms: i64) -> Option<Standing> {
        let limit = self.monthly_bytes?;
        let month = calendar(now_ms).1;
        let used = usage.month_bytes.used(month, 1);
        let over = used >= limit || used.saturating_add(content_length) > limit;
        over.then(|| Standing::new(limit, 0, used, month_begins(month + 1)))
    }

    /// After a call, with the time of then: what its bodies had.
    pub(crate) fn moved(&self, usage: &Usage, bytes: u64, now_ms: i64) {
        if self.monthly_bytes.is_some() {
            usage.month_bytes.add(bytes, calendar(now_ms).1, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// 2024-02-29T23:59:30Z.
    const NOW: i64 = 19_782 * DAY_MS + 86_370_000;

    fn passed(verdict: Verdict) -> Option<Standing> {
        match verdict {
            Verdict::Pass(standing) => standing,
            other => panic!("{other:?}"),
        }
    }

    fn refused(verdict: Verdict) -> Standing {
        match verdict {
            Verdict::Refuse(standing) => standing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_per_minute() {
        let limits = Limits::compile(&Tier { per_minute: Some(1), ..Tier::default() }).unwrap();
        let usage = Usage::default();
        let standing = passed(limits.decide(&usage, 0, NOW, 0)).unwrap();
        assert_eq!((standing.limit, standing.remaining, standing.burst), (1, 0, None));
        let standing = refused(limits.decide(&usage, 0, NOW, 0));
        assert_eq!((standing.retry_after_secs(NOW), standing.reset_ms), (30, NOW + 30_000));
        usage.clear_limits();
        passed(limits.decide(&usage, 0, NOW, 0));
        passed(limits.decide(&usage, 0, NOW + 30_000, 0));
    }

    #[test]
    fn a_refused_call_uses_up_nothing_of_other_limits() {
        let tier = Tier { per_second: Some(1), per_hour: Some(3), ..Tier::default() };
        let (limits, usage) = (Limits::compile(&tier).unwrap(), Usage::default());
        for second in 0..3 {
            let now = NOW + second * 1_000;
            passed(limits.decide(&usage, 0, now, 0));
            for _ in 0..5 {
                refused(limits.decide(&usage, 0, now, 0));
            }
        }
        assert_eq!(refused(limits.decide(&usage, 0, NOW + 3_000, 0)).limit, 3);
        // Nor of one that is asked before the one that refuses.
        let used = usage.tier[0].used(NOW + 3_000, 1_000);
        assert_eq!(used, 0, "the second's");
    }

    #[test]
    fn quotas_are_those_of_the_calendar() {
        let daily = Tier { daily_quota: Some(1), ..Tier::default() };
        let monthly = Tier { monthly_quota: Some(1), ..Tier::default() };
        let bytes = Tier { monthly_bytes: Some(100), ..Tier::default() };
        for tier in [daily, monthly, bytes] {
            let (limits, usage) = (Limits::compile(&tier).unwrap(), Usage::default());
            limits.decide(&usage, 60, NOW, 0);
            limits.moved(&usage, 60, NOW);
            assert_eq!(refused(limits.decide(&usage, 60, NOW, 0)).reset_ms, NOW + 30_000, "{tier:?}");
            passed(limits.decide(&usage, 60, NOW + 30_000, 0));
        }
    }

    #[test]
    fn bursts_lie_on_top_and_great_limits_are_none() {
        let tier = Tier { per_minute: Some(2), burst_per_minute: 1, ..Tier::default() };
        let (limits, usage) = (Limits::compile(&tier).unwrap(), Usage::default());
        let seen: Vec<_> = (0..3).map(|_| passed(limits.decide(&usage, 0, NOW, 0)).unwrap()).collect();
        let seen: Vec<_> = seen.iter().map(|standing| (standing.remaining, standing.burst)).collect();
        assert_eq!(seen, [(1, Some((1, 1))), (0, Some((1, 1))), (0, Some((1, 0)))]);
        refused(limits.decide(&usage, 0, NOW, 0));

        let none = Tier { per_minute: Some(999_999), per_day: Some(1_000_000), ..Tier::default() };
        let limits = Limits::compile(&none).unwrap();
        assert_eq!(limits.decide(&Usage::default(), 0, NOW, 0), Verdict::Pass(None));
        let error = Limits::compile(&Tier { per_hour: Some(0), ..Tier::default() }).unwrap_err();
        assert!(error.starts_with("requests_per_hour") && error.contains("expected"), "{error}");
    }

    #[test]
    fn a_call_waits_as_long_as_the_queue_lets_it() {
        let tier = Tier { per_second: Some(1), queue_ms: 1_500, ..Tier::default() };
        let (limits, usage) = (Limits::compile(&tier).unwrap(), Usage::default());
        passed(limits.decide(&usage, 0, NOW + 400, 0));
        assert_eq!(limits.decide(&usage, 0, NOW + 400, 0), Verdict::Wait(600));
        assert_eq!(limits.decide(&usage, 0, NOW + 400, 900), Verdict::Wait(600));
        refused(limits.decide(&usage, 0, NOW + 400, 901));
    }

    #[test]
    fn many_callers_never_get_more_than_the_tier_lets() {
        let tier =
            Tier { per_second: Some(40), burst_per_second: 10, daily_quota: Some(70), ..Tier::default() };
        let (limits, usage, passed) = (Limits::compile(&tier).unwrap(), Usage::default(), AtomicU64::new(0));
        let second = |now: i64| {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..200 {
                            let went = matches!(limits.decide(&usage, 0, now, 0), Verdict::Pass(_));
                            passed.fetch_add(u64::from(went), Ordering::Relaxed);
                        }
                    });
                }
            });
            passed.swap(0, Ordering::Relaxed)
        };
        let (first, next) = (second(0), second(1_000));
        assert!(first == 50 && next <= 20, "{first} {next}");
    }

    proptest! {
        #[test]
        fn months_begin_where_the_calendar_says(month in 0i64..40_000) {
            let begins = month_begins(month);
            prop_assert_eq!((calendar(begins).1, calendar(begins - 1).1), (month, month - 1));
        }

        /// No window and no quota ever sees more than its limit and burst.
        #[test]
        fn never_more_than_allowed_in_any_window(
            (second, minute, burst, daily) in (1u64..5, 1u64..40, 0u64..5, 1u64..60),
            gaps in proptest::collection::vec(0i64..3_000, 1..300),
        ) {
            let tier = Tier {
                per_second: Some(second),
                per_minute: Some(minute),
                burst_per_minute: burst,
                daily_quota: Some(daily),
                ..Tier::default()
            };
            let (limits, usage) = (Limits::compile(&tier).unwrap(), Usage::default());
            let (mut now, mut counts) = (NOW, std::collections::BTreeMap::<(i64, i64), u64>::new());
            for gap in gaps {
                now += gap;
                if matches!(limits.decide(&usage, 0, now, 0), Verdict::Pass(_)) {
                    for window in [1_000, 60_000, DAY_MS] {
                        *counts.entry((window, now / window)).or_default() += 1;
                    }
                }
            }
            for ((window, _), count) in counts {
                let most = match window { 1_000 => second, 60_000 => minute + burst, _ => daily };
                prop_assert!(count <= most, "{count} in {window} ms");
            }
        }
    }
}
