//! Named phases of the daemon's life that any task can await.

use std::time::Duration;
use tokio::sync::watch;

/// Where the daemon is. Order: running, draining, closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; what is in flight may finish until the deadline.
    Draining,
    /// Rooms end, the store is flushed.
    Closing,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process exits.
    Exit,
    /// The program starts anew, listeners kept: in a new process, or in this one.
    Restart,
}

/// A restart that did not come about: the daemon serves on as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Unix milliseconds.
    pub at_unix_ms: i64,
    /// What kept the new process from serving.
    pub why: String,
}

/// The handle that every room holds.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
    asked: watch::Sender<Option<Ending>>,
    refusal: watch::Sender<Option<Refusal>>,
    /// Longest time in [`Phase::Draining`].
    pub drain: Duration,
}

impl Shutdown {
    /// A daemon that runs.
    #[must_use]
    pub fn new(drain: Duration) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
            asked: watch::Sender::new(None),
            refusal: watch::Sender::new(None),
            drain,
        }
    }

    /// Asks for the end; the first one wins.
    pub fn ask(&self, ending: Ending) {
        self.asked.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(ending);
            first
        });
    }

    /// Waits until the end is asked for.
    pub async fn asked(&self) -> Ending {
        let mut asked = self.asked.subscribe();
        match asked.wait_for(Option::is_some).await {
            Ok(ending) => ending.unwrap_or(Ending::Exit),
            Err(_) => Ending::Exit,
        }
    }

    /// The restart that was asked for does not come about; the next one may be asked for. Only `run.rs` calls this.
    pub fn refuse(&self, refusal: Refusal) {
        self.asked.send_replace(None);
        self.refusal.send_replace(Some(refusal));
    }

    /// The last restart that did not come about, until one does.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.borrow().clone()
    }

    /// Those to come; taken before a restart is asked for.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        Refusals(self.refusal.subscribe())
    }

    /// Enters a phase; never goes back. Only `run.rs` calls this.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits for a phase or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut now = self.phase.subscribe();
        // The sender lives in self, so this cannot fail while we wait.
        drop(now.wait_for(|now| *now >= phase).await);
    }
}

/// Waits for a restart to be refused.
#[derive(Debug)]
pub struct Refusals(watch::Receiver<Option<Refusal>>);

impl Refusals {
    /// The next one; for ever, if the restart comes about.
    pub async fn next(&mut self) -> Refusal {
        loop {
            if self.0.changed().await.is_err() {
                // The daemon ends.
                std::future::pending::<()>().await;
            }
            let refusal = self.0.borrow_and_update().clone();
            if let Some(refusal) = refusal {
                return refusal;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_restart_is_told_and_may_be_asked_for_again() {
        let shutdown = Shutdown::new(Duration::ZERO);
        let refusal = Refusal { at_unix_ms: 1, why: "exit status: 78".to_owned() };
        let mut refusals = shutdown.refusals();
        shutdown.ask(Ending::Restart);
        shutdown.ask(Ending::Exit);
        assert_eq!(shutdown.asked().await, Ending::Restart);
        shutdown.refuse(refusal.clone());
        assert_eq!(refusals.next().await, refusal);
        assert_eq!(shutdown.refusal(), Some(refusal));
        shutdown.ask(Ending::Exit);
        assert_eq!(shutdown.asked().await, Ending::Exit);
    }
}
