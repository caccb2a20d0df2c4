//! The command line's grammar, for the shell and for SSH's forced command alike.
//!
//! Runbook parameters are any `--name value`; which exist, only the daemon knows.

use crate::text::nearest;
use gatehouse_common::runbook::{Risk, RunbookSpec};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A verb without parameters of its own: name, what its words are, what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verb {
    /// What is typed.
    pub name: &'static str,
    /// Its words and flags.
    pub words: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// Every verb, in the order of the help.
pub const VERBS: &[Verb] = &[
    Verb { name: "status", words: "", about: "the box at a glance" },
    Verb { name: "routes", words: "[NAME]", about: "routes and their upstreams" },
    Verb { name: "logs", words: "[-f] [QUERY]", about: "log lines; -f follows" },
    Verb { name: "consumers", words: "[NAME]", about: "consumers" },
    Verb { name: "tokens", words: "[NAME]", about: "API keys, never their secret" },
    Verb { name: "health", words: "", about: "what is well and what is not" },
    Verb { name: "audit", words: "[QUERY]", about: "who did what: actor:x action:x object:x since:1h" },
    Verb {
        name: "audit",
        words: "verify",
        about: "follows the whole chain; 1 and the first broken record if it breaks",
    },
    Verb { name: "audit", words: "export [QUERY]", about: "all records as JSON lines, oldest first" },
    Verb { name: "runs", words: "", about: "runs of runbooks" },
    Verb { name: "plan", words: "RUNBOOK --param value…", about: "what a runbook would do" },
    Verb {
        name: "run",
        words: "RUNBOOK --param value… --plan DIGEST [--reason TEXT] [--accept-risk NAME]… [--follow]",
        about: "do exactly what that plan says",
    },
    Verb {
        name: "config",
        words: "export|schema|check|diff|apply|history|rollback|revert …",
        about: "the configuration as files",
    },
    Verb {
        name: "import",
        words: "octoprox FILE [--dry-run]",
        about: "take users, keys and workspaces out of manager.db or its archive",
    },
    Verb { name: "hello", words: "", about: "daemon, door and runbooks" },
];

/// What was asked on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--plain`
    pub plain: bool,
    /// `--ascii`
    pub ascii: bool,
    /// `--captive`
    pub captive: bool,
    /// `--help`
    pub help: bool,
    /// `--version`
    pub version: bool,
    /// The verb, if any.
    pub verb: Option<Request>,
}

/// A verb with its words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Name, from [`VERBS`].
    pub verb: &'static str,
    /// `--json`
    pub json: bool,
    /// `-f`, `--follow`
    pub follow: bool,
    /// Words that are no flags.
    pub words: Vec<String>,
    /// `--plan`
    pub plan: Option<String>,
    /// `--prune`
    pub prune: bool,
    /// Whether files of this machine may be read; the command line alone may.
    pub files: bool,
    /// Whether standard input may be read.
    pub stdin: bool,
    /// `--reason`
    pub reason: Option<String>,
    /// `--accept-risk`
    pub accept: Vec<Risk>,
    /// `--dry-run`
    pub dry_run: bool,
    /// Runbook parameters as typed.
    pub params: Vec<(String, String)>,
}

/// A command line that cannot be understood; says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

fn usage<T>(text: impl Into<String>) -> Result<T, Usage> {
    Err(Usage(text.into()))
}

/// A risk by its name.
///
/// # Errors
/// Unknown; names the known ones.
pub fn risk(name: &str) -> Result<Risk, Usage> {
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .map_err(|_| Usage(format!("--accept-risk {name}: expected lose-ssh, lose-console or lose-changes")))
}

/// Parses the words after the program's name.
///
/// # Errors
/// Says which word, and what was expected.
pub fn parse(words: &[String]) -> Result<Invocation, Usage> {
    let mut found = Invocation::default();
    let mut json = false;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || match inline.clone().or_else(|| rest.next().cloned()) {
            Some(value) => Ok(value),
            None => usage(format!("{flag}: expected a value")),
        };
        match flag {
            "--socket" => found.socket = Some(PathBuf::from(value()?)),
            "--plain" => found.plain = true,
            "--ascii" => found.ascii = true,
            "--captive" => found.captive = true,
            "--json" if found.verb.is_none() => json = true,
            "help" if found.verb.is_none() => found.help = true,
            "--help" | "-h" => found.help = true,
            "--version" | "-V" => found.version = true,
            _ => match &mut found.verb {
                Some(request) => flag_of(request, flag, word, value)?,
                None if word.starts_with('-') => {
                    return usage(format!("unknown flag {word}; see gatehouse --help"));
                }
                None => found.verb = Some(Request { verb: verb(word)?, json, ..Request::default() }),
            },
        }
    }
    if let Some(request) = &found.verb {
        complete(request)?;
    }
    Ok(found)
}

