//! What can go wrong with the store, told apart by what a caller can do about it.

use gatehouse_common::problem::{Code, Problem};

/// An error of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written; it works again when there is space.
    #[error("the disk is full: {free_bytes} bytes free, {needed_bytes} needed")]
    DiskFull {
        /// Free bytes.
        free_bytes: u64,
        /// Bytes needed with the reserve.
        needed_bytes: u64,
    },
    /// The disk or the backend failed.
    #[error("the store failed: {0}")]
    Io(String),
    /// What was read is not what was written.
    #[error("{place}: {detail}")]
    Corrupt {
        /// File, table, key or line.
        place: String,
        /// What was expected.
        detail: String,
    },
    /// Another process holds the store.
    #[error("the store is held by another process: {0}")]
    Held(String),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// As the user sees it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::DiskFull { .. } => Code::DiskFull,
            Self::Io(_) | Self::Corrupt { .. } => Code::StoreFailed,
            Self::Held(_) | Self::Closed => Code::ShuttingDown,
        };
        Problem::new(code, self.to_string())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::DiskFull { free_bytes: 0, needed_bytes: 0 };
        }
        Self::Io(error.to_string())
    }
}
