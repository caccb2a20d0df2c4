//! Keys: made on the first start (0600, fsynced), refused when short, well-known or equal to one another.

use rand::RngExt as _;
use rustix::fs::{Mode, OFlags};
use std::io::Write as _;
use std::path::Path;

/// Shortest key accepted, characters.
pub(crate) const KEY_CHARS: usize = 32;
/// Shortest bootstrap password, characters; spec/doorman.md 2.5.
pub(crate) const PASSWORD_CHARS: usize = 12;

/// Words that examples and guides use; a key that contains one is as good as public.
const WELL_KNOWN: &[&str] = &[
    "change-me",
    "changeme",
    "change_me",
    "please-change",
    "secret-key-here",
    "your-secret",
    "example",
    "insecure",
];

/// Why a key is refused; `None` if it is good.
pub(crate) fn weakness(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    if text.chars().count() < KEY_CHARS {
        return Some(format!("expected at least {KEY_CHARS} characters"));
    }
    if WELL_KNOWN.iter().any(|word| lower.contains(word)) {
        return Some("it is a well-known example value".to_owned());
    }
    let distinct = lower.chars().collect::<std::collections::BTreeSet<_>>().len();
    (distinct < 8).then(|| "expected at least 8 different characters".to_owned())
}

/// Letters and digits from the system's generator.
pub(crate) fn random_text(length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..length)
        .filter_map(|_| ALPHABET.get(random.random_range(0..ALPHABET.len())))
        .map(|byte| char::from(*byte))
        .collect()
}

/// Reads the key kept in a file, or makes it.
///
/// # Errors
/// The path and what failed.
pub(crate) fn kept(path: &Path) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let text = text.trim().to_owned();
            return match weakness(&text) {
                None => Ok(text),
                Some(why) => Err(failed(&why)),
            };
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    let text = random_text(48);
    write(path, &text)?;
    Ok(text)
}

/// Writes a secret that its owner alone may read (0600, fsynced).
///
/// # Errors
/// The path and what failed.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    // Written beside and renamed: a crash leaves either no file or a whole one.
    let beside = path.with_extension("new");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(&error))?;
    let mut file = std::fs::File::from(handle);
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(&error))?;
    std::fs::rename(&beside, path).map_err(|error| failed(&error))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let first = kept(&path).unwrap();
        assert_eq!(first, kept(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(weakness(&first).is_none());
    }

    #[test]
    fn weak_keys_are_refused() {
        for weak in ["short", "change-me-change-me-change-me-change-me", &"ab".repeat(30)] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
    }
}
