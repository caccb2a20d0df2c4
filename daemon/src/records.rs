//! The one writer of access records: takes them from the workers' rings, counts them into the history, writes them to
//! files and hands them on to the ring of newest lines. It may be slow, the workers are not: their rings drop and count.

pub(crate) mod files;
pub(crate) mod line;

use files::{Bounds, Files};
use gatehouse_common::redact::Redactor;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::history::History;
use gatehouse_corridor::telemetry::{AccessRecord, Telemetry};
use gatehouse_ops::LogRing;
use line::Lines;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a record waits for its batch.
const BATCH_MILLIS: u64 = 50;
/// Room for a batch that is kept; a larger one came with a burst.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_RECORDS: usize = 4_096;

/// Where records go.
#[derive(Debug)]
pub(crate) struct RecordsPorts {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) history: History,
    pub(crate) log: LogRing,
    pub(crate) redactor: Redactor,
    pub(crate) clock: Clock,
}

/// The writer thread.
#[derive(Debug)]
pub(crate) struct Records {
    wishes: SyncSender<Wish>,
    thread: JoinHandle<()>,
}

/// What the writer is asked for beside its work.
enum Wish {
    /// A batch now, and word of it.
    Flush(SyncSender<()>),
    /// A last batch.
    Stop,
}

impl Records {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the folder cannot be written or no thread can be made.
    pub(crate) fn start(bounds: Bounds, ports: RecordsPorts) -> anyhow::Result<Self> {
        let json = bounds.extension == "jsonl";
        let files = Files::open(bounds, ports.clock.unix_ms())?;
        let lines = Lines::new(json, ports.redactor.clone());
        let mut writer =
            Writer { ports, files, lines, records: Vec::new(), text: Vec::new(), failing: false };
        // Full: the asker waits for one batch.
        let (wishes, asked) = sync_channel(1);
        let thread = std::thread::Builder::new().name("records".to_owned()).spawn(move || {
            loop {
                let wish = asked.recv_timeout(Duration::from_millis(BATCH_MILLIS));
                writer.batch();
                match wish {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(Wish::Flush(done)) => drop(done.send(())),
                    Ok(Wish::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        })?;
        Ok(Self { wishes, thread })
    }

    /// Writes and counts what is finished by now. Blocks on the disk.
    pub(crate) fn flush(&self) {
        // Room for the one answer.
        let (done, flushed) = sync_channel(1);
        if self.wishes.send(Wish::Flush(done)).is_ok() {
            // A thread that is gone has nothing left to write.
            flushed.recv().ok();
        }
    }

    /// Writes what is left and ends.
    pub(crate) fn stop(self) {
        self.wishes.send(Wish::Stop).ok();
        drop(self.thread.join());
    }
}

struct Writer {
    ports: RecordsPorts,
    files: Files,
    lines: Lines,
    records: Vec<AccessRecord>,
    text: Vec<u8>,
    /// The last batch could not be written whole.
    failing: bool,
}

impl Writer {
    fn batch(&mut self) {
        let telemetry = &self.ports.telemetry;
        telemetry.take_records(&mut self.records);
        self.ports.history.count(&self.records, telemetry.dropped_records.load(Ordering::Relaxed));
        for record in &self.records {
            self.lines.add(record, &mut self.text);
        }
        self.ports.log.push_access(self.records.drain(..));
        if !self.text.is_empty() {
            let lost = self.files.write(&self.text, self.ports.clock.unix_ms());
            telemetry.dropped_lines.fetch_add(lost, Ordering::Relaxed);
            self.tell(lost);
        }
        self.text.clear();
        self.text.shrink_to(BATCH_BYTES);
        self.records.shrink_to(BATCH_RECORDS);
    }

    /// Once for each time it begins and ends.
    fn tell(&mut self, lost: u64) {
        match (self.failing, lost > 0) {
            (false, true) => {
                tracing::error!(target: "records", "access records cannot be written; they are counted")
            }
            (true, false) => tracing::info!(target: "records", "access records are written again"),
            _ => {}
        }
        self.failing = lost > 0;
    }
}
