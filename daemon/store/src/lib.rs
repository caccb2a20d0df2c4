//! The store: typed tables over an embedded backend, one writer, durable answers.
//!
//! It knows rows and durability; it knows no HTTP, no policy and no clock.

pub mod archive;
pub mod backends;
mod error;
pub mod migrations;
pub mod segments;
pub mod tables;
pub mod walk;
mod writer;

pub use backends::{Backend, Batch, Op};
pub use error::StoreError;

use std::path::Path;
use std::sync::Arc;
use writer::Writer;

/// A handle of the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    writer: Arc<Writer>,
}

impl Store {
    /// Opens the store of a folder with a backend of [`backends::LIST`] and brings it up to date.
    ///
    /// # Errors
    /// An unknown backend, a store held by another process, a failing disk, a failing migration.
    pub fn open(folder: &Path, backend: &str) -> Result<Self, StoreError> {
        let entry = backends::LIST
            .iter()
            .find(|entry| entry.name == backend)
            .ok_or_else(|| StoreError::Io(format!("unknown backend {backend:?}")))?;
        Self::over((entry.open)(folder)?)
    }

    /// A store that lives in memory.
    ///
    /// # Errors
    /// When no writer thread can be made.
    pub fn memory() -> Result<Self, StoreError> {
        Self::over(Arc::new(backends::memory::Memory::default()))
    }

    fn over(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        migrations::run(backend.as_ref())?;
        let writer = Arc::new(Writer::start(Arc::clone(&backend))?);
        Ok(Self { backend, writer })
    }

    /// One value.
    ///
    /// # Errors
    /// When the backend cannot be read.
    pub fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.backend.get(table, key)
    }

    /// All rows of a table in the order of their keys.
    ///
    /// # Errors
    /// When the backend cannot be read.
    pub fn scan(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.backend.scan(table)
    }

    /// The tables that hold rows.
    ///
    /// # Errors
    /// When the backend cannot be read.
    pub fn tables(&self) -> Result<Vec<String>, StoreError> {
        self.backend.tables()
    }

    /// Bytes on the disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.backend.size_bytes()
    }

    /// Writes a batch whole or not at all; returns when it is on the disk. Blocks.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], or what else kept it from the disk; nothing is written then.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.writer.commit(batch)
    }

    /// Returns when everything that was being written before is on the disk, or has failed. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or why what came with it did not get there.
    pub fn barrier(&self) -> Result<(), StoreError> {
        self.writer.commit(Batch::default())
    }

    /// Ends the writer after what it has accepted, and lets go of the disk: another process may open the store, whoever
    /// still holds a handle here. Later calls answer [`StoreError::Closed`]. Blocks.
    pub fn close(&self) {
        self.writer.close();
        self.backend.close();
    }
}
