//! A circuit breaker for each upstream server (spec/doorman.md 5.8), which is also what takes a server out that fails:
//! after so many failures in a row it is open, then lets one call try, whose outcome decides. One atomic word; the time
//! is given. It lives with the compiled server, so a server that is deleted leaves none behind.

use gatehouse_corridor::snapshot::limits::Breaker;
use std::sync::atomic::{AtomicU64, Ordering};

/// The two upper bits say which state it is, the others hold its number.
const STATE_SHIFT: u32 = 62;
const NUMBER: u64 = (1 << STATE_SHIFT) - 1;
const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;

/// One server's breaker.
#[derive(Debug, Default)]
pub(crate) struct Circuit(AtomicU64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Failures in a row.
    Closed(u64),
    /// Until when, Unix milliseconds.
    Open(u64),
    /// One call tries since then, Unix milliseconds.
    HalfOpen(u64),
}

/// A call that was let through; its outcome is told with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// As any other.
    Usual,
    /// The one that tries, since then.
    Trial(u64),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer that is no failure of the server.
    Success,
    /// 500, 502, 503, 504, no answer in time, no connection.
    Failure,
    /// Nobody can tell: the client went away.
    Unknown,
}

/// What an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The server is out.
    Opened,
    /// It is in again.
    Closed,
}

impl State {
    fn word(self) -> u64 {
        let (state, number) = match self {
            Self::Closed(failures) => (CLOSED, failures),
            Self::Open(until) => (OPEN, until),
            Self::HalfOpen(since) => (HALF_OPEN, since),
        };
        state << STATE_SHIFT | number & NUMBER
    }

    fn read(word: u64) -> Self {
        match word >> STATE_SHIFT {
            CLOSED => Self::Closed(word & NUMBER),
            OPEN => Self::Open(word & NUMBER),
            _ => Self::HalfOpen(word & NUMBER),
        }
    }
}

fn unsigned(now_ms: i64) -> u64 {
    u64::try_from(now_ms).unwrap_or(0)
}

impl Circuit {
    /// Whether a call would be let through; changes nothing, for choosing among servers.
    pub(crate) fn available(&self, rules: &Breaker, now_ms: i64) -> bool {
        if !rules.enabled {
            return true;
        }
        match State::read(self.0.load(Ordering::Relaxed)) {
            State::Closed(_) => true,
            State::Open(until) => until <= unsigned(now_ms),
            // A trial that never told how it ended does not keep the server out for ever.
            State::HalfOpen(since) => since.saturating_add(rules.open_ms) <= unsigned(now_ms),
        }
    }

