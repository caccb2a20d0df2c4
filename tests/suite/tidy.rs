//! Tidy: a file has one subject. Past 400 lines it must be on the list of those that were asked; 500 stops.

use gatehouse_tests::root;
use std::path::Path;
use std::process::Command;

const QUESTION_LINES: usize = 400;
const STOP_LINES: usize = 500;
/// Asked, and found to have one subject. The list may only shrink.
const ASKED: &[&str] = &[];

fn problems(file: &str, lines: usize) -> Option<String> {
    match lines {
        lines if lines > STOP_LINES => Some(format!("{file}: {lines} lines; split it")),
        lines if lines > QUESTION_LINES && !ASKED.contains(&file) => {
            Some(format!("{file}: {lines} lines; has it two subjects?"))
        }
        _ => None,
    }
}

fn sources(root: &Path) -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root).output().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn files_are_short() {
    let root = root();
    let files = sources(&root);
    assert!(files.len() > 50, "git lists the sources");
    let lines = |file: &String| std::fs::read_to_string(root.join(file)).unwrap().lines().count();
    let found: Vec<_> = files.iter().filter_map(|file| problems(file, lines(file))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_long_file_is_found() {
    assert!(problems("a.rs", 400).is_none());
    assert!(problems("a.rs", 401).unwrap().contains("two subjects"));
    assert!(problems("a.rs", 501).unwrap().contains("split"));
}
