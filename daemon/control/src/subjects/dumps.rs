//! Dumps of all rows in one encrypted file (spec/doorman.md 4.18): `DMP1`, 16 bytes of salt, 12 of nonce, then
//! AES-256-GCM; the key comes from the daemon's encryption key by HKDF-SHA256. Only below the data folder, and not in
//! the folders that the daemon itself writes.

use super::{backups, times};
use crate::config::ControlConfig;
use crate::state::State;
use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use gatehouse_store::archive::Row;
use hkdf::Hkdf;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"DMP1";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const INFO: &[u8] = b"doorman-mem-dump-v1";
const VERSION: u64 = 1;
/// Where a dump goes if no path is asked for.
const FOLDER: &str = "dumps";
const STEM: &str = "memory_dump";
/// Folders that only the daemon writes.
const RESERVED: [&str; 6] = ["store", "keys", "audit", "run", "runs", "backups"];
/// Largest dump read, bytes.
const DUMP_BYTES: u64 = 1 << 30;
/// A row's key in its document.
const KEY: &str = "_id";

fn refused(text: impl Into<String>) -> Problem {
    Problem::compat(400, "MEM004", text.into()).at("path")
}

fn failed(path: &Path, error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            Problem::new(Code::DiskFull, format!("{}: {error}", path.display()))
        }
        _ => Problem::new(Code::StoreFailed, format!("{}: {error}", path.display())),
    }
}

/// The folder and the stem of a wanted path. The folder exists and lies, links resolved, below the data folder.
fn place(data_dir: &Path, wanted: Option<&str>) -> Result<(PathBuf, String), Problem> {
    let wanted = match wanted.filter(|wanted| !wanted.is_empty()) {
        Some(wanted) => data_dir.join(wanted),
        None => {
            let folder = data_dir.join(FOLDER);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|error| failed(&folder, &error))?;
            folder.join(format!("{STEM}.bin"))
        }
    };
    let outside =
        || refused("path: expected a path below the data folder, in no folder that the daemon writes");
    if wanted.components().any(|part| part == Component::ParentDir) {
        return Err(outside());
    }
    let root = data_dir.canonicalize().map_err(|error| failed(data_dir, &error))?;
    let parent = wanted.parent().ok_or_else(outside)?;
    let folder = parent.canonicalize().map_err(|_| outside())?;
    let below = folder.strip_prefix(&root).map_err(|_| outside())?;
    let first = below.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    if first.is_some_and(|first| RESERVED.contains(&first.as_str())) {
        return Err(outside());
    }
    let stem = wanted.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain = stem.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if stem.is_empty() || !plain || stem.len() > 100 {
        return Err(refused("path: expected a file name of letters, digits, '-' and '_'"));
    }
    Ok((folder, stem.to_owned()))
}

fn cipher(key: &Secret<String>, salt: &[u8]) -> Result<Aes256Gcm, Problem> {
    let mut derived = Zeroizing::new([0_u8; 32]);
    let hkdf = Hkdf::<Sha256>::new(Some(salt), key.expose().as_bytes());
    let expanded = hkdf.expand(INFO, derived.as_mut_slice());
    expanded.map_err(|error| Problem::new(Code::Internal, format!("deriving a key: {error}")))?;
    Ok(Aes256Gcm::new(&(*derived).into()))
}

fn encrypted(key: &Secret<String>, text: &[u8]) -> Result<Vec<u8>, Problem> {
    let (salt, nonce): ([u8; SALT_BYTES], [u8; NONCE_BYTES]) = (rand::random(), rand::random());
    let sealed = cipher(key, &salt)?.encrypt(&Nonce::from(nonce), text);
    let sealed = sealed.map_err(|_| Problem::new(Code::Internal, "the dump was not encrypted"))?;
    Ok([MAGIC.as_slice(), &salt, &nonce, &sealed].concat())
}

fn decrypted(key: &Secret<String>, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let bad = || refused("path: no dump, a damaged one, or one by another encryption key");
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(bad)?;
    let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or_else(bad)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(bad)?;
    let text = cipher(key, salt)?.decrypt(&Nonce::from(*nonce), sealed).map_err(|_| bad())?;
    Ok(Zeroizing::new(text))
}

/// All rows as the older gateway lays a dump out, with a mark that the documents are ours.
fn document(state: &State, now_ms: i64) -> Value {
    let mut data: Map<String, Value> = Map::new();
    for (table, key, mut row) in backups::rows(state) {
        if let Some(row) = row.as_object_mut() {
            row.insert(KEY.to_owned(), json!(key));
        }
        let list = data.entry(table).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(row);
        }
    }
    json!({"version": VERSION, "created_at": times::text(now_ms), "sanitized": false,
           "gatehouse": {"revision": state.revision}, "data": data})
}

/// Writes a dump; the path it got. Blocks.
///
/// # Errors
/// A path outside of where dumps may lie, or a failing disk.
pub(crate) fn write(
    state: &State,
    config: &ControlConfig,
    wanted: Option<&str>,
    now_ms: i64,
) -> Result<PathBuf, Problem> {
    let (folder, stem) = place(&config.data_dir, wanted)?;
    let text = document(state, now_ms).to_string();
    let bytes = encrypted(&config.encryption_key, Zeroizing::new(text).as_bytes())?;
    let stamp = times::text(now_ms).replace(['-', ':'], "");
    let path = folder.join(format!("{stem}-{}Z.bin", stamp.get(..15).unwrap_or_default()));
    let beside = path.with_extension("partial");
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        File::open(&folder)?.sync_all()
    })();
    if let Err(error) = written {
        // Half of a dump is none; a full disk needs the space.
        drop(std::fs::remove_file(&beside));
        return Err(failed(&path, &error));
    }
    Ok(path)
}

