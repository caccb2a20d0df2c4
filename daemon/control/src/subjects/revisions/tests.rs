//! Histories made at random by the real change thread, taken back in every way.

use super::*;
use crate::change::Changes;
use crate::config::tests::config;
use crate::session::tests::admin;
use crate::subjects::sealing::Sealer;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::snapshot;
use proptest::prelude::*;

type Ops = Vec<(u8, Option<u8>)>;

fn row(value: u8) -> Row {
    json!({"group_name": "g", "value": value}).as_object().cloned().unwrap_or_default()
}

/// The groups of a state.
fn groups(state: &State) -> Vec<(String, Row)> {
    state.rows("groups").map(|(key, row)| (key.clone(), Row::clone(row))).collect()
}

/// Makes a history; the groups after each revision, and its past.
async fn made(changes: &Changes, store: &Store, ops: &Ops) -> (Past, BTreeMap<u64, Vec<(String, Row)>>) {
    let people = crate::subjects::roles::admin();
    let user = json!({"username": "admin", "role": "admin", "active": true, "email": "a@b.c"});
    let user = user.as_object().cloned().unwrap_or_default();
    let draft = Draft::new("test", "people").put("roles", "admin", people).put("users", "admin", user);
    let mut after = BTreeMap::new();
    let first = changes.submit(Actor::System, move |_| Ok(draft)).await.unwrap();
    after.insert(first.0, Vec::new());
    for (key, value) in ops {
        let mut draft = Draft::new("test", "g");
        draft.rows.push(("groups", key.to_string(), value.map(row)));
        let revision = changes.submit(Actor::System, move |_| Ok(draft)).await.unwrap();
        after.insert(revision.0, groups(&changes.state()));
    }
    (Past { store: store.clone(), history: changes.history.clone() }, after)
}

fn started(folder: &std::path::Path, store: &Store) -> (Changes, snapshot::Subscriber) {
    let config = config(folder);
    let (publisher, subscriber) = snapshot::door();
    subscriber.acknowledge(gatehouse_common::ids::Revision(u64::MAX));
    let sealer = Arc::new(Sealer::new(&config.encryption_key).unwrap());
    let changes = Changes::start(&config, store.clone(), publisher, (sealer, Arc::default())).unwrap();
    (changes, subscriber)
}

fn ops() -> impl Strategy<Value = Ops> {
    proptest::collection::vec((0_u8..4, proptest::option::weighted(0.7, 0_u8..5)), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_revision_can_be_gone_back_to(ops in ops(), at in any::<proptest::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::memory().unwrap());
        let (changes, _subscriber) = started(folder.path(), &store);
        runtime.block_on(async {
            let (past, after) = made(&changes, &store, &ops).await;
            let heads = past.history.heads();
            let target = *at.get(&after.keys().copied().collect::<Vec<_>>());
            let later: BTreeSet<u64> = heads.range(target + 1..).map(|(id, _)| *id).collect();
            let net = past.between(target, None).unwrap();
            let state = changes.state();
            let draft = past.undo((&state, Some(&admin(&state))), &later, Later::Overwrite, 1).unwrap();
            prop_assert_eq!(draft.rows.len(), net.len(), "the difference is what is written");
            changes.submit(Actor::System, move |_| Ok(draft)).await.unwrap();
            prop_assert_eq!(&groups(&changes.state()), &after[&target]);
            Ok(())
        })?;
    }

    #[test]
    fn one_is_taken_back_alone_or_the_later_one_is_named(ops in ops(), at in any::<proptest::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::memory().unwrap());
        let (changes, _subscriber) = started(folder.path(), &store);
        runtime.block_on(async {
            let (past, _) = made(&changes, &store, &ops).await;
            let heads: Vec<u64> = past.history.heads().into_keys().skip(1).collect();
            prop_assume!(!heads.is_empty());
            let id = *at.get(&heads);
            let turned = rows(&store, id).unwrap().remove(0);
            let state = changes.state();
            match past.undo((&state, Some(&admin(&state))), &BTreeSet::from([id]), Later::Refuse, 1) {
                Ok(draft) => {
                    let before = groups(&state);
                    changes.submit(Actor::System, move |_| Ok(draft)).await.unwrap();
                    let now = changes.state();
                    prop_assert_eq!(now.get("groups", &turned.key), turned.before.as_ref());
                    let others = |rows: &[(String, Row)]| rows.iter().filter(|(key, _)| *key != turned.key).count();
                    prop_assert_eq!(others(&before), others(&groups(&now)));
                }
                Err(problem) => {
                    let later = past.later(id, &("groups", &turned.key)).unwrap();
                    let named = format!("revision {} (", later.revision);
                    prop_assert!(problem.status == 409 && problem.detail.contains(&named), "{}", problem);
                    prop_assert_ne!(state.get("groups", &turned.key), turned.after.as_ref());
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn no_credential_comes_back_to_life() {
    let mut state = State::default();
    let arc = |value: serde_json::Value| Arc::new(value.as_object().cloned().unwrap());
    state.set("users", "ana", Some(arc(json!({"token_epoch": 7, "password_hash": "new"}))));
    state.set("revoked", "k2", Some(arc(json!({}))));
    state.set("keys", "k1", Some(arc(json!({"revoked_unix_ms": 5}))));
    for (table, key, was, field, is) in [
        ("users", "ana", json!({"token_epoch": 3, "password_hash": "new"}), "token_epoch", json!(7)),
        ("users", "ana", json!({"token_epoch": 3, "password_hash": "old"}), "token_epoch", json!(8)),
        ("users", "eva", json!({"token_epoch": 3}), "token_epoch", json!(900)),
        ("keys", "k1", json!({}), "revoked_unix_ms", json!(5)),
        ("keys", "k2", json!({}), "revoked_unix_ms", json!(900)),
        ("keys", "k3", json!({}), "revoked_unix_ms", serde_json::Value::Null),
    ] {
        let row = alive(&state, table, key, arc(was), 900);
        assert_eq!(row.get(field).cloned().unwrap_or_default(), is, "{table} {key}");
    }
}
