//! Whatever is spent, granted, leased, failed and crashed, and in whatever order: never more is spent than was granted, and
//! no more is lost than a block for each crash.

use super::*;
use crate::change::Changes;
use crate::config::tests::config;
use crate::subjects::sealing::Sealer;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::meter::Spent;
use gatehouse_corridor::snapshot;
use gatehouse_store::Store;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

fn wish() -> Wish {
    Wish { consumer: ConsumerId::from("ana"), group: "gold".to_owned() }
}

fn row(available: u64) -> Row {
    let value = json!({"username": "ana", "users_credits": {"gold": {"available_credits": available}}});
    value.as_object().cloned().unwrap()
}

/// The disk, and what lives in memory beside it.
#[derive(Default)]
struct World {
    disk: State,
    cells: Cells,
    now_ms: i64,
}

impl World {
    fn commit(&mut self, draft: &Draft) {
        let effects =
            if draft.effects.is_empty() { settled(&self.disk, draft) } else { draft.effects.clone() };
        for (table, key, row) in &draft.rows {
            self.disk.set(table, key, row.clone().map(Arc::new));
        }
        self.cells.apply(&effects);
    }

    fn on_disk(&self) -> u64 {
        self.disk.get(ACCOUNTS, "ana").map_or(0, |row| available(row, "gold"))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Spend(u64),
    Lease,
    /// The disk refuses.
    LeaseFails,
    /// The process ends between the commit and the fill.
    CrashAfterLease,
    Crash,
    Close,
    Give(u64),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..60).prop_map(Step::Spend),
        6 => Just(Step::Lease),
        1 => Just(Step::LeaseFails),
        1 => Just(Step::CrashAfterLease),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
        1 => (0u64..3_000).prop_map(Step::Give),
        1 => (0i64..20_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn never_more_is_spent_than_was_granted(granted in 0u64..5_000, steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World { now_ms: 1, ..World::default() };
        world.disk.set(ACCOUNTS, "ana", Some(Arc::new(row(granted))));
        let (mut granted, mut spent, mut crashes) = (granted, 0, 0);
        for step in steps {
            let cell = world.cells.of("ana", "gold", world.on_disk());
            match step {
                Step::Spend(count) => spent += (0..count).filter(|_| cell.take() == Spent::Paid).count() as u64,
                Step::Lease => {
                    let draft = lease(&world.disk, &world.cells, &[wish(), wish()], world.now_ms);
                    world.commit(&draft);
                    // Whoever waits gets something, or hears that there is nothing.
                    prop_assert!(cell.left() > 0 || cell.take() == Spent::Dry);
                }
                Step::LeaseFails => {
                    drop(lease(&world.disk, &world.cells, &[wish()], world.now_ms));
                    world.cells.release(&[wish()]);
                }
                Step::CrashAfterLease => {
                    let draft = lease(&world.disk, &world.cells, &[wish()], world.now_ms);
                    world.commit(&draft);
                    world.cells = Cells::default();
                    crashes += 1;
                }
                Step::Crash => {
                    world.cells = Cells::default();
                    crashes += 1;
                }
                Step::Close => {
                    let draft = give_back(&world.disk, &world.cells, 0);
                    world.commit(&draft);
                    world.cells = Cells::default();
                }
                Step::Give(count) => {
                    let draft = Draft::new("credit.give", "user/ana").put(ACCOUNTS, "ana", row(count));
                    world.commit(&draft);
                    prop_assert_eq!(world.cells.left("ana", "gold"), 0);
                    (granted, spent, crashes) = (count, 0, 0);
                }
                Step::Wait(millis) => world.now_ms += millis,
            }
            let there = world.on_disk() + world.cells.left("ana", "gold");
            prop_assert!(spent + there <= granted, "spent {spent}, left {there} of {granted}");
            prop_assert!(granted - spent - there <= crashes * LARGEST_BLOCK, "{crashes} crashes lost too much");
        }
        world.disk = { let draft = give_back(&world.disk, &world.cells, 0); world.commit(&draft); world.disk };
        prop_assert!(granted - spent - world.on_disk() <= crashes * LARGEST_BLOCK);
    }
}

#[test]
fn blocks_grow_while_they_are_asked_for_soon() {
    let mut world = World { now_ms: 1, ..World::default() };
    world.disk.set(ACCOUNTS, "ana", Some(Arc::new(row(1_000_000))));
    let cell = world.cells.of("ana", "gold", 1);
    let mut leased = |pause: i64| {
        while cell.take() == Spent::Paid {}
        world.now_ms += pause;
        let before = world.on_disk();
        let draft = lease(&world.disk, &world.cells, &[wish()], world.now_ms);
        world.commit(&draft);
        before - world.on_disk()
    };
    let pauses = [0, 10, 10, 5_000, 20_000, 10, 10, 10, 10, 10];
    let blocks: Vec<u64> = pauses.into_iter().map(&mut leased).collect();
    assert_eq!(blocks, [64, 128, 256, 256, 128, 256, 512, 1_024, 1_024, 1_024]);
}

#[test]
fn what_calls_in_flight_may_still_pay_stays_in_the_cell() {
    for (kept, written) in [(0, 64), (3, 61), (64, 0), (1_000, 0)] {
        let mut world = World { now_ms: 1, ..World::default() };
        world.disk.set(ACCOUNTS, "ana", Some(Arc::new(row(10_000))));
        let cell = world.cells.of("ana", "gold", 10_000);
        let draft = lease(&world.disk, &world.cells, &[wish()], world.now_ms);
        world.commit(&draft);
        let before = world.on_disk();
        let draft = give_back(&world.disk, &world.cells, kept);
        world.disk.set(
            ACCOUNTS,
            "ana",
            draft
                .rows
                .first()
                .and_then(|(.., row)| row.clone())
                .map(Arc::new)
                .or(world.disk.get(ACCOUNTS, "ana").cloned()),
        );
        assert_eq!(world.on_disk() - before, written, "{kept}");
        assert_eq!((0..100).filter(|_| cell.take() == Spent::Paid).count() as u64, 64 - written, "{kept}");
    }
}

#[test]
fn of_a_small_account_little_is_leased() {
    let mut world = World { now_ms: 1, ..World::default() };
    world.disk.set(ACCOUNTS, "ana", Some(Arc::new(row(40))));
    let draft = lease(&world.disk, &world.cells, &[wish()], world.now_ms);
    world.commit(&draft);
    assert_eq!((world.on_disk(), world.cells.left("ana", "gold")), (35, 5));
    let draft = lease(&world.disk, &world.cells, &[wish()], world.now_ms);
    assert!(draft.rows.is_empty(), "a block is not leased on top of one");
    assert!(world.cells.plenty(&wish()));
    let cell = world.cells.of("ana", "gold", 0);
    assert_eq!([cell.take(), cell.take(), cell.take()], [Spent::Paid; 3]);
    assert!(!world.cells.plenty(&wish()), "two of five are left");
}

/// The real change thread and store, workers that take as the data plane does, an administrator who gives meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_spend_exactly_what_was_granted() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let (publisher, subscriber) = snapshot::door();
    let sealer = Arc::new(Sealer::new(&config.encryption_key).unwrap());
    let changes =
        Changes::start(&config, Store::memory().unwrap(), publisher, (sealer, Arc::default())).unwrap();
    // Nobody compiles for a data plane here.
    let acknowledge = subscriber.clone();
    let give = async |count: u64| {
        let user = json!({"username": "ana", "role": "user", "active": true}).as_object().cloned().unwrap();
        let draft = Draft::new("test", "ana").put("users", "ana", user).put(ACCOUNTS, "ana", row(count));
        acknowledge.acknowledge(gatehouse_common::ids::Revision(u64::MAX));
        changes.submit(Actor::System, move |_| Ok(draft)).await.unwrap();
    };
    give(5_000).await;
    let revision = changes.state().revision;
    let account = subscriber.snapshots.borrow().consumers["ana"].credits[0].clone();
    let (spent, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let worker = async || {
        loop {
            let filled = account.credit.filled();
            match account.credit.take() {
                Spent::Paid => drop(spent.fetch_add(1, Ordering::Relaxed)),
                Spent::Dry => break,
                Spent::Wait => {
                    subscriber.bell.ring(&ConsumerId::from("ana"), &account);
                    drop(tokio::time::timeout(std::time::Duration::from_millis(50), filled).await);
                }
            }
            tokio::task::yield_now().await;
        }
        ended.fetch_add(1, Ordering::Relaxed);
    };
    let lender = async {
        while ended.load(Ordering::Relaxed) < 4 {
            let heard = changes.publisher.bell.heard();
            let Ok(heard) = tokio::time::timeout(std::time::Duration::from_millis(20), heard).await else {
                continue;
            };
            let wishes = match heard {
                gatehouse_corridor::credits::Heard::Wishes(wishes) => wishes,
                gatehouse_corridor::credits::Heard::All => changes.cells.wanted(),
            };
            let cells = Arc::clone(&changes.cells);
            changes.quietly(move |state| Ok(lease(state, &cells, &wishes, 1))).await.unwrap();
        }
    };
    tokio::join!(worker(), worker(), worker(), worker(), lender);
    assert_eq!(spent.load(Ordering::Relaxed), 5_000);
    assert_eq!(changes.state().revision, revision, "leases are nobody's change");
    assert_eq!(account.credit.take(), Spent::Dry);
    give(3).await;
    assert_eq!(account.credit.take(), Spent::Wait, "there is something again");
}
