//! Leases of credits: a block goes from an account's row to the cell that the data plane takes from, and it leaves the row
//! on the disk first. So no credit is spent twice, whatever ends the daemon, and what is lost is one block at most.

#[cfg(test)]
mod tests;

use crate::change::Draft;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::ids::ConsumerId;
use gatehouse_corridor::credits::Wish;
use gatehouse_corridor::meter::Credit;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// Table of what users may spend, by user.
pub(crate) const ACCOUNTS: &str = "user_credits";
/// Field of its rows: group to account.
pub(crate) const GROUPS: &str = "users_credits";
/// Field of an account.
const AVAILABLE: &str = "available_credits";

/// The first block, and the smallest one after that; twice what workers ask for more at.
const FIRST_BLOCK: u64 = 64;
/// The largest: what a crash loses of an account at most.
pub(crate) const LARGEST_BLOCK: u64 = 1_024;
/// Never more of an account at once than this part of it.
const PART: u64 = 8;
/// Blocks that follow sooner grow, milliseconds.
const SOON_MS: i64 = 1_000;
/// Blocks that follow later shrink, milliseconds.
const LATE_MS: i64 = 10_000;

/// An account's cell, and how its blocks have been.
#[derive(Debug)]
struct Cell {
    credit: Arc<Credit>,
    block: u64,
    /// What it held after the last fill.
    filled: u64,
    leased_ms: i64,
}

/// The cells of all accounts; each lives as long as the process, since the data plane may hold it in an older snapshot.
/// Held for a few instructions by whoever compiles, leases or looks.
#[derive(Debug, Default)]
pub(crate) struct Cells(RwLock<HashMap<String, BTreeMap<String, Cell>>>);

/// What a draft does to cells once it is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A block was leased; `dry`: the account has no more.
    Fill { wish: Wish, block: u64, dry: bool },
    /// The row says all that there is, so the block is worth nothing any more.
    Settle { user: String, group: String, dry: bool },
}

impl Cells {
    /// The cell of an account, made on first sight.
    pub(crate) fn of(&self, user: &str, group: &str, available: u64) -> Arc<Credit> {
        let mut cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let cells = cells.entry(user.to_owned()).or_default();
        let made = || {
            let credit = Arc::new(Credit::default());
            credit.fill(0, available == 0);
            Cell { credit, block: FIRST_BLOCK, filled: 0, leased_ms: 0 }
        };
        Arc::clone(&cells.entry(group.to_owned()).or_insert_with(made).credit)
    }

    fn find(&self, user: &str, group: &str) -> Option<Arc<Credit>> {
        let cells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cells.get(user)?.get(group).map(|cell| Arc::clone(&cell.credit))
    }

    /// What is left of an account's block.
    pub(crate) fn left(&self, user: &str, group: &str) -> u64 {
        self.find(user, group).map_or(0, |credit| credit.left())
    }

    /// How much to lease next: twice as much when blocks follow one another soon, half when late; less what is left of
    /// the last one, so that a cell never holds more than a block.
    fn block(&self, wish: &Wish, available: u64, now_ms: i64) -> u64 {
        let mut cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.get_mut(wish.consumer.as_str()).and_then(|groups| groups.get_mut(&wish.group));
        let (block, left) = cell.map_or((FIRST_BLOCK, 0), |cell| {
            let pause = now_ms - cell.leased_ms;
            cell.block = match pause {
                _ if cell.leased_ms == 0 => FIRST_BLOCK,
                ..SOON_MS => cell.block.saturating_mul(2).min(LARGEST_BLOCK),
                LATE_MS.. => (cell.block / 2).max(FIRST_BLOCK),
                _ => cell.block,
            };
            cell.leased_ms = now_ms;
            (cell.block, cell.credit.left())
        });
        let whole = block.min((available.saturating_add(left) / PART).max(1));
        whole.saturating_sub(left).min(available)
    }

    /// Every account whose block is wanted.
    pub(crate) fn wanted(&self) -> Vec<Wish> {
        let cells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let wishes = cells.iter().flat_map(|(user, groups)| {
            let wanted = groups.iter().filter(|(_, cell)| cell.credit.wanted());
            wanted.map(|(group, _)| Wish { consumer: ConsumerId::from(user.as_str()), group: group.clone() })
        });
        wishes.collect()
    }

    /// Whether more than half of the last block is there yet, so that nothing need be leased.
    pub(crate) fn plenty(&self, wish: &Wish) -> bool {
        let cells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.get(wish.consumer.as_str()).and_then(|groups| groups.get(&wish.group));
        cell.is_some_and(|cell| cell.credit.left() * 2 > cell.filled.max(1))
    }

    /// Lets those who waited ask again: what they wanted could not be leased now.
    pub(crate) fn release(&self, wishes: &[Wish]) {
        for wish in wishes {
            if let Some(credit) = self.find(wish.consumer.as_str(), &wish.group) {
                credit.fill(0, false);
            }
        }
    }

