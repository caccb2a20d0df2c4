//! Bounded answers to unbounded questions: who called most, and how many were there.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names a [`Top`] counts at the same time.
const TOP_NAMES: usize = 100;
/// Hashes a [`Unique`] keeps: exact below, within about 6 % above.
const UNIQUE_HASHES: usize = 256;

/// Counts by name, bounded by the space-saving method: a name that does not fit takes the place and the count of the
/// smallest, so that a frequent one is never missed and never counted too low.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Top(BTreeMap<Box<str>, u64>);

impl Top {
    /// Counts a name.
    pub fn add(&mut self, name: &str, by: u64) {
        if let Some(count) = self.0.get_mut(name) {
            *count += by;
            return;
        }
        let least =
            if self.0.len() < TOP_NAMES { None } else { self.0.iter().min_by_key(|(_, count)| **count) };
        let least = least.map(|(name, count)| (name.clone(), *count));
        if let Some((least, _)) = &least {
            self.0.remove(least);
        }
        self.0.insert(name.into(), by + least.map_or(0, |(_, count)| count));
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            match self.0.get_mut(name) {
                Some(mine) => *mine += count,
                None => drop(self.0.insert(name.clone(), *count)),
            }
        }
        if self.0.len() > TOP_NAMES {
            self.0 = self.largest(TOP_NAMES).into_iter().map(|(name, count)| (name.into(), count)).collect();
        }
    }

    /// The largest counts, largest first, equal ones by name.
    #[must_use]
    pub fn largest(&self, most: usize) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = self.iter().map(|(name, count)| (name.to_owned(), count)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(most);
        all
    }

    /// All names and counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (&**name, *count))
    }
}

/// How many different names there were: the smallest hashes seen ("k minimum values").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unique(Vec<u32>);

/// The same in every version: what was kept over a restart must still be known. FNV-1a, its bits mixed once more.
fn hash(name: &str) -> u32 {
    let folded = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (folded ^ (folded >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    u32::try_from(mixed >> 32).unwrap_or(u32::MAX)
}

impl Unique {
    /// Sees a name.
    pub fn add(&mut self, name: &str) {
        self.put(hash(name));
    }

    fn put(&mut self, hash: u32) {
        if let Err(place) = self.0.binary_search(&hash)
            && place < UNIQUE_HASHES
        {
            self.0.insert(place, hash);
            self.0.truncate(UNIQUE_HASHES);
        }
    }

    /// Adds what another has seen.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|hash| self.put(*hash));
    }

    /// How many there were, about.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self.0.last() {
            Some(largest) if self.0.len() >= UNIQUE_HASHES => {
                let share = (f64::from(*largest) + 1.0) / (f64::from(u32::MAX) + 1.0);
                ((UNIQUE_HASHES - 1) as f64 / share) as u64
            }
            _ => self.0.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frequent_name_is_found_among_many() {
        let mut top = Top::default();
        for number in 0..5_000 {
            top.add(&format!("rare{number}"), 1);
            if number % 10 == 0 {
                top.add("often", 1);
            }
        }
        assert_eq!(top.iter().count(), TOP_NAMES);
        let (name, count) = top.largest(1).remove(0);
        assert_eq!(name, "often");
        assert!((500..600).contains(&count), "{count}");
        let mut both = top.clone();
        both.merge(&top);
        assert_eq!((both.largest(1).remove(0).1, both.iter().count()), (count * 2, TOP_NAMES));
    }

    #[test]
    fn few_are_counted_exactly_and_many_about() {
        for many in [0, 1, 255, 2_000, 50_000] {
            let (mut odd, mut even) = (Unique::default(), Unique::default());
            for number in 0..many {
                let part = if number % 2 == 0 { &mut even } else { &mut odd };
                part.add(&format!("user-{number}"));
                part.add(&format!("user-{number}"));
            }
            even.merge(&odd);
            let off = (even.count() as f64 - many as f64).abs() / (many as f64).max(1.0);
            assert!(off < 0.15 && (many > 255 || off == 0.0), "{many}: {}", even.count());
        }
    }

    proptest! {
        #[test]
        fn never_counts_too_low(numbers in proptest::collection::vec(0..150_u8, 0..400)) {
            let mut top = Top::default();
            numbers.iter().for_each(|number| top.add(&number.to_string(), 1));
            let mut real = std::collections::HashMap::<String, u64>::new();
            numbers.iter().for_each(|number| *real.entry(number.to_string()).or_default() += 1);
            for (name, count) in top.iter() {
                let real = real[name];
                prop_assert!(count >= real && count <= numbers.len() as u64);
            }
        }
    }
}
