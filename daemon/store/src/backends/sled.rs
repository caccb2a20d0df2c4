//! sled 0.34.7, as it really behaves on Linux: `flush()` ends in `sync_file_range`, which reaches neither
//! metadata nor the drive's cache, so each commit is followed by `fdatasync` of the database file.
//! `flush_async` is never called: eight at once hang for good. Only the writer thread commits.

use super::{Backend, Batch, Op};
use crate::StoreError;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Resident cache, bytes: the default of 1 GiB costs memory and gains no speed here.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Space that must stay free beside a batch, bytes: sled writes whole segments and rewrites old ones.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// How often and how long to wait for a lock that a closed database still holds: two seconds in all.
const LOCK_TRIES: u32 = 400;
const LOCK_WAIT: Duration = Duration::from_millis(5);
/// Length from which a value may lie in a file of its own, bytes; below a quarter of sled's segments of 512 KiB.
const BLOB_BYTES: usize = 64 * 1024;
/// Between table and key; a table's name never holds it.
const SEPARATOR: u8 = 0;

/// The engine.
#[derive(Debug)]
pub struct Sled {
    folder: PathBuf,
    /// `None` after a failed write, until it can be opened again.
    open: RwLock<Option<Open>>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Open {
    db: sled::Db,
    /// A second handle of the same inode, to sync what sled does not.
    file: File,
}

/// Opens or makes the database of a folder.
///
/// # Errors
/// A lock held by another process, a failing disk, a damaged file.
pub fn open(folder: &Path) -> Result<Arc<dyn Backend>, StoreError> {
    let open = start(folder)?;
    Ok(Arc::new(Sled {
        folder: folder.to_owned(),
        open: RwLock::new(Some(open)),
        closed: AtomicBool::new(false),
    }))
}

fn start(folder: &Path) -> Result<Open, StoreError> {
    let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES);
    let mut tries = 0;
    let db = loop {
        match config.open() {
            Ok(db) => break db,
            // sled's own threads hold the lock for a moment after the last handle has gone.
            Err(sled::Error::Io(error))
                if error.to_string().contains("acquire lock") && tries < LOCK_TRIES =>
            {
                tries += 1;
                std::thread::park_timeout(LOCK_WAIT);
            }
            Err(sled::Error::Io(error)) if error.to_string().contains("acquire lock") => {
                return Err(StoreError::Held(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    };
    let file = File::open(folder.join("db"))?;
    // The name of a new database must be on the disk before anything in it counts as kept.
    File::open(folder)?.sync_all()?;
    Ok(Open { db, file })
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            sled::Error::Corruption { .. } => {
                Self::Corrupt { place: "store".to_owned(), detail: "sled reports a damaged page".to_owned() }
            }
            other => Self::Io(other.to_string()),
        }
    }
}

fn path(table: &str, key: &str) -> Vec<u8> {
    [table.as_bytes(), &[SEPARATOR], key.as_bytes()].concat()
}

fn text(bytes: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::Corrupt {
        place: "store".to_owned(),
        detail: "a key is not UTF-8".to_owned(),
    })
}

impl Sled {
    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.reopen()?;
        let guard = self.open.read().unwrap_or_else(PoisonError::into_inner);
        work(guard.as_ref().ok_or_else(|| StoreError::Io("it is being opened again".to_owned()))?)
    }

    /// Refuses before sled starts a write that cannot end: it does not recover from a full disk by itself.
    fn room(&self, batch: &Batch) -> Result<(), StoreError> {
        let disk = rustix::fs::statvfs(&self.folder).map_err(std::io::Error::from)?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed_bytes = RESERVE_BYTES + batch.bytes().saturating_mul(3);
        if free_bytes < needed_bytes {
            Err(StoreError::DiskFull { free_bytes, needed_bytes })
        } else {
            Ok(())
        }
    }

    /// After a failed write the engine's memory may run ahead of the disk: read it anew from there.
    fn reopen(&self) -> Result<(), StoreError> {
        if self.open.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        if guard.is_none() {
            *guard = Some(start(&self.folder)?);
        }
        Ok(())
    }

    /// sled keeps long values in files of their own and syncs none of them.
    fn sync_blobs(&self, batch: &Batch) -> Result<(), StoreError> {
        let long = |op: &Op| matches!(op, Op::Put { value, .. } if value.len() > BLOB_BYTES);
        let folder = self.folder.join("blobs");
        if !batch.ops.iter().any(long) || !folder.is_dir() {
            return Ok(());
        }
        for file in std::fs::read_dir(&folder)? {
            File::open(file?.path())?.sync_all()?;
        }
        Ok(File::open(&folder)?.sync_all()?)
    }

    fn forget(&self) {
        drop(self.open.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Backend for Sled {
    fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|open| Ok(open.db.get(path(table, key))?.map(|value| value.to_vec())))
    }

    fn scan(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.with(|open| {
            let prefix = path(table, "");
            open.db
                .scan_prefix(&prefix)
                .map(|row| {
                    let (key, value) = row?;
                    Ok((text(key.get(prefix.len()..).unwrap_or_default())?, value.to_vec()))
                })
                .collect()
        })
    }

    fn tables(&self) -> Result<Vec<String>, StoreError> {
        self.with(|open| {
            let mut names = Vec::new();
            let mut from = Vec::new();
            // One seek a table: the next begins behind the last key that this one could have.
            while let Some(row) = open.db.range(from.clone()..).next() {
                let (key, _) = row?;
                let name = key.split(|byte| *byte == SEPARATOR).next().unwrap_or_default();
                names.push(text(name)?);
                from = [name, &[SEPARATOR + 1]].concat();
            }
            Ok(names)
        })
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.room(batch)?;
        let mut writes = sled::Batch::default();
        for op in &batch.ops {
            match op {
                Op::Put { table, key, value } => writes.insert(path(table, key), value.as_slice()),
                Op::Delete { table, key } => writes.remove(path(table, key)),
            }
        }
        let written = self.with(|open| {
            open.db.apply_batch(writes)?;
            open.db.flush()?;
            open.file.sync_data()?;
            self.sync_blobs(batch)
        });
        if written.is_err() {
            self.forget();
        }
        written
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.forget();
    }

    fn size_bytes(&self) -> u64 {
        self.with(|open| Ok(open.file.metadata()?.len())).unwrap_or(0)
    }
}
