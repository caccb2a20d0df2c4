//! Door 4, data to control: the bell by which a worker says that a leased block of credits is empty. Nothing here locks
//! and nothing waits on the side of the data plane.

use crate::snapshot::consumer::Account;
use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use gatehouse_common::ids::ConsumerId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// Wishes that may wait; beyond them control looks at every block.
const WISHES: usize = 1_024;

/// Whose block of which credit group is to be filled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    /// Whose.
    pub consumer: ConsumerId,
    /// Credit group.
    pub group: String,
}

/// What control heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// These blocks are wanted.
    Wishes(Vec<Wish>),
    /// There were more than the bell holds: every block whose `wanted` is set.
    All,
}

/// The bell; one listens, any number ring.
#[derive(Debug)]
pub struct CreditBell {
    wishes: ArrayQueue<Wish>,
    overflown: AtomicBool,
    listener: AtomicWaker,
}

impl Default for CreditBell {
    fn default() -> Self {
        // Full: nothing is lost, see [`Heard::All`].
        Self {
            wishes: ArrayQueue::new(WISHES),
            overflown: AtomicBool::new(false),
            listener: AtomicWaker::new(),
        }
    }
}

impl CreditBell {
    /// Asks for a block, unless that was done since the last one or there is nothing more to have. May be rung before
    /// the block is empty, so that no call has to wait. Never blocks.
    pub fn ring(&self, consumer: &ConsumerId, account: &Account) {
        if account.credit.want() {
            self.wish(consumer, &account.group);
        }
    }

    /// As [`CreditBell::ring`], for whoever has been told `true` by `Credit::want`. Never blocks.
    pub fn wish(&self, consumer: &ConsumerId, group: &str) {
        let wish = Wish { consumer: consumer.clone(), group: group.to_owned() };
        if self.wishes.push(wish).is_err() {
            self.overflown.store(true, Ordering::Release);
        }
        self.listener.wake();
    }

    /// Waits until something is wanted. For one listener.
    pub async fn heard(&self) -> Heard {
        std::future::poll_fn(|context| {
            self.listener.register(context.waker());
            if self.overflown.swap(false, Ordering::AcqRel) {
                while self.wishes.pop().is_some() {}
                return Poll::Ready(Heard::All);
            }
            let wishes: Vec<Wish> = std::iter::from_fn(|| self.wishes.pop()).take(WISHES).collect();
            if wishes.is_empty() { Poll::Pending } else { Poll::Ready(Heard::Wishes(wishes)) }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Credit;
    use std::sync::Arc;

    fn account(group: &str) -> Account {
        Account { group: group.to_owned(), credit: Arc::new(Credit::default()), key: None }
    }

    #[tokio::test]
    async fn a_wish_is_heard_once_until_it_is_filled() {
        let (bell, gold) = (CreditBell::default(), account("gold"));
        let ana = ConsumerId::from("ana");
        bell.ring(&ana, &gold);
        bell.ring(&ana, &gold);
        let wish = Wish { consumer: ana.clone(), group: "gold".to_owned() };
        assert_eq!(bell.heard().await, Heard::Wishes(vec![wish.clone()]));
        gold.credit.fill(1, false);
        bell.ring(&ana, &gold);
        assert_eq!(bell.heard().await, Heard::Wishes(vec![wish]));
        gold.credit.fill(0, true);
        bell.ring(&ana, &gold);
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(10), bell.heard()).await;
        assert!(nothing.is_err(), "there is nothing more to have");
    }

    #[tokio::test]
    async fn more_wishes_than_the_bell_holds_are_not_lost() {
        let bell = CreditBell::default();
        let accounts: Vec<_> = (0..WISHES + 1).map(|index| account(&index.to_string())).collect();
        for account in &accounts {
            bell.ring(&ConsumerId::from("ana"), account);
        }
        assert_eq!(bell.heard().await, Heard::All);
        assert!(accounts.iter().all(|account| account.credit.wanted()), "each is still to be found");
    }

    #[tokio::test]
    async fn a_ring_wakes_the_listener() {
        let bell = Arc::new(CreditBell::default());
        let ringer = Arc::clone(&bell);
        let thread = std::thread::spawn(move || {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            ringer.ring(&ConsumerId::from("ana"), &account("gold"));
        });
        assert!(matches!(bell.heard().await, Heard::Wishes(wishes) if wishes.len() == 1));
        thread.join().unwrap();
    }
}
