//! The audit trail read from its first record on, one line at a time: for whoever verifies it, also on a copy of the folder
//! and beside a daemon that writes it. Nothing is written here.

use crate::StoreError;
use crate::segments::{chained, origin, segment_path, segments};
use gatehouse_common::ops::audit::AuditRecord;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// Where a trail breaks first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {why}")]
pub struct Broken {
    /// Name of the segment file.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// What is wrong, naming the record where it is known.
    pub why: String,
    /// It is the end of the last file, in the middle of a line: it is being written, or a crash or somebody cut it.
    pub unfinished: bool,
}

/// What a walk along a whole trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// Records.
    pub records: u64,
    /// Segment files.
    pub files: usize,
    /// Hash of the last record: whoever kept it from an earlier walk can tell whether that record is still the same.
    pub hash: String,
}

/// The records of a folder, oldest first, as they stand there; the chain is not followed.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    files: VecDeque<u64>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    name: String,
    line: usize,
    lines: BufReader<File>,
}

impl Open {
    fn broken(&self, why: impl std::fmt::Display) -> Broken {
        Broken { file: self.name.clone(), line: self.line, why: why.to_string(), unfinished: false }
    }
}

impl Records {
    /// Begins with the first segment.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self { folder: folder.to_owned(), files: segments(folder)?.into(), open: None })
    }

    /// Segment files that were there at the begin and have not been opened yet.
    fn left(&self) -> usize {
        self.files.len()
    }

    fn next_file(&mut self) -> Option<Result<(), Broken>> {
        let path = segment_path(&self.folder, self.files.pop_front()?);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Some(match File::open(&path) {
            Ok(file) => {
                self.open = Some(Open { name, line: 0, lines: BufReader::new(file) });
                Ok(())
            }
            Err(error) => Err(Broken { file: name, line: 0, why: error.to_string(), unfinished: false }),
        })
    }
}

impl Iterator for Records {
    /// A record, the file it stands in and its line; or the first place that holds none.
    type Item = Result<(String, usize, AuditRecord), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(open) = &mut self.open else {
                match self.next_file()? {
                    Ok(()) => continue,
                    Err(broken) => return Some(Err(broken)),
                }
            };
            let mut line = Vec::new();
            open.line += 1;
            let read = open.lines.read_until(b'\n', &mut line);
            if matches!(read, Ok(0)) {
                self.open = None;
                continue;
            }
            let found = match (read, line.strip_suffix(b"\n")) {
                (Err(error), _) => Err(open.broken(error)),
                (Ok(_), None) => {
                    let why = "the line has no end: it is being written, or a crash or somebody cut it";
                    Err(Broken { unfinished: self.files.is_empty(), ..open.broken(why) })
                }
                (Ok(_), Some(line)) => match serde_json::from_slice(line) {
                    Ok(record) if written(&record).is_some_and(|again| again == line) => {
                        Ok((open.name.clone(), open.line, record))
                    }
                    Ok(record) => {
                        let why = format!("record {} is not written as the daemon writes it", record.seq);
                        Err(open.broken(why))
                    }
                    Err(error) => Err(open.broken(format!("not a record: {error}"))),
                },
            };
            return Some(found);
        }
    }
}

/// A record's line: a byte that a reader would pass over is a change too.
fn written(record: &AuditRecord) -> Option<Vec<u8>> {
    serde_json::to_vec(record).ok()
}

