//! What git may be asked: sub-commands, their options, and words that are neither. A superset of what the predecessor
//! took, without its ways out.

/// Why a command line was refused; the texts are those that clients look for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("No git command provided")]
    Nothing,
    #[error("git {0} is not in the allowed whitelist")]
    Command(String),
    #[error("Too many arguments for git {0}: at most {1}")]
    Many(String, usize),
    #[error("An argument contains invalid characters")]
    Characters,
    #[error("Path traversal is not allowed: {0}")]
    Traversal(String),
    #[error("Argument not allowed for git {0}: {1}")]
    Option(String, String),
    #[error("Argument not allowed: git config may not set {0}")]
    Key(String),
}

/// One sub-command. An option ends with `=` if it needs a value (in the same word or the next), with `[=]` if it
/// may have one in the same word.
struct Row {
    name: &'static str,
    most: usize,
    options: &'static str,
}

const TABLE: &[Row] = &[
    Row {
        name: "clone",
        most: 12,
        options: "--depth= --branch= -b= --single-branch --no-single-branch --shallow-submodules --recurse-submodules[=] --jobs= -j= --origin= -o= --config= -c= --bare --mirror --no-tags --no-checkout -n --quiet -q --filter=",
    },
    Row {
        name: "pull",
        most: 8,
        options: "--ff-only --no-ff --ff --no-rebase --rebase[=] --autostash --no-autostash --depth= --unshallow --tags --prune -p --quiet -q",
    },
    Row {
        name: "fetch",
        most: 12,
        options: "--all --prune -p --prune-tags --depth= --unshallow --force -f --tags -t --no-tags --quiet -q --dry-run",
    },
    Row {
        name: "status",
        most: 10,
        options: "--short -s --branch -b --porcelain[=] --untracked-files[=] -u --ignored[=] --long -z",
    },
    Row {
        name: "log",
        most: 16,
        options: "--oneline --max-count= -n= --since= --until= --after= --before= --author= --grep= --all --graph --decorate[=] --format= --pretty[=] --stat --numstat --name-only --name-status --patch -p --follow --reverse --skip= --no-merges --merges --first-parent --date= -i -S= -G= -1 -2 -3 -5",
    },
    Row {
        name: "diff",
        most: 16,
        options: "--cached --staged --stat[=] --numstat --shortstat --name-only --name-status --check --unified= -U= --word-diff[=] --ignore-all-space -w --ignore-space-change --diff-filter= --merge-base --quiet --exit-code -M -C -R",
    },
    Row {
        name: "show",
        most: 10,
        options: "--stat[=] --name-only --name-status --format= --pretty[=] --quiet --oneline --no-patch -s --date=",
    },
    Row {
        name: "branch",
        most: 10,
        options: "--list -l --all -a --remotes --remote -r --merged[=] --no-merged[=] --contains= --format= --sort= -d -D --delete -m -M --move -v -vv --verbose --show-current -u= --set-upstream-to= --unset-upstream -f --force --track --no-track",
    },
    Row {
        name: "checkout",
        most: 12,
        options: "-b= -B= --track -t --no-track --orphan= --ours --theirs --merge -m --force -f --detach --quiet -q",
    },
    Row {
        name: "add",
        most: 50,
        options: "-A --all -u --update --force -f --dry-run -n --verbose -v -N --intent-to-add",
    },
    Row { name: "reset", most: 20, options: "--soft --mixed --hard --keep --merge --quiet -q" },
    Row {
        name: "commit",
        most: 20,
        options: "-m= --message= --amend --no-edit --all -a --signoff -s --no-verify -n --allow-empty --author= --date= --quiet -q --only -o --include -i --reset-author --fixup=",
    },
    Row {
        name: "push",
        most: 10,
        options: "--all --tags --force -f --force-with-lease[=] --set-upstream -u --delete -d --dry-run -n --follow-tags --quiet -q --prune",
    },
    Row {
        name: "remote",
        most: 10,
        options: "-v --verbose -t= -m= -f --tags --no-tags --push --add --delete --all",
    },
    Row {
        name: "config",
        most: 6,
        options: "--global --local --list -l --get= --get-all= --get-regexp= --add --unset= --unset-all= --show-origin --name-only",
    },
    Row { name: "init", most: 6, options: "--bare --quiet -q --initial-branch= -b= --shared[=]" },
];

/// Options whose value is text for people: no file, no name.
const FREE: &[&str] = &[
    "-m",
    "--message",
    "--author",
    "--grep",
    "--format",
    "--pretty",
    "--since",
    "--until",
    "--after",
    "--before",
    "--date",
    "-S",
    "-G",
];

