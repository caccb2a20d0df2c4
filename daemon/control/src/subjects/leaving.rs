//! What goes with a user, an API or an endpoint, so that a later one of that name begins clean.

use crate::api::vault;
use crate::change::Draft;
use crate::index::By;
use crate::state::{Fields as _, Row, State};
use crate::subjects::protos;
use serde_json::Value;

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

/// An API, with its endpoints, subscriptions and proto file.
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
    let draft =
        if state.get(protos::TABLE, key).is_some() { draft.delete(protos::TABLE, key) } else { draft };
    draft.delete("apis", key)
}