/// Follows the whole chain and shows each record that holds.
///
/// # Errors
/// The first record or file that does not follow from those before it.
pub fn walk(folder: &Path, mut each: impl FnMut(&AuditRecord)) -> Result<Walked, Broken> {
    let none = |why: String| Broken { file: folder.display().to_string(), line: 0, why, unfinished: false };
    let mut records = Records::open(folder).map_err(|error| none(error.to_string()))?;
    let files = records.left();
    let (mut seq, mut hash) = (0, origin());
    for found in &mut records {
        let (file, line, record) = found?;
        let broken = |why: String| Broken { file: file.clone(), line, why, unfinished: false };
        let number = record.seq;
        if number != seq + 1 {
            return Err(broken(format!("record {number} stands where record {} belongs", seq + 1)));
        }
        if record.previous != hash {
            return Err(broken(format!("record {number} does not follow from record {seq} as it stands")));
        }
        let expected = chained(&hash, number, &record.entry).map_err(|error| broken(error.to_string()))?;
        if record.hash != expected {
            return Err(broken(format!("record {number} says something else than when it was written")));
        }
        each(&record);
        (seq, hash) = (number, record.hash);
    }
    Ok(Walked { records: seq, files, hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::AuditLog;
    use gatehouse_common::ids::Revision;
    use gatehouse_common::ops::audit::AuditEntry;
    use proptest::prelude::*;

    /// A trail of five records in two segments.
    fn trail() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let entry = |number: u64| AuditEntry {
            at_unix_ms: 7,
            actor: "admin".into(),
            source: "test".into(),
            action: "user.update".into(),
            object: format!("user/{number}"),
            outcome: "ok".into(),
            detail: serde_json::json!({"price": 0.1, "odd": 1.1234567890123457e-7}),
            revision: Revision(number),
        };
        let log = AuditLog::open(folder.path()).unwrap();
        log.append(&(1..=5).map(|number| (number, entry(number))).collect::<Vec<_>>()).unwrap();
        let path = segment_path(folder.path(), 1);
        let text = std::fs::read_to_string(&path).unwrap();
        let third = text.match_indices('\n').nth(2).unwrap().0 + 1;
        std::fs::write(&path, &text[..third]).unwrap();
        std::fs::write(segment_path(folder.path(), 2), &text[third..]).unwrap();
        folder
    }

    fn lines(folder: &Path, segment: u64) -> Vec<String> {
        let text = std::fs::read_to_string(segment_path(folder, segment)).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    #[test]
    fn a_whole_trail_is_walked() {
        let folder = trail();
        let mut seen = Vec::new();
        let walked = walk(folder.path(), |record| seen.push(record.seq)).unwrap();
        assert_eq!((walked.records, walked.files, seen), (5, 2, vec![1, 2, 3, 4, 5]));
        assert_eq!(walk(tempfile::tempdir().unwrap().path(), |_| {}).unwrap().records, 0);
        assert!(walk(Path::new("/nowhere"), |_| {}).is_err());
    }

    /// Lines of both segments to the new text of one of them; `None`: it is gone.
    type Harm = fn(&[String], &[String]) -> (u64, Option<String>);

    const HARMS: &[(u64, usize, &str, Harm)] = &[
        (1, 2, "record 3 stands where record 2 belongs", |a, _| (1, Some(a[0].clone() + &a[2]))),
        (1, 1, "record 2 stands where record 1 belongs", |a, _| (1, Some(a[1].clone() + &a[0] + &a[2]))),
        (2, 1, "record 4 stands where record 1 belongs", |_, _| (1, None)),
        (1, 2, "record 2 says something else", |a, _| (1, Some(a.concat().replace("user/2", "user/9")))),
        (1, 2, "not written as", |a, _| (1, Some(a.concat().replace("\"seq\":2", "\"seq\":2 ")))),
        (1, 3, "has no end", |a, _| (1, Some(a.concat().trim_end().to_owned()))),
        (2, 2, "has no end", |_, b| (2, Some(b[0].clone() + &b[1][..9]))),
        (2, 2, "not a record", |_, b| (2, Some(b[0].clone() + "\n"))),
    ];

    #[test]
    fn the_first_break_is_named() {
        for (segment, line, why, harm) in HARMS {
            let folder = trail();
            let (harmed, text) = harm(&lines(folder.path(), 1), &lines(folder.path(), 2));
            let path = segment_path(folder.path(), harmed);
            match text {
                Some(text) => std::fs::write(path, text).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
            let broken = walk(folder.path(), |_| {}).unwrap_err();
            assert_eq!(broken.file, format!("audit-0000000{segment}.jsonl"), "{broken}");
            assert_eq!((broken.line, broken.why.contains(why)), (*line, true), "{broken}");
            assert_eq!(broken.unfinished, *segment == 2 && why.contains("no end"), "{broken}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Whatever byte of whatever file.
        #[test]
        fn a_byte_that_is_changed_shows(segment in 1u64..3, at in any::<prop::sample::Index>(), flip in 1u8..=255) {
            let folder = trail();
            let path = segment_path(folder.path(), segment);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            std::fs::write(&path, &bytes).unwrap();
            prop_assert!(walk(folder.path(), |_| {}).is_err(), "{segment} {at} {flip}");
        }

        #[test]
        fn never_panics(text in r#"\PC{0,60}|(\{|\}|"seq":|1|,|"hash":|\n){0,20}"#) {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(segment_path(folder.path(), 1), text).unwrap();
            drop(walk(folder.path(), |_| {}));
        }
    }
}