fn verb(word: &str) -> Result<&'static str, Usage> {
    let names = || VERBS.iter().map(|verb| verb.name);
    if let Some(name) = names().find(|name| *name == word) {
        return Ok(name);
    }
    match nearest(word, names()) {
        Some(name) => usage(format!("unknown verb {word}; did you mean {name}?")),
        None => usage(format!("unknown verb {word}; known: {}", names().collect::<Vec<_>>().join(", "))),
    }
}

fn flag_of(
    request: &mut Request,
    flag: &str,
    word: &str,
    mut value: impl FnMut() -> Result<String, Usage>,
) -> Result<(), Usage> {
    let takes_params = matches!(request.verb, "plan" | "run");
    match flag {
        "--json" => request.json = true,
        "-f" | "--follow" if matches!(request.verb, "logs" | "run") => request.follow = true,
        "--prune" if request.verb == "config" => request.prune = true,
        "--format" if request.verb == "config" => request.params.push(("format".to_owned(), value()?)),
        "-" if request.verb == "config" => request.words.push(word.to_owned()),
        "--dry-run" if request.verb == "import" => request.dry_run = true,
        "--plan" if request.verb == "run" => request.plan = Some(value()?),
        "--reason" if request.verb == "run" => request.reason = Some(value()?),
        "--accept-risk" if request.verb == "run" => request.accept.push(risk(&value()?)?),
        _ if takes_params && flag.len() > 2 && flag.starts_with("--") => {
            let name = flag.trim_start_matches("--").to_owned();
            request.params.push((name, value()?));
        }
        // A filter's term may begin with a minus: `logs -timeout`.
        _ if word.starts_with("--") || (word.starts_with('-') && request.verb != "logs") => {
            return usage(format!("{}: unknown flag {word}", request.verb));
        }
        _ => request.words.push(word.to_owned()),
    }
    Ok(())
}

fn complete(request: &Request) -> Result<(), Usage> {
    let entry = VERBS.iter().find(|verb| verb.name == request.verb);
    let form = entry.map(|verb| format!("gatehouse {} {}", verb.name, verb.words)).unwrap_or_default();
    match (request.verb, request.words.as_slice()) {
        ("plan" | "run", []) => return usage(format!("expected a runbook: {form}")),
        ("plan" | "run", [_, extra, ..]) => return usage(format!("{extra}: expected --name value: {form}")),
        ("import", [kind, _]) if kind == "octoprox" => {}
        ("import", _) => return usage(format!("expected what to import, and its file: {form}")),
        ("status" | "health" | "runs" | "hello", [extra, ..]) => {
            return usage(format!("{}: unexpected {extra}", request.verb));
        }
        _ => {}
    }
    if request.verb == "run" && request.plan.is_none() {
        return usage(
            "run needs --plan DIGEST: what runs is what was shown. Look at it first with \
             gatehouse plan RUNBOOK --param value…, which prints the digest and the whole command",
        );
    }
    Ok(())
}

/// Finds the runbook in what the daemon has.
///
/// # Errors
/// Unknown; names the nearest.
pub fn runbook<'a>(name: &str, known: &'a [RunbookSpec]) -> Result<&'a RunbookSpec, Usage> {
    if let Some(spec) = known.iter().find(|spec| spec.id == name) {
        return Ok(spec);
    }
    match nearest(name, known.iter().map(|spec| spec.id.as_str())) {
        Some(near) => usage(format!("unknown runbook {name}; did you mean {near}?")),
        None => {
            let names: Vec<_> = known.iter().map(|spec| spec.id.as_str()).collect();
            usage(format!("unknown runbook {name}; known: {}", names.join(", ")))
        }
    }
}

