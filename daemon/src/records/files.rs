//! The files of access records: one for each day, and a further one whenever it has grown enough; the oldest go. tracing-appender
//! makes them and turns them over at midnight (UTC); it knows no sizes, so this begins the next one by a number in its
//! name, and it prunes by when a file was made, which not every file system tells, so this prunes by name.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use tracing_appender::rolling::{Builder, InitError, RollingFileAppender, Rotation};

const DAY_MS: i64 = 86_400_000;

/// What bounds them.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Folder.
    pub(crate) folder: PathBuf,
    /// End of their names, `jsonl` or `log`.
    pub(crate) extension: &'static str,
    /// Bytes after which the next one begins.
    pub(crate) bytes: u64,
    /// Files kept.
    pub(crate) files: usize,
    /// Another writer goes on with the newest file: the old process in a handover, or what is left of an appliance that
    /// was to be restarted. So a file of our own is begun.
    pub(crate) beside: bool,
}

/// The file that is written to, and those before it.
#[derive(Debug)]
pub(super) struct Files {
    bounds: Bounds,
    file: RollingFileAppender,
    day: i64,
    number: u64,
    bytes: u64,
    /// The last line ended in the middle: the disk was full.
    torn: bool,
}

/// Date and number of a file; `None` if its name is not one of ours.
fn parse(name: &str) -> Option<(String, u64)> {
    let rest = name.strip_prefix("access.")?;
    let rest = rest.strip_suffix(".jsonl").or_else(|| rest.strip_suffix(".log"))?;
    let (date, number) = rest.split_once('.').unwrap_or((rest, "0"));
    let is_date = date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_date.then_some((date.to_owned(), number.parse().ok()?))
}

/// All files of ours, oldest first.
fn listed(folder: &Path) -> Vec<(String, u64, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| {
            let (date, number) = parse(entry.file_name().to_str()?)?;
            Some((date, number, entry.path()))
        })
        .collect();
    found.sort();
    found
}

fn made(bounds: &Bounds, number: u64) -> Result<RollingFileAppender, InitError> {
    let suffix = match number {
        0 => bounds.extension.to_owned(),
        number => format!("{number}.{}", bounds.extension),
    };
    let builder = Builder::new().rotation(Rotation::DAILY).filename_prefix("access");
    builder.filename_suffix(suffix).build(&bounds.folder)
}

impl Files {
    /// Goes on with the newest file if it is of today and has room.
    pub(super) fn open(bounds: Bounds, now_ms: i64) -> Result<Self, InitError> {
        let file = made(&bounds, 0)?;
        let mut files =
            Self { bounds, file, day: now_ms.div_euclid(DAY_MS), number: 0, bytes: 0, torn: false };
        // The newest of all is of today now.
        let all = listed(&files.bounds.folder);
        let newest = all.last().map_or(0, |(_, number, _)| *number);
        if newest > 0 {
            files.file = made(&files.bounds, newest)?;
            files.number = newest;
        }
        files.measure();
        if files.bounds.beside {
            files.begin(files.day, newest + 1);
        }
        files.prune();
        Ok(files)
    }

    /// Begins a file, or goes on with one of that name; where that cannot be, the present one goes on and the next write
    /// tries again.
    fn begin(&mut self, day: i64, number: u64) {
        if let Ok(file) = made(&self.bounds, number) {
            (self.file, self.day, self.number) = (file, day, number);
            self.measure();
            self.prune();
        }
    }

    /// The path of the file that is written to: of those with its number and end the newest, since it was made now.
    fn present(&self) -> Option<PathBuf> {
        let ours = |path: &Path| path.extension().is_some_and(|end| end == self.bounds.extension);
        let all = listed(&self.bounds.folder);
        all.into_iter().rfind(|(_, number, path)| *number == self.number && ours(path)).map(|(.., path)| path)
    }

