//! How a caller stands with a limit: the numbers of `X-RateLimit-*` and `Retry-After` (spec/doorman.md 5.3).

/// One limit's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `X-RateLimit-Limit`, the burst not included.
    pub(crate) limit: u64,
    /// `X-RateLimit-Remaining`.
    pub(crate) remaining: u64,
    /// `X-RateLimit-Reset`, Unix milliseconds here, seconds there.
    pub(crate) reset_ms: i64,
    /// `X-RateLimit-Burst-Limit` and `-Remaining`, if there is a burst.
    pub(crate) burst: Option<(u64, u64)>,
}

impl Standing {
    /// After `used` calls; the burst is used up last.
    pub(crate) fn new(limit: u64, burst: u64, used: u64, reset_ms: i64) -> Self {
        let left = burst.saturating_sub(used.saturating_sub(limit));
        let burst = (burst > 0).then_some((burst, left));
        Self { limit, remaining: limit.saturating_sub(used), reset_ms, burst }
    }

    /// `X-RateLimit-Reset`: Unix seconds, rounded up, so that whoever comes then is not early.
    pub(crate) fn reset_secs(&self) -> i64 {
        self.reset_ms.saturating_add(999).div_euclid(1_000)
    }

    /// `Retry-After` and `X-RateLimit-Retry-After`: seconds, at least one.
    pub(crate) fn retry_after_secs(&self, now_ms: i64) -> u64 {
        u64::try_from(self.reset_ms.saturating_sub(now_ms)).unwrap_or(0).div_ceil(1_000).max(1)
    }
}

/// When a window that is aligned to the epoch ends, Unix milliseconds.
pub(crate) fn window_ends(now_ms: i64, window_ms: u64) -> i64 {
    let window = i64::try_from(window_ms.max(1)).unwrap_or(i64::MAX);
    now_ms.saturating_sub(now_ms.rem_euclid(window)).saturating_add(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_is_used_up_last() {
        for (burst, used, remaining, wanted) in
            [(0, 3, 7, None), (0, 12, 0, None), (5, 3, 7, Some((5, 5))), (5, 12, 0, Some((5, 3)))]
        {
            let standing = Standing::new(10, burst, used, 0);
            assert_eq!((standing.remaining, standing.burst), (remaining, wanted), "{burst} {used}");
        }
    }

    #[test]
    fn times_are_rounded_so_that_nobody_is_early() {
        let standing = Standing::new(1, 0, 1, window_ends(61_500, 60_000));
        assert_eq!((standing.reset_secs(), standing.retry_after_secs(61_500)), (120, 59));
        let standing = Standing::new(1, 0, 1, window_ends(999, 1_000));
        assert_eq!((standing.reset_secs(), standing.retry_after_secs(999)), (1, 1));
        assert_eq!((window_ends(1_000, 1_000), window_ends(5, 0)), (2_000, 6));
    }
}
