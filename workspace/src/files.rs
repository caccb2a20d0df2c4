//! Files of the workspace (spec/octoprox.md 9.2).

use crate::root::{Refusal, Root};
use cap_std::fs::{OpenOptions, OpenOptionsExt as _, PermissionsExt as _};
use cap_tempfile::TempFile;
use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

/// Most bytes that one call reads.
pub(crate) const READ_BYTES: i64 = 4 * 1024 * 1024;
/// Most bytes that one call writes.
pub(crate) const WRITE_BYTES: usize = 8 * 1024 * 1024;
/// Most names that one call lists.
pub(crate) const NAMES: usize = 10_000;

/// What was asked for, and whether there is more of it.
pub(crate) type Part<T> = (T, bool);

/// The names in a folder, in order. One that is missing has none.
pub(crate) fn list(root: &Root, path: &str) -> Result<Part<Vec<String>>, Refusal> {
    let folder = match root.dir().open_dir(root.relative(path)?).map_err(Refusal::from) {
        Ok(folder) => folder,
        Err(Refusal::Missing) => return Ok((Vec::new(), false)),
        Err(other) => return Err(other),
    };
    let mut names = Vec::new();
    for entry in folder.entries()?.take(NAMES + 1) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    let more = names.len() > NAMES;
    names.truncate(NAMES);
    names.sort_unstable();
    Ok((names, more))
}

/// The beginning of a file; what is no UTF-8 is replaced.
pub(crate) fn read(root: &Root, path: &str, most: i64) -> Result<Part<String>, Refusal> {
    if !(1..=READ_BYTES).contains(&most) {
        return Err(Refusal::Other(format!("max_bytes must be from 1 to {READ_BYTES}")));
    }
    let path = root.relative(path)?;
    if is_private(&root.real(&path)?) {
        return Err(Refusal::Other("private keys are not read".to_owned()));
    }
    // A pipe without a writer would keep us waiting at the door.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = root.dir().open_with(&path, OpenOptions::new().read(true).custom_flags(nonblocking))?;
    if !file.metadata()?.is_file() {
        return Err(Refusal::Other("not a file".to_owned()));
    }
    let most = most.unsigned_abs();
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    let more = bytes.len() as u64 > most;
    bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok((String::from_utf8_lossy(&bytes).into_owned(), more))
}

