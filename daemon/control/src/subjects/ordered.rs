//! Newest first, of items that are nearly so: each worker's records are written in a batch, so that neighbours in a file
//! may stand out of order.

use super::logs::Item;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Items that an item may stand away from its place.
const WINDOW: usize = 1_024;

/// By time, then as they came.
struct Placed(i64, Reverse<u64>, Item);

impl Placed {
    fn rank(&self) -> (i64, Reverse<u64>) {
        (self.0, self.1)
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Gives the newest of the next [`WINDOW`] items.
pub(crate) struct Ordered<I> {
    items: I,
    waiting: BinaryHeap<Placed>,
    seen: u64,
}

impl<I: Iterator<Item = Item>> Ordered<I> {
    pub(crate) fn new(items: I) -> Self {
        Self { items, waiting: BinaryHeap::new(), seen: 0 }
    }
}

impl<I: Iterator<Item = Item>> Iterator for Ordered<I> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        while self.waiting.len() < WINDOW {
            let Some(item) = self.items.next() else { break };
            self.waiting.push(Placed(item.at_ms, Reverse(self.seen), item));
            self.seen += 1;
        }
        self.waiting.pop().map(|placed| placed.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item((place, at_ms): (usize, i64)) -> Item {
        Item { at_ms, request: place.to_string(), ..Item::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_stands_a_little_out_of_order_is_put_in_order(steps in proptest::collection::vec(-40i64..60, 0..3_000)) {
            let mut at = 0;
            // No item stands further away than the window: it goes back by less than it goes on.
            let times: Vec<i64> = steps.iter().map(|step| { at -= 50; at + step }).collect();
            let given = times.iter().copied().enumerate().map(item);
            let mut wanted: Vec<_> = times.iter().copied().enumerate().collect();
            wanted.sort_by_key(|(place, at)| (Reverse(*at), *place));
            let wanted: Vec<_> = wanted.into_iter().map(item).collect();
            prop_assert_eq!(Ordered::new(given).collect::<Vec<_>>(), wanted);
        }
    }
}
