//! THE LIST of migrations. Each brings the store from one format to the next, in one commit with the new
//! format's number, so that an interrupted one is simply run again.

#[path = "migrations/0001_first.rs"]
mod m0001_first;

use crate::tables::FORMAT_KEY;
use crate::{Backend, Batch, StoreError};

type Migration = fn(&dyn Backend, &mut Batch) -> Result<(), StoreError>;

const LIST: &[Migration] = &[m0001_first::run];

/// Brings a store up to date.
///
/// # Errors
/// A store of a newer format, or a failing write.
pub fn run(backend: &dyn Backend) -> Result<(), StoreError> {
    let place = || "meta/format".to_owned();
    let format = match backend.get("meta", FORMAT_KEY)? {
        None => 0,
        Some(bytes) => serde_json::from_slice::<usize>(&bytes)
            .map_err(|error| StoreError::Corrupt { place: place(), detail: error.to_string() })?,
    };
    if format > LIST.len() {
        let detail = format!("written by a newer version (format {format}, this one knows {})", LIST.len());
        return Err(StoreError::Corrupt { place: place(), detail });
    }
    for (index, migration) in LIST.iter().enumerate().skip(format) {
        let mut batch = Batch::default();
        migration(backend, &mut batch)?;
        batch.put("meta", FORMAT_KEY, (index + 1).to_string().into_bytes());
        backend.commit(&batch)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::memory::Memory;

    #[test]
    fn runs_once_and_refuses_the_future() {
        let backend = Memory::default();
        run(&backend).unwrap();
        run(&backend).unwrap();
        assert_eq!(backend.get("meta", FORMAT_KEY).unwrap().unwrap(), b"1");
        let mut batch = Batch::default();
        batch.put("meta", FORMAT_KEY, b"99".to_vec());
        backend.commit(&batch).unwrap();
        assert!(run(&backend).unwrap_err().to_string().contains("newer"));
    }
}
