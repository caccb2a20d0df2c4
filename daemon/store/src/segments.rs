//! The audit trail on the disk: segment files of JSON lines, chained by SHA-256, synced before an append
//! returns. Records come from the store's outbox by their number, so one is never lost nor doubled.

use crate::StoreError;
use crate::walk::{Broken, Walked, walk};
use gatehouse_common::ops::audit::{AuditEntry, AuditRecord};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Size after which a new segment begins, bytes.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// The trail of a folder.
#[derive(Debug)]
pub struct AuditLog {
    folder: PathBuf,
    end: RwLock<End>,
}

#[derive(Debug)]
struct End {
    seq: u64,
    hash: String,
    segment: u64,
    file: File,
}

/// The hash of "no record before": 64 zeros.
pub(crate) fn origin() -> String {
    "0".repeat(64)
}

pub(crate) fn chained(previous: &str, seq: u64, entry: &AuditEntry) -> Result<String, StoreError> {
    let entry = serde_json::to_vec(entry).map_err(|error| corrupt("audit record", error))?;
    let mut hasher = Sha256::new();
    hasher.update(previous.as_bytes());
    hasher.update(seq.to_be_bytes());
    hasher.update(&entry);
    Ok(hex::encode(hasher.finalize()))
}

fn corrupt(place: impl Into<String>, detail: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { place: place.into(), detail: detail.to_string() }
}

pub(crate) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("audit-{number:08}.jsonl"))
}