/// Keys, or beginnings of keys, that name no program; in lower case.
const KEYS: &[&str] = &[
    "user.name",
    "user.email",
    "init.defaultbranch",
    "pull.rebase",
    "pull.ff",
    "push.default",
    "push.autosetupremote",
    "push.followtags",
    "fetch.prune",
    "fetch.prunetags",
    "merge.ff",
    "merge.conflictstyle",
    "rebase.autostash",
    "core.autocrlf",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.quotepath",
    "core.safecrlf",
    "core.longpaths",
    "core.abbrev",
    "diff.renames",
    "diff.algorithm",
    "log.date",
    "status.showuntrackedfiles",
    "advice.",
    "color.",
    "http.postbuffer",
    "submodule.recurse",
];

/// Checks a command line; the words that may name files, for whoever knows the files.
pub(crate) fn check(words: &[String]) -> Result<Vec<String>, Refused> {
    let (command, rest) = words.split_first().ok_or(Refused::Nothing)?;
    let row =
        TABLE.iter().find(|row| row.name == command).ok_or_else(|| Refused::Command(command.clone()))?;
    if rest.len() > row.most {
        return Err(Refused::Many(command.clone(), row.most));
    }
    let mut scan = Scan { row, words: Vec::new(), only_words: false };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        scan.word(word, &mut rest)?;
    }
    if command == "config" {
        key_of_config(&scan.words, words)?;
    }
    Ok(scan.words)
}

struct Scan<'a> {
    row: &'a Row,
    words: Vec<String>,
    /// Behind `--`.
    only_words: bool,
}

