//! An engine that follows a script, faults included: it stands in wherever an engine is asked for in a test.

use crate::{Engine, EngineError, Version, Waiting};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// What the engine does with one call.
#[derive(Debug, Clone)]
pub enum Move {
    /// Answers.
    Answer(Result<Version, EngineError>),
    /// Answers after so long.
    Late(Duration, Result<Version, EngineError>),
    /// Takes the call and never answers.
    Hang,
}

/// The scripted engine; its last move is repeated.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    // Held for a few instructions; a test's thread and the caller's meet here.
    script: Arc<RwLock<VecDeque<Move>>>,
    calls: Arc<AtomicUsize>,
}

impl Fake {
    /// An engine that makes these moves, one for each call. Without any it is absent.
    #[must_use]
    pub fn new(moves: impl IntoIterator<Item = Move>) -> Self {
        Self { script: Arc::new(RwLock::new(moves.into_iter().collect())), calls: Arc::default() }
    }

    /// The version of a healthy one.
    #[must_use]
    pub fn healthy() -> Version {
        Version { name: "Fake".to_owned(), release: "1.0".to_owned(), api: "1.41".to_owned() }
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    fn next(&self) -> Move {
        let mut script = self.script.write().unwrap_or_else(PoisonError::into_inner);
        let absent = || Move::Answer(Err(EngineError::Absent("fake".to_owned())));
        if script.len() > 1 { script.pop_front() } else { script.front().cloned() }.unwrap_or_else(absent)
    }
}

impl Engine for Fake {
    fn version(&self) -> Waiting<'_, Version> {
        self.calls.fetch_add(1, Ordering::AcqRel);
        let next = self.next();
        Box::pin(async move {
            match next {
                Move::Answer(said) => said,
                Move::Late(after, said) => {
                    tokio::time::sleep(after).await;
                    said
                }
                Move::Hang => std::future::pending().await,
            }
        })
    }
}
