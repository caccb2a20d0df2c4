//! A quick hash for tables whose keys are not of a client's choosing: routes, upstreams, tokens that were verified.
//! A client chooses what is looked up, but not what lies there.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table with it.
pub(crate) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// Words multiplied together.
#[derive(Default)]
pub(crate) struct Quick(u64);

impl Quick {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        if let Some(room) = last.get_mut(..rest.len()) {
            room.copy_from_slice(rest);
        }
        self.add(u64::from_le_bytes(last) ^ ((rest.len() as u64) << 60));
    }

    fn write_u8(&mut self, byte: u8) {
        self.add(u64::from(byte));
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        // Tables look at the low bits, and those of a product are the poorest.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    #[test]
    fn names_that_differ_little_spread() {
        let state = BuildHasherDefault::<Quick>::default();
        let low: HashSet<u64> = (0..1_000).map(|n| state.hash_one(format!("api{n}/v1")) & 0xfff).collect();
        assert!(low.len() > 700, "{}", low.len());
    }
}
