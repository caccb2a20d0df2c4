//! What an embedded engine must do for us, and THE LIST of engines. `commit` is honest about durability.

pub mod memory;
pub mod sled;

use crate::StoreError;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a value.
    Put {
        /// Table.
        table: String,
        /// Key.
        key: String,
        /// Value, JSON.
        value: Vec<u8>,
    },
    /// Removes a value; absent ones are no error.
    Delete {
        /// Table.
        table: String,
        /// Key.
        key: String,
    },
}

/// Writes that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order; a later one wins.
    pub ops: Vec<Op>,
}

impl Batch {
    /// Adds a write.
    pub fn put(&mut self, table: &str, key: &str, value: Vec<u8>) {
        self.ops.push(Op::Put { table: table.to_owned(), key: key.to_owned(), value });
    }

    /// Adds a removal.
    pub fn delete(&mut self, table: &str, key: &str) {
        self.ops.push(Op::Delete { table: table.to_owned(), key: key.to_owned() });
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let of = |op: &Op| match op {
            Op::Put { table, key, value } => table.len() + key.len() + value.len(),
            Op::Delete { table, key } => table.len() + key.len(),
        };
        self.ops.iter().map(of).sum::<usize>() as u64
    }
}

/// An embedded engine.
pub trait Backend: Debug + Send + Sync {
    /// One value.
    ///
    /// # Errors
    /// When it cannot be read.
    fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// A table in the order of its keys.
    ///
    /// # Errors
    /// When it cannot be read.
    fn scan(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// Tables with rows, sorted.
    ///
    /// # Errors
    /// When they cannot be read.
    fn tables(&self) -> Result<Vec<String>, StoreError>;
    /// All writes or none; returns when they are on the disk.
    ///
    /// # Errors
    /// What kept them from it.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;
    /// Bytes on the disk.
    fn size_bytes(&self) -> u64;
    /// Gives up what keeps other processes out; everything answers [`StoreError::Closed`] from now on. Blocks until
    /// whoever reads has done so.
    fn close(&self);
}

/// One engine of the list.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Value of the setting `store_backend`.
    pub name: &'static str,
    /// Opens or makes it in a folder.
    pub open: fn(&Path) -> Result<Arc<dyn Backend>, StoreError>,
}

/// THE LIST.
pub const LIST: &[Entry] =
    &[Entry { name: "memory", open: memory::open }, Entry { name: "sled", open: sled::open }];

#[cfg(test)]
mod conformance {
    use super::*;

    fn each(check: impl Fn(&dyn Backend)) {
        for entry in LIST {
            let folder = tempfile::tempdir().unwrap();
            let backend = (entry.open)(folder.path()).unwrap();
            check(backend.as_ref());
        }
    }

    fn batch(ops: &[(&str, &str, Option<&str>)]) -> Batch {
        let mut batch = Batch::default();
        for (table, key, value) in ops {
            match value {
                Some(value) => batch.put(table, key, value.as_bytes().to_vec()),
                None => batch.delete(table, key),
            }
        }
        batch
    }

    #[test]
    fn writes_reads_and_removes() {
        each(|backend| {
            backend
                .commit(&batch(&[("a", "1", Some("x")), ("a", "2", Some("y")), ("ab", "1", Some("z"))]))
                .unwrap();
            assert_eq!(backend.get("a", "1").unwrap().unwrap(), b"x");
            assert_eq!(backend.scan("a").unwrap().len(), 2, "a prefix of another table's name");
            assert_eq!(backend.tables().unwrap(), ["a", "ab"]);
            backend.commit(&batch(&[("a", "1", None), ("a", "9", None)])).unwrap();
            assert_eq!(backend.get("a", "1").unwrap(), None);
        });
    }

    #[test]
    fn the_last_write_of_a_batch_wins() {
        each(|backend| {
            backend
                .commit(&batch(&[("t", "k", Some("1")), ("t", "k", None), ("t", "k", Some("2"))]))
                .unwrap();
            assert_eq!(backend.get("t", "k").unwrap().unwrap(), b"2");
        });
    }

    #[test]
    fn keys_come_in_order_and_may_hold_anything() {
        each(|backend| {
            let keys = ["", "a/b", "ä", "z z", "~"];
            for key in keys {
                backend.commit(&batch(&[("t", key, Some(key))])).unwrap();
            }
            let found: Vec<String> = backend.scan("t").unwrap().into_iter().map(|(key, _)| key).collect();
            let mut sorted: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            sorted.sort();
            assert_eq!(found, sorted);
        });
    }

    #[test]
    fn closed_it_answers_so_and_another_may_open_it() {
        let folder = tempfile::tempdir().unwrap();
        for entry in LIST {
            let backend = (entry.open)(folder.path()).unwrap();
            backend.commit(&batch(&[("t", "k", Some("v"))])).unwrap();
            backend.close();
            assert_eq!(backend.get("t", "k"), Err(StoreError::Closed), "{}", entry.name);
            assert_eq!(backend.scan("t"), Err(StoreError::Closed), "{}", entry.name);
            assert_eq!(
                backend.commit(&batch(&[("t", "k", None)])),
                Err(StoreError::Closed),
                "{}",
                entry.name
            );
            // The first one is still there.
            (entry.open)(folder.path()).unwrap();
        }
    }

    #[test]
    fn a_second_opening_finds_everything() {
        let folder = tempfile::tempdir().unwrap();
        let first = sled::open(folder.path()).unwrap();
        first.commit(&batch(&[("t", "k", Some("v"))])).unwrap();
        drop(first);
        assert_eq!(sled::open(folder.path()).unwrap().get("t", "k").unwrap().unwrap(), b"v");
    }
}
