//! The history's file: a line is added for each minute that ends and for the open one at the end; each hour the whole is
//! written anew without what is too old. On a thread of its own, since a slow disk must not stop the records. What it holds
//! may be lost with the power, so only the whole file is synced.

use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::history::{Closed, History, Row};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Name of the file in the data folder.
const FILE: &str = "monitor.jsonl";
/// Time between two looks at the clock.
const LOOK: Duration = Duration::from_millis(500);
/// Longest row read, bytes: the broadest there can be is a tenth of it.
const ROW_BYTES: usize = 256 * 1024;

/// The thread.
#[derive(Debug)]
pub(crate) struct HistoryFile {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl HistoryFile {
    /// Reads what was kept and goes on keeping.
    ///
    /// # Errors
    /// When no thread can be made. A file that cannot be read is no reason not to serve: it is told and begun anew.
    pub(crate) fn start(data_dir: &Path, history: History, clock: Clock) -> anyhow::Result<Self> {
        let mut file = Kept { path: data_dir.join(FILE), history, whole: false };
        file.load(&clock);
        // Room for one message; a second stop would find the thread gone.
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                if let Some(closed) = file.history.advance(clock.unix_ms()) {
                    file.minute(&closed);
                }
            }
            file.end();
        })?;
        Ok(Self { stop, thread })
    }

    /// Writes the open minute and ends; once nothing is counted any more.
    pub(crate) fn stop(self) {
        self.stop.send(()).ok();
        drop(self.thread.join());
    }
}

struct Kept {
    path: PathBuf,
    history: History,
    /// The file holds all that has ended, in whole lines.
    whole: bool,
}

impl Kept {
    fn load(&mut self, clock: &Clock) {
        let mut bad = 0_u64;
        match File::open(&self.path) {
            Ok(file) => {
                let rows = BufReader::new(file).split(b'\n').map_while(Result::ok).filter_map(|line| {
                    let row = (line.len() <= ROW_BYTES).then(|| serde_json::from_slice::<Row>(&line).ok());
                    bad += u64::from(!matches!(row, Some(Some(_))));
                    row.flatten()
                });
                self.history.restore(rows, clock.unix_ms());
            }
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(target: "history", path = %self.path.display(), %error, "cannot be read; begun anew");
                }
                self.history.restore(std::iter::empty(), clock.unix_ms());
            }
        }
        if bad > 0 {
            // One is what a crash leaves.
            tracing::warn!(target: "history", path = %self.path.display(), bad, "lines could not be read");
        }
        self.rewrite();
    }

    fn minute(&mut self, closed: &Closed) {
        if closed.hour || !self.whole {
            self.rewrite();
        } else if let Some(minute) = &closed.minute {
            let added = self.add(&Row::Minute(Arc::clone(minute)));
            self.done(added);
        }
    }

    fn end(&mut self) {
        if !self.whole {
            self.rewrite();
        }
        if let Some(row) = self.history.open() {
            let added = self.add(&row);
            self.done(added);
        }
    }

    fn add(&self, row: &Row) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        OpenOptions::new().append(true).open(&self.path)?.write_all(&line)
    }

    fn rewrite(&mut self) {
        let written = self.replace();
        self.done(written);
    }

    fn replace(&self) -> std::io::Result<()> {
        let beside = self.path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let mut file = BufWriter::new(file);
        for row in self.history.rows() {
            serde_json::to_writer(&mut file, &row)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(|error| error.into_error())?.sync_data()?;
        std::fs::rename(&beside, &self.path)
    }

    /// What failed is written with the next minute: it is all still in memory.
    fn done(&mut self, written: std::io::Result<()>) {
        if let Err(error) = &written
            && self.whole
        {
            tracing::warn!(target: "history", path = %self.path.display(), %error, "cannot be written; tried again");
        }
        self.whole = written.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::history::Step;
    use gatehouse_corridor::telemetry::AccessRecord;

    const MINUTE_MS: i64 = 60_000;

    fn kept(folder: &Path, clock: &Clock) -> Kept {
        let mut kept = Kept { path: folder.join(FILE), history: History::default(), whole: false };
        kept.load(clock);
        kept
    }

    fn count(kept: &Kept) -> u64 {
        kept.history.between(0, i64::MAX, Step::Hour).iter().map(|hour| hour.requests).sum()
    }

    fn serve(kept: &mut Kept, clock: &Clock, minutes: usize) {
        for _ in 0..minutes {
            kept.history.count(&[AccessRecord::default()], 0);
            clock.advance(MINUTE_MS);
            if let Some(closed) = kept.history.advance(clock.unix_ms()) {
                kept.minute(&closed);
            }
        }
    }

    #[test]
    fn a_crash_loses_the_open_minute_and_an_end_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_735_689_600_000);
        let mut first = kept(folder.path(), &clock);
        serve(&mut first, &clock, 130);
        first.history.count(&[AccessRecord::default()], 0);
        drop(first);
        let mut second = kept(folder.path(), &clock);
        assert_eq!(count(&second), 130, "the open minute is lost");
        second.history.count(&[AccessRecord::default()], 0);
        second.end();
        let third = kept(folder.path(), &clock);
        assert_eq!(count(&third), 131);
        drop(kept(folder.path(), &clock));
        assert_eq!(count(&kept(folder.path(), &clock)), 131, "a start that counts nothing loses nothing");
    }

    #[test]
    fn a_torn_line_costs_itself_and_a_full_disk_is_caught_up_with() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_735_689_600_000);
        let mut file = kept(folder.path(), &clock);
        serve(&mut file, &clock, 3);
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let mut file = kept(folder.path(), &clock);
        assert_eq!(count(&file), 2);
        // As when nothing can be written any more.
        let lost = folder.path().join("gone").join(FILE);
        let path = std::mem::replace(&mut file.path, lost);
        serve(&mut file, &clock, 3);
        assert!(!file.whole);
        file.path = path;
        serve(&mut file, &clock, 1);
        assert_eq!(count(&kept(folder.path(), &clock)), 6);
    }
}
