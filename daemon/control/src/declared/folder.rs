//! The watched folder: all its files together are one configuration, and whenever they differ it is made so, by the same
//! change as `gatehouse config apply`. What is bad changes nothing and is told until it is mended.

use super::apply::apply;
use super::fault;
use super::removing::Owner;
use crate::Inner;
use crate::commands::blocking;
use gatehouse_common::limits::CONFIG_BODY_BYTES;
use gatehouse_common::ops::config::{ConfigFault, ConfigFile, ConfigFiles, ConfigFolder};
use gatehouse_corridor::actor::Actor;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// Quiet time after which a folder is taken to be whole: editors and copies write in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// Longest wait for quiet.
const WAIT: Duration = Duration::from_secs(3);
/// Looks without a word from the system: a folder that came later, a file system that tells nothing.
const PERIOD: Duration = Duration::from_secs(30);
const ENDINGS: [&str; 4] = ["toml", "yaml", "yml", "json"];

/// What is known of the folder.
#[derive(Debug, Default)]
pub(crate) struct Known(RwLock<ConfigFolder>);

impl Known {
    pub(crate) fn get(&self) -> ConfigFolder {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, known: ConfigFolder) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// The files of a folder, by name; names that begin with a dot are passed over, as those of editors and of mounts do.
fn read(folder: &Path) -> Result<Vec<ConfigFile>, ConfigFault> {
    let at =
        |path: &Path, error: &dyn std::fmt::Display| fault(&path.display().to_string(), error.to_string());
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| at(folder, &error))? {
        let path = entry.map_err(|error| at(folder, &error))?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        // A link counts as what it leads to.
        if !hidden && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && path.is_file() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        // A mount that is gone looks so too.
        let text = "no file here; what was declared stays. A file with a comment alone declares nothing";
        return Err(at(folder, &text));
    }
    paths.sort();
    let (mut files, mut left) = (Vec::new(), CONFIG_BODY_BYTES);
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
        let large = || at(&path, &format!("expected at most {CONFIG_BODY_BYTES} bytes in all files"));
        left = left.checked_sub(text.len()).ok_or_else(large)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(ConfigFile { name, text });
    }
    Ok(files)
}

fn digest(files: &[ConfigFile]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for file in files {
        for part in [&file.name, &file.text] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().into()
}

/// Looks at the folder; what it knows of it then. The digest of what was taken is remembered.
async fn look(control: &Arc<Inner>, folder: &Path, taken: &mut Option<[u8; 32]>) -> ConfigFolder {
    let before = control.folder.get();
    let name = Some(folder.display().to_string());
    let ill = |files: usize, faults: Vec<ConfigFault>| ConfigFolder {
        folder: name.clone(),
        files,
        revision: before.revision,
        faults,
    };
    let path = folder.to_owned();
    let read = match blocking(control, move |_| Ok(read(&path))).await {
        Ok(read) => read,
        Err(problem) => Err(fault("", problem.detail)),
    };
    let files = match read {
        Ok(files) => files,
        Err(fault) => {
            *taken = None;
            return ill(0, vec![fault]);
        }
    };
    let digest = digest(&files);
    if *taken == Some(digest) {
        return before;
    }
    let count = files.len();
    let plan =
        apply(control, (Actor::Folder, Owner::Folder, false), ConfigFiles { files, prune: false }).await;
    if !plan.faults.is_empty() {
        // A file that names a secret may be well as soon as the secret is there.
        *taken = None;
        return ill(count, plan.faults);
    }
    *taken = Some(digest);
    if let Some(revision) = plan.revision {
        tracing::info!(target: "config", revision, changes = plan.changes.len(), "the folder's configuration is in force");
    }
    ConfigFolder { revision: plan.revision.or(before.revision), ..ill(count, Vec::new()) }
}

/// Watches the folder and the one around it, which tells when it is put in another's place.
fn watch(watcher: &mut RecommendedWatcher, folder: &Path) {
    for path in std::iter::once(folder).chain(folder.parent()) {
        // Not watched yet, or gone: the next look comes by itself.
        drop(watcher.unwatch(path));
        drop(watcher.watch(path, RecursiveMode::NonRecursive));
    }
}

/// Waits for a word and then for quiet, or for the time of the next look.
async fn stir(words: &mut mpsc::Receiver<()>) {
    match tokio::time::timeout(PERIOD, words.recv()).await {
        Ok(Some(())) => {}
        // No watcher: the period alone.
        Ok(None) => return tokio::time::sleep(PERIOD).await,
        Err(_) => return,
    }
    let quiet = async { while tokio::time::timeout(QUIET, words.recv()).await.is_ok() {} };
    drop(tokio::time::timeout(WAIT, quiet).await);
}

/// Follows the folder until its task is ended.
pub(crate) async fn follow(control: Arc<Inner>, folder: PathBuf) {
    // Full: a look is due already.
    let (word, mut words) = mpsc::channel(1);
    let tell = move |event: Result<notify::Event, notify::Error>| {
        let matters = !event.is_ok_and(|event| event.kind.is_access());
        if matters {
            word.try_send(()).ok();
        }
    };
    let mut watcher = notify::recommended_watcher(tell)
        .inspect_err(
            |error| tracing::warn!(target: "config", %error, "the folder is looked at every half minute"),
        )
        .ok();
    let mut taken = None;
    loop {
        if let Some(watcher) = &mut watcher {
            watch(watcher, &folder);
        }
        let (before, known) = (control.folder.get(), look(&control, &folder, &mut taken).await);
        if known.faults != before.faults {
            for fault in &known.faults {
                tracing::warn!(target: "config", place = fault.place, "{}", fault.detail);
            }
        }
        control.folder.set(known);
        stir(&mut words).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_folder_are_read_in_order_and_hidden_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), name).unwrap();
        assert!(read(folder.path()).unwrap_err().detail.contains("stays"), "an empty one takes nothing away");
        assert!(read(&folder.path().join("none")).is_err());
        ["b.yaml", "a.toml", ".a.toml.swp", "a.toml~", "4913", "readme.md", ".c.yaml"]
            .iter()
            .for_each(|name| write(name));
        std::fs::create_dir(folder.path().join("..2026")).unwrap();
        std::fs::write(folder.path().join("..2026/d.yml"), "linked").unwrap();
        std::os::unix::fs::symlink("..2026/d.yml", folder.path().join("d.yml")).unwrap();
        std::os::unix::fs::symlink("..2026/none.yml", folder.path().join("e.yml")).unwrap();
        let names: Vec<_> = read(folder.path()).unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["a.toml", "b.yaml", "d.yml"]);
    }

    #[test]
    fn a_digest_is_of_names_and_texts() {
        let file = |name: &str, text: &str| ConfigFile { name: name.to_owned(), text: text.to_owned() };
        assert_ne!(digest(&[file("a", "bc")]), digest(&[file("ab", "c")]));
        assert_eq!(digest(&[file("a", "b")]), digest(&[file("a", "b")]));
    }
}
