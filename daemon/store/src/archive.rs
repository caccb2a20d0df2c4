//! Archives: the rows of the store as JSON lines, with a header, and a trailer that counts and hashes
//! them. Anyone can read one with a text tool; a changed or cut one is refused before it is used.

use crate::tables::{REVISION_KEY, TABLES};
use crate::{Batch, Store, StoreError};
use gatehouse_common::ids::Revision;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, Read as _, Seek as _, Write};
use std::path::Path;

const FORMAT: &str = "gatehouse-archive";
const VERSION: u32 = 1;
/// Longest line accepted, bytes.
const LINE_BYTES: usize = 16 * 1024 * 1024;
/// Longer than any trailer, bytes.
const TRAILER_BYTES: u64 = 256;
/// Rows of one commit while importing.
const COMMIT_ROWS: usize = 500;

/// Table and key of the settings file's text, which is no row of the store; an import passes it over.
pub const SETTINGS: (&str, &str) = ("settings", "file");

/// What an archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveInfo {
    /// Rows.
    pub rows: usize,
    /// Revision they belong to.
    pub revision: Revision,
    /// Unix milliseconds when it was made; 0 if not told.
    pub made_unix_ms: i64,
}

/// One row: table, key, value.
pub type Row = (String, String, serde_json::Value);

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    revision: Revision,
    made_unix_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct RowLine {
    table: String,
    key: String,
    value: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct Trailer {
    rows: usize,
    sha256: String,
}

fn at(line: usize, detail: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { place: format!("archive line {line}"), detail: detail.to_string() }
}

/// Writes given rows.
///
/// # Errors
/// A failing writer.
pub fn write_rows(
    rows: impl IntoIterator<Item = Row>,
    revision: Revision,
    made_unix_ms: i64,
    out: &mut dyn Write,
) -> Result<ArchiveInfo, StoreError> {
    let header = Header { format: FORMAT.to_owned(), version: VERSION, revision, made_unix_ms };
    let mut hasher = Sha256::new();
    let mut line = |value: &dyn erased::Json, hash: bool| -> Result<(), StoreError> {
        let mut text = value.json().map_err(|error| StoreError::Io(error.to_string()))?;
        text.push(b'\n');
        if hash {
            hasher.update(&text);
        }
        Ok(out.write_all(&text)?)
    };
    line(&header, true)?;
    let mut count = 0;
    for (table, key, value) in rows {
        line(&RowLine { table, key, value }, true)?;
        count += 1;
    }
    let sha256 = hex::encode(hasher.finalize());
    let trailer =
        serde_json::to_vec(&Trailer { rows: count, sha256 }).map_err(|e| StoreError::Io(e.to_string()))?;
    out.write_all(&trailer)?;
    out.write_all(b"\n")?;
    Ok(ArchiveInfo { rows: count, revision, made_unix_ms })
}

/// `Serialize` is not object safe; this is what of it is needed here.
mod erased {
    pub(super) trait Json {
        fn json(&self) -> serde_json::Result<Vec<u8>>;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> serde_json::Result<Vec<u8>> {
            serde_json::to_vec(self)
        }
    }
}

/// Writes all archived tables. For a consistent one nothing may be written meanwhile.
///
/// # Errors
/// A row that is not JSON, or a failing reader or writer.
pub fn export(store: &Store, out: &mut dyn Write) -> Result<ArchiveInfo, StoreError> {
    let revision = match store.get("meta", REVISION_KEY)? {
        Some(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        None => Revision::default(),
    };
    let mut rows = Vec::new();
    for table in TABLES.iter().filter(|table| table.archived) {
        for (key, bytes) in store.scan(table.name)? {
            let value = serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt {
                place: format!("table {}, key {key}", table.name),
                detail: error.to_string(),
            })?;
            rows.push((table.name.to_owned(), key, value));
        }
    }
    write_rows(rows, revision, 0, out)
}

/// Reads an archive to its end; nothing is given to the caller before all of it has been checked.
///
/// # Errors
/// [`StoreError::Corrupt`] naming the line and what was expected.
pub fn read_rows(input: &mut dyn BufRead) -> Result<(ArchiveInfo, Vec<Row>), StoreError> {
    let mut hasher = Sha256::new();
    let mut rows = Vec::new();
    let mut header: Option<Header> = None;
    let mut number = 0;
    loop {
        number += 1;
        let line = read_line(input, number)?;
        if line.is_empty() {
            return Err(at(number, "the archive ends here; expected a trailer with rows and sha256"));
        }
        let Some(header) = &header else {
            let found: Header = serde_json::from_slice(&line)
                .map_err(|error| at(number, format!("expected the header of a {FORMAT}: {error}")))?;
            if found.format != FORMAT || found.version != VERSION {
                return Err(at(number, format!("expected format {FORMAT:?} version {VERSION}")));
            }
            hasher.update(&line);
            header = Some(found);
            continue;
        };
        if let Ok(trailer) = serde_json::from_slice::<Trailer>(&line) {
            let sha256 = hex::encode(hasher.finalize());
            if trailer.rows != rows.len() || trailer.sha256 != sha256 {
                return Err(at(
                    number,
                    "the trailer does not match the rows: the archive was changed or cut",
                ));
            }
            let info = ArchiveInfo {
                rows: rows.len(),
                revision: header.revision,
                made_unix_ms: header.made_unix_ms,
            };
            return Ok((info, rows));
        }
        let row: RowLine = serde_json::from_slice(&line)
            .map_err(|error| at(number, format!("expected a row {{table, key, value}}: {error}")))?;
        hasher.update(&line);
        rows.push((row.table, row.key, row.value));
    }
}

fn read_line(input: &mut dyn BufRead, number: usize) -> Result<Vec<u8>, StoreError> {
    let mut line = Vec::new();
    let mut bounded = std::io::Read::take(input, LINE_BYTES as u64 + 1);
    bounded.read_until(b'\n', &mut line)?;
    if line.len() > LINE_BYTES {
        return Err(at(number, format!("longer than {LINE_BYTES} bytes")));
    }
    Ok(line)
}

/// What an archive says of itself in its first and last line; neither is checked against the rows.
///
/// # Errors
/// A file that cannot be read, or that begins or ends otherwise than an archive.
pub fn peek(path: &Path) -> Result<ArchiveInfo, StoreError> {
    let mut file = std::fs::File::open(path)?;
    let header: Header = serde_json::from_slice(&read_line(&mut std::io::BufReader::new(&file), 1)?)
        .map_err(|error| at(1, error))?;
    let end = file.seek(std::io::SeekFrom::End(0))?;
    file.seek(std::io::SeekFrom::Start(end.saturating_sub(TRAILER_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let last = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let trailer: Trailer = serde_json::from_slice(last).map_err(|error| at(0, error))?;
    Ok(ArchiveInfo { rows: trailer.rows, revision: header.revision, made_unix_ms: header.made_unix_ms })
}

/// Checks an archive to its end.
///
/// # Errors
/// As [`read_rows`].
pub fn check(input: &mut dyn BufRead) -> Result<ArchiveInfo, StoreError> {
    read_rows(input).map(|(info, _)| info)
}

/// Writes an archive's rows into the store. Interrupted, it can be run again: each row is a plain write.
///
/// # Errors
/// As [`read_rows`] (then nothing is written), a table that is not archived, or a failing write.
pub fn import(store: &Store, input: &mut dyn BufRead) -> Result<ArchiveInfo, StoreError> {
    let (info, mut rows) = read_rows(input)?;
    rows.retain(|(table, key, _)| (table.as_str(), key.as_str()) != SETTINGS);
    let known = |name: &str| TABLES.iter().any(|table| table.archived && table.name == name);
    if let Some(index) = rows.iter().position(|(table, _, _)| !known(table)) {
        return Err(at(index + 2, "unknown table"));
    }
    for chunk in rows.chunks(COMMIT_ROWS) {
        let mut batch = Batch::default();
        for (table, key, value) in chunk {
            batch.put(table, key, value.to_string().into_bytes());
        }
        store.commit(batch)?;
    }
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled() -> Store {
        let store = Store::memory().unwrap();
        let mut batch = Batch::default();
        batch.put("users", "ana", br#"{"role":"admin"}"#.to_vec());
        batch.put("groups", "ALL", b"{}".to_vec());
        batch.put("outbox", "1", b"{}".to_vec());
        store.commit(batch).unwrap();
        store
    }

    fn exported() -> Vec<u8> {
        let mut bytes = Vec::new();
        export(&filled(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn there_and_back() {
        let bytes = exported();
        let target = Store::memory().unwrap();
        for _ in 0..2 {
            assert_eq!(import(&target, &mut bytes.as_slice()).unwrap().rows, 2);
        }
        assert_eq!(target.get("users", "ana").unwrap().unwrap(), br#"{"role":"admin"}"#);
        assert_eq!(target.scan("outbox").unwrap().len(), 0, "the outbox stays behind");
    }

    #[test]
    fn cut_or_changed_is_refused_with_the_line() {
        let bytes = exported();
        for length in 0..bytes.len() - 1 {
            let error = check(&mut &bytes[..length]).unwrap_err().to_string();
            assert!(error.starts_with("archive line"), "{length}: {error}");
        }
        let changed = String::from_utf8(bytes).unwrap().replace("admin", "owner");
        assert!(check(&mut changed.as_bytes()).unwrap_err().to_string().contains("changed or cut"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(check(&mut bytes.as_slice()).is_err());
        }
    }
}
