//! Credits (spec/doorman.md 5.2, 7. and 5.5): one for each call, from the block that control has leased to the caller's
//! account. Mostly that is one atomic step; only when the block is used up and control has more does a call wait.

use gatehouse_common::secret::Secret;
use gatehouse_corridor::meter::{Credit, Spent};
use gatehouse_corridor::snapshot::CreditGroup;
use gatehouse_corridor::snapshot::consumer::Account;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest wait for a block.
const PATIENCE: Duration = Duration::from_secs(1);
/// With so few left the next block is asked for, so that nobody has to wait for it.
const LOW: u64 = 32;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payment {
    /// It is paid.
    Paid,
    /// There is nothing more: 401 `GTW008`.
    Exhausted,
    /// Control did not fill the block in time: 503.
    Late,
}

/// The account that pays: the one of the API's group. `None`: the caller has none, which is 401 `GTW008`.
pub(crate) fn account<'a>(accounts: &'a [Account], group: &str) -> Option<&'a Account> {
    // A caller has few, and their names are short.
    accounts.iter().find(|account| account.group == group)
}

/// The header and key that go upstream: the caller's own key before the group's.
pub(crate) fn key<'a>(group: &'a CreditGroup, account: Option<&'a Account>) -> (&'a str, &'a Secret<String>) {
    let own = account.and_then(|account| account.key.as_ref());
    (&group.header, own.unwrap_or(&group.key))
}

/// Takes one credit if that is decided at once; `None`: [`wait`]. `ring` tells control that more is wanted.
pub(crate) fn take(credit: &Credit, ring: impl FnOnce()) -> Option<Payment> {
    match credit.take() {
        Spent::Paid => {
            if credit.left() < LOW {
                ring();
            }
            Some(Payment::Paid)
        }
        // The last block is added before the account is said to be dry: this look sees it, if the first came too soon.
        Spent::Dry if credit.take() == Spent::Paid => Some(Payment::Paid),
        Spent::Dry => Some(Payment::Exhausted),
        Spent::Wait => None,
    }
}

