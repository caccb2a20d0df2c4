//! The durable record of runs: one file of JSON lines each, synced before a step begins and after it has ended, so
//! that the next start of the daemon knows where a cut run stood.

use gatehouse_common::ids::RunId;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::runbook::RunEvent;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Runs kept; older ones are removed at a start, the audit trail keeps what they did.
const RUNS_KEPT: usize = 500;

/// The folder of the journal.
#[derive(Debug, Clone)]
pub(crate) struct Journal(PathBuf);

fn failed(path: &Path, error: &std::io::Error) -> Problem {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let code = if full { Code::DiskFull } else { Code::StoreFailed };
    Problem::new(code, format!("journal {}: {error}", path.display()))
}

impl Journal {
    /// Opens or makes the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Problem> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| failed(folder, &error))?;
        Ok(Self(folder.to_owned()))
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.0.join(format!("{run}.jsonl"))
    }

    /// Writes an event down; returns when it is on the disk.
    pub(crate) fn append(&self, event: &RunEvent) -> Result<(), Problem> {
        let path = self.path(&event.run);
        let mut line =
            serde_json::to_vec(event).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        line.push(b'\n');
        let written = (|| {
            let fresh = !path.exists();
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
            let before = file.metadata()?.len();
            if let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
                // Half a line would hide the next one.
                drop(file.set_len(before));
                return Err(error);
            }
            if fresh { File::open(&self.0)?.sync_all() } else { Ok(()) }
        })();
        written.map_err(|error| failed(&path, &error))
    }

    /// All runs, oldest first; a last line that a crash cut was never acknowledged and is removed.
    pub(crate) fn load(&self) -> Result<Vec<Vec<RunEvent>>, Problem> {
        let mut paths = Vec::new();
        let entries = std::fs::read_dir(&self.0).map_err(|error| failed(&self.0, &error))?;
        for entry in entries.flatten() {
            paths.push(entry.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        // Ids are UUIDv7: names sort by time.
        paths.sort();
        let surplus = paths.len().saturating_sub(RUNS_KEPT);
        for old in paths.drain(..surplus) {
            std::fs::remove_file(&old).map_err(|error| failed(&old, &error))?;
        }
        let mut runs = Vec::new();
        for path in paths {
            let events = read(&path).map_err(|error| failed(&path, &error))?;
            if !events.is_empty() {
                runs.push(events);
            }
        }
        Ok(runs)
    }
}

fn read(path: &Path) -> std::io::Result<Vec<RunEvent>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
    }
    let (kept, _) = text.split_at(whole);
    let event = |line: &str| {
        serde_json::from_str(line)
            .inspect_err(
                |error| tracing::error!(target: "runs", file = %path.display(), %error, "not a run's event"),
            )
            .ok()
    };
    Ok(kept.lines().filter_map(event).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::runbook::RunEventKind;

    #[test]
    fn a_cut_line_is_forgotten_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let run = RunId::from("01");
        let event = |seq| RunEvent {
            run: run.clone(),
            seq,
            at_unix_ms: 1,
            kind: RunEventKind::Output { text: "x".to_owned() },
        };
        journal.append(&event(0)).unwrap();
        journal.append(&event(1)).unwrap();
        let path = journal.path(&run);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(journal.load().unwrap(), [vec![event(0)]]);
        journal.append(&event(1)).unwrap();
        assert_eq!(journal.load().unwrap(), [vec![event(0), event(1)]]);
    }
}
