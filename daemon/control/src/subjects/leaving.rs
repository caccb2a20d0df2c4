//! What goes with a user or an endpoint, so that a later one of that name begins clean.

use crate::change::Draft;
use crate::state::State;

/// What belongs to a user besides keys, sessions and subscriptions.
pub(crate) fn user(_state: &State, name: &str, draft: Draft) -> Draft {
    draft.delete("assignments", name)
}
