//! All rows in memory, immutable: a reader holds one state for as long as it likes; a change makes the next.

use crate::index::{self, By, Entry};
use gatehouse_common::ids::Revision;
use imbl::{OrdMap, OrdSet};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// A row: the fields of its resource.
pub(crate) type Row = Map<String, Value>;

/// One table.
pub(crate) type Table = OrdMap<String, Arc<Row>>;

/// Every table, at a revision. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    /// Last audit number given.
    pub(crate) audit: u64,
    /// Last number given, by table ([`crate::change::numbers`]).
    pub(crate) numbers: BTreeMap<&'static str, i64>,
    tables: OrdMap<&'static str, Table>,
    index: OrdSet<Entry>,
}

/// What a table without rows is.
static NO_ROWS: LazyLock<Table> = LazyLock::new(Table::new);

impl State {
    /// Puts a row in its place, or takes it away; the index follows. The row that was there.
    pub(crate) fn set(&mut self, table: &'static str, key: &str, row: Option<Arc<Row>>) -> Option<Arc<Row>> {
        let rows = self.tables.entry(table).or_default();
        let new = row.as_deref().map(|row| index::entries(table, key, row)).unwrap_or_default();
        let old = match row {
            Some(row) => rows.insert(key.to_owned(), row),
            None => rows.remove(key),
        };
        let was = old.as_deref().map(|row| index::entries(table, key, row)).unwrap_or_default();
        for entry in was.iter().filter(|entry| !new.contains(entry)) {
            self.index.remove(entry);
        }
        for entry in new.into_iter().filter(|entry| !was.contains(entry)) {
            self.index.insert(entry);
        }
        old
    }

    /// A table; shared with the states before and after where they are alike.
    pub(crate) fn table(&self, table: &str) -> &Table {
        self.tables.get(table).unwrap_or(&NO_ROWS)
    }

    /// Keys of the rows that an index holds under a value, in order.
    pub(crate) fn keys_by<'s>(&'s self, by: By, value: &'s str) -> impl Iterator<Item = &'s str> {
        let first: Entry = (by, value.into(), "".into());
        let same = move |entry: &&Entry| entry.0 == by && *entry.1 == *value;
        self.index.range(first..).take_while(same).map(|(_, _, key)| &**key)
    }

    /// Key of the row with a number.
    pub(crate) fn keys_by_number(&self, by: By, number: i64) -> Option<&str> {
        let value = index::second(number);
        let first: Entry = (by, value.as_str().into(), "".into());
        let (found, at, key) = self.index.range(first..).next()?;
        (*found == by && **at == *value).then_some(&**key)
    }

    /// Keys of all rows that an index holds, in the order of their values.
    pub(crate) fn keys_by_index(&self, by: By) -> impl Iterator<Item = &str> {
        let first: Entry = (by, "".into(), "".into());
        self.index.range(first..).take_while(move |entry| entry.0 == by).map(|(_, _, key)| &**key)
    }

    /// The values of an index, each once, in order.
    pub(crate) fn values(&self, by: By) -> impl Iterator<Item = &str> {
        let first: Entry = (by, "".into(), "".into());
        let mut last = None;
        let own =
            self.index.range(first..).take_while(move |entry| entry.0 == by).map(|(_, value, _)| &**value);
        own.filter(move |value| last.replace(*value) != Some(*value))
    }

    /// Keys of the rows whose value in an index sorts up to this one.
    pub(crate) fn keys_up_to<'s>(&'s self, by: By, value: &'s str) -> impl Iterator<Item = &'s str> {
        let first: Entry = (by, "".into(), "".into());
        let up_to = move |entry: &&Entry| entry.0 == by && *entry.1 <= *value;
        self.index.range(first..).take_while(up_to).map(|(_, _, key)| &**key)
    }

    pub(crate) fn get(&self, table: &str, key: &str) -> Option<&Arc<Row>> {
        self.tables.get(table)?.get(key)
    }

    pub(crate) fn rows(&self, table: &str) -> impl Iterator<Item = (&String, &Arc<Row>)> {
        self.table(table).iter()
    }
}

/// Fields of a row, absent ones as what they default to.
pub(crate) trait Fields {
    fn text(&self, name: &str) -> &str;
    fn flag(&self, name: &str) -> bool;
    fn number(&self, name: &str) -> i64;
    fn list(&self, name: &str) -> Vec<String>;
}

impl Fields for Row {
    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.get(name).and_then(Value::as_i64).unwrap_or_default()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let items = self.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}