    /// Does to the cells what is now on the disk.
    pub(crate) fn apply(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Fill { wish, block, dry } => {
                    self.of(wish.consumer.as_str(), &wish.group, *block).fill(*block, *dry);
                    self.filled(wish);
                }
                Effect::Settle { user, group, dry } => {
                    if let Some(credit) = self.find(user, group) {
                        let gone = credit.drain();
                        tracing::debug!(target: "credits", user, group, gone, "a block is gone with its number");
                        credit.fill(0, *dry);
                    }
                }
            }
        }
    }

    fn filled(&self, wish: &Wish) {
        let mut cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.get_mut(wish.consumer.as_str()).and_then(|groups| groups.get_mut(&wish.group));
        if let Some(cell) = cell {
            cell.filled = cell.credit.left();
        }
    }

    /// Takes back all blocks but `kept` credits of each, to be written down.
    fn drain(&self, kept: u64) -> Vec<(Wish, u64)> {
        let cells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = cells
            .iter()
            .flat_map(|(user, groups)| groups.iter().map(move |(group, cell)| (user, group, cell)));
        let taken = all.map(|(user, group, cell)| {
            (
                Wish { consumer: ConsumerId::from(user.as_str()), group: group.clone() },
                cell.credit.drain_to(kept),
            )
        });
        taken.filter(|(_, left)| *left > 0).collect()
    }
}

/// An account's groups.
pub(crate) fn groups(row: &Row) -> Option<&Map<String, Value>> {
    row.get(GROUPS).and_then(Value::as_object)
}

/// What a group of an account has in its row.
pub(crate) fn available(row: &Row, group: &str) -> u64 {
    let account = groups(row).and_then(|groups| groups.get(group)?.as_object());
    account.map_or(0, |account| u64::try_from(account.number(AVAILABLE)).unwrap_or(0))
}

/// Puts a number in the place of what a group of an account has.
pub(crate) fn set_available(row: &mut Row, group: &str, available: u64) {
    let account = row.get_mut(GROUPS).and_then(|groups| groups.get_mut(group)?.as_object_mut());
    if let Some(account) = account {
        account.insert(AVAILABLE.to_owned(), json!(available));
    }
}

/// Leases a block for each wish, in one draft.
pub(crate) fn lease(state: &State, cells: &Cells, wishes: &[Wish], now_ms: i64) -> Draft {
    let mut draft = Draft::quiet();
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for wish in wishes.iter().collect::<BTreeSet<_>>() {
        let user = wish.consumer.as_str();
        if let Some(row) = state.get(ACCOUNTS, user) {
            rows.entry(user).or_insert_with(|| Row::clone(row));
        }
        let has = rows.get(user).map_or(0, |row| available(row, &wish.group));
        let block = if has == 0 { 0 } else { cells.block(wish, has, now_ms) };
        if let Some(row) = rows.get_mut(user).filter(|_| block > 0) {
            set_available(row, &wish.group, has - block);
        }
        draft.effects.push(Effect::Fill { wish: wish.clone(), block, dry: has == block });
    }
    let changed =
        rows.into_iter().filter(|(user, row)| state.get(ACCOUNTS, user).is_none_or(|old| **old != *row));
    changed.fold(draft, |draft, (user, row)| draft.put(ACCOUNTS, user, row))
}

/// Writes back what is left of all blocks, but for `kept` credits of each; for the end, when no more than those are taken.
pub(crate) fn give_back(state: &State, cells: &Cells, kept: u64) -> Draft {
    let mut draft = Draft::quiet();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (Wish { consumer, group }, left) in cells.drain(kept) {
        let Some(row) = state.get(ACCOUNTS, consumer.as_str()) else { continue };
        let row = rows.entry(consumer.0).or_insert_with(|| Row::clone(row));
        let has = available(row, &group);
        set_available(row, &group, has.saturating_add(left));
    }
    for (user, row) in rows {
        draft = draft.put(ACCOUNTS, user, row);
    }
    draft
}

/// What a draft that is no lease does to the cells of the rows it writes: `only` some accounts, or all of their users.
pub(crate) fn settled(before: &State, draft: &Draft) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (_, user, row) in draft.rows.iter().filter(|(table, ..)| *table == ACCOUNTS) {
        let names = |row: &Row| groups(row).into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>();
        let old = before.get(ACCOUNTS, user).map(|row| names(row)).unwrap_or_default();
        let new = row.as_ref().map(names).unwrap_or_default();
        let all: BTreeSet<String> = old.into_iter().chain(new).collect();
        for group in all {
            if draft.settles.as_ref().is_some_and(|only| !only.contains(&(user.clone(), group.clone()))) {
                continue;
            }
            let dry = row.as_ref().is_none_or(|row| available(row, &group) == 0);
            effects.push(Effect::Settle { user: user.clone(), group, dry });
        }
    }
    effects
}
