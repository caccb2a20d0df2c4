//! What control does without being asked: leases blocks of credits, fills accounts again when they are due, puts a new key
//! of a credit group in the old one's place, keeps the keys of external issuers fresh.

use crate::change::Draft;
use crate::index::{self, By};
use crate::leases::{self, ACCOUNTS};
use crate::state::State;
use crate::subjects::credits::{self, DEFINITIONS};
use crate::{Control, Inner, keysets};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::credits::Heard;
use gatehouse_corridor::tasks::TaskGroup;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at what is due.
const DUE: Duration = Duration::from_secs(1);
/// Before blocks that could not be leased may be asked for again.
const AGAIN: Duration = Duration::from_millis(100);
/// Accounts filled again in one change.
const AT_ONCE: usize = 256;

impl Control {
    /// Starts what control does without being asked; it ends with the group, what moves credits with [`Control::settle`].
    pub fn tend(&self, tasks: &TaskGroup) {
        let control = Arc::clone(&self.0);
        self.0.lending.spawn(async move {
            loop {
                lend(&control).await;
            }
        });
        let control = Arc::clone(&self.0);
        tasks.spawn(async move { keysets::tend(&control).await });
        let control = Arc::clone(&self.0);
        self.0.lending.spawn(async move {
            let mut due = tokio::time::interval(DUE);
            due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                due.tick().await;
                if let Err(problem) = look(&control).await {
                    tracing::error!(target: "credits", code = problem.code, "what is due is not done: {problem}");
                }
            }
        });
    }

    /// Ends leasing, for good, and writes down what is left of leased credits. Calls that are still in flight find enough
    /// in the cells, a credit for each; what they do not take is lost, as a part of a block is in a crash.
    ///
    /// # Errors
    /// What kept it from the disk; blocks are lost then, as in a crash.
    pub async fn settle(&self, in_flight: u64) -> Result<(), Problem> {
        // First: a block that is leased after what follows would be nobody's.
        self.0.lending.close().await;
        let cells = Arc::clone(&self.0.changes.cells);
        let back = move |state: &State| Ok(leases::give_back(state, &cells, in_flight));
        self.0.changes.quietly(back).await.map(drop)
    }
}

async fn lend(control: &Inner) {
    let (changes, now_ms) = (&control.changes, control.clock.unix_ms());
    let wishes = match changes.publisher.bell.heard().await {
        Heard::Wishes(wishes) => wishes,
        Heard::All => changes.cells.wanted(),
    };
    let (early, wishes): (Vec<_>, Vec<_>) = wishes.into_iter().partition(|wish| changes.cells.plenty(wish));
    changes.cells.release(&early);
    if wishes.is_empty() {
        return;
    }
    let (cells, asked) = (Arc::clone(&changes.cells), wishes.clone());
    let leased = changes.quietly(move |state: &State| Ok(leases::lease(state, &cells, &asked, now_ms))).await;
    if let Err(problem) = leased {
        tracing::error!(target: "credits", code = problem.code, "no credits leased: {problem}");
        tokio::time::sleep(AGAIN).await;
        changes.cells.release(&wishes);
    }
}

/// Does what is due now.
async fn look(control: &Inner) -> Result<(), Problem> {
    let now_secs = control.clock.unix_ms() / 1_000;
    let state = control.changes.state();
    if state.rows(DEFINITIONS).any(|(_, row)| credits::rotated(row, now_secs).is_some()) {
        control.changes.submit(Actor::System, move |state: &State| Ok(rotate(state, now_secs))).await?;
    }
    let now = index::second(now_secs);
    if state.keys_up_to(By::AccountReset, &now).next().is_some() {
        control.changes.submit(Actor::System, move |state: &State| Ok(refill(state, now_secs))).await?;
    }
    Ok(())
}

fn rotate(state: &State, now_secs: i64) -> Draft {
    let rows =
        state.rows(DEFINITIONS).filter_map(|(group, row)| Some((group, credits::rotated(row, now_secs)?)));
    let rows: Vec<_> = rows.collect();
    let names: Vec<_> = rows.iter().map(|(group, _)| group).collect();
    let draft = Draft::new("credit.rotate_key", "credits").detail(json!({ "groups": names }));
    rows.into_iter().fold(draft, |draft, (group, row)| draft.put(DEFINITIONS, group.clone(), row))
}

fn refill(state: &State, now_secs: i64) -> Draft {
    let now = index::second(now_secs);
    let mut users: Vec<&str> = state.keys_up_to(By::AccountReset, &now).take(AT_ONCE).collect();
    users.dedup();
    let mut draft = Draft::new("credit.reset", "credits").detail(json!({ "users": users })).passing();
    let mut settles = Vec::new();
    for user in users {
        let Some((row, groups)) = credits::refill(state, user, now_secs) else { continue };
        settles.extend(groups.into_iter().map(|group| (user.to_owned(), group)));
        draft = draft.put(ACCOUNTS, user, row);
    }
    draft.settling(settles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use gatehouse_common::ids::ConsumerId;
    use gatehouse_corridor::snapshot;
    use gatehouse_store::{Batch, Store};

    #[tokio::test]
    async fn nothing_is_leased_once_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().unwrap();
        let mut batch = Batch::default();
        let user = json!({"username": "ana", "role": "user", "active": true});
        let row = json!({"username": "ana", "users_credits": {"gold": {"available_credits": 1_000}}});
        batch.put("users", "ana", user.to_string().into_bytes());
        batch.put(ACCOUNTS, "ana", row.to_string().into_bytes());
        store.commit(batch).unwrap();
        let (publisher, subscriber) = snapshot::door();
        let seen = subscriber.clone();
        let tasks = TaskGroup::new("test");
        tasks.spawn(async move {
            loop {
                seen.acknowledge(gatehouse_common::ids::Revision(u64::MAX));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let control = Control::start(config(folder.path()), store, publisher).await.unwrap();
        control.tend(&tasks);
        let account = subscriber.snapshots.borrow().consumers["ana"].credits[0].clone();
        let ask = async || {
            let filled = account.credit.filled();
            subscriber.bell.ring(&ConsumerId::from("ana"), &account);
            tokio::time::timeout(Duration::from_millis(200), filled).await.is_ok()
        };
        assert!(ask().await, "while it runs a block is leased");
        control.settle(2).await.unwrap();
        assert_eq!(account.credit.left(), 2);
        let row = || control.0.changes.state().get(ACCOUNTS, "ana").map(|row| leases::available(row, "gold"));
        assert_eq!(row(), Some(998));
        assert!(!ask().await);
        assert_eq!(row(), Some(998), "no more leaves the account");
        tasks.close().await;
    }
}
