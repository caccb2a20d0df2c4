//! Reads what Octoprox kept (spec/octoprox.md 10): `manager.db`, or the archive that its guide makes. The file itself is
//! never opened for writing: a copy is, with the journals beside it, so that what was in them counts. Which columns there
//! are is asked, not assumed.

use flate2::read::GzDecoder;
use gatehouse_common::ops::imports::{ImportCount, ImportReport, ImportRequest, ImportRow};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How a database begins.
const DATABASE: &[u8] = b"SQLite format 3\0";
/// How a compressed archive begins.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Largest database taken out of an archive, bytes.
const DATABASE_BYTES: u64 = 1 << 30;
/// Rows of a table at most.
const ROWS: usize = 200_000;
/// Name of the copy.
const COPY: &str = "manager.db";

const USERS: &[&str] = &[
    "id",
    "username",
    "password_hash",
    "role",
    "status",
    "created_at",
    "updated_at",
    "nexusgate_user_id",
    "nexusgate_role",
    "last_synced_at",
];
const API_KEYS: &[&str] = &[
    "id",
    "user_id",
    "key_prefix",
    "key_hash",
    "created_at",
    "last_used_at",
    "nexusgate_token_id",
    "name",
    "expires_at",
];
const WORKSPACES: &[&str] = &[
    "id",
    "user_id",
    "name",
    "status",
    "created_at",
    "deleted_at",
    "purge_after",
    "updated_at",
    "metadata",
    "nexusgate_service_id",
    "container_id",
    "container_status",
];

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The file or its copy.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What is in the database.
    #[error("not a database that can be read: {0}")]
    Database(#[from] rusqlite::Error),
    /// Something else was expected.
    #[error("{0}")]
    Unexpected(String),
}

/// The rows of a file.
///
/// # Errors
/// See [`ImportError`].
pub(crate) fn read(path: &Path, dry_run: bool) -> Result<ImportRequest, ImportError> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join(COPY);
    let mut begin = Vec::new();
    File::open(path)?.take(DATABASE.len() as u64).read_to_end(&mut begin)?;
    if begin == DATABASE {
        beside(path, &copy)?;
    } else if begin.starts_with(GZIP) {
        unpack(path, &copy)?;
    } else {
        let text = "expected manager.db (SQLite 3), or the guide's archive of it (.tar.gz)";
        return Err(ImportError::Unexpected(text.to_owned()));
    }
    let database = Connection::open(&copy)?;
    database.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    Ok(ImportRequest {
        dry_run,
        users: table(&database, "users", USERS)?,
        api_keys: table(&database, "api_keys", API_KEYS)?,
        workspaces: table(&database, "workspaces", WORKSPACES)?,
    })
}

/// Copies a database with its journals.
fn beside(path: &Path, copy: &Path) -> io::Result<()> {
    for ending in ["", "-wal", "-journal"] {
        let with = |path: &Path| {
            let mut name = OsString::from(path);
            name.push(ending);
            name
        };
        match std::fs::copy(with(path), with(copy)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !ending.is_empty() => {}
            done => drop(done?),
        }
    }
    Ok(())
}

/// Takes the one database out of an archive; nothing else is written, and no name of the archive becomes a path.
fn unpack(path: &Path, copy: &Path) -> Result<(), ImportError> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path)?));
    let mut found = 0;
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.file_name().map(|name| name.to_string_lossy().into_owned());
        let named = name.is_some_and(|name| name.starts_with(COPY));
        if named && entry.header().entry_type().is_file() {
            found += 1;
            let written = io::copy(&mut entry.take(DATABASE_BYTES + 1), &mut File::create(copy)?)?;
            if written > DATABASE_BYTES {
                let text = format!("the archive's database is larger than {DATABASE_BYTES} bytes");
                return Err(ImportError::Unexpected(text));
            }
        }
    }
    match found {
        1 => Ok(()),
        count => Err(ImportError::Unexpected(format!("expected one {COPY}… in the archive, found {count}"))),
    }
}

