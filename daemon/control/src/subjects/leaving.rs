//! What goes with a user or an endpoint, so that a later one of that name begins clean.

use crate::api::vault;
use crate::change::Draft;
use crate::state::{Fields as _, Row, State};

/// What belongs to a user besides keys, sessions and subscriptions.
pub(crate) fn user(state: &State, name: &str, draft: Draft) -> Draft {
    let draft =
        if state.get("assignments", name).is_some() { draft.delete("assignments", name) } else { draft };
    vault::of(state, name).fold(draft, |draft, (key, _)| draft.delete("vault", key.as_str()))
}

/// What belongs to an endpoint.
pub(crate) fn endpoint(row: &Row, draft: Draft) -> Draft {
    draft.delete("validations", row.text("endpoint_id"))
}
