//! The folder that tools live in. Paths are opened relative to a handle of it, by the kernel's own rule that no `..` and
//! no link leads out (openat2 where there is one, else step by step), so there is no time between check and use.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Longest path, characters (spec/octoprox.md 9.1).
const PATH_CHARS: usize = 4_096;

/// Why a path or a file was refused; the texts are those that clients look for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Path cannot be empty")]
    Empty,
    #[error("Path exceeds maximum length of {PATH_CHARS} characters")]
    Long,
    #[error("Path contains null bytes")]
    Nul,
    #[error("Path contains control characters")]
    Control,
    #[error("Path escapes workspace root")]
    Escapes,
    #[error("File not found")]
    Missing,
    #[error("{0}")]
    Other(String),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            // Without a number it is not the kernel's: the path led outside.
            ErrorKind::PermissionDenied if error.raw_os_error().is_none() => Self::Escapes,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// The folder, opened once.
#[derive(Debug)]
pub(crate) struct Root {
    dir: Dir,
    path: PathBuf,
}

impl Root {
    /// Opens the folder.
    ///
    /// # Errors
    /// That of the system.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { dir: Dir::open_ambient_dir(path, ambient_authority())?, path: path.to_owned() })
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path as one below the folder; what its links do shows when it is opened.
    pub(crate) fn relative(&self, text: &str) -> Result<PathBuf, Refusal> {
        if text.is_empty() {
            return Err(Refusal::Empty);
        }
        if text.chars().count() > PATH_CHARS {
            return Err(Refusal::Long);
        }
        if text.contains('\0') {
            return Err(Refusal::Nul);
        }
        if text.chars().any(|c| u32::from(c) < 32) {
            return Err(Refusal::Control);
        }
        let path = Path::new(text);
        let inside = match path.strip_prefix(&self.path) {
            Ok(inside) => inside,
            Err(_) if path.is_absolute() => return Err(Refusal::Escapes),
            Err(_) => path,
        };
        let mut depth = 0_usize;
        for part in inside.components() {
            match part {
                // Which folder `..` means is the kernel's to say; that there are too many is plain.
                Component::ParentDir => depth = depth.checked_sub(1).ok_or(Refusal::Escapes)?,
                Component::Normal(_) => depth += 1,
                _ => {}
            }
        }
        Ok(if inside.as_os_str().is_empty() { PathBuf::from(".") } else { inside.to_owned() })
    }

    /// The real place of what a path names, or would name: links of all but what is not there yet resolved.
    pub(crate) fn real(&self, path: &Path) -> Result<PathBuf, Refusal> {
        match self.dir.canonicalize(path) {
            Ok(real) => Ok(real),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A link that leads nowhere is there; what is written must not follow it.
                if self.dir.symlink_metadata(path).is_ok() {
                    return Err(Refusal::Other("the path is a link that leads nowhere".to_owned()));
                }
                let name = path.file_name().ok_or(Refusal::Missing)?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Ok(self.real(parent.unwrap_or(Path::new(".")))?.join(name))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A root in a folder with a secret beside it, and links that lead there.
    pub(crate) fn trapped() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("in/deep")).unwrap();
        std::fs::write(root.join("in/file"), "inside").unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        for (link, target) in
            [("out", ".."), ("abs", "/"), ("in/up", "../.."), ("file", "../secret"), ("near", "in")]
        {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        let opened = Root::open(&root).unwrap();
        (folder, opened)
    }

    #[test]
    fn paths_are_refused_with_the_words_clients_look_for() {
        let (_folder, root) = trapped();
        let long = "x".repeat(PATH_CHARS + 1);
        for (path, words) in [
            ("", "Path cannot be empty"),
            (long.as_str(), "Path exceeds maximum length"),
            ("a\0b", "null bytes"),
            ("a\nb", "control characters"),
            ("..", "Path escapes workspace root"),
            ("in/../../secret", "Path escapes workspace root"),
            ("/etc/passwd", "Path escapes workspace root"),
        ] {
            let told = root.relative(path).unwrap_err().to_string();
            assert!(told.contains(words), "{path:?}: {told}");
        }
        let own = root.path().join("in/file");
        assert_eq!(root.relative(own.to_str().unwrap()).unwrap(), Path::new("in/file"));
        assert_eq!(root.relative(root.path().to_str().unwrap()).unwrap(), Path::new("."));
        // A neighbour whose name begins alike is no part of it.
        let neighbour = format!("{}2/x", root.path().display());
        assert!(matches!(root.relative(&neighbour), Err(Refusal::Escapes)));
    }

    #[test]
    fn links_may_lead_about_and_not_out() {
        let (_folder, root) = trapped();
        assert_eq!(root.real(Path::new("near/file")).unwrap(), Path::new("in/file"));
        assert_eq!(root.real(Path::new("near/new/newer")).unwrap(), Path::new("in/new/newer"));
        for path in ["out/secret", "abs/etc/passwd", "in/up/secret", "file", "near/up/x", "out/new"] {
            assert!(matches!(root.real(Path::new(path)), Err(Refusal::Escapes)), "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_path_stays_inside_and_never_panics(parts in prop::collection::vec(
            prop::sample::select(vec!["..", ".", "in", "deep", "out", "abs", "up", "near", "file", "secret", "", "x"]), 0..7)) {
            let (folder, root) = trapped();
            let Ok(path) = root.relative(&parts.join("/")) else { return Ok(()) };
            if let Ok(text) = root.dir().read_to_string(&path) {
                prop_assert_eq!(text, "inside");
            }
            if let Ok(real) = root.real(&path) {
                prop_assert!(!real.is_absolute() && !real.components().any(|part| part == Component::ParentDir));
                // Writing where it says never touches what lies outside.
                root.dir().write(&real, "written").ok();
            }
            prop_assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "outside");
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        }

        #[test]
        fn any_text_never_panics(text in any::<String>()) {
            let root = Root::open(Path::new("/usr/share")).unwrap();
            if let Ok(path) = root.relative(&text) {
                prop_assert!(!path.is_absolute());
            }
        }
    }
}
