//! Layering: who may import whom. The tables stand in ARCHITECTURE.md, and nowhere else.

use cargo_metadata::{DependencyKind, MetadataCommand};
use gatehouse_tests::root;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The rows between two markers as cells.
fn table(text: &str, name: &str) -> Vec<Vec<String>> {
    let begin = format!("<!-- {name}:begin -->");
    let inner = text.split(&begin).nth(1).and_then(|rest| rest.split(&format!("<!-- {name}:end -->")).next());
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    inner.unwrap_or_default().lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

fn names(cell: &str) -> BTreeSet<String> {
    cell.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Edges that a table of `who | may use` does not allow.
fn forbidden(rooms: &[Vec<String>], edges: &Edges) -> Vec<String> {
    let allowed: Edges = rooms.iter().map(|row| (row[0].clone(), names(&row[1]))).collect();
    let mut found = Vec::new();
    for (room, uses) in edges {
        for other in uses {
            if !allowed.get(room).is_some_and(|allowed| allowed.contains(other)) {
                found.push(format!("{room} may not use {other}"));
            }
        }
    }
    found
}

/// Uses of outside crates by rooms that the table of `crate | only in | reason` does not name.
fn outside(crates: &[Vec<String>], edges: &Edges) -> Vec<String> {
    let mut found = Vec::new();
    for row in crates {
        for (room, uses) in edges {
            if uses.contains(&row[0]) && !names(&row[1]).contains(room) {
                found.push(format!("{room} may not use {}: {}", row[0], row[2]));
            }
        }
    }
    found
}

/// Normal dependencies of our crates: on each other, and on others.
fn edges() -> (Edges, Edges) {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap();
    let (mut inside, mut others) = (Edges::new(), Edges::new());
    for package in &metadata.packages {
        let room = package.name.trim_start_matches("gatehouse-").to_owned();
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            match dependency.name.strip_prefix("gatehouse-") {
                Some(other) => inside.entry(room.clone()).or_default().insert(other.to_owned()),
                None => others.entry(room.clone()).or_default().insert(dependency.name.clone()),
            };
        }
    }
    (inside, others)
}

#[test]
fn rooms_keep_to_the_tables() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (inside, others) = edges();
    assert!(inside.len() > 4, "cargo metadata lists the rooms");
    let (rooms, crates) = (table(&text, "rooms"), table(&text, "crates"));
    // A misspelt marker gives an empty table, which would forbid nothing.
    assert!(!rooms.is_empty() && !crates.is_empty(), "both tables stand between their markers");
    let mut found = forbidden(&rooms, &inside);
    found.extend(outside(&crates, &others));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, others) = edges();
    let used: BTreeSet<_> = others.into_values().flatten().collect();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section =
        manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    let declared = section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let unused: Vec<_> = declared
        .filter(|name| {
            !name.starts_with("gatehouse-") && !["proptest", "insta"].contains(name) && !used.contains(*name)
        })
        .collect();
    assert!(unused.is_empty(), "declared and used by nobody: {unused:?}");
    let (missing, twice) = reasons(&text, &used);
    assert!(missing.is_empty(), "without a reason in ARCHITECTURE.md: {missing:?}");
    assert!(twice.is_empty(), "with two rows in ARCHITECTURE.md: {twice:?}");
}

/// Crates without a row under `## Dependencies`, and names with more than one.
fn reasons(text: &str, used: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let section = text.split("\n## Dependencies\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let mut rows = BTreeMap::<String, usize>::new();
    for line in section.unwrap_or_default().lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap_or_default();
        for name in cell.split('`').skip(1).step_by(2) {
            *rows.entry(name.to_owned()).or_default() += 1;
        }
    }
    let missing = used.iter().filter(|name| !rows.contains_key(*name)).cloned().collect();
    (missing, rows.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect())
}

#[test]
fn a_crate_without_a_row_and_one_with_two_are_found() {
    let text = "# A\n`c` elsewhere\n## Dependencies\n\n| Crate | Why |\n|---|---|\n| `a`, `b` | x |\n| `b` | `c` |\n";
    assert_eq!(reasons(text, &names("a, c")), (vec!["c".to_owned()], vec!["b".to_owned()]));
}

/// Whether a line has the words, and not as the end of a longer one.
fn says(line: &str, words: &str) -> bool {
    line.match_indices(words).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Sources that use words which the table of `words | only in | reason` gives to others.
fn misplaced(rules: &[Vec<String>], sources: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for row in rules {
        let allowed = names(&row[1]);
        for (file, text) in sources.iter().filter(|(file, _)| !allowed.contains(file)) {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            if code.into_iter().any(|line| says(line, &row[0])) {
                found.push(format!("{file} may not use {}: {}", row[0], row[2]));
            }
        }
    }
    found
}

#[test]
fn files_keep_to_their_words() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rules = table(&text, "files");
    assert!(!rules.is_empty(), "the table stands between its markers");
    let listed =
        Command::new("git").args(["ls-files", "common", "daemon"]).current_dir(root()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let read = |file: &str| (file.to_owned(), std::fs::read_to_string(root().join(file)).unwrap_or_default());
    let sources: Vec<_> = listed.lines().filter(|file| file.ends_with(".rs")).map(read).collect();
    for row in &rules {
        let files = names(&row[1]);
        let missing: Vec<_> =
            files.iter().filter(|file| !sources.iter().any(|(name, _)| name == *file)).collect();
        assert!(missing.is_empty(), "{}: no such file: {missing:?}", row[0]);
    }
    let found = misplaced(&rules, &sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_misplaced_word_is_found() {
    let rules = vec![vec!["sled::".to_owned(), "a.rs".to_owned(), "one file".to_owned()]];
    let source = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let sources = [
        source("a.rs", "sled::open()"),
        source("b.rs", "let db = sled::open();"),
        source("c.rs", "// sled::\nbobsled::go()"),
    ];
    assert_eq!(misplaced(&rules, &sources), ["b.rs may not use sled::: one file"]);
}

#[test]
fn a_forbidden_edge_is_found() {
    let text = "<!-- rooms:begin -->\n| Room | May use |\n|---|---|\n| data | common |\n<!-- rooms:end -->\n\
                <!-- crates:begin -->\n| Crate | Only in | Reason |\n|---|---|---|\n| sled | store | one file |\n<!-- crates:end -->";
    let edges = Edges::from([("data".to_owned(), names("store, sled"))]);
    assert_eq!(forbidden(&table(text, "rooms"), &edges).len(), 2);
    assert_eq!(outside(&table(text, "crates"), &edges), ["data may not use sled: one file"]);
}
