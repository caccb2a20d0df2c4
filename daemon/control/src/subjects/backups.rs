//! Backups: one state, immutable while it is written, and the settings file, as an archive in a private folder.

use crate::Inner;
use crate::state::State;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::command::Backup;
use gatehouse_store::StoreError;
use gatehouse_store::archive::{self, ArchiveInfo, Row};
use gatehouse_store::tables::TABLES;
use serde_json::{Value, json};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How a backup's name ends.
const ENDING: &str = ".jsonl";
/// Longest name, bytes.
const NAME_BYTES: usize = 120;

/// The path of a backup; its name has no folder in it.
pub(crate) fn path(control: &Inner, name: &str) -> Result<PathBuf, Problem> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !plain || name.starts_with('.') || !name.ends_with(ENDING) || name.len() > NAME_BYTES {
        let text = format!("backup {name:?}: expected letters, digits, '-', '_' and '.', ending in {ENDING}");
        return Err(Problem::new(Code::BadInput, text).at("backup"));
    }
    Ok(control.config().backups.join(name))
}

/// What went wrong, with the file it went wrong with.
pub(crate) fn failed(path: &Path, error: StoreError) -> Problem {
    let problem = error.problem();
    Problem { detail: format!("{}: {}", path.display(), problem.detail), ..problem }
}

/// The settings file's text, if there is one.
pub(crate) fn settings(control: &Inner) -> Result<Option<String>, Problem> {
    let Some(path) = &control.config().settings_file else { return Ok(None) };
    std::fs::read_to_string(path).map(Some).map_err(|error| failed(path, error.into()))
}

/// The rows of a state that an archive holds.
pub(crate) fn rows(state: &State) -> impl Iterator<Item = Row> {
    TABLES.iter().filter(|table| table.archived).flat_map(|table| {
        let row = |(key, row): (&String, &std::sync::Arc<crate::state::Row>)| {
            (table.name.to_owned(), key.clone(), Value::Object(crate::state::Row::clone(row)))
        };
        state.rows(table.name).map(row).collect::<Vec<_>>()
    })
}

/// Writes a backup beside its place, syncs it, and only then gives it its name.
pub(crate) fn write(control: &Inner, name: &str) -> Result<Backup, Problem> {
    let path = path(control, name)?;
    let folder = &control.config().backups;
    let problem = |error: std::io::Error| failed(&path, error.into());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(problem)?;
    if path.exists() {
        return Err(Problem::new(Code::Conflict, format!("{}: exists already", path.display())));
    }
    let state = control.changes.state();
    let settings = settings(control)?;
    let settings =
        settings.map(|text| (archive::SETTINGS.0.to_owned(), archive::SETTINGS.1.to_owned(), json!(text)));
    let beside = path.with_extension("partial");
    let now_ms = control.clock.unix_ms();
    let written = (|| -> Result<ArchiveInfo, StoreError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let mut out = BufWriter::new(file);
        let info = archive::write_rows(rows(&state).chain(settings), state.revision, now_ms, &mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        std::fs::rename(&beside, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(info)
    })();
    match written {
        Ok(info) => described(&path, info).map_err(|error| failed(&path, error)),
        Err(error) => {
            // Half of a backup is none; a full disk needs the space.
            drop(std::fs::remove_file(&beside));
            Err(failed(&path, error))
        }
    }
}

fn described(path: &Path, info: ArchiveInfo) -> Result<Backup, StoreError> {
    let bytes = std::fs::metadata(path)?.len();
    let (rows, revision, made_unix_ms) = (info.rows, info.revision, info.made_unix_ms);
    Ok(Backup { path: path.to_owned(), rows, bytes, revision, made_unix_ms })
}

/// The backups, newest first; what cannot be read as one is passed over.
pub(crate) fn list(control: &Inner) -> Result<Vec<Backup>, Problem> {
    let folder = &control.config().backups;
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder, error.into())),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let named = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let mut found: Vec<Backup> =
        named.filter_map(|path| archive::peek(&path).and_then(|info| described(&path, info)).ok()).collect();
    found.sort_by_key(|backup| std::cmp::Reverse(backup.made_unix_ms));
    Ok(found)
}

/// Reads a backup to its end and checks it: every line, the count and the checksum.
pub(crate) fn read(control: &Inner, name: &str) -> Result<(Backup, Vec<Row>), Problem> {
    let path = path(control, name)?;
    let file = File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Problem::new(Code::NotFound, missing(control, name)).at("backup"),
        _ => failed(&path, error.into()),
    })?;
    let (info, rows) = archive::read_rows(&mut BufReader::new(file)).map_err(|error| {
        let text = format!("{}: {error}", path.display());
        Problem::new(Code::BadInput, text).at("backup")
    })?;
    Ok((described(&path, info).map_err(|error| failed(&path, error))?, rows))
}

/// Names what there is, so that the next attempt is right.
fn missing(control: &Inner, name: &str) -> String {
    let there = list(control).unwrap_or_default();
    let names: Vec<_> = there.iter().take(5).filter_map(|backup| backup.path.file_name()?.to_str()).collect();
    match names.is_empty() {
        true => format!("backup {name:?} does not exist; there is none yet"),
        false => format!("backup {name:?} does not exist; newest: {}", names.join(", ")),
    }
}
