//! git, by its own command line and without a shell (spec/octoprox.md 9.3). What it may be asked is a table; what its
//! configuration could make it run is switched off, or cannot be written by the tools.

mod options;

use crate::command::{self, Ended, Fault};
use crate::root::{Refusal, Root};
use crate::tools::Bench;
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// Switched off for each call: these win over what any repository says.
const OVERRIDES: &[&str] = &[
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.gitProxy=",
    "core.askPass=true",
    "credential.helper=",
    // Submodules of a stranger may not name files of ours: `user` is git's word for that.
    "protocol.allow=never",
    "protocol.file.allow=user",
    "protocol.git.allow=always",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "safe.bareRepository=explicit",
    "safe.directory=*",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
];

/// Why git was not asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("timeout_s must be from 1 to 300")]
    Timeout,
    #[error(transparent)]
    Words(#[from] options::Refused),
    #[error(transparent)]
    Path(#[from] Refusal),
    #[error(transparent)]
    Run(#[from] Fault),
}

/// Runs git in the root.
pub(crate) async fn run(bench: &Bench, words: &[String], timeout_secs: i64) -> Result<Ended, Denied> {
    let bound =
        u64::try_from(timeout_secs).ok().filter(|secs| (1..=300).contains(secs)).ok_or(Denied::Timeout)?;
    let names = options::check(words)?;
    for name in names {
        place(&bench.root, &name)?;
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(bench.root.path());
    for setting in OVERRIDES {
        git.args(["-c", setting]);
    }
    git.args(words).env_clear().envs(environment(bench));
    Ok(command::run(git, Duration::from_secs(bound)).await?)
}

/// A word may name a file, and then one inside. Most words name none: those are not there, and lead nowhere.
fn place(root: &Root, word: &str) -> Result<(), Refusal> {
    let path = word.strip_prefix("file://").unwrap_or(word);
    if path.contains("://") {
        return Ok(());
    }
    match root.relative(path).and_then(|path| root.real(&path)) {
        Err(Refusal::Escapes) => Err(Refusal::Escapes),
        // The rest is git's to judge.
        _ => Ok(()),
    }
}

fn environment(bench: &Bench) -> Vec<(&'static str, String)> {
    let (key, hosts) = (bench.settings.ssh_key.display(), bench.settings.known_hosts.display());
    let ssh = format!(
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={hosts} -o IdentitiesOnly=yes -i {key}"
    );
    let fixed = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("LANG", "C.UTF-8"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_PAGER", "cat"),
        ("GIT_EDITOR", "true"),
        ("GIT_ASKPASS", "true"),
    ];
    let mut all: Vec<_> = fixed.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    // Outside the root: what a checkout may bring along must not be git's own configuration.
    let home = bench.home.display().to_string();
    all.extend([
        ("HOME", home),
        ("GIT_CEILING_DIRECTORIES", parent(bench.root.path())),
        ("GIT_SSH_COMMAND", ssh),
    ]);
    all
}

/// git looks for a repository in the root and no higher.
fn parent(root: &Path) -> String {
    root.parent().map(|parent| parent.display().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::trapped;

    /// A bench on [`trapped`]; its home is the folder beside the root's.
    fn bench() -> (tempfile::TempDir, tempfile::TempDir, Bench) {
        let (folder, root) = trapped();
        let given = [
            ("WORKSPACE_TOKEN", "0123456789abcdef0123456789abcdef"),
            ("WORKSPACE_SSH_KEY", "/nowhere/key"),
            ("WORKSPACE_ROOT", root.path().to_str().unwrap()),
        ];
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (settings, home) = (crate::settings::read(&given).unwrap(), tempfile::tempdir().unwrap());
        let bench = Bench { root, settings, home: home.path().to_owned() };
        (folder, home, bench)
    }

    async fn git(bench: &Bench, line: &str) -> Result<Ended, Denied> {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
        run(bench, &words, 60).await
    }

    #[tokio::test]
    async fn a_day_of_work() {
        let (_folder, _home, bench) = bench();
        for line in [
            "init -b main",
            "config user.name Ana",
            "config user.email ana@example.org",
            "add in/file",
            "commit -am a_message;_with_$igns_&_[brackets]!",
            "checkout -b other",
            "log -n 1 --oneline",
            "status --porcelain",
            "clone . copy",
            "diff HEAD --",
            "branch --list",
            "show HEAD:in/file",
        ] {
            let ended = git(&bench, line).await.unwrap();
            assert_eq!(ended.code, 0, "{line}: {}{}", ended.stdout, ended.stderr);
        }
        assert!(git(&bench, "log --oneline").await.unwrap().stdout.contains("$igns & [brackets]!"));
        assert_eq!(std::fs::read_to_string(bench.root.path().join("copy/in/file")).unwrap(), "inside");
        assert_ne!(
            git(&bench, "checkout no-such-branch").await.unwrap().code,
            0,
            "git's own no is an answer"
        );
    }

    #[tokio::test]
    async fn nothing_outside_is_made_or_read() {
        let (folder, _home, bench) = bench();
        std::fs::create_dir(folder.path().join("beside")).unwrap();
        for line in [
            "init /tmp/x",
            "init ../x",
            "init out/x",
            "clone . out/x",
            "clone file:///etc x",
            "clone ../beside x",
            "clone . in/up/x",
        ] {
            let denied = git(&bench, line).await.unwrap_err().to_string();
            assert!(denied.contains("escapes") || denied.contains("traversal"), "{line}: {denied}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "root, secret, beside");
        assert!(git(&bench, "status").await.unwrap().stderr.contains("not a git repository"));
    }

    #[tokio::test]
    async fn what_a_repository_says_is_not_run() {
        let (folder, _home, bench) = bench();
        git(&bench, "init -b main").await.unwrap();
        let mark = folder.path().join("mark");
        let hook = bench.root.path().join(".git/hooks/pre-commit");
        std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // As an older installation may have left it.
        let config = bench.root.path().join(".git/config");
        let mut text = std::fs::read_to_string(&config).unwrap();
        text.push_str(&format!(
            "[core]\nfsmonitor = touch {}\n[user]\nname = a\nemail = b\n",
            mark.display()
        ));
        std::fs::write(&config, text).unwrap();
        git(&bench, "add in/file").await.unwrap();
        git(&bench, "status").await.unwrap();
        assert_eq!(git(&bench, "commit -m x").await.unwrap().code, 0);
        assert!(!mark.exists());
        for line in [
            "config core.fsmonitor touch",
            "config alias.x !sh",
            "clone -c core.pager=x . y",
            "config filter.x.clean sh",
        ] {
            assert!(git(&bench, line).await.is_err(), "{line}");
        }
    }

    #[tokio::test]
    async fn what_a_checkout_brings_is_not_configuration() {
        let (folder, _home, bench) = bench();
        let mark = folder.path().join("mark");
        let config = format!("[diff]\n external = touch {}\n[user]\n name = a\n email = b\n", mark.display());
        for home in [".home", ".config/git"] {
            std::fs::create_dir_all(bench.root.path().join(home)).unwrap();
        }
        std::fs::write(bench.root.path().join(".home/.gitconfig"), &config).unwrap();
        std::fs::write(bench.root.path().join(".config/git/config"), &config).unwrap();
        std::fs::write(bench.root.path().join(".gitconfig"), &config).unwrap();
        git(&bench, "init -b main").await.unwrap();
        git(&bench, "add in/file").await.unwrap();
        std::fs::write(bench.root.path().join("in/file"), "changed").unwrap();
        assert!(git(&bench, "diff").await.unwrap().stdout.contains("changed"));
        assert!(!mark.exists());
        assert_eq!(git(&bench, "config --global user.name Ana").await.unwrap().code, 0);
        assert_eq!(git(&bench, "config user.name").await.unwrap().stdout, "Ana\n");
    }

    #[tokio::test]
    async fn time_is_bounded() {
        let (_folder, _home, bench) = bench();
        for secs in [0, -1, 301] {
            assert!(run(&bench, &["status".to_owned()], secs).await.is_err(), "{secs}");
        }
    }
}