pub(crate) fn segments(folder: &Path) -> Result<Vec<u64>, StoreError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl AuditLog {
    /// Opens or begins the trail. A last line cut by a crash was never acknowledged and is removed.
    ///
    /// # Errors
    /// A failing disk, or a damaged last segment.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)?;
        let numbers = segments(folder)?;
        let segment = numbers.last().copied().unwrap_or(1);
        let path = segment_path(folder, segment);
        heal(&path)?;
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        File::open(folder)?.sync_all()?;
        let mut last = None;
        for number in numbers.iter().rev() {
            last = read_segment(folder, *number)?.pop();
            if last.is_some() {
                break;
            }
        }
        let (seq, hash) = last.map_or_else(|| (0, origin()), |record| (record.seq, record.hash));
        let end = RwLock::new(End { seq, hash, segment, file });
        Ok(Self { folder: folder.to_owned(), end })
    }

    /// Number of the last record; 0 when there is none.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.end.read().unwrap_or_else(PoisonError::into_inner).seq
    }

    /// Appends entries by their outbox number and syncs; numbers already in the trail are passed over. The new records.
    ///
    /// # Errors
    /// A gap in the numbers, or a failing disk; what was half written is removed.
    pub fn append(&self, entries: &[(u64, AuditEntry)]) -> Result<Vec<AuditRecord>, StoreError> {
        let mut end = self.end.write().unwrap_or_else(PoisonError::into_inner);
        self.same(end.seq, entries)?;
        let (mut seq, mut hash) = (end.seq, end.hash.clone());
        let (mut text, mut new) = (Vec::new(), Vec::new());
        for (number, entry) in entries.iter().filter(|(number, _)| *number > end.seq) {
            if *number != seq + 1 {
                return Err(corrupt("audit trail", format!("record {} is missing before {number}", seq + 1)));
            }
            seq = *number;
            let previous = std::mem::take(&mut hash);
            hash = chained(&previous, seq, entry)?;
            let record = AuditRecord { seq, entry: entry.clone(), previous, hash: hash.clone() };
            serde_json::to_writer(&mut text, &record).map_err(|error| corrupt("audit record", error))?;
            text.push(b'\n');
            new.push(record);
        }
        if text.is_empty() {
            return Ok(new);
        }
        if end.file.metadata()?.len() > SEGMENT_BYTES {
            let segment = end.segment + 1;
            end.file =
                OpenOptions::new().create(true).append(true).open(segment_path(&self.folder, segment))?;
            end.segment = segment;
            File::open(&self.folder)?.sync_all()?;
        }
        let before = end.file.metadata()?.len();
        let written = end.file.write_all(&text).and_then(|()| end.file.sync_data());
        if let Err(error) = written {
            // Best effort: opening heals a torn line anyway.
            drop(end.file.set_len(before));
            return Err(error.into());
        }
        (end.seq, end.hash) = (seq, hash);
        Ok(new)
    }

    /// Numbers that are passed over must be of the very records in the trail: a store whose numbering fell
    /// behind would else lose its records in silence.
    fn same(&self, last: u64, entries: &[(u64, AuditEntry)]) -> Result<(), StoreError> {
        let Some(first) = entries.iter().map(|(number, _)| *number).filter(|number| *number <= last).min()
        else {
            return Ok(());
        };
        let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        for record in self.read_newest(count, &|_| true)? {
            if entries.iter().any(|(number, entry)| *number == record.seq && *entry != record.entry) {
                return Err(corrupt(
                    "audit trail",
                    format!("record {} is there with another content", record.seq),
                ));
            }
        }
        Ok(())
    }

    /// The newest records that pass, newest first.
    ///
    /// # Errors
    /// A segment that cannot be read.
    pub fn read_newest(
        &self,
        limit: usize,
        filter: &dyn Fn(&AuditRecord) -> bool,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut found = Vec::new();
        for number in segments(&self.folder)?.into_iter().rev() {
            let records = read_segment(&self.folder, number)?;
            found.extend(records.into_iter().rev().filter(|record| filter(record)).take(limit - found.len()));
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Follows the whole chain as it is on the disk, beside the writer.
    ///
    /// # Errors
    /// Where it breaks first, or that it ends before the last record that was written.
    pub fn verify(&self) -> Result<Walked, Broken> {
        let (last, mut records, mut hash) = (self.last_seq(), 0, origin());
        let kept = |record: &AuditRecord| (records, hash) = (record.seq, record.hash.clone());
        let walked = match walk(&self.folder, kept) {
            Ok(walked) => walked,
            // The writer is at it.
            Err(broken) if broken.unfinished && records >= last => {
                let files = segments(&self.folder).map_or(0, |files| files.len());
                Walked { records, files, hash }
            }
            Err(broken) => return Err(broken),
        };
        if walked.records < last {
            let why = format!("the trail ends with record {}; it had {last}", walked.records);
            return Err(Broken { file: self.folder.display().to_string(), line: 0, why, unfinished: false });
        }
        Ok(walked)
    }

    /// The folder of the segments.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Cuts a last line that has no end.
fn heal(path: &Path) -> Result<(), StoreError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
    if whole < bytes.len() {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

fn read_segment(folder: &Path, number: u64) -> Result<Vec<AuditRecord>, StoreError> {
    let path = segment_path(folder, number);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let place = || format!("{} line {}", path.display(), index + 1);
        records.push(serde_json::from_slice(&line?).map_err(|error| corrupt(place(), error))?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::ids::Revision;

    fn entry(action: &str) -> AuditEntry {
        AuditEntry {
            at_unix_ms: 1,
            actor: "admin".into(),
            source: "test".into(),
            action: action.into(),
            object: "user/ana".into(),
            outcome: "ok".into(),
            detail: serde_json::Value::Null,
            revision: Revision(1),
        }
    }

    #[test]
    fn never_lost_never_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::open(folder.path()).unwrap();
        log.append(&[(1, entry("a")), (2, entry("b"))]).unwrap();
        log.append(&[(1, entry("a")), (2, entry("b")), (3, entry("c"))]).unwrap();
        assert!(log.append(&[(5, entry("e"))]).is_err(), "a gap");
        assert!(log.append(&[(2, entry("other"))]).is_err(), "a number that is taken by another record");
        let again = AuditLog::open(folder.path()).unwrap();
        assert_eq!((again.last_seq(), again.verify().unwrap().records), (3, 3));
        let newest = again.read_newest(2, &|_| true).unwrap();
        assert_eq!(newest.iter().map(|record| record.seq).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn a_torn_tail_is_cut_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        AuditLog::open(folder.path()).unwrap().append(&[(1, entry("a"))]).unwrap();
        let path = segment_path(folder.path(), 1);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"seq\":2,\"half").unwrap();
        let log = AuditLog::open(folder.path()).unwrap();
        log.append(&[(2, entry("b"))]).unwrap();
        assert_eq!(log.verify().unwrap().records, 2);
    }

    #[test]
    fn tampering_shows() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::open(folder.path()).unwrap();
        log.append(&[(1, entry("a")), (2, entry("b"))]).unwrap();
        let path = segment_path(folder.path(), 1);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("user/ana", "user/eve", 1)).unwrap();
        assert!(log.verify().unwrap_err().why.contains("record 1"));
        std::fs::write(&path, text.lines().next().unwrap().to_owned() + "\n").unwrap();
        let cut = log.verify().unwrap_err();
        assert!(cut.why.contains("ends with record 1; it had 2"), "{cut}");
        std::fs::write(&path, text.clone() + "{\"seq\":3").unwrap();
        assert_eq!(log.verify().unwrap().records, 2, "the writer is at the third");
    }
}