impl Scan<'_> {
    fn word(&mut self, word: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(), Refused> {
        if self.only_words || !word.starts_with('-') || word == "-" {
            plain(word)?;
            self.words.push(word.to_owned());
            return Ok(());
        }
        if word == "--" {
            self.only_words = true;
            return Ok(());
        }
        let before = rest.len();
        let (option, value) = self.option(word, rest).ok_or_else(|| self.refused(word))?;
        self.value(&option, value, rest.len() == before)
    }

    fn refused(&self, word: &str) -> Refused {
        // Only the option's name: its value may be anything.
        let name = word.split('=').next().unwrap_or_default();
        Refused::Option(self.row.name.to_owned(), name.chars().take(64).collect())
    }

    fn knows(&self, option: &str) -> bool {
        self.row.options.split(' ').any(|known| known == option)
    }

    /// The option of a word, and its value.
    fn option(
        &self,
        word: &str,
        rest: &mut std::slice::Iter<'_, String>,
    ) -> Option<(String, Option<String>)> {
        if let Some((name, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
            let known = self.knows(&format!("{name}=")) || self.knows(&format!("{name}[=]"));
            return known.then(|| (name.to_owned(), Some(value.to_owned())));
        }
        if self.knows(word) || self.knows(&format!("{word}[=]")) {
            return Some((word.to_owned(), None));
        }
        if self.knows(&format!("{word}=")) {
            return rest.next().map(|value| (word.to_owned(), Some(value.clone())));
        }
        if word.starts_with("--") { None } else { self.cluster(word, rest) }
    }

    /// `-am TEXT` and `-n5`: short options in one word, of which the last may have a value.
    fn cluster(
        &self,
        word: &str,
        rest: &mut std::slice::Iter<'_, String>,
    ) -> Option<(String, Option<String>)> {
        let letters = word.strip_prefix('-')?;
        for (at, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            if self.knows(&format!("{name}=")) {
                let attached = letters.get(at + letter.len_utf8()..).filter(|text| !text.is_empty());
                let value = attached.map(str::to_owned).or_else(|| rest.next().cloned())?;
                return Some((name, Some(value)));
            }
            if !self.knows(&name) {
                return None;
            }
        }
        Some((word.to_owned(), None))
    }

    /// `attached`: the value stood in the option's own word.
    fn value(&mut self, option: &str, value: Option<String>, attached: bool) -> Result<(), Refused> {
        let Some(value) = value else { return Ok(()) };
        if value.contains('\0') {
            return Err(Refused::Characters);
        }
        if FREE.contains(&option) {
            // Should git see no value where we do, what we took for one must not become an option. A message may
            // begin as it likes: there git and we agree.
            let agreed = attached || ["-m", "--message"].contains(&option);
            return if value.starts_with('-') && !agreed { Err(self.refused(&value)) } else { Ok(()) };
        }
        plain(&value)?;
        match (self.row.name, option) {
            ("clone", "--config" | "-c") => key(value.split('=').next().unwrap_or_default()),
            // Where a word is asked for, an option is none.
            _ if value.starts_with('-') => Err(self.refused(&value)),
            ("config", _) => Ok(()),
            _ => {
                self.words.push(value);
                Ok(())
            }
        }
    }
}

/// A word that is no option: no shell reads it, but older clients rely on these being refused.
fn plain(word: &str) -> Result<(), Refused> {
    if word.chars().any(|c| ";|&$`<>".contains(c) || c.is_control()) {
        return Err(Refused::Characters);
    }
    if word.split(['/', '\\']).any(|part| part == "..") {
        return Err(Refused::Traversal(word.chars().take(256).collect()));
    }
    Ok(())
}

fn key_of_config(words: &[String], all: &[String]) -> Result<(), Refused> {
    let adding = all.iter().any(|word| word == "--add");
    match words {
        // Reading, whatever the key: git config KEY.
        [_] if !adding => Ok(()),
        // What git 2.46 has learnt: get, list, set and the like, as words.
        [verb, ..] if ["get", "list"].contains(&verb.as_str()) => Ok(()),
        [verb, name, ..] if ["set", "unset"].contains(&verb.as_str()) => key(name),
        [name, ..] => key(name),
        [] => Ok(()),
    }
}

fn key(name: &str) -> Result<(), Refused> {
    let lower = name.to_lowercase();
    let named =
        KEYS.iter().any(|known| lower == *known || (known.ends_with('.') && lower.starts_with(known)));
    let last = lower.rsplit('.').next().unwrap_or_default();
    let of_branch =
        lower.starts_with("branch.") && ["remote", "merge", "rebase", "description"].contains(&last);
    let of_remote = lower.starts_with("remote.")
        && ["url", "pushurl", "fetch", "push", "prune", "tagopt"].contains(&last);
    if named || of_branch || of_remote { Ok(()) } else { Err(Refused::Key(name.chars().take(64).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(line: &str) -> Result<Vec<String>, Refused> {
        let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        check(&words)
    }

    #[test]
    fn allowed() {
        for (line, names) in [
            ("status --short --branch", ""),
            ("log --max-count=5 --oneline HEAD..main", "5 HEAD..main"),
            ("log -n5 --since=2.days", "5"),
            ("commit -am $&;!", ""),
            ("commit -m --upload-pack=x", ""),
            ("clone --depth 1 https://example.org/a.git b", "1 https://example.org/a.git b"),
            ("clone -c user.name=x a", "a"),
            ("diff a...b -- x/y", "a...b x/y"),
            ("config --get core.fsmonitor", ""),
            ("config core.fsmonitor", "core.fsmonitor"),
            ("config branch.main.remote origin", "branch.main.remote origin"),
            ("remote add origin git@example.org:a/b.git", "add origin git@example.org:a/b.git"),
            ("show HEAD@{1}", "HEAD@{1}"),
        ] {
            let words: Vec<String> =
                names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            assert_eq!(asked(line), Ok(words), "{line}");
        }
    }

    #[test]
    fn refused_with_the_words_clients_look_for() {
        for (line, words) in [
            ("", "No git command provided"),
            ("daemon", "allowed whitelist"),
            ("-c core.pager=x status", "allowed whitelist"),
            ("init a b c d e f g", "Too many arguments"),
            ("status ;reboot", "invalid characters"),
            ("add ../x", "Path traversal"),
            ("add a/..", "Path traversal"),
            ("add -- ..", "Path traversal"),
            ("clone --upload-pack=touch a", "Argument not allowed"),
            ("clone --template=/tmp a", "Argument not allowed"),
            ("clone -u touch a", "Argument not allowed"),
            ("clone --branch --upload-pack=x a", "Argument not allowed"),
            ("log --pretty --output=x", "Argument not allowed"),
            ("log --format --output=x", "Argument not allowed"),
            ("log --grep --output=x", "Argument not allowed"),
            ("fetch --upload-pack x", "Argument not allowed"),
            ("push --receive-pack=x", "Argument not allowed"),
            ("diff --ext-diff", "Argument not allowed"),
            ("diff --no-index", "Argument not allowed"),
            ("diff --output=x", "Argument not allowed"),
            ("config --file=/etc/x user.name", "Argument not allowed"),
            ("config --system user.name x", "Argument not allowed"),
            ("config core.fsmonitor sh", "Argument not allowed"),
            ("config --add core.sshCommand sh", "Argument not allowed"),
            ("config set core.pager sh", "Argument not allowed"),
            ("config Remote.x.uploadpack sh", "Argument not allowed"),
            ("clone --config=core.fsmonitor=sh a", "Argument not allowed"),
            ("clone -ccore.fsmonitor=sh a", "Argument not allowed"),
        ] {
            let told = asked(line).unwrap_err().to_string();
            assert!(told.contains(words), "{line}: {told}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_words_never_panics(words in prop::collection::vec(any::<String>(), 0..6)) {
            drop(check(&words));
        }

        #[test]
        fn no_option_passes_that_is_not_listed_never_panics(
            row in prop::sample::select(TABLE.iter().map(|row| row.name).collect::<Vec<_>>()),
            option in "--(upload-pack|receive-pack|exec|template|output|git-dir|work-tree|ext-diff|textconv|no-index|file|separate-git-dir|reference|server-option|recurse-submodulez)(=[a-z]{0,4})?",
        ) {
            prop_assert!(check(&[row.to_owned(), option]).is_err());
        }
    }
}
