//! The one writer of access records: takes them from the workers' rings, writes them to a daily file and hands them
//! on to the ring of newest lines. JSON lines; the query is never part of a record, so no secret in it can be either.

use gatehouse_corridor::telemetry::{AccessRecord, Telemetry};
use gatehouse_ops::LogRing;
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a record waits for its batch.
const BATCH_MILLIS: u64 = 50;
/// Daily files kept.
const FILES_KEPT: usize = 14;

/// The writer thread.
#[derive(Debug)]
pub(crate) struct Records {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Records {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the folder cannot be written or no thread can be made.
    pub(crate) fn start(folder: &Path, telemetry: Arc<Telemetry>, log: LogRing) -> anyhow::Result<Self> {
        let mut file = tracing_appender::rolling::Builder::new()
            .rotation(tracing_appender::rolling::Rotation::DAILY)
            .filename_prefix("access")
            .filename_suffix("jsonl")
            .max_log_files(FILES_KEPT)
            .build(folder)?;
        // Room for one message; a second stop would find the thread gone.
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new().name("records".to_owned()).spawn(move || {
            let mut records = Vec::new();
            let mut text = Vec::new();
            loop {
                let last = !matches!(
                    stopped.recv_timeout(Duration::from_millis(BATCH_MILLIS)),
                    Err(RecvTimeoutError::Timeout)
                );
                telemetry.take_records(&mut records);
                for record in &records {
                    line(record, &mut text);
                }
                log.push_access(records.drain(..));
                if !text.is_empty() && file.write_all(&text).is_err() {
                    telemetry.dropped_lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                text.clear();
                if last {
                    break;
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Writes what is left and ends.
    pub(crate) fn stop(self) {
        self.stop.send(()).ok();
        drop(self.thread.join());
    }
}

/// A record as it stands in the file.
#[derive(Serialize)]
struct Line<'r> {
    at_unix_ms: i64,
    request_id: &'r str,
    method: &'r str,
    path: &'r str,
    route: &'r str,
    consumer: &'r str,
    client_ip: &'r str,
    status: u16,
    micros: u64,
    upstream_micros: u64,
    bytes_in: u64,
    bytes_out: u64,
    upstream: &'r str,
    retries: u8,
    failure: &'r str,
}

/// Straight into the batch: a tree of values first would cost as much as a sixth of the whole request.
fn line(record: &AccessRecord, into: &mut Vec<u8>) {
    let line = Line {
        at_unix_ms: record.at_unix_ms,
        request_id: &record.request,
        method: &record.method,
        path: &record.path,
        route: &record.route,
        consumer: &record.consumer,
        client_ip: &record.peer,
        status: record.status,
        micros: record.micros,
        upstream_micros: record.upstream_micros,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        upstream: &record.upstream,
        retries: record.retries,
        failure: record.failure,
    };
    // Into memory: this cannot fail.
    serde_json::to_writer(&mut *into, &line).ok();
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json() {
        let path = "/a\"\n\u{7f}\u{eb}\\";
        let record = AccessRecord { path: path.to_owned(), status: 200, ..AccessRecord::default() };
        let mut text = Vec::new();
        line(&record, &mut text);
        line(&record, &mut text);
        let lines: Vec<serde_json::Value> =
            text.split_inclusive(|b| *b == b'\n').map(|one| serde_json::from_slice(one).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["path"], &lines[0]["status"]), (&path.into(), &200.into()));
    }
}
