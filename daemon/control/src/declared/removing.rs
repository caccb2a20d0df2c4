//! What goes: rows that the same owner declared before and no longer does, and, when pruning, what nobody declared.

use super::fault;
use super::making::Making;
use crate::change::Draft;
use crate::state::{Fields as _, Row};
use crate::subjects::fitting::Place;
use crate::subjects::leaving;
use gatehouse_store::tables::TABLES;
use serde_json::json;

/// Who declares what: a row for each declared one, by `table/key`.
pub(crate) const TABLE: &str = "declared";
/// Tables in the order in which their rows go: what hangs on another first.
const ORDER: [&str; 15] = [
    "validations",
    "endpoints",
    "subscriptions",
    "assignments",
    "user_credits",
    "vault",
    "rate_rules",
    "routings",
    "users",
    "apis",
    "groups",
    "roles",
    "tiers",
    "credits",
    "settings",
];
/// Tables that pruning looks through; what is each user's own is not pruned.
const PRUNED: [&str; 9] =
    ["endpoints", "rate_rules", "routings", "users", "apis", "groups", "roles", "tiers", "credits"];
/// What every appliance has.
const BUILT_IN: [(&str, &str); 3] = [("roles", "admin"), ("groups", "ALL"), ("groups", "admin")];

/// Who owns a declared row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// `gatehouse config apply`
    Apply,
    /// The watched folder.
    Folder,
}

impl Owner {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Folder => "folder",
        }
    }
}

fn mark(table: &str, key: &str) -> String {
    format!("{table}/{key}")
}

fn place(mark: &str) -> Option<Place> {
    let (table, key) = mark.split_once('/')?;
    let table = TABLES.iter().find(|known| known.name == table)?;
    Some((table.name, key.to_owned()))
}

impl Making<'_> {
    /// Notes who declares what, and refuses what another owner declares.
    pub(super) fn own(&mut self, owner: Owner) {
        let declared: Vec<_> = self.declared.iter().map(|(place, at)| (place.clone(), at.clone())).collect();
        for ((table, key), at) in declared {
            let mark = mark(table, &key);
            match self.after.get(TABLE, &mark).map(|row| row.text("by").to_owned()) {
                Some(by) if by == owner.name() => {}
                Some(by) => {
                    let what = if by == Owner::Folder.name() {
                        "the watched folder"
                    } else {
                        "gatehouse config apply"
                    };
                    let text = format!("{table} {key:?}: {what} declares it; expected one place for it");
                    self.faults.push(fault(&at, text));
                }
                None => {
                    let row = Row::from_iter([("by".to_owned(), json!(owner.name()))]);
                    self.set(TABLE, &mark, Some(row));
                }
            }
        }
    }

    /// Takes away what is no longer declared.
    pub(super) fn remove(&mut self, owner: Owner, prune: bool, bootstrap: &str) {
        let owned = |row: &Row| row.text("by") == owner.name();
        let marks = self.after.rows(TABLE).filter(|(_, row)| owned(row)).map(|(mark, _)| mark.clone());
        let mut gone: Vec<Place> = Vec::new();
        for mark in marks.collect::<Vec<_>>() {
            let Some(place) = place(&mark) else { continue };
            if !self.declared.contains_key(&place) {
                self.set(TABLE, &mark, None);
                gone.push(place);
            }
        }
        if prune {
            for table in PRUNED {
                let rows = self.after.rows(table).map(|(key, _)| (table, key.clone()));
                let undeclared = |place: &Place| {
                    let built_in =
                        BUILT_IN.contains(&(place.0, &place.1)) || *place == ("users", bootstrap.to_owned());
                    !self.declared.contains_key(place) && !built_in && !self.owned_by_other(place, owner)
                };
                let found: Vec<_> = rows.filter(undeclared).collect();
                gone.extend(found);
            }
        }
        gone.sort_by_key(|(table, _)| ORDER.iter().position(|known| known == table));
        for (table, key) in gone {
            self.leave(table, &key);
        }
    }

    fn owned_by_other(&self, (table, key): &Place, owner: Owner) -> bool {
        let by = self.after.get(TABLE, &mark(table, key));
        by.is_some_and(|row| row.text("by") != owner.name())
    }

    /// One row, with what hangs on it.
    fn leave(&mut self, table: &'static str, key: &str) {
        let Some(row) = self.after.get(table, key).cloned() else { return };
        let draft = match table {
            "users" => leaving::account(&self.after, key, Draft::default()),
            "apis" => leaving::api(&self.after, key, Draft::default()),
            "endpoints" => leaving::endpoint(&row, Draft::default()).delete(table, key),
            _ => Draft::default().delete(table, key),
        };
        for (table, key, row) in draft.rows {
            if row.is_none() {
                let mark = mark(table, &key);
                if self.after.get(TABLE, &mark).is_some() {
                    self.set(TABLE, &mark, None);
                }
            }
            self.set(table, &key, row);
        }
    }
}
