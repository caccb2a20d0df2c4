//! What goes with a user or an endpoint, so that a later one of that name begins clean.

use crate::change::Draft;
use crate::state::{Fields as _, Row, State};

/// What belongs to a user besides keys, sessions and subscriptions.
pub(crate) fn user(_state: &State, name: &str, draft: Draft) -> Draft {
    draft.delete("assignments", name)
}

/// What belongs to an endpoint.
pub(crate) fn endpoint(row: &Row, draft: Draft) -> Draft {
    draft.delete("validations", row.text("endpoint_id"))
}