/// Writes a file whole or not at all; one that is there keeps its mode, a new one is its owner's alone.
pub(crate) fn write(root: &Root, path: &str, text: &str, mkdirs: bool) -> Result<(), Refusal> {
    if text.len() > WRITE_BYTES {
        return Err(Refusal::Other(format!("text must have at most {WRITE_BYTES} bytes")));
    }
    // Through links to where the file is, so that a link stays one.
    let real = root.real(&root.relative(path)?)?;
    if is_configuration(&real) {
        return Err(Refusal::Other("git's own files are written by git alone".to_owned()));
    }
    let name = real.file_name().ok_or_else(|| Refusal::Other("not a file".to_owned()))?;
    let parent = real.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if mkdirs {
        root.dir().create_dir_all(parent)?;
    }
    let folder = root.dir().open_dir(parent)?;
    let mode = match folder.symlink_metadata(name) {
        Ok(there) if there.is_file() => there.permissions().mode() & 0o777,
        Ok(_) => return Err(Refusal::Other("not a file".to_owned())),
        Err(_) => 0o600,
    };
    let mut file = TempFile::new(&folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(cap_std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.replace(name)?;
    Ok(())
}

/// Removes a file, a link, or with `recursive` a folder. What is missing is removed already.
pub(crate) fn delete(root: &Root, path: &str, recursive: bool) -> Result<(), Refusal> {
    let path = root.relative(path)?;
    let missing = |result: std::io::Result<()>| match result.map_err(Refusal::from) {
        Err(Refusal::Missing) => Ok(()),
        other => other,
    };
    let folder = match root.dir().symlink_metadata(&path).map_err(Refusal::from) {
        Ok(there) => there.is_dir(),
        Err(Refusal::Missing) => return Ok(()),
        Err(other) => return Err(other),
    };
    match (folder, recursive) {
        (false, _) => missing(root.dir().remove_file(&path)),
        (true, false) => Err(Refusal::Other("the path is a directory; use recursive=true".to_owned())),
        // The root itself is a mount, and stays.
        (true, true) if root.real(&path)?.as_os_str().is_empty() || root.real(&path)? == Path::new(".") => {
            empty(root)
        }
        (true, true) => missing(root.dir().remove_dir_all(&path)),
    }
}

fn empty(root: &Root) -> Result<(), Refusal> {
    let names: Vec<PathBuf> = root
        .dir()
        .entries()?
        .map(|entry| entry.map(|entry| entry.file_name().into()))
        .collect::<Result<_, _>>()?;
    for name in names {
        match root.dir().symlink_metadata(&name)?.is_dir() {
            true => root.dir().remove_dir_all(&name)?,
            false => root.dir().remove_file(&name)?,
        }
    }
    Ok(())
}

fn parts(real: &Path) -> Vec<&std::ffi::OsStr> {
    let normal = |part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    };
    real.components().filter_map(normal).collect()
}

/// What git takes for its configuration: whoever writes it names programs for git to run.
pub(crate) fn is_configuration(real: &Path) -> bool {
    let parts = parts(real);
    parts.first().is_some_and(|first| *first == ".ssh") || parts.iter().any(|part| *part == ".git")
}

/// The workspace's key, where an older installation left it.
fn is_private(real: &Path) -> bool {
    let public = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        name.ends_with(".pub") || name == "known_hosts"
    };
    let parts = parts(real);
    parts.first().is_some_and(|first| *first == ".ssh") && !parts.last().is_some_and(|last| public(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::trapped;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_written_is_read_and_listed() {
        let (_folder, root) = trapped();
        write(&root, "new/er/file.txt", "Grüße", true).unwrap();
        assert_eq!(read(&root, "new/er/file.txt", 100).unwrap(), ("Grüße".to_owned(), false));
        assert_eq!(read(&root, "new/er/file.txt", 3).unwrap(), ("Gr\u{fffd}".to_owned(), true));
        assert_eq!(list(&root, "new").unwrap(), (vec!["er".to_owned()], false));
        assert_eq!(list(&root, "nowhere").unwrap(), (vec![], false));
        assert!(list(&root, "in/file").is_err(), "a file is no folder");
        assert!(matches!(write(&root, "no/such/folder", "", false), Err(Refusal::Missing)));
        assert!(matches!(read(&root, "nowhere", 1), Err(Refusal::Missing)));
        for most in [0, -1, READ_BYTES + 1] {
            assert!(read(&root, "in/file", most).is_err(), "{most}");
        }
        let left: Vec<_> = std::fs::read_dir(root.path().join("new/er")).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing temporary is left");
    }

    #[test]
    fn modes_and_links_are_kept() {
        let (_folder, root) = trapped();
        let mode =
            |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
        write(&root, "fresh", "", false).unwrap();
        assert_eq!(mode("fresh"), 0o600);
        std::fs::set_permissions(root.path().join("fresh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        write(&root, "fresh", "#!", false).unwrap();
        assert_eq!(mode("fresh"), 0o755);
        write(&root, "near/file", "through the link", false).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join("in/file")).unwrap(), "through the link");
        assert!(root.dir().symlink_metadata("near").unwrap().is_symlink());
    }

    #[test]
    fn nothing_outside_is_touched() {
        let (folder, root) = trapped();
        for path in ["file", "out/secret", "in/up/secret", "abs/etc/passwd"] {
            assert!(read(&root, path, 100).is_err(), "{path}");
            assert!(write(&root, path, "x", true).is_err(), "{path}");
        }
        assert!(list(&root, "out").is_err() && list(&root, "abs").is_err());
        assert!(delete(&root, "out/secret", true).is_err());
        delete(&root, "out", true).unwrap();
        delete(&root, ".", true).unwrap();
        assert_eq!(list(&root, ".").unwrap(), (vec![], false));
        delete(&root, ".", true).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "outside");
    }

    #[test]
    fn folders_need_the_word() {
        let (_folder, root) = trapped();
        assert!(delete(&root, "in", false).unwrap_err().to_string().contains("recursive=true"));
        delete(&root, "in/file", false).unwrap();
        delete(&root, "in/file", false).unwrap();
        delete(&root, "in", true).unwrap();
        assert_eq!(list(&root, "in").unwrap(), (vec![], false));
    }

    #[test]
    fn configuration_and_keys_are_not_the_tools() {
        let (_folder, root) = trapped();
        std::fs::create_dir_all(root.path().join("repo/.git")).unwrap();
        std::fs::create_dir_all(root.path().join(".ssh")).unwrap();
        std::os::unix::fs::symlink("repo/.git", root.path().join("plain")).unwrap();
        for path in ["repo/.git/config", "plain/config", "repo/.git", ".ssh/known_hosts", "x/.git"] {
            assert!(write(&root, path, "[core]", true).is_err(), "{path}");
        }
        for name in ["id_ed25519", "id_ed25519.pub"] {
            std::fs::write(root.path().join(".ssh").join(name), "key").unwrap();
        }
        std::os::unix::fs::symlink(".ssh/id_ed25519", root.path().join("key")).unwrap();
        assert!(read(&root, ".ssh/id_ed25519", 9).is_err() && read(&root, "key", 9).is_err());
        assert!(read(&root, ".ssh/id_ed25519.pub", 9).is_ok());
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let (_folder, root) = trapped();
        let made = std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status();
        assert!(made.unwrap().success());
        assert!(read(&root, "pipe", 9).unwrap_err().to_string().contains("not a file"));
        assert!(write(&root, "pipe", "x", false).is_err());
    }
}
