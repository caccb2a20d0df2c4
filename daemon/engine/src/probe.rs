//! Is an engine there? Bounded in time, remembered for a while, asked by one at a time.

use crate::{Engine, EngineError, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Longest time one look may take.
pub const BOUND: Duration = Duration::from_secs(2);
/// How long what was seen counts.
pub const FRESH: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Who answered, or why nobody did.
    pub version: Result<Version, EngineError>,
    /// How long that took.
    pub latency: Duration,
}

/// Looks at an engine. It does nothing by itself: nothing is asked before the first [`Probe::read`].
#[derive(Debug)]
pub struct Probe {
    engine: Arc<dyn Engine>,
    // Held across the one await that it is for: whoever comes meanwhile waits for that look instead of making another.
    seen: Mutex<Option<(Instant, Reading)>>,
}

impl Probe {
    /// A probe of this engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, seen: Mutex::new(None) }
    }

    /// What was seen within [`FRESH`], or else what is there now; answers within [`BOUND`].
    pub async fn read(&self) -> Reading {
        let mut seen = self.seen.lock().await;
        if let Some((_, reading)) = seen.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return reading.clone();
        }
        let begun = Instant::now();
        let asked = tokio::time::timeout(BOUND, self.engine.version()).await;
        let silent = EngineError::Silent(u64::try_from(BOUND.as_millis()).unwrap_or(u64::MAX));
        let reading = Reading { version: asked.unwrap_or(Err(silent)), latency: begun.elapsed() };
        *seen = Some((Instant::now(), reading.clone()));
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fake, Move};

    fn probe(moves: Vec<Move>) -> (Fake, Probe) {
        let fake = Fake::new(moves);
        (fake.clone(), Probe::new(Arc::new(fake)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_bounded_and_remembered() {
        let (fake, probe) = probe(vec![Move::Hang, Move::Answer(Ok(Fake::healthy()))]);
        let begun = Instant::now();
        assert_eq!(probe.read().await.version, Err(EngineError::Silent(2_000)));
        assert_eq!(begun.elapsed(), BOUND);
        tokio::time::advance(FRESH - Duration::from_millis(1)).await;
        assert!(probe.read().await.version.is_err());
        assert_eq!(fake.calls(), 1, "what was seen is remembered");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(probe.read().await.version, Ok(Fake::healthy()), "and forgotten in time");
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_make_one_look() {
        let late = Duration::from_millis(300);
        let (fake, probe) = probe(vec![Move::Late(late, Ok(Fake::healthy()))]);
        let (a, b, c) = tokio::join!(probe.read(), probe.read(), probe.read());
        assert_eq!((&a, &b), (&b, &c));
        assert_eq!((a.latency, fake.calls()), (late, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_comes_and_goes_is_followed() {
        let gone = Err(EngineError::Refused("s".into()));
        let script = [gone.clone(), Ok(Fake::healthy()), gone.clone()];
        let (_, probe) = probe(script.iter().cloned().map(Move::Answer).collect());
        for said in script {
            assert_eq!(probe.read().await.version, said);
            tokio::time::advance(FRESH).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_goes_away_leaves_the_look_to_the_next() {
        let (fake, probe) = probe(vec![Move::Hang, Move::Answer(Ok(Fake::healthy()))]);
        let short = Duration::from_millis(10);
        assert!(tokio::time::timeout(short, probe.read()).await.is_err());
        assert!(probe.read().await.version.is_ok());
        assert_eq!(fake.calls(), 2);
    }
}
