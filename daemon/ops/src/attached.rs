//! Who is connected to the sockets right now.

use gatehouse_common::ops::hello::Attached as Entry;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

/// The clients there are; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attached(Arc<RwLock<Table>>);

/// One client's entry, for as long as its connection is open.
pub(crate) struct Ticket {
    table: Attached,
    number: u64,
}

impl Attached {
    pub(crate) fn enter(&self, entry: Entry) -> Ticket {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.next += 1;
        let number = table.next;
        table.entries.insert(number, entry);
        Ticket { table: self.clone(), number }
    }

    /// One entry per actor and door: a console holds several connections.
    pub(crate) fn list(&self) -> Vec<Entry> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut seen: Vec<Entry> = Vec::new();
        for entry in table.entries.values() {
            if !seen.iter().any(|known| (&known.actor, known.door) == (&entry.actor, entry.door)) {
                seen.push(entry.clone());
            }
        }
        seen
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.table.0.write().unwrap_or_else(PoisonError::into_inner).entries.remove(&self.number);
    }
}
