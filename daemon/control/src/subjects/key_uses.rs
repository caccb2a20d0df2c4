//! When each API key was used last (spec/octoprox.md 3.4): cells that the data plane and the management surface touch,
//! written down each half minute. A crash loses what was touched since.

use crate::state::State;
use gatehouse_common::problem::Problem;
use gatehouse_corridor::snapshot::consumer::LastUse;
use gatehouse_store::{Batch, Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Table of the store; not part of an archive, since it speaks of the present.
const TABLE: &str = "key_uses";

#[derive(Debug, Default)]
struct Entry {
    cell: Arc<LastUse>,
    kept: Option<i64>,
}

/// Every key's last use, by the key of its row.
#[derive(Debug, Default)]
pub(crate) struct KeyUses(RwLock<HashMap<String, Entry>>);

impl KeyUses {
    /// As they stood when they were written down last.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut entries = HashMap::new();
        for (key, bytes) in store.scan(TABLE)? {
            let entry = Entry { cell: Arc::default(), kept: serde_json::from_slice(&bytes).ok() };
            entry.cell.touch(entry.kept.unwrap_or(0));
            entries.insert(key, entry);
        }
        Ok(Self(RwLock::new(entries)))
    }

    /// The cell of a key: the same one for as long as the key is there. Cheap.
    pub(crate) fn of(&self, key: &str) -> Arc<LastUse> {
        if let Some(entry) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Arc::clone(&entry.cell);
        }
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&entries.entry(key.to_owned()).or_default().cell)
    }

    /// Writes down what has changed and drops keys that are gone. Blocks on the disk.
    ///
    /// # Errors
    /// What kept it from the disk; it is tried again with the next call.
    pub(crate) fn save(&self, store: &Store, state: &State) -> Result<(), Problem> {
        let mut batch = Batch::default();
        let mut kept = Vec::new();
        let mut gone = Vec::new();
        for (key, entry) in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if state.get("keys", key).is_none() && Arc::strong_count(&entry.cell) == 1 {
                batch.delete(TABLE, key);
                gone.push(key.clone());
            } else if let Some(last) = entry.cell.last().filter(|last| Some(*last) != entry.kept) {
                batch.put(TABLE, key, last.to_string().into_bytes());
                kept.push((key.clone(), last));
            }
        }
        if batch.ops.is_empty() {
            return Ok(());
        }
        store.commit(batch).map_err(|error| error.problem())?;
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, last) in kept {
            entries.entry(key).or_default().kept = Some(last);
        }
        for key in gone {
            entries.remove(&key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Row;

    #[test]
    fn kept_over_a_restart_and_forgotten_with_the_key() {
        let store = Store::memory().unwrap();
        let mut state = State::default();
        state.set("keys", "k", Some(Arc::new(Row::new())));
        let uses = KeyUses::load(&store).unwrap();
        uses.of("k").touch(5_000);
        uses.of("k").touch(5_400);
        uses.of("idle");
        uses.save(&store, &state).unwrap();
        let again = KeyUses::load(&store).unwrap();
        assert_eq!((again.of("k").last(), again.of("idle").last()), (Some(5_000), None));
        again.save(&store, &State::default()).unwrap();
        assert_eq!(store.scan(TABLE).unwrap(), []);
    }
}
