//! Files as they are found: whole, older, damaged, and a second time.

use super::*;
use proptest::prelude::*;

const HASH: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

fn rows(value: Value) -> Vec<ImportRow> {
    value.as_array().unwrap().iter().map(|row| row.as_object().cloned().unwrap()).collect()
}

fn file(users: Value, api_keys: Value, workspaces: Value) -> ImportRequest {
    ImportRequest {
        dry_run: false,
        users: rows(users),
        api_keys: rows(api_keys),
        workspaces: rows(workspaces),
    }
}

/// Does what the change thread would do.
fn done(state: &State, request: &ImportRequest) -> (State, ImportReport) {
    let plan = plan(state, request, 5_000);
    let mut after = state.clone();
    for (table, key, row) in plan.moved.into_iter().chain(plan.rows) {
        after.set(table, &key, row.map(Arc::new));
    }
    (after, plan.report)
}

fn user(id: i64, name: &str) -> Value {
    json!({"id": id, "username": name, "password_hash": HASH, "role": "user", "status": "active"})
}

#[test]
fn numbers_hashes_and_owners_stay() {
    let request = file(
        json!([user(3, "ana"), {"id": 9, "username": "root", "password_hash": HASH, "role": "admin", "status": "active",
               "created_at": "2026-01-31 12:30:00.5", "nexusgate_role": "x"}]),
        json!([{"id": 4, "user_id": 3, "key_prefix": "0a1b2c3d", "key_hash": HASH, "name": "ci"}]),
        json!([{"id": 2, "user_id": 9, "name": "Al.pha-1", "status": "deleted", "purge_after": "2026-02-01 00:00:00",
               "metadata": "{\"a\":1}"}]),
    );
    let (state, report) = done(&State::default(), &request);
    assert_eq!((report.users.taken, report.api_keys.taken, report.workspaces.taken), (2, 1, 1), "{report:?}");
    assert_eq!(report.notes, Vec::<String>::new());
    let root = state.get("users", "root").unwrap();
    assert_eq!((root.number("id"), root.text("role"), root.text("password_hash")), (9, "admin", HASH));
    assert_eq!(root.number("created_unix_ms"), 1_769_862_600_500);
    let key = state.get("keys", "octoprox-4").unwrap();
    assert_eq!((key.number("id"), key.text("username"), key.text("phc")), (4, "ana", HASH));
    let workspace = state.get("workspaces", "Al.pha-1").unwrap();
    assert_eq!((workspace.text("username"), workspace["metadata"]["a"].as_i64()), ("root", Some(1)));
    let (again, report) = done(&state, &request);
    assert_eq!((report.users.unchanged, report.api_keys.unchanged, report.workspaces.unchanged), (2, 1, 1));
    assert!(again.table("users").ptr_eq(state.table("users")), "a second time nothing changes");
}

#[test]
fn bad_rows_are_left_out_or_clamped_and_told() {
    let request = file(
        json!([{"id": 1, "username": "odd", "role": "root", "status": "paused"}, {"username": "none"}, user(2, "a/b"),
               user(1, "twice"), user(5, "")]),
        json!([{"id": 1, "user_id": 77, "key_prefix": "00000000", "key_hash": HASH},
               {"id": 2, "user_id": 1, "key_prefix": "00000000", "key_hash": "plain"},
               {"id": 3, "user_id": 1, "key_hash": HASH},
               {"id": 4, "user_id": 1, "key_prefix": "00000000", "key_hash": HASH.replace("m=65536", "m=4194304")}]),
        json!([{"id": 1, "user_id": 1, "name": "a b"}, {"id": 2, "user_id": 1, "name": "ok", "metadata": null}]),
    );
    let (state, report) = done(&State::default(), &request);
    let odd = state.get("users", "odd").unwrap();
    assert_eq!((odd.text("role"), odd.flag("active"), odd.text("password_hash")), ("user", false, ""));
    assert_eq!((report.users.taken, report.users.refused, report.api_keys.refused), (1, 4, 4), "{report:?}");
    assert_eq!((report.workspaces.taken, report.workspaces.refused), (1, 1));
    for word in [
        "role \"root\"",
        "status \"paused\"",
        "password hash",
        "\"a/b\"",
        "twice",
        "user_id 77",
        "key_prefix",
        "bearable",
        "\"a b\"",
    ] {
        assert!(report.notes.iter().any(|note| note.contains(word)), "{word}: {:?}", report.notes);
    }
    assert!(!json!(report).to_string().contains("argon2id$"), "no hash is told");
}

#[test]
fn no_two_users_are_one_of_the_platforms() {
    let id = "0B5E3C1E-7F0E-4A52-9A7C-3A2F7F1D2C11";
    let linked = |number, name, id| {
        let mut row = user(number, name);
        row["nexusgate_user_id"] = json!(id);
        row
    };
    let users = json!([linked(1, "ana", id), linked(2, "bob", &id.to_lowercase()), linked(3, "eva", "x")]);
    let (state, report) = done(&State::default(), &file(users, json!([]), json!([])));
    let link = |name: &str| state.get("users", name).unwrap().text("nexusgate_user_id").to_owned();
    assert_eq!((link("ana"), link("bob"), link("eva")), (id.to_lowercase(), String::new(), String::new()));
    assert_eq!((report.users.taken, report.notes.len()), (3, 2), "{report:?}");
}

#[test]
fn whoever_is_here_keeps_their_password_and_makes_room() {
    let mut state = State::default();
    for (name, id) in [("admin", 1), ("bob", 3)] {
        let row =
            json!({"username": name, "id": id, "role": "admin", "password_hash": "ours", "active": true});
        state.set("users", name, Some(Arc::new(row.as_object().cloned().unwrap())));
    }
    state.numbers.insert("users", 3);
    let request = file(json!([user(1, "ana"), user(3, "admin")]), json!([]), json!([]));
    let (after, report) = done(&state, &request);
    let number = |name: &str| after.get("users", name).unwrap().number("id");
    assert_eq!((number("ana"), number("admin")), (1, 3), "{report:?}");
    assert!(number("bob") > 3);
    assert_eq!(after.get("users", "admin").unwrap().text("password_hash"), "ours");
    assert!(report.notes.iter().any(|note| note.contains("\"bob\": number 3 became")), "{:?}", report.notes);
}

proptest! {
    #[test]
    fn never_panics_and_a_second_import_changes_nothing(
        users in proptest::collection::vec((-1i64..6, "[ab/]{0,2}", "(admin|user|x)"), 0..8),
        keys in proptest::collection::vec((-1i64..6, 0i64..6, "[0-9a-f_]{0,4}"), 0..8),
    ) {
        let users = users.iter().map(|(id, name, role)| {
            json!({"id": id, "username": name, "role": role, "status": "active", "password_hash": HASH})
        });
        let keys = keys.iter().map(|(id, user, prefix)| {
            json!({"id": id, "user_id": user, "key_prefix": prefix, "key_hash": HASH})
        });
        let request = file(users.collect(), keys.collect(), json!([]));
        let (state, first) = done(&State::default(), &request);
        let (again, second) = done(&state, &request);
        prop_assert_eq!(second.users.taken + second.api_keys.taken, 0);
        prop_assert_eq!(first.users.taken, state.table("users").len());
        prop_assert!(again.table("keys").ptr_eq(state.table("keys")));
        let numbers: BTreeSet<i64> = state.rows("users").map(|(_, row)| row.number("id")).collect();
        prop_assert_eq!(numbers.len(), state.table("users").len());
    }
}
