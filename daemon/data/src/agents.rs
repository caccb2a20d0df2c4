//! What clients call themselves, kept for the records: few texts, and long ones, so that a record takes one that is there
//! rather than memory of its own.

use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// Texts kept, each at the place that its hash says; another of the same place takes it.
const PLACES: usize = 32;
/// Longer ones are cut there.
const LONGEST_BYTES: usize = 512;

/// The last texts seen by one worker.
#[derive(Default)]
pub(crate) struct Agents([Option<Arc<str>>; PLACES]);

impl Agents {
    /// The text of a `User-Agent`; `None` if it is empty. What is no UTF-8 in it is marked as such.
    pub(crate) fn get(&mut self, value: &[u8]) -> Option<Arc<str>> {
        let value = value.get(..LONGEST_BYTES).unwrap_or(value);
        let hash = usize::try_from(FxBuildHasher.hash_one(value) % PLACES as u64).unwrap_or(0);
        let place = self.0.get_mut(hash).filter(|_| !value.is_empty())?;
        if let Some(known) = place.as_ref().filter(|known| known.as_bytes() == value) {
            return Some(Arc::clone(known));
        }
        let made: Arc<str> = String::from_utf8_lossy(value).into();
        *place = Some(Arc::clone(&made));
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_text_takes_no_memory_twice() {
        let mut agents = Agents::default();
        let one = agents.get(b"curl/8").unwrap();
        let other = agents.get(b"probe/1").unwrap();
        assert_eq!((&*one, &*other), ("curl/8", "probe/1"));
        assert!(Arc::ptr_eq(&other, &agents.get(b"probe/1").unwrap()));
        assert_eq!(agents.get(b""), None);
        assert_eq!(agents.get(&[b'x'; 5_000]).unwrap().len(), LONGEST_BYTES);
    }

    proptest! {
        #[test]
        fn never_panics_and_gives_what_it_got(texts in proptest::collection::vec("\\PC{1,40}", 1..60), odd in any::<Vec<u8>>()) {
            let mut agents = Agents::default();
            for text in &texts {
                let got = agents.get(text.as_bytes());
                prop_assert_eq!(got.as_deref(), Some(&**text));
            }
            agents.get(&odd);
        }
    }
}
