//! Files upon files: whatever came before, what is declared is there, what was declared is gone, and what was made by
//! hand stays.

use super::document::read;
use super::making::{Making, Means};
use super::references::Secrets;
use super::removing::Owner;
use super::{export, shapes};
use crate::state::State;
use crate::subjects::fitting;
use crate::subjects::sealing::Sealer;
use gatehouse_common::ops::config::ConfigFile;
use gatehouse_common::secret::Secret;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Applies a file; what it changed, not counting who declares what.
fn applied(state: &mut State, owner: Owner, prune: bool, file: &Value) -> Result<usize, String> {
    let sealer = Sealer::new(&Secret::new("x".repeat(32))).unwrap();
    let (secrets, hashes) = (Secrets::default(), HashMap::new());
    let file = ConfigFile { name: "a.json".to_owned(), text: file.to_string() };
    let means = Means { sealer: &sealer, secrets: &secrets, hashes: &hashes, now_ms: 1_000 };
    let mut making = Making::new(state, means);
    for item in read(&[file]).map_err(|faults| format!("{faults:?}"))? {
        making.item(&item);
    }
    making.own(owner);
    if !making.faults.is_empty() {
        return Err(format!("{:?}", making.faults));
    }
    making.remove(owner, prune, "admin");
    let own: Vec<_> = making.written.iter().filter(|(table, _)| *table != super::MARKS).collect();
    let places = own.iter().map(|(table, key)| (*table, key.as_str()));
    fitting::check(&making.after, places).map_err(|misfit| misfit.problem.detail)?;
    let changed =
        own.iter().filter(|(table, key)| state.get(table, key) != making.after.get(table, key)).count();
    *state = making.after;
    Ok(changed)
}

fn arc(value: Value) -> Option<Arc<crate::state::Row>> {
    value.as_object().cloned().map(Arc::new)
}

fn appliance() -> State {
    let mut state = State::default();
    state.set("roles", "admin", Some(Arc::new(crate::subjects::roles::admin())));
    let admin = json!({"username": "admin", "email": "a@b.c", "role": "admin", "active": true});
    state.set("users", "admin", arc(admin));
    state.set("groups", "by-hand", arc(json!({"group_name": "by-hand", "api_access": []})));
    state
}

type Wish = (BTreeSet<u8>, BTreeSet<(u8, u8)>, BTreeSet<u8>);

/// A file of groups, APIs with endpoints, and users subscribed to all those APIs.
fn file((groups, endpoints, users): &Wish) -> Value {
    let apis: BTreeSet<u8> = endpoints.iter().map(|(api, _)| *api).collect();
    let api = |api: &u8| {
        let own = endpoints.iter().filter(|(of, _)| of == api);
        let own: Vec<Value> = own
            .map(|(_, uri)| json!({"endpoint_method": "GET", "endpoint_uri": format!("/{uri}")}))
            .collect();
        json!({"api_name": format!("api{api}"), "api_version": "v1", "api_servers": ["http://10.0.0.1"], "endpoints": own})
    };
    let all: Vec<String> = apis.iter().map(|api| format!("api{api}/v1")).collect();
    let user = |user: &u8| json!({"username": format!("user{user}"), "email": format!("{user}@x.org"), "role": "user", "subscriptions": all});
    json!({"groups": groups.iter().map(|group| json!({"group_name": format!("g{group}")})).collect::<Vec<_>>(),
           "apis": apis.iter().map(api).collect::<Vec<_>>(), "users": users.iter().map(user).collect::<Vec<_>>()})
}

fn wish() -> impl Strategy<Value = Wish> {
    use proptest::collection::btree_set;
    (btree_set(0_u8..4, 0..4), btree_set((0_u8..3, 0_u8..3), 0..5), btree_set(0_u8..3, 0..3))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_declared_is_so_and_what_was_is_gone(wishes in proptest::collection::vec(wish(), 1..5)) {
        let mut state = appliance();
        for wish in &wishes {
            applied(&mut state, Owner::Apply, false, &file(wish)).unwrap();
            let (groups, endpoints, users) = wish;
            prop_assert_eq!(state.rows("groups").count(), groups.len() + 1, "and the one made by hand");
            prop_assert_eq!(state.rows("endpoints").count(), endpoints.len());
            prop_assert_eq!(state.rows("users").count(), users.len() + 1);
            prop_assert_eq!(state.rows("subscriptions").count(), users.len());
            prop_assert_eq!(applied(&mut state, Owner::Apply, false, &file(wish)), Ok(0), "again: nothing");
            let text = export(&state, true, 1_000).unwrap();
            let whole: Value = serde_saphyr::from_str(&text).unwrap();
            let mut other = state.clone();
            prop_assert_eq!(applied(&mut other, Owner::Apply, true, &whole), Ok(0), "what is exported is what is");
        }
        prop_assert_eq!(applied(&mut state, Owner::Apply, true, &json!({})).is_ok(), true);
        prop_assert_eq!(state.rows("apis").count() + state.rows("groups").count(), 0, "pruned");
        prop_assert!(state.get("users", "admin").is_some() && state.get("roles", "admin").is_some());
    }

    #[test]
    fn never_panics_on_any_item(name in "[a-z_]{1,12}", text in ".{0,20}", number in any::<i64>()) {
        for section in shapes::sections().iter().map(|section| section.name).filter(|name| *name != "security") {
            let mut state = appliance();
            let item = json!({name.clone(): text, "limit": number, "group_name": text, "api_name": text, "api_version": "v1"});
            let before = state.rows("groups").count();
            if applied(&mut state, Owner::Folder, false, &json!({section: [item]})).is_err() {
                prop_assert_eq!(state.rows("groups").count(), before);
            }
        }
    }
}

#[test]
fn an_object_has_one_owner() {
    let mut state = appliance();
    let file = json!({"groups": [{"group_name": "g"}]});
    applied(&mut state, Owner::Folder, false, &file).unwrap();
    let refused = applied(&mut state, Owner::Apply, false, &file).unwrap_err();
    assert!(refused.contains("the watched folder declares it"), "{refused}");
    applied(&mut state, Owner::Apply, true, &json!({})).unwrap();
    assert!(state.get("groups", "g").is_some(), "pruning leaves what another declares");
    applied(&mut state, Owner::Folder, false, &json!({})).unwrap();
    assert!(state.get("groups", "g").is_none());
}

#[test]
fn a_hand_made_row_that_is_declared_keeps_what_the_daemon_set() {
    let mut state = appliance();
    let user = json!({"username": "ana", "email": "a@x.org", "role": "user", "active": true, "groups": [],
                      "password_hash": "$argon2id$x", "token_epoch": 7, "tokens_revoked": true});
    state.set("users", "ana", arc(user));
    let file = json!({"users": [{"username": "ana", "email": "new@x.org", "role": "user"}]});
    assert_eq!(applied(&mut state, Owner::Apply, false, &file), Ok(1));
    let ana = state.get("users", "ana").unwrap();
    assert_eq!(
        (&ana["password_hash"], &ana["token_epoch"], &ana["tokens_revoked"]),
        (&json!("$argon2id$x"), &json!(7), &json!(true))
    );
    assert_eq!(ana["email"], "new@x.org");
}
