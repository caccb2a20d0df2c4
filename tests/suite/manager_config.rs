//! The manager's configuration as a whole: vault, export and import, dumps, what the files tell.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use serde_json::{Value, json};
use std::path::Path;

fn house() -> (tempfile::TempDir, Daemon, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let root = daemon.login("admin", PASSWORD).unwrap();
    (folder, daemon, root)
}

fn user(daemon: &Daemon, root: &str, name: &str, role: &str) -> String {
    let email = format!("{name}@x.org");
    let user =
        json!({"username": name, "email": email, "password": PASSWORD, "role": role, "groups": ["ALL"]});
    let (status, answer) = daemon.call("POST", "/platform/user", root, Some(user)).unwrap();
    assert_eq!(status, 201, "{answer}");
    daemon.login(name, PASSWORD).unwrap()
}

/// Whether any file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => holds(&entry.path(), bytes),
        kind if kind.is_file() => {
            let text = std::fs::read(entry.path()).unwrap();
            text.windows(bytes.len()).any(|window| window == bytes)
        }
        _ => false,
    })
}

#[test]
fn a_vault_keeps_what_it_is_given_to_itself() {
    let (folder, daemon, root) = house();
    let (ana, eva) = (user(&daemon, &root, "ana", "user"), user(&daemon, &root, "eva", "user"));
    let secret = "xyzzy-open-sesame-42";
    let entry = json!({"key_name": "bank", "value": secret, "description": "mine"});
    let call = |method: &str, path: &str, token: &str, body: Option<Value>| {
        let (status, answer) = daemon.call(method, &format!("/platform/vault{path}"), token, body).unwrap();
        assert!(!answer.to_string().contains(secret), "{method} {path}: {answer}");
        (status, answer)
    };
    assert_eq!(call("POST", "", "", Some(entry.clone())).0, 401);
    assert_eq!(call("POST", "", &ana, Some(entry.clone())).0, 201);
    let (status, again) = call("POST", "", &ana, Some(entry.clone()));
    assert_eq!((status, &again["error_code"]), (409, &json!("VAULT004")));
    assert_eq!(call("GET", "", &ana, None).1["count"], 1);
    assert_eq!(call("PUT", "/bank", &ana, Some(json!({"description": "other", "value": "ignored"}))).0, 200);
    assert_eq!(call("GET", "/bank", &ana, None).1["description"], "other");
    for method in ["GET", "DELETE"] {
        let (status, answer) = call(method, "/bank", &eva, None);
        assert_eq!((status, &answer["error_code"]), (404, &json!("VAULT007")), "another's");
    }
    assert_eq!(call("GET", "", &root, None).1["entries"], json!([]));
    assert_eq!(daemon.call("DELETE", "/platform/user/ana", &root, None).unwrap().0, 200);
    let ana = user(&daemon, &root, "ana", "user");
    assert_eq!(call("GET", "", &ana, None).1["count"], 0, "another one of that name");
    assert_eq!(call("POST", "", &ana, Some(entry)).0, 201);
    assert_eq!(call("DELETE", "/bank", &ana, None).0, 200);
    daemon.kill().unwrap();
    assert!(!holds(folder.path(), secret.as_bytes()), "not in the store, the trail or a log");
}
