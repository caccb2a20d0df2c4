//! Registry: a file in a folder of its kind is in the list beside it.

use gatehouse_tests::root;
use std::path::Path;

const LISTS: &[&str] = &[
    "daemon/control/src/api.rs",
    "daemon/control/src/subjects.rs",
    "daemon/ops/src/health.rs",
    "daemon/ops/src/methods.rs",
    "daemon/ops/src/runbooks.rs",
    "daemon/data/src/policies.rs",
    "daemon/data/src/stages.rs",
    "daemon/store/src/backends.rs",
    "daemon/store/src/migrations.rs",
    "tui/src/screens.rs",
    "tui/src/widgets.rs",
];

/// Files of the folder beside a list that the list does not name.
fn unregistered(list: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(list).unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(list.with_extension("")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let named = text.contains(&format!("mod {stem};")) || text.contains(&format!("/{stem}.rs"));
        if is_source && !named {
            found.push(stem);
        }
    }
    found
}

#[test]
fn every_file_is_registered() {
    for list in LISTS {
        assert_eq!(unregistered(&root().join(list)), Vec::<String>::new(), "{list}");
    }
}

#[test]
fn a_file_nobody_registered_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("policies.rs");
    std::fs::write(&list, "pub mod known;\n").unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    for name in ["known.rs", "planted.rs"] {
        std::fs::write(folder.path().join("policies").join(name), "").unwrap();
    }
    assert_eq!(unregistered(&list), ["planted"]);
}
