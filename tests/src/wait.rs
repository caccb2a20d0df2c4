//! A wait names what it waits for and shows the last thing seen.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Tries until it gives something; fails after ten seconds with the last error.
///
/// # Errors
/// What was waited for and what was seen last.
#[expect(clippy::disallowed_methods, reason = "the one place where a test waits for the world")]
pub fn eventually<T, E: Debug>(what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> anyhow::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() > deadline => anyhow::bail!("waited for {what}; last seen: {last:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