/// Waits for the block to be filled, a second at most, and takes one credit.
pub(crate) async fn wait(credit: &Credit, ring: impl Fn()) -> Payment {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Made before the last look: a fill between the two is heard.
        let filled = credit.filled();
        if let Some(payment) = take(credit, &ring) {
            return payment;
        }
        ring();
        if timeout_at(deadline, filled).await.is_err() {
            return take(credit, &ring).unwrap_or(Payment::Late);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    #[test]
    fn the_account_of_the_group_and_its_own_key() {
        let account = |group: &str, key: Option<&str>| Account {
            group: group.into(),
            credit: Arc::default(),
            key: key.map(|key| Secret::new(key.to_owned())),
        };
        let accounts = [account("maps", None), account("ai", Some("own"))];
        let group = |name: &str| CreditGroup {
            name: name.into(),
            header: "x-key".into(),
            key: Secret::new("the group's".to_owned()),
            anonymous: None,
        };
        for (name, wanted) in [("maps", "the group's"), ("ai", "own"), ("none", "the group's")] {
            let found = account_key(&accounts, &group(name));
            assert_eq!(found, ("x-key".to_owned(), wanted.to_owned()), "{name}");
        }
        assert!(super::account(&accounts, "none").is_none());
    }

    fn account_key(accounts: &[Account], group: &CreditGroup) -> (String, String) {
        let (header, key) = key(group, account(accounts, &group.name));
        (header.to_owned(), key.expose().clone())
    }

    #[test]
    fn control_hears_once_that_a_block_runs_low() {
        let (credit, rung) = (Credit::default(), AtomicUsize::new(0));
        credit.fill(LOW + 10, false);
        // As the bell does.
        let ring = || {
            if credit.want() {
                rung.fetch_add(1, Ordering::Relaxed);
            }
        };
        let took = (0..LOW + 10).filter(|_| take(&credit, ring) == Some(Payment::Paid)).count();
        assert_eq!((took as u64, rung.load(Ordering::Relaxed)), (LOW + 10, 1));
        assert_eq!(take(&credit, ring), None);
        credit.fill(1, true);
        assert_eq!(
            (take(&credit, ring), take(&credit, ring)),
            (Some(Payment::Paid), Some(Payment::Exhausted))
        );
        assert_eq!(rung.load(Ordering::Relaxed), 1, "nothing more to be had");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_fill_and_not_for_ever() {
        let credit = Credit::default();
        let begun = Instant::now();
        assert_eq!(wait(&credit, || {}).await, Payment::Late);
        assert_eq!(begun.elapsed(), PATIENCE);

        let fill = async |after: u64, block: u64, dry: bool| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            credit.fill(block, dry);
        };
        let rung = AtomicUsize::new(0);
        let ring = || {
            rung.fetch_add(1, Ordering::Relaxed);
        };
        credit.fill(0, false);
        let (payment, ()) = tokio::join!(wait(&credit, ring), fill(500, 1, false));
        assert_eq!(
            (payment, rung.load(Ordering::Relaxed)),
            (Payment::Paid, 2),
            "for the wait, and for what is low"
        );
        let (payment, ()) = tokio::join!(wait(&credit, || {}), fill(500, 0, true));
        assert_eq!(payment, Payment::Exhausted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_before_the_wait_begins_is_heard() {
        let (credit, begun) = (Credit::default(), Instant::now());
        let payment = wait(&credit, || credit.fill(1, false)).await;
        assert_eq!((payment, begun.elapsed()), (Payment::Paid, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_pass_as_were_filled_however_they_wait() {
        let credit = Credit::default();
        let waiting = futures_util::future::join_all((0..10).map(|_| wait(&credit, || {})));
        let fills = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                credit.fill(2, false);
            }
        };
        let (payments, ()) = tokio::join!(waiting, fills);
        let count = |wanted| payments.iter().filter(|payment| **payment == wanted).count();
        assert_eq!((count(Payment::Paid), count(Payment::Late)), (6, 4));
    }

    /// A fill that comes between the look and the wait is not lost: control runs on another thread.
    #[test]
    fn a_fill_from_another_thread_is_heard() {
        let (credit, rung) = (Credit::default(), AtomicU64::new(0));
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut filled = 0;
                while !done.load(Ordering::Acquire) {
                    if rung.load(Ordering::Acquire) > filled {
                        filled += 1;
                        credit.fill(1, false);
                    }
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let ring = || {
                rung.fetch_add(1, Ordering::AcqRel);
            };
            for _ in 0..200 {
                let payment = match take(&credit, ring) {
                    Some(payment) => payment,
                    None => runtime.block_on(wait(&credit, ring)),
                };
                assert_eq!(payment, Payment::Paid);
            }
            done.store(true, Ordering::Release);
        });
    }

    #[test]
    fn the_last_block_is_not_missed_by_who_asks_while_it_is_filled() {
        for _ in 0..50 {
            let credit = Credit::default();
            let payment = std::thread::scope(|scope| {
                scope.spawn(|| credit.fill(1, true));
                std::iter::repeat_with(|| take(&credit, || {})).flatten().next()
            });
            assert_eq!(payment, Some(Payment::Paid));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Blocks filled and credits taken at the same time: none is spent twice and none is lost.
        #[test]
        fn never_oversold_under_parallel_takers(blocks in proptest::collection::vec(0u64..50, 1..30)) {
            let (credit, paid) = (Credit::default(), AtomicU64::new(0));
            let all: u64 = blocks.iter().sum();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| loop {
                        match take(&credit, || {}) {
                            Some(Payment::Paid) => {
                                paid.fetch_add(1, Ordering::Relaxed);
                            }
                            Some(_) => return,
                            None => std::thread::yield_now(),
                        }
                    });
                }
                for block in blocks {
                    credit.fill(block, false);
                }
                credit.fill(0, true);
            });
            prop_assert_eq!((paid.into_inner(), credit.left()), (all, 0));
        }
    }
}
