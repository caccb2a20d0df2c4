//! The first format: an empty store begins at revision 0.

use crate::tables::REVISION_KEY;
use crate::{Backend, Batch, StoreError};

pub(super) fn run(_backend: &dyn Backend, batch: &mut Batch) -> Result<(), StoreError> {
    batch.put("meta", REVISION_KEY, b"0".to_vec());
    Ok(())
}
