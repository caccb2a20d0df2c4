//! Documents of APIs that were fetched, kept for an hour, within a bound of memory.

use actix_web::web;
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

/// How long one counts, milliseconds (spec/doorman.md 4.15).
const FRESH_MS: i64 = 3_600_000;
/// Memory of all together.
const ALL_BYTES: u64 = 64 * 1_024 * 1_024;
/// How many are expected.
const USUAL: usize = 256;
/// Documents that are read at once; the next one waits.
const READERS: usize = 2;
/// What one costs beside its text.
const ENTRY_BYTES: usize = 256;

#[derive(Clone)]
struct Kept {
    at_ms: i64,
    text: Bytes,
}

#[derive(Clone)]
struct Weight;

impl Weighter<String, Kept> for Weight {
    fn weight(&self, key: &String, kept: &Kept) -> u64 {
        u64::try_from(ENTRY_BYTES + key.len() + kept.text.len()).unwrap_or(u64::MAX)
    }
}

/// The cache, and the bound of what is read of it at once.
pub(crate) struct Documents {
    kept: Option<Cache<String, Kept, Weight>>,
    reading: Semaphore,
}

impl Default for Documents {
    fn default() -> Self {
        Self::bounded(ALL_BYTES)
    }
}

impl Documents {
    fn bounded(bytes: u64) -> Self {
        // One shard: with more, a document as large as one may be would fit into none.
        let options =
            OptionsBuilder::new().estimated_items_capacity(USUAL).weight_capacity(bytes).shards(1).build();
        let cache = |options| {
            Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
        };
        Self { kept: options.ok().map(cache), reading: Semaphore::new(READERS) }
    }

    /// What was kept under a key and still counts.
    pub(crate) fn get(&self, key: &str, now_ms: i64) -> Option<Bytes> {
        let kept = self.kept.as_ref()?.get(key)?;
        (0..FRESH_MS).contains(&(now_ms - kept.at_ms)).then_some(kept.text)
    }

    /// Reads a text where it keeps no connection waiting; a large one takes many times its size while it is read.
    ///
    /// # Errors
    /// What the reader says.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        text: Bytes,
        read: fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, String> {
        let _turn = self.reading.acquire().await.map_err(|error| error.to_string())?;
        let done = web::block(move || read(&text)).await;
        done.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Keeps a text in place of what was there.
    pub(crate) fn put(&self, key: String, text: Bytes, now_ms: i64) {
        if let Some(cache) = &self.kept {
            cache.insert(key, Kept { at_ms: now_ms, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_for_an_hour_and_within_the_bound() {
        let documents = Documents::bounded(10_000);
        documents.put("a".to_owned(), Bytes::from_static(b"one"), 1_000);
        for (now_ms, there) in [(999, false), (1_000, true), (3_600_999, true), (3_601_000, false)] {
            assert_eq!(documents.get("a", now_ms).is_some(), there, "{now_ms}");
        }
        documents.put("a".to_owned(), Bytes::from_static(b"two"), 5_000);
        assert_eq!(documents.get("a", 5_000).unwrap(), "two");
        for number in 0..100 {
            documents.put(format!("b{number}"), Bytes::from(vec![b'x'; 1_000]), 0);
        }
        let held = (0..100).filter(|number| documents.get(&format!("b{number}"), 0).is_some()).count();
        assert!((1..=10).contains(&held), "{held}");
        documents.put("large".to_owned(), Bytes::from(vec![b'x'; 20_000]), 0);
        assert!(documents.get("large", 0).is_none());
    }

    #[test]
    fn one_of_the_largest_is_kept() {
        let documents = Documents::default();
        documents.put("a".to_owned(), Bytes::from(vec![b'x'; crate::egress::ANSWER_BYTES]), 0);
        assert!(documents.get("a", 0).is_some());
    }
}