/// What a dump holds.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) path: PathBuf,
    pub(crate) created_at: String,
    pub(crate) version: u64,
    pub(crate) rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Document {
    version: u64,
    #[serde(default)]
    created_at: String,
    gatehouse: Option<Value>,
    data: Map<String, Value>,
}

/// The file of a wanted path: that very file, else the newest of its stem.
fn found(data_dir: &Path, wanted: Option<&str>) -> Result<PathBuf, Problem> {
    let (folder, stem) = place(data_dir, wanted)?;
    let exact = folder.join(format!("{stem}.bin"));
    if exact.is_file() {
        return Ok(exact);
    }
    let begin = format!("{stem}-");
    // The time in a name sorts as text.
    let stamped = |name: &str| {
        let time = name.strip_prefix(&begin).and_then(|rest| rest.strip_suffix("Z.bin"));
        time.is_some_and(|time| time.len() == 15 && time.bytes().all(|b| b.is_ascii_digit() || b == b'T'))
    };
    let entries = std::fs::read_dir(&folder).map_err(|error| failed(&folder, &error))?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let newest = names.filter(|name| stamped(name)).max();
    newest
        .map(|name| folder.join(name))
        .ok_or_else(|| Problem::compat(404, "MEM003", "No dump found").at("path"))
}

/// Reads a dump. Blocks.
///
/// # Errors
/// No such file, or one that is not ours.
pub(crate) fn read(config: &ControlConfig, wanted: Option<&str>) -> Result<Dump, Problem> {
    let path = found(&config.data_dir, wanted)?;
    let file = File::open(&path).map_err(|error| failed(&path, &error))?;
    let mut bytes = Vec::new();
    file.take(DUMP_BYTES).read_to_end(&mut bytes).map_err(|error| failed(&path, &error))?;
    let text = decrypted(&config.encryption_key, &bytes)?;
    let (version, created_at, rows) = parsed(&text)?;
    Ok(Dump { path, created_at, version, rows })
}

fn parsed(text: &[u8]) -> Result<(u64, String, Vec<Row>), Problem> {
    let document: Document =
        serde_json::from_slice(text).map_err(|error| refused(format!("path: the dump's text: {error}")))?;
    if document.gatehouse.is_none() {
        return Err(refused("path: a dump of the older gateway, which is not restored but imported"));
    }
    let mut rows = Vec::new();
    for (table, documents) in document.data {
        let Value::Array(documents) = documents else {
            return Err(refused(format!("path: {table}: expected a list of documents")));
        };
        for mut document in documents {
            let key = document.as_object_mut().and_then(|document| document.remove(KEY));
            let Some(Value::String(key)) = key else {
                return Err(refused(format!("path: {table}: a document without {KEY}")));
            };
            rows.push((table.clone(), key, document));
        }
    }
    Ok((document.version, document.created_at, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn key() -> Secret<String> {
        Secret::new("one key of thirty-two characters".to_owned())
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let mut state = State::default();
        let row = json!({"username": "ana", "groups": ["ALL"]}).as_object().cloned().unwrap();
        state.set("users", "ana", Some(Arc::new(row)));
        let bytes = encrypted(&key(), document(&state, 0).to_string().as_bytes()).unwrap();
        assert!(bytes.starts_with(MAGIC) && !bytes.windows(3).any(|part| part == b"ana"));
        let (version, created_at, rows) = parsed(&decrypted(&key(), &bytes).unwrap()).unwrap();
        assert_eq!((version, created_at.as_str()), (1, "1970-01-01T00:00:00+00:00"));
        assert_eq!(rows, backups::rows(&state).collect::<Vec<_>>());
        let other = Secret::new("another one of thirty-two chars.".to_owned());
        assert!(decrypted(&other, &bytes).is_err());
        let foreign = json!({"version": 1, "data": {"users": []}}).to_string();
        assert!(parsed(foreign.as_bytes()).unwrap_err().detail.contains("older gateway"));
    }

    #[test]
    fn a_dump_lies_below_the_data_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        for name in ["store", "keys", "own"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let at = |wanted: &str| place(folder.path(), Some(wanted)).map(|(_, stem)| stem);
        assert_eq!(at("own/mine.bin"), Ok("mine".to_owned()));
        assert_eq!(at(folder.path().join("x.bin").to_str().unwrap()), Ok("x".to_owned()));
        for bad in [
            "/etc/passwd",
            "../x.bin",
            "own/../../x.bin",
            "link/x.bin",
            "store/x.bin",
            "keys/x",
            "none/x",
            "own/a b.bin",
            "own/.bin",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
        assert_eq!(place(folder.path(), None).unwrap().1, STEM);
    }

    proptest! {
        #[test]
        fn never_panics_on_what_is_no_dump(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,60}") {
            let mut dump = MAGIC.to_vec();
            dump.extend(bytes);
            prop_assert!(decrypted(&key(), &dump).is_err());
            prop_assert!(parsed(text.as_bytes()).is_err());
        }
    }
}