    /// What is in the present file already.
    fn measure(&mut self) {
        (self.bytes, self.torn) = (0, false);
        if let Some(path) = self.present() {
            self.bytes = path.metadata().map_or(0, |file| file.len());
            self.torn = !ends_whole(&path, self.bytes);
        }
    }

    /// Removes the oldest, never the one that is written to, whatever its name sorts behind.
    fn prune(&self) {
        let present = self.present();
        let mut all = listed(&self.bounds.folder);
        all.retain(|(.., path)| Some(path) != present.as_ref());
        let others = self.bounds.files.saturating_sub(1);
        for (.., path) in all.iter().take(all.len().saturating_sub(others)) {
            // Tried again at the next turn.
            std::fs::remove_file(path).ok();
        }
    }

    /// Writes whole lines; how many could not be written. Never more than the file is to hold, unless a line alone is.
    pub(super) fn write(&mut self, mut text: &[u8], now_ms: i64) -> u64 {
        let day = now_ms.div_euclid(DAY_MS);
        if day != self.day {
            self.begin(day, 0);
        }
        let mut lost = 0;
        while !text.is_empty() {
            let mut cut = self.fitting(text);
            if cut == 0 {
                self.begin(day, self.number + 1);
                cut = self.fitting(text);
            }
            // Nothing fits and there is no next file, or a line is longer than a file.
            let (piece, rest) = text.split_at(if cut == 0 { text.len() } else { cut });
            lost += self.put(piece);
            text = rest;
        }
        lost
    }

    /// Where the last line ends that has room.
    fn fitting(&self, text: &[u8]) -> usize {
        let room = usize::try_from(self.bounds.bytes.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        if text.len() <= room {
            return text.len();
        }
        let whole = text.get(..room).unwrap_or_default();
        let end = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        match end {
            0 if self.bytes == 0 => {
                text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1)
            }
            end => end,
        }
    }

    fn put(&mut self, text: &[u8]) -> u64 {
        // The half line stays alone.
        if self.torn {
            if self.file.write_all(b"\n").is_err() {
                return lines(text);
            }
            self.bytes += 1;
        }
        self.torn = false;
        let mut rest = text;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let written = text.len() - rest.len();
        self.bytes += written as u64;
        self.torn = written > 0 && text.get(written - 1) != Some(&b'\n');
        lines(rest)
    }
}

