//! Taking away every credential of a consumer at once: a new epoch ends all tokens and sessions, keys are marked.

use super::{entities, tokens};
use crate::Inner;
use crate::change::Draft;
use crate::index::By;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::ids::ConsumerId;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::Revoked;
use serde_json::json;
use std::sync::{Arc, OnceLock};

/// Life of a probe's token, seconds.
const PROBE_SECS: i64 = 60;
/// Field of a user: the epoch before the last revocation, from which probes are made.
const EPOCH_BEFORE: &str = "token_epoch_before";

fn unknown(consumer: &ConsumerId) -> Problem {
    Problem::new(Code::NotFound, format!("user {consumer:?} does not exist", consumer = consumer.as_str()))
        .at("user")
}

/// Revokes; answers when the data plane refuses what was revoked.
pub(crate) async fn revoke(control: &Inner, actor: Actor, consumer: &ConsumerId) -> Result<Revoked, Problem> {
    let (now_ms, consumer) = (control.clock.unix_ms(), consumer.clone());
    let counted = Arc::new(OnceLock::new());
    let told = Arc::clone(&counted);
    let make = move |state: &State| {
        let name = consumer.as_str();
        let user = state.get("users", name).ok_or_else(|| unknown(&consumer))?;
        let keys: Vec<(String, Row)> = state
            .keys_by(By::KeyUser, name)
            .filter_map(|id| Some((id.to_owned(), Row::clone(state.get("keys", id)?))))
            .filter(|(_, key)| !key.contains_key("revoked_unix_ms"))
            .collect();
        let ended = entities::sessions_of(state, name, now_ms);
        let epoch = user.number("token_epoch");
        let mut row = Row::clone(user);
        row.insert(EPOCH_BEFORE.to_owned(), json!(epoch));
        row.insert("token_epoch".to_owned(), json!(now_ms.max(epoch + 1)));
        let detail = json!({ "sessions": ended, "keys": keys.len() });
        let mut draft = Draft::new("user.revoke_tokens", format!("user/{name}")).detail(detail);
        draft = draft.put("users", name, row);
        let revoked = Revoked { sessions: ended, keys: keys.len(), ..Revoked::default() };
        for (id, mut key) in keys {
            key.insert("revoked_unix_ms".to_owned(), json!(now_ms));
            draft = draft.put("keys", id, key);
        }
        told.get_or_init(|| revoked);
        Ok(draft)
    };
    let revision = control.changes.submit(actor, make).await?;
    Ok(Revoked { revision, ..counted.get().copied().unwrap_or_default() })
}

/// A token as the consumer's were before the last revocation.
pub(crate) fn probe_token(control: &Inner, consumer: &ConsumerId) -> Result<Secret<String>, Problem> {
    let state = control.changes.state();
    let user = state.get("users", consumer.as_str()).ok_or_else(|| unknown(consumer))?;
    let Some(before) = user.get(EPOCH_BEFORE).cloned() else {
        return Err(Problem::new(Code::Conflict, "this user's tokens were never revoked"));
    };
    let mut earlier = Row::clone(user);
    earlier.insert("token_epoch".to_owned(), before);
    let sid = uuid::Uuid::new_v4().to_string();
    let now_ms = control.clock.unix_ms();
    let wanted = tokens::Wanted { sid: &sid, typ: "access", ttl_secs: PROBE_SECS, now_ms };
    tokens::issue(&control.config(), &state, &earlier, &wanted).map(|(token, _)| Secret::new(token))
}