    /// Lets a call through or, with the milliseconds until the next may try, refuses it: 503 `GTW999`.
    pub(crate) fn admit(&self, rules: &Breaker, now_ms: i64) -> Result<Pass, u64> {
        if !rules.enabled {
            return Ok(Pass::Usual);
        }
        let now = unsigned(now_ms);
        let seen = self.0.load(Ordering::Acquire);
        let until = match State::read(seen) {
            State::Closed(_) => return Ok(Pass::Usual),
            State::Open(until) => until,
            State::HalfOpen(since) => since.saturating_add(rules.open_ms),
        };
        if until > now {
            return Err(until - now);
        }
        // A trial of the same millisecond as one that was lost must not be taken for that.
        let since = match State::read(seen) {
            State::HalfOpen(before) => now.max(before + 1),
            _ => now,
        };
        let trial = State::HalfOpen(since).word();
        match self.0.compare_exchange(seen, trial, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Pass::Trial(since)),
            // Another call tries now.
            Err(_) => Err(rules.open_ms.max(1)),
        }
    }

    /// Whether [`Circuit::ended`] would change nothing, whatever the time: it is closed, and nothing has failed.
    pub(crate) fn indifferent(&self, rules: &Breaker, outcome: Outcome) -> bool {
        let closed = || State::read(self.0.load(Ordering::Relaxed)) == State::Closed(0);
        !rules.enabled || outcome != Outcome::Failure && closed()
    }

    /// Tells how a call ended, and hears what is worth an event. What began before the breaker opened no longer
    /// counts: the trial alone decides.
    pub(crate) fn ended(&self, rules: &Breaker, pass: Pass, outcome: Outcome, now_ms: i64) -> Option<Change> {
        if !rules.enabled {
            return None;
        }
        let open = State::Open(unsigned(now_ms).saturating_add(rules.open_ms));
        let next = |word: u64| match (State::read(word), pass, outcome) {
            // Mostly there is nothing to write.
            (State::Closed(0), _, Outcome::Success | Outcome::Unknown) => None,
            (State::Closed(_), _, Outcome::Success) => Some(State::Closed(0)),
            (State::Closed(failures), _, Outcome::Failure) if failures + 1 >= u64::from(rules.failures) => {
                Some(open)
            }
            (State::Closed(failures), _, Outcome::Failure) => Some(State::Closed(failures + 1)),
            (State::HalfOpen(since), Pass::Trial(mine), outcome) if since == mine => Some(match outcome {
                Outcome::Success => State::Closed(0),
                Outcome::Failure => open,
                Outcome::Unknown => State::Open(unsigned(now_ms)),
            }),
            _ => None,
        };
        // Declined where nothing changes.
        let put = |word| next(word).map(State::word);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, put).ok()?;
        match (State::read(before), next(before)?) {
            (State::Closed(_), State::Open(_)) => Some(Change::Opened),
            (State::HalfOpen(_), State::Closed(_)) => Some(Change::Closed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicUsize;

    const RULES: Breaker = Breaker { enabled: true, failures: 3, open_ms: 1_000 };

    fn opened(now: i64) -> Circuit {
        let circuit = Circuit::default();
        for _ in 0..3 {
            let pass = circuit.admit(&RULES, now).unwrap();
            circuit.ended(&RULES, pass, Outcome::Failure, now);
        }
        circuit
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let circuit = Circuit::default();
        for outcome in
            [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Failure, Outcome::Failure]
        {
            circuit.ended(&RULES, circuit.admit(&RULES, 0).unwrap(), outcome, 0);
        }
        circuit.ended(&RULES, Pass::Usual, Outcome::Unknown, 0);
        assert!(circuit.available(&RULES, 0), "four failures, but not in a row");
        assert_eq!(circuit.ended(&RULES, Pass::Usual, Outcome::Failure, 0), Some(Change::Opened));
        assert_eq!((circuit.admit(&RULES, 400), circuit.available(&RULES, 999)), (Err(600), false));
        assert!(circuit.available(&RULES, 1_000));
        let off = Breaker { enabled: false, ..RULES };
        assert_eq!((circuit.admit(&off, 0), circuit.available(&off, 0)), (Ok(Pass::Usual), true));
    }

    #[test]
    fn one_trial_decides() {
        for (outcome, next) in [
            (Outcome::Success, Ok(Pass::Usual)),
            (Outcome::Failure, Err(1_000)),
            (Outcome::Unknown, Ok(Pass::Trial(1_500))),
        ] {
            let circuit = opened(0);
            let trial = circuit.admit(&RULES, 1_500).unwrap();
            assert_eq!((trial, circuit.available(&RULES, 1_500)), (Pass::Trial(1_500), false));
            assert_eq!(circuit.admit(&RULES, 1_500), Err(1_000), "a second one");
            for late in [Outcome::Success, Outcome::Failure] {
                circuit.ended(&RULES, Pass::Usual, late, 1_500);
                assert!(!circuit.available(&RULES, 1_500), "what began before does not decide");
            }
            circuit.ended(&RULES, trial, outcome, 1_500);
            assert_eq!(circuit.admit(&RULES, 1_500), next, "{outcome:?}");
        }
    }

    #[test]
    fn a_trial_that_was_lost_is_replaced_and_no_longer_counts() {
        let circuit = opened(0);
        let lost = circuit.admit(&RULES, 1_000).unwrap();
        let second = circuit.admit(&RULES, 2_000).unwrap();
        assert_ne!(lost, second);
        circuit.ended(&RULES, lost, Outcome::Success, 2_000);
        assert!(!circuit.available(&RULES, 2_000));
        assert_eq!(circuit.ended(&RULES, second, Outcome::Success, 2_000), Some(Change::Closed));
        assert!(circuit.available(&RULES, 2_000));
    }

    #[test]
    fn of_many_threads_one_tries() {
        for _ in 0..50 {
            let (circuit, trials) = (opened(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let tried = matches!(circuit.admit(&RULES, 1_000), Ok(Pass::Trial(_)));
                        trials.fetch_add(usize::from(tried), Ordering::Relaxed);
                    });
                }
            });
            assert_eq!(trials.into_inner(), 1);
        }
    }

    proptest! {
        /// While the server fails, it sees the failures that open the breaker and one trial for each time it is open.
        #[test]
        fn never_more_than_one_trial_per_opening(gaps in proptest::collection::vec(0i64..400, 1..300)) {
            let (circuit, mut now, mut calls) = (Circuit::default(), 0, 0u64);
            for gap in gaps {
                now += gap;
                prop_assert_eq!(circuit.available(&RULES, now), circuit.admit(&RULES, now).map(|pass| {
                    calls += 1;
                    circuit.ended(&RULES, pass, Outcome::Failure, now);
                }).is_ok());
            }
            prop_assert!(calls <= 3 + u64::try_from(now / 1_000).unwrap(), "{calls} calls in {now} ms");
        }

        /// Whatever happens, a server that answers well is in again after one open time.
        #[test]
        fn never_stays_out(steps in proptest::collection::vec((0u8..3, 0i64..700, any::<bool>()), 0..100)) {
            let (circuit, mut now, mut under_way) = (Circuit::default(), 0, Vec::new());
            for (what, gap, told) in steps {
                now += gap;
                under_way.extend(circuit.admit(&RULES, now).ok());
                if told && let Some(pass) = under_way.pop() {
                    let outcome = [Outcome::Success, Outcome::Failure, Outcome::Unknown][usize::from(what)];
                    circuit.ended(&RULES, pass, outcome, now);
                }
            }
            now += 1_001;
            let pass = circuit.admit(&RULES, now).unwrap();
            circuit.ended(&RULES, pass, Outcome::Success, now);
            prop_assert!(circuit.available(&RULES, now));
        }
    }
}
