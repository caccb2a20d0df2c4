//! Rows in memory: for tests and for a trial without a disk.

use super::{Backend, Batch, Op};
use crate::StoreError;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

type Rows = BTreeMap<(String, String), Vec<u8>>;

/// The engine.
#[derive(Debug)]
pub struct Memory {
    /// `None` once closed.
    rows: RwLock<Option<Rows>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { rows: RwLock::new(Some(Rows::new())) }
    }
}

/// Makes an empty one; the folder is not used.
///
/// # Errors
/// None.
pub fn open(_folder: &Path) -> Result<Arc<dyn Backend>, StoreError> {
    Ok(Arc::new(Memory::default()))
}

impl Memory {
    /// A panic elsewhere leaves whole rows behind: each write is one insert or remove.
    fn read<T>(&self, look: impl FnOnce(&Rows) -> T) -> Result<T, StoreError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.as_ref().map(look).ok_or(StoreError::Closed)
    }
}

impl Backend for Memory {
    fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|rows| rows.get(&(table.to_owned(), key.to_owned())).cloned())
    }

    fn scan(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read(|rows| {
            rows.range((table.to_owned(), String::new())..)
                .take_while(|((name, _), _)| name == table)
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        })
    }

    fn tables(&self) -> Result<Vec<String>, StoreError> {
        self.read(|rows| {
            let mut names: Vec<String> = rows.keys().map(|(table, _)| table.clone()).collect();
            names.dedup();
            names
        })
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut guard = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let rows = guard.as_mut().ok_or(StoreError::Closed)?;
        for op in &batch.ops {
            match op {
                Op::Put { table, key, value } => {
                    drop(rows.insert((table.clone(), key.clone()), value.clone()));
                }
                Op::Delete { table, key } => drop(rows.remove(&(table.clone(), key.clone()))),
            }
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        let length =
            |((table, key), value): (&(String, String), &Vec<u8>)| table.len() + key.len() + value.len();
        self.read(|rows| rows.iter().map(length).sum::<usize>() as u64).unwrap_or(0)
    }

    fn close(&self) {
        drop(self.rows.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}
