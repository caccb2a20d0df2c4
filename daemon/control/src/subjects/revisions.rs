//! Taking back what the history has: one revision, several, or all since one. Credentials are of the present: an epoch
//! never goes back, and a key that was revoked stays dead.

use super::fitting::{self, Misfit, Place};
use super::{leaving, masks};
use crate::change::Draft;
use crate::change::history::{Head, History, Turned, rows};
use crate::session::Caller;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_store::Store;
use gatehouse_store::tables::TABLES;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where revisions and their rows are read.
#[derive(Clone)]
pub(crate) struct Past {
    pub(crate) store: Store,
    pub(crate) history: Arc<History>,
}

/// What is done about rows that were changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// Refused, naming the later revision.
    Refuse,
    /// They become as they were all the same.
    Overwrite,
}

fn table(name: &str) -> Option<&'static str> {
    TABLES.iter().find(|table| table.name == name).map(|table| table.name)
}

impl Past {
    /// A revision's head.
    ///
    /// # Errors
    /// 404 for one that is not kept.
    pub(crate) fn head(&self, revision: u64) -> Result<Head, Problem> {
        let missing = || Problem::new(Code::NotFound, format!("revision {revision}: not in the history"));
        self.history.head(revision).ok_or_else(missing)
    }

    /// The newest revision behind this one that touched a row. Reads the disk.
    fn later(&self, than: u64, (table, key): &(&str, &str)) -> Option<Head> {
        let heads = self.history.heads();
        let touched = |head: &&Head| {
            let rows = rows(&self.store, head.revision).unwrap_or_default();
            rows.iter().any(|row| (row.table.as_str(), row.key.as_str()) == (*table, *key))
        };
        heads.range(than + 1..).rev().map(|(_, head)| head).find(touched).cloned()
    }

    fn conflict(&self, than: u64, text: &str, place: Option<&Place>) -> Problem {
        let later = place.and_then(|(table, key)| self.later(than, &(table, key)));
        let by = later.map(|head| {
            format!("; revision {} ({} by {}) came later", head.revision, head.action, head.actor)
        });
        Problem::new(Code::Conflict, format!("{text}{}", by.unwrap_or_default()))
    }

    /// The rows that differ between two revisions; `to` of `None` is now.
    ///
    /// # Errors
    /// Revisions that are not kept.
    pub(crate) fn between(&self, from: u64, to: Option<u64>) -> Result<Vec<Turned>, Problem> {
        let heads = self.history.heads();
        let oldest = heads.keys().next().copied().unwrap_or(u64::MAX);
        if from.saturating_add(1) < oldest && !heads.is_empty() {
            let text = format!("from: revision {from} is no longer in the history; the oldest is {oldest}");
            return Err(Problem::new(Code::NotFound, text).at("from"));
        }
        let mut net: BTreeMap<(String, String), Turned> = BTreeMap::new();
        for (revision, _) in
            heads.range(from.saturating_add(1)..=to.unwrap_or(u64::MAX).max(from.saturating_add(1)))
        {
            if to.is_some_and(|to| *revision > to) {
                break;
            }
            for row in rows(&self.store, *revision)? {
                let place = (row.table.clone(), row.key.clone());
                match net.get_mut(&place) {
                    Some(known) => known.after = row.after,
                    None => drop(net.insert(place, row)),
                }
            }
        }
        Ok(net.into_values().filter(|row| row.before != row.after).collect())
    }