/// The rows of a table, with those columns that it has; none if there is no such table.
fn table(database: &Connection, name: &str, known: &[&str]) -> Result<Vec<ImportRow>, ImportError> {
    let mut asked = database.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let there: Vec<String> = asked.query_map([name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let columns: Vec<&str> =
        known.iter().copied().filter(|column| there.iter().any(|one| one == column)).collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    // All names are our own.
    let listed: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    let mut asked = database.prepare(&format!("SELECT {} FROM \"{name}\" ORDER BY 1", listed.join(", ")))?;
    let mut rows = asked.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if found.len() >= ROWS {
            return Err(ImportError::Unexpected(format!("{name}: more than {ROWS} rows")));
        }
        let cell = |(index, column): (usize, &&str)| Ok(((*column).to_owned(), value(row.get_ref(index)?)));
        found.push(columns.iter().enumerate().map(cell).collect::<Result<ImportRow, rusqlite::Error>>()?);
    }
    Ok(found)
}

/// A cell, whatever its column says it is.
fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
    }
}

/// What became of the rows, in words.
pub(crate) fn report(report: &ImportReport) -> Vec<String> {
    let verb = if report.dry_run { "would be taken" } else { "taken" };
    let line = |name: &str, count: &ImportCount| {
        format!(
            "{name:<11} {} {verb}, {} there already, {} refused",
            count.taken, count.unchanged, count.refused
        )
    };
    let mut lines = vec![
        line("users", &report.users),
        line("API keys", &report.api_keys),
        line("workspaces", &report.workspaces),
    ];
    lines.extend(report.notes.iter().map(|note| format!("  {}", crate::text::clean(note))));
    lines.push(match report.dry_run {
        true => "Nothing was changed; without --dry-run it is done.".to_owned(),
        false => format!("Done with revision {}.", report.revision),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(folder: &Path, schema: &str) -> std::path::PathBuf {
        let path = folder.join("manager.db");
        Connection::open(&path).unwrap().execute_batch(schema).unwrap();
        path
    }

    #[test]
    fn an_older_file_lacks_columns_and_holds_odd_cells() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(
            folder.path(),
            "CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(64), role, secret);
             INSERT INTO users VALUES (1, 'ana', 5, 'x'), (2, NULL, x'00ff', 'x'), (3, CAST(x'ff41' AS TEXT), 1.5, 'x');",
        );
        let found = read(&path, true).unwrap();
        assert_eq!(
            json!(found.users),
            json!([{"id": 1, "username": "ana", "role": 5}, {"id": 2, "username": null, "role": null},
                   {"id": 3, "username": "\u{fffd}A", "role": 1.5}])
        );
        assert!(found.dry_run && found.api_keys.is_empty() && found.workspaces.is_empty());
    }

    #[test]
    fn what_is_only_in_the_journal_is_read_and_the_file_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path(), "PRAGMA journal_mode = WAL; CREATE TABLE users (id, username);");
        let open = Connection::open(&path).unwrap();
        open.execute_batch("PRAGMA wal_autocheckpoint = 0; INSERT INTO users VALUES (1, 'late');").unwrap();
        let before = std::fs::read(&path).unwrap();
        assert_eq!(read(&path, false).unwrap().users[0]["username"], "late");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn the_guides_archive_is_taken_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(
            folder.path(),
            "CREATE TABLE users (id, username); INSERT INTO users VALUES (1, 'ana');",
        );
        let pack = |names: &[&str]| {
            let packed = folder.path().join("backup.tar.gz");
            let gzip =
                flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
            let mut archive = tar::Builder::new(gzip);
            names.iter().for_each(|name| archive.append_path_with_name(&path, name).unwrap());
            archive.into_inner().unwrap().finish().unwrap();
            read(&packed, false).map(|found| found.users.len()).map_err(|error| error.to_string())
        };
        assert_eq!(pack(&["env.20260101", "backup/manager.db.20260101"]), Ok(1));
        assert!(pack(&["env.20260101"]).unwrap_err().contains("found 0"));
        assert!(pack(&["manager.db.1", "manager.db.2"]).unwrap_err().contains("found 2"));
        for bytes in [&b"text"[..], b"", b"\x1f\x8bbroken", b"SQLite format 3\0broken"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(read(&path, false).is_err(), "{bytes:?}");
        }
        assert!(read(&folder.path().join("none"), false).is_err());
    }
}
