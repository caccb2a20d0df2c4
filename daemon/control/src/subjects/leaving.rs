//! What goes with a user, an API or an endpoint, so that a later one of that name begins clean.

use crate::api::vault;
use crate::change::Draft;
use crate::index::By;
use crate::leases::ACCOUNTS;
use crate::state::{Fields as _, Row, State};
use crate::subjects::sessions::revoked_row;
use serde_json::Value;

/// What belongs to a user besides keys, sessions and subscriptions.
fn user(state: &State, name: &str, draft: Draft) -> Draft {
    let draft =
        if state.get("assignments", name).is_some() { draft.delete("assignments", name) } else { draft };
    vault::of(state, name).fold(draft, |draft, (key, _)| draft.delete("vault", key.as_str()))
}

/// A user, with all that is theirs. A restored backup that still has their keys must find them dead.
pub(crate) fn account(state: &State, name: &str, draft: Draft) -> Draft {
    let draft = state
        .keys_by(By::KeyUser, name)
        .fold(draft, |draft, id| draft.delete("keys", id).put("revoked", id, revoked_row(i64::MAX)));
    let draft = user(state, name, draft);
    draft.delete(ACCOUNTS, name).delete("subscriptions", name).delete("users", name)
}

/// What belongs to an endpoint.
pub(crate) fn endpoint(row: &Row, draft: Draft) -> Draft {
    draft.delete("validations", row.text("endpoint_id"))
}

/// An API, with its endpoints and subscriptions.
pub(crate) fn api(state: &State, key: &str, mut draft: Draft) -> Draft {
    for id in state.keys_by(By::EndpointApi, key) {
        if let Some(row) = state.get("endpoints", id) {
            draft = endpoint(row, draft);
        }
        draft = draft.delete("endpoints", id);
    }
    for user in state.keys_by(By::Subscriber, key) {
        let Some(mut row) = state.get("subscriptions", user).map(|row| Row::clone(row)) else { continue };
        let left = row.list("apis").into_iter().filter(|api| *api != key).map(Value::from).collect();
        row.insert("apis".to_owned(), Value::Array(left));
        draft = draft.put("subscriptions", user, row);
    }
    draft.delete("apis", key)
}
