//! One request stays one: a corpus of those that two programs could read differently (`smuggling/README.md`), and what the
//! upstream saw of each.

use crate::raw::{Wire, daemon, get};
use gatehouse_tests::daemon::Daemon;
use gatehouse_tests::recorder::Recorder;
use gatehouse_tests::root;
use std::time::Duration;
use toml::{Table, Value};

const GATEWAY: &str = "/api/rest/odd/v1";

/// How the bytes are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// All with the marker in one write.
    Nowhere,
    /// Each byte in a write of its own.
    Everywhere,
    /// The marker is sent when the answers have come.
    Behind,
}

/// One request of the corpus.
#[derive(Debug)]
struct Case {
    name: String,
    raw: String,
    answers: Vec<u16>,
    seen: Vec<String>,
    open: bool,
}

fn cases(table: &Table) -> Vec<Case> {
    let text = |value: &Value| value.as_str().unwrap().replace("{G}", GATEWAY);
    let texts = |case: &Value, key: &str| -> Vec<String> {
        case.get(key).and_then(Value::as_array).map(|all| all.iter().map(text).collect()).unwrap_or_default()
    };
    let mut found = Vec::new();
    for case in table["case"].as_array().unwrap() {
        let known = ["name", "raw", "lines", "answers", "seen", "open"];
        assert!(case.as_table().unwrap().keys().all(|key| known.contains(&key.as_str())), "{case}");
        let raw = text(&case["raw"]);
        assert_eq!(raw.contains("{L}"), case.get("lines").is_some(), "{case}");
        let lines = if raw.contains("{L}") { texts(case, "lines") } else { vec![String::new()] };
        let statuses = case.get("answers").and_then(Value::as_array);
        let answers = statuses.map_or(vec![400], |all| {
            all.iter().map(|status| u16::try_from(status.as_integer().unwrap()).unwrap()).collect()
        });
        found.extend(lines.into_iter().map(|line| Case {
            name: format!("{}: {line:?}", text(&case["name"])),
            raw: raw.replace("{L}", &line),
            answers: answers.clone(),
            seen: texts(case, "seen"),
            open: case.get("open").and_then(Value::as_bool).unwrap_or(false),
        }));
    }
    found
}

/// Each character is a byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|one| u8::try_from(one).unwrap()).collect()
}

/// What went otherwise than the case says.
fn problem(case: &Case, cut: Cut, daemon: &Daemon, upstream: &Recorder) -> Option<String> {
    let (raw, marker) = (bytes(&case.raw), get(&format!("{GATEWAY}/marker")));
    let mut wire = Wire::open(daemon);
    match cut {
        Cut::Nowhere => wire.send([&*raw, marker.as_bytes()].concat()),
        Cut::Everywhere => raw.iter().chain(marker.as_bytes()).for_each(|byte| wire.send([*byte])),
        Cut::Behind => wire.send(raw),
    }
    let mut answers = Vec::new();
    while answers.len() < case.answers.len() {
        match wire.answer_to("GET") {
            Some(reply) if reply.status == 100 => {}
            Some(reply) => answers.push(reply.status),
            None => break,
        }
    }
    if answers != case.answers {
        return Some(format!("{} ({cut:?}): answers {answers:?}, seen {:?}", case.name, upstream.take()));
    }
    if cut == Cut::Behind {
        wire.send(marker);
    }
    let mut wanted = case.seen.clone();
    let end = if case.open {
        wanted.push("GET /marker ".to_owned());
        wire.answer_to("GET").map(|reply| reply.status.to_string()).unwrap_or_default()
    } else {
        wire.rest()
    };
    let seen = upstream.take();
    let is_end = if case.open { end == "200" } else { end.is_empty() };
    let is_as_told = seen == wanted && is_end;
    (!is_as_told).then(|| format!("{} ({cut:?}): seen {seen:?}, then {end:?}", case.name))
}

fn run(file: &str) {
    let text = std::fs::read_to_string(root().join("tests/suite/smuggling").join(file)).unwrap();
    let upstream = Recorder::start().unwrap();
    let (_folder, daemon) = daemon(&[], upstream.address);
    let cases = cases(&text.parse().unwrap());
    let mut found = Vec::new();
    for cut in [Cut::Nowhere, Cut::Everywhere, Cut::Behind] {
        found.extend(cases.iter().filter_map(|case| problem(case, cut, &daemon, &upstream)));
    }
    // A request that was let go late would stand here.
    std::thread::park_timeout(Duration::from_millis(200));
    found.extend(upstream.take());
    assert!(found.is_empty(), "{} of {} cases:\n{}", found.len(), cases.len() * 3, found.join("\n"));
}

#[test]
fn bodies_end_where_both_sides_see_it() {
    run("framing.toml");
}

#[test]
fn chunks_are_read_strictly() {
    run("chunks.toml");
}

#[test]
fn heads_are_read_strictly() {
    run("heads.toml");
}

#[test]
fn hosts_and_targets_are_read_strictly() {
    run("targets.toml");
}

#[test]
fn requests_on_one_connection_stay_apart() {
    run("pipelines.toml");
}

#[test]
fn every_file_of_the_corpus_is_run() {
    let source = std::fs::read_to_string(root().join("tests/suite/smuggling.rs")).unwrap();
    for file in std::fs::read_dir(root().join("tests/suite/smuggling")).unwrap() {
        let name = file.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || source.contains(&format!("run(\"{name}\")")), "{name}");
    }
}