/// Checks the parameters against the runbook's own list.
///
/// # Errors
/// Unknown, given twice or missing ones, by name.
pub fn params(spec: &RunbookSpec, given: &[(String, String)]) -> Result<BTreeMap<String, String>, Usage> {
    let mut found = BTreeMap::new();
    for (name, value) in given {
        if !spec.params.iter().any(|param| param.name == *name) {
            let near = nearest(name, spec.params.iter().map(|param| param.name.as_str()));
            let hint = match near {
                Some(near) => format!("did you mean --{near}?"),
                None if spec.params.is_empty() => "it takes none".to_owned(),
                None => {
                    let names: Vec<_> = spec.params.iter().map(|param| format!("--{}", param.name)).collect();
                    format!("it takes {}", names.join(", "))
                }
            };
            return usage(format!("{}: unknown parameter --{name}; {hint}", spec.id));
        }
        if found.insert(name.clone(), value.clone()).is_some() {
            return usage(format!("{}: --{name} is given twice", spec.id));
        }
    }
    let missing = |param: &&gatehouse_common::runbook::Param| {
        param.required && found.get(&param.name).is_none_or(String::is_empty)
    };
    match spec.params.iter().find(missing) {
        Some(param) => usage(format!("{}: missing --{} ({})", spec.id, param.name, param.help)),
        None => Ok(found),
    }
}

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    let mut out = String::from(
        "gatehouse: console of the Gatehouse gateway\n\nUsage: gatehouse [--socket PATH] [--plain] [--ascii] [VERB …]\n\n\
         Without a verb: the console on a terminal, the overview once elsewhere.\n\
         Each verb takes --json: one object, or one a line when it streams.\n\nVerbs\n",
    );
    for verb in VERBS {
        let form = format!("{} {}", verb.name, verb.words);
        out.push_str(&format!("  {:<34} {}\n", form.trim_end(), verb.about));
    }
    out.push_str(
        "\nSocket: --socket, else $GATEHOUSE_SOCKET, else /run/gatehouse/operate.sock or view.sock.\n\
         Exit codes: 0 done, 1 failed, 2 config diff found a difference, 64 usage, 69 daemon not reachable, 75 plan outdated, 77 not permitted.\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::runbook::{Param, ParamKind, Tier};

    fn words(line: &str) -> Vec<String> {
        shlex::split(line).unwrap()
    }

    fn spec() -> RunbookSpec {
        let param = |name: &str, required| Param {
            name: name.into(),
            kind: ParamKind::Text,
            required,
            help: "which".into(),
        };
        RunbookSpec {
            id: "open_door".into(),
            title: "Open a door".into(),
            group: "Doors".into(),
            about: String::new(),
            tier: Tier::Yes,
            params: vec![param("door", true), param("note", false)],
            exclusive: None,
        }
    }

    #[test]
    fn reads_flags_and_parameters() {
        let found =
            parse(&words("--socket /s run open_door --door=left --note 'a b' --plan 7f --json --reason why"));
        let request = found.unwrap().verb.unwrap();
        assert_eq!(request.params, [("door".into(), "left".into()), ("note".into(), "a b".into())]);
        assert_eq!((request.plan.as_deref(), request.json), (Some("7f"), true));
        let logs = parse(&words("logs -f -timeout level>=warn")).unwrap().verb.unwrap();
        assert!(logs.follow);
        assert_eq!(logs.words, ["-timeout", "level>=warn"]);
    }

    #[test]
    fn says_what_was_expected() {
        for (line, part) in [
            ("tokns", "did you mean tokens"),
            ("run open_door", "gatehouse plan"),
            ("plan", "expected a runbook"),
            ("status --fast", "unknown flag --fast"),
            ("run x --plan", "expected a value"),
            ("import manager.db", "octoprox FILE"),
            ("import octoprox", "octoprox FILE"),
            ("import octoprox a --plan", "unknown flag"),
            ("run x --plan 1 --accept-risk all", "lose-ssh"),
        ] {
            let error = parse(&words(line)).unwrap_err();
            assert!(error.0.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn parameters_follow_the_spec() {
        let given = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            params(&spec(), &pairs)
        };
        assert!(given(&[("dor", "x")]).unwrap_err().0.contains("did you mean --door"));
        assert!(given(&[]).unwrap_err().0.contains("missing --door"));
        assert!(given(&[("door", "a"), ("door", "b")]).unwrap_err().0.contains("twice"));
        assert_eq!(given(&[("door", "a")]).unwrap().len(), 1);
        assert!(runbook("open_dor", &[spec()]).unwrap_err().0.contains("open_door"));
    }
}
