//! git, by its own command line and without a shell (spec/octoprox.md 9.3). What it may be asked is a table; what its
//! configuration could make it run is switched off, or cannot be written by the tools.

mod options;

use crate::command::{self, Ended, Fault};
use crate::root::{Refusal, Root};
use crate::settings::Settings;
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
    "protocol.ext.allow=never",
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
pub(crate) async fn run(
    root: &Root,
    settings: &Settings,
    words: &[String],
    timeout_secs: i64,
) -> Result<Ended, Denied> {
    let bound =
        u64::try_from(timeout_secs).ok().filter(|secs| (1..=300).contains(secs)).ok_or(Denied::Timeout)?;
    let names = options::check(words)?;
    for name in names {
        place(root, &name)?;
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(root.path());
    for setting in OVERRIDES {
        git.args(["-c", setting]);
    }
    git.args(words).env_clear().envs(environment(root.path(), settings));
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

fn environment(root: &Path, settings: &Settings) -> Vec<(&'static str, String)> {
    let root = root.to_string_lossy();
    let (key, hosts) = (settings.ssh_key.display(), settings.known_hosts.display());
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
        ("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh"),
    ];
    let mut all: Vec<_> = fixed.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    all.extend([
        ("HOME", format!("{root}/.home")),
        ("GIT_CEILING_DIRECTORIES", parent(&root)),
        ("GIT_SSH_COMMAND", ssh),
    ]);
    all
}

/// git looks for a repository in the root and no higher.
fn parent(root: &str) -> String {
    Path::new(root).parent().map(|parent| parent.display().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::trapped;

    fn settings(root: &Root) -> Settings {
        let given = [
            ("WORKSPACE_TOKEN", "0123456789abcdef0123456789abcdef"),
            ("WORKSPACE_SSH_KEY", "/nowhere/key"),
            ("WORKSPACE_ROOT", root.path().to_str().unwrap()),
        ];
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        crate::settings::read(&given).unwrap()
    }

    async fn git(root: &Root, line: &str) -> Result<Ended, Denied> {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
        run(root, &settings(root), &words, 60).await
    }

    #[tokio::test]
    async fn a_day_of_work() {
        let (_folder, root) = trapped();
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
            let ended = git(&root, line).await.unwrap();
            assert_eq!(ended.code, 0, "{line}: {}{}", ended.stdout, ended.stderr);
        }
        assert!(git(&root, "log --oneline").await.unwrap().stdout.contains("$igns & [brackets]!"));
        assert_eq!(std::fs::read_to_string(root.path().join("copy/in/file")).unwrap(), "inside");
        assert_ne!(git(&root, "checkout no-such-branch").await.unwrap().code, 0, "git's own no is an answer");
    }

    #[tokio::test]
    async fn nothing_outside_is_made_or_read() {
        let (folder, root) = trapped();
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
            let denied = git(&root, line).await.unwrap_err().to_string();
            assert!(denied.contains("escapes") || denied.contains("traversal"), "{line}: {denied}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "root, secret, beside");
        assert!(git(&root, "status").await.unwrap().stderr.contains("not a git repository"));
    }

    #[tokio::test]
    async fn what_a_repository_says_is_not_run() {
        let (folder, root) = trapped();
        git(&root, "init -b main").await.unwrap();
        let mark = folder.path().join("mark");
        let hook = root.path().join(".git/hooks/pre-commit");
        std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // As an older installation may have left it.
        let config = root.path().join(".git/config");
        let mut text = std::fs::read_to_string(&config).unwrap();
        text.push_str(&format!(
            "[core]\nfsmonitor = touch {}\n[user]\nname = a\nemail = b\n",
            mark.display()
        ));
        std::fs::write(&config, text).unwrap();
        git(&root, "add in/file").await.unwrap();
        git(&root, "status").await.unwrap();
        assert_eq!(git(&root, "commit -m x").await.unwrap().code, 0);
        assert!(!mark.exists());
        for line in [
            "config core.fsmonitor touch",
            "config alias.x !sh",
            "clone -c core.pager=x . y",
            "config filter.x.clean sh",
        ] {
            assert!(git(&root, line).await.is_err(), "{line}");
        }
    }

    #[tokio::test]
    async fn time_is_bounded() {
        let (_folder, root) = trapped();
        for secs in [0, -1, 301] {
            assert!(run(&root, &settings(&root), &["status".to_owned()], secs).await.is_err(), "{secs}");
        }
    }
}
