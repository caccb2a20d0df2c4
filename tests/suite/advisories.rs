//! Advisories: the snapshot is read by cargo-deny alone, and only where the database is out of reach; so it is read here too.

use gatehouse_tests::root;
use std::collections::BTreeSet;
use std::path::Path;
use toml::{Table, Value};

fn locked(root: &Path) -> BTreeSet<String> {
    let lock: Table = std::fs::read_to_string(root.join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    packages.iter().map(|package| package["name"].as_str().unwrap().to_owned()).collect()
}

fn is_list_of_ranges(value: &Value) -> bool {
    value.as_array().is_some_and(|ranges| ranges.iter().all(Value::is_str))
}

/// What is wrong with an advisory, by the words of its file.
fn problem(id: &str, folder: &str, text: &str, locked: &BTreeSet<String>) -> Option<String> {
    let Some((front, title)) = text.strip_prefix("```toml\n").and_then(|rest| rest.split_once("\n```\n"))
    else {
        return Some("no front matter between ```toml and ```".to_owned());
    };
    let front: Table = match front.parse() {
        Ok(front) => front,
        Err(error) => return Some(error.to_string()),
    };
    let word = |key: &str| front.get("advisory")?.get(key)?.as_str();
    let ranges = front.get("versions").and_then(Value::as_table);
    let has_ranges =
        ranges.is_some_and(|ranges| ranges.contains_key("patched") && ranges.values().all(is_list_of_ranges));
    let has_date = word("date").is_some_and(|date| date.len() == "2026-01-31".len());
    let rules = [
        (word("id") == Some(id), "its id is not its file's name"),
        (word("package") == Some(folder), "its package is not its folder's name"),
        (locked.contains(folder), "Cargo.lock has no such crate"),
        (has_date, "no date"),
        (has_ranges, "no lists of versions"),
        (title.trim().starts_with("# "), "no title"),
    ];
    rules.into_iter().find(|(kept, _)| !kept).map(|(_, problem)| problem.to_owned())
}

/// How many advisories a folder of crates holds, and what is wrong with them.
fn examined(crates: &Path, locked: &BTreeSet<String>) -> (usize, Vec<String>) {
    let (mut count, mut found) = (0, Vec::new());
    for folder in std::fs::read_dir(crates).unwrap() {
        let folder = folder.unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy();
            let text = std::fs::read_to_string(&path).unwrap();
            let problem = match path.extension() {
                Some(extension) if extension == "md" => {
                    problem(&stem, &folder.file_name().to_string_lossy(), &text, locked)
                }
                _ => Some("cargo-deny reads only .md".to_owned()),
            };
            found.extend(problem.map(|problem| format!("{}: {problem}", path.display())));
            count += 1;
        }
    }
    (count, found)
}

#[test]
fn every_advisory_is_readable() {
    let root = root();
    let (count, found) = examined(&root.join("packaging/advisories/crates"), &locked(&root));
    assert!(count > 50, "the snapshot holds the advisories");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_crate_with_an_advisory_was_looked_up() {
    let snapshot = root().join("packaging/advisories");
    let names = std::fs::read_to_string(snapshot.join("looked-up")).unwrap();
    let names: Vec<&str> = names.lines().collect();
    assert!(names.is_sorted(), "deny.sh compares it line by line");
    for folder in std::fs::read_dir(snapshot.join("crates")).unwrap() {
        let name = folder.unwrap().file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn a_malformed_advisory_is_found() {
    let good = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"sled\"\ndate = \"2026-01-31\"\n\n\
                [versions]\npatched = [\">= 1\"]\n```\n\n# Title\n";
    let planted = [
        ("```toml", "", "no front matter"),
        ("[versions]", "[versions", "TOML parse error"),
        ("2026-0001", "2026-0002", "its id"),
        ("sled", "other", "its package"),
        ("2026-01-31", "January", "no date"),
        ("[\">= 1\"]", "[1]", "no lists"),
        ("patched", "fixed", "no lists"),
        ("# Title", "Title", "no title"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sled/RUSTSEC-2026-0001.md");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let locked = BTreeSet::from(["sled".to_owned()]);
    std::fs::write(&file, good).unwrap();
    assert_eq!(examined(folder.path(), &locked), (1, vec![]));
    assert!(examined(folder.path(), &BTreeSet::new()).1[0].contains("no such crate"));
    for (from, to, problem) in planted {
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let (_, found) = examined(folder.path(), &locked);
        assert!(found.len() == 1 && found[0].contains(problem), "{to}: {found:?}");
    }
}