/// Whether a file's last line has an end; the power may have gone in it.
fn ends_whole(path: &Path, bytes: u64) -> bool {
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, bytes.saturating_sub(1)));
    bytes == 0 || (read.is_ok() && last == [b'\n'])
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::clock::Clock;

    fn bounds(folder: &Path) -> Bounds {
        Bounds { folder: folder.to_owned(), extension: "jsonl", bytes: 100, files: 4, beside: false }
    }

    fn texts(folder: &Path) -> Vec<String> {
        listed(folder).iter().map(|(.., path)| std::fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn a_full_file_is_followed_by_the_next_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        for kept in ["access.log", "other.jsonl", "access.2020-01-01.x.jsonl"] {
            std::fs::write(folder.path().join(kept), "").unwrap();
        }
        for old in ["access.2020-01-01.jsonl", "access.2020-01-01.10.jsonl", "access.2020-01-01.9.log"] {
            std::fs::write(folder.path().join(old), "old\n").unwrap();
        }
        let now_ms = Clock::System.unix_ms();
        let mut files = Files::open(bounds(folder.path()), now_ms).unwrap();
        assert_eq!(listed(folder.path()).len(), 4);
        // 10 lines of 10 bytes fit.
        let ten = "123456789\n".repeat(10);
        assert_eq!(files.write(ten.repeat(2).as_bytes(), now_ms) + files.write(b"123456789\n", now_ms), 0);
        assert_eq!(texts(folder.path()), ["old\n", &ten, &ten, "123456789\n"], "9 went before 10");
        let mut files = Files::open(bounds(folder.path()), now_ms).unwrap();
        let long = format!("{}\n", "x".repeat(300));
        assert_eq!(files.write(format!("1\n2\n{long}3\n").as_bytes(), now_ms), 0);
        assert_eq!(texts(folder.path()), [&*ten, "123456789\n1\n2\n", &long, "3\n"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4 + 3, "what is not ours stays");
    }

    #[test]
    fn a_new_day_begins_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let now_ms = Clock::System.unix_ms();
        let mut files = Files::open(bounds(folder.path()), now_ms - DAY_MS).unwrap();
        (files.number, files.bytes) = (7, 99);
        assert_eq!(files.write(b"first\n", now_ms), 0);
        assert_eq!((files.number, files.bytes, texts(folder.path())), (0, 6, vec!["first\n".to_owned()]));
    }

    #[test]
    fn a_file_that_is_there_is_measured_and_its_half_line_stays_alone() {
        let folder = tempfile::tempdir().unwrap();
        let now_ms = Clock::System.unix_ms();
        let mut files = Files::open(bounds(folder.path()), now_ms).unwrap();
        let second = listed(folder.path())[0].2.with_extension("1.jsonl");
        std::fs::write(&second, format!("{}\nhalf", "x".repeat(80))).unwrap();
        // The first is full; the next one is another writer's already.
        files.bytes = 100;
        assert_eq!(files.write(b"1\n2\n", now_ms), 0);
        assert_eq!((files.number, files.bytes), (1, 90), "{:?}", texts(folder.path()));
        assert!(texts(folder.path())[1].ends_with("half\n1\n2\n"));
    }

    #[test]
    fn beside_another_writer_a_file_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let now_ms = Clock::System.unix_ms();
        let mut old = Files::open(bounds(folder.path()), now_ms).unwrap();
        assert_eq!(old.write(b"1\nha", now_ms), 0);
        let mut new = Files::open(Bounds { beside: true, ..bounds(folder.path()) }, now_ms).unwrap();
        assert_eq!(new.write(b"2\n", now_ms), 0);
        old.torn = false;
        assert_eq!(old.write(b"lf\n", now_ms), 0);
        assert_eq!(texts(folder.path()), ["1\nhalf\n", "2\n"]);
    }

    #[test]
    fn the_only_file_kept_is_the_one_that_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let now_ms = Clock::System.unix_ms();
        let one = |extension| Bounds { files: 1, extension, ..bounds(folder.path()) };
        let mut plain = Files::open(one("log"), now_ms).unwrap();
        assert_eq!(plain.write(b"plain\n", now_ms), 0);
        // Its name sorts before the other's.
        let mut json = Files::open(one("jsonl"), now_ms).unwrap();
        assert_eq!(json.write(b"json\n", now_ms), 0);
        assert_eq!(texts(folder.path()), ["json\n"]);
    }

    #[test]
    fn what_a_full_disk_takes_not_is_counted_and_the_next_line_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let now_ms = Clock::System.unix_ms();
        let mut files = Files::open(bounds(folder.path()), now_ms).unwrap();
        let good = std::mem::replace(&mut files.file, full());
        assert_eq!(files.write(b"1\n2\n3\n", now_ms), 3);
        files.file = good;
        assert_eq!(files.write(b"4\nhal", now_ms), 0);
        // As after the power went, and as after the disk was full in the middle of a line.
        for (mut files, whole) in
            [(Files::open(bounds(folder.path()), now_ms).unwrap(), "5\n"), (files, "6\n")]
        {
            assert!(files.torn);
            assert_eq!(files.write(whole.as_bytes(), now_ms), 0);
        }
        assert_eq!(texts(folder.path()), ["4\nhal\n5\n\n6\n"]);
    }

    /// A file on a disk that is full.
    fn full() -> RollingFileAppender {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("access.jsonl")).unwrap();
        let builder = Builder::new().rotation(Rotation::NEVER).filename_prefix("access");
        builder.filename_suffix("jsonl").build(folder.path()).unwrap()
    }
}