    /// Takes revisions back, the newest first, in one change. Without a caller it is an operator of this machine.
    ///
    /// # Errors
    /// A caller who may not change one of the rows; rows that were changed since, or that no longer fit what is there.
    pub(crate) fn undo(
        &self,
        (state, caller): (&State, Option<&Caller>),
        revisions: &BTreeSet<u64>,
        later: Later,
        now_ms: i64,
    ) -> Result<Draft, Problem> {
        let mut undo = Undo { after: state.clone(), written: BTreeSet::new() };
        for revision in revisions.iter().rev() {
            for row in rows(&self.store, *revision)? {
                if caller.is_some_and(|caller| !masks::may(caller, &row)) {
                    let text = format!("You may not change {} {:?}", row.table, row.key);
                    return Err(Problem::compat(403, "CFG006", text));
                }
                let Some(table) = table(&row.table) else { continue };
                let now = undo.after.get(table, &row.key);
                if later == Later::Refuse && !same(table, now, row.after.as_ref()) {
                    let text = format!("{} {:?} is not as revision {revision} left it", row.table, row.key);
                    return Err(self.conflict(*revision, &text, Some(&(table, row.key))));
                }
                undo.back(table, &row.key, row.before, now_ms, later);
            }
        }
        let written = undo.written.iter().map(|(table, key)| (*table, key.as_str()));
        let first = revisions.first().copied().unwrap_or_default();
        fitting::check(&undo.after, written).map_err(|misfit| match *misfit {
            Misfit { problem, other, .. } if problem.status == 409 => {
                self.conflict(first, &problem.detail, other.as_ref())
            }
            Misfit { problem, .. } => problem,
        })?;
        Ok(undo.draft(state))
    }
}

/// Whether a row is as a change left it. What is counted down meanwhile and what only ends tokens is not looked at.
fn same(table: &str, now: Option<&Arc<Row>>, left: Option<&Arc<Row>>) -> bool {
    let plain = |row: &Arc<Row>| {
        let mut row = Row::clone(row);
        if table == "users" {
            row.retain(|name, _| !name.starts_with("token_epoch"));
        }
        row
    };
    match (now, left) {
        (Some(now), Some(left)) => now == left || plain(now) == plain(left),
        (now, left) => now.is_none() && left.is_none(),
    }
}

struct Undo {
    after: State,
    written: BTreeSet<Place>,
}

impl Undo {
    fn set(&mut self, table: &'static str, key: &str, row: Option<Arc<Row>>) {
        self.after.set(table, key, row);
        self.written.insert((table, key.to_owned()));
    }

    /// One row as it was. Where later changes do not count, what goes takes along what hangs on it.
    fn back(&mut self, table: &'static str, key: &str, row: Option<Arc<Row>>, now_ms: i64, later: Later) {
        if let Some(row) = row {
            let row = alive(&self.after, table, key, row, now_ms);
            return self.set(table, key, Some(row));
        }
        if later == Later::Overwrite {
            let draft = match (table, self.after.get(table, key)) {
                ("apis", Some(_)) => leaving::api(&self.after, key, Draft::default()),
                ("endpoints", Some(row)) => leaving::endpoint(row, Draft::default()),
                _ => Draft::default(),
            };
            for (table, key, row) in draft.rows {
                self.set(table, &key, row.map(Arc::new));
            }
        }
        self.set(table, key, None);
    }

    fn draft(self, state: &State) -> Draft {
        let mut draft = Draft::new("config.rollback", "config");
        let differs = |(table, key): &&Place| state.get(table, key) != self.after.get(table, key);
        for (table, key) in self.written.iter().filter(differs) {
            let row = self.after.get(table, key).map(|row| Row::clone(row));
            draft.rows.push((*table, key.clone(), row));
        }
        draft
    }
}

/// A row that comes back with what must not come back: older epochs, keys that were revoked.
fn alive(state: &State, table: &str, key: &str, row: Arc<Row>, now_ms: i64) -> Arc<Row> {
    let mut row = Row::clone(&row);
    match table {
        "users" => {
            let epoch = match state.get("users", key) {
                Some(now) => {
                    let other = now.get("password_hash") != row.get("password_hash");
                    now.number("token_epoch").max(row.number("token_epoch")) + i64::from(other)
                }
                // Nothing tells whose tokens are still about.
                None => now_ms.max(row.number("token_epoch") + 1),
            };
            row.insert("token_epoch".to_owned(), json!(epoch));
        }
        "keys" => {
            let revoked = state.get("keys", key).and_then(|now| now.get("revoked_unix_ms")).cloned();
            let revoked = revoked.or_else(|| state.get("revoked", key).map(|_| json!(now_ms)));
            if let Some(at) = revoked {
                row.entry("revoked_unix_ms").or_insert(at);
            }
        }
        _ => {}
    }
    Arc::new(row)
}

#[cfg(test)]
mod tests;
