//! All rows in memory, immutable: a reader holds one state for as long as it likes; a change makes the next.

use gatehouse_common::ids::Revision;
use imbl::OrdMap;
use serde_json::{Map, Value};
use std::sync::Arc;

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
    pub(crate) tables: OrdMap<String, Table>,
}

impl State {
    pub(crate) fn get(&self, table: &str, key: &str) -> Option<&Arc<Row>> {
        self.tables.get(table)?.get(key)
    }

    pub(crate) fn rows(&self, table: &str) -> impl Iterator<Item = (&String, &Arc<Row>)> {
        self.tables.get(table).into_iter().flat_map(Table::iter)
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
