//! The link to the daemon: its state, its age, and when to try again. No timer here; ticks come from outside.

use crate::client::ClientError;
use crate::clock;

/// Waits between tries, seconds times two: 0.5, 1, 2, 4, 8, and 8 from then on.
const BACKOFF_MS: [i64; 5] = [500, 1_000, 2_000, 4_000, 8_000];
/// Without a frame for this long the numbers are old.
const STALE_MS: i64 = 3_000;
/// Without a frame for this long the link is made anew.
const GIVE_UP_MS: i64 = 15_000;

/// Where the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Live,
    /// No frame for three seconds.
    Stale,
    /// The daemon is away.
    Lost,
    /// It speaks another protocol: reads only.
    Incompatible(String),
    /// The socket may not be opened.
    Refused(String),
}

/// The link.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) state: State,
    /// The last frame or answer, for the age of the data.
    pub(crate) data_ms: Option<i64>,
    since_ms: i64,
    retry_ms: Option<i64>,
    tries: usize,
}

impl Link {
    pub(crate) const fn new() -> Self {
        Self { state: State::Connecting, data_ms: None, since_ms: 0, retry_ms: None, tries: 0 }
    }

    /// The daemon said hello.
    pub(crate) fn opened(&mut self, now_ms: i64, incompatible: Option<String>) {
        self.state = incompatible.map_or(State::Live, State::Incompatible);
        self.data_ms = Some(now_ms);
        self.retry_ms = None;
        self.tries = 0;
    }

    /// A frame came.
    pub(crate) fn frame(&mut self, now_ms: i64) {
        self.data_ms = Some(now_ms);
        if self.state == State::Stale {
            self.state = State::Live;
        }
    }

    /// The link broke or could not be made.
    pub(crate) fn lost(&mut self, now_ms: i64, error: Option<&ClientError>) {
        if !matches!(self.state, State::Lost | State::Refused(_)) {
            self.since_ms = self.data_ms.unwrap_or(now_ms).min(now_ms);
        }
        self.state = match error {
            Some(ClientError::Refused { at }) => State::Refused(at.clone()),
            _ => State::Lost,
        };
        let wait = BACKOFF_MS.get(self.tries).or(BACKOFF_MS.last()).copied().unwrap_or(8_000);
        self.tries += 1;
        // A little disorder, so that consoles do not all knock at once.
        self.retry_ms = Some(now_ms.saturating_add(wait).saturating_add(now_ms.rem_euclid(97)));
    }

    /// The operator wants it now.
    pub(crate) fn hurry(&mut self) {
        if self.retry_ms.is_some() {
            self.retry_ms = Some(i64::MIN);
        }
    }

    /// Time went on; true when a connection is to be tried.
    pub(crate) fn tick(&mut self, now_ms: i64) -> bool {
        let age = self.data_ms.map_or(0, |at| now_ms.saturating_sub(at));
        if self.state == State::Live && age >= STALE_MS {
            self.state = State::Stale;
        }
        if self.state == State::Stale && age >= GIVE_UP_MS {
            self.lost(now_ms, None);
        }
        let due = self.retry_ms.is_some_and(|at| now_ms >= at);
        if due {
            self.retry_ms = None;
        }
        due
    }

    /// Whether what is shown is of now.
    pub(crate) const fn fresh(&self) -> bool {
        matches!(self.state, State::Live | State::Incompatible(_))
    }

    /// The state in words, for the header.
    pub(crate) fn words(&self, now_ms: i64) -> String {
        let retry = match self.retry_ms {
            Some(at) => {
                format!("retry in {}s (r now)", at.saturating_sub(now_ms).max(0).saturating_add(999) / 1_000)
            }
            None => "retrying".to_owned(),
        };
        let age = |from: i64| {
            let secs = now_ms.saturating_sub(from).max(0) / 1_000;
            format!("{:02}:{:02}", secs / 60, secs % 60)
        };
        match &self.state {
            State::Connecting => "connecting".to_owned(),
            State::Live => "live".to_owned(),
            State::Stale => format!("STALE {}", age(self.data_ms.unwrap_or(now_ms))),
            State::Lost => format!("LOST {}, {retry}{}", age(self.since_ms), self.as_of()),
            State::Incompatible(versions) => format!("{versions}: view only, quit and run again"),
            State::Refused(at) => format!("REFUSED: {at} belongs to a group you are not in, {retry}"),
        }
    }

    fn as_of(&self) -> String {
        self.data_ms.map(|at| format!("   data as of {}Z", clock::time_of_day(at))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_and_comes_back() {
        let mut link = Link::new();
        link.opened(0, None);
        assert!(!link.tick(2_999) && link.state == State::Live);
        assert!(!link.tick(3_000) && link.state == State::Stale);
        link.frame(3_100);
        assert_eq!(link.state, State::Live);
        let mut now = 10_000;
        link.lost(now, None);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let began = now;
            while !link.tick(now) {
                now += 10;
            }
            waits.push((now - began) / 500);
            link.lost(now, None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16]);
        assert!(link.words(now + 1_000).starts_with("LOST 00:"), "{}", link.words(now));
        link.hurry();
        assert!(link.tick(now));
        link.opened(now, None);
        assert!(link.fresh());
    }
}
