//! The newest log lines and access records, in memory, for consoles. Filtering happens here, before any cut.
//! Access records are kept as they come and become text only for a reader: at full load nobody pays for lines that
//! nobody reads. Whatever leaves here, to a console or to the echo on standard error, has passed the redactor.

use gatehouse_common::limits::{LOG_MESSAGE_BYTES, LOG_RING_LINES};
use gatehouse_common::logquery::LogFilter;
use gatehouse_common::ops::logs::{Level, LogLine};
use gatehouse_common::redact::Redactor;
use gatehouse_common::secret::MASK;
use gatehouse_common::units;
use gatehouse_corridor::clock::Clock;
use gatehouse_corridor::telemetry::AccessRecord;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

/// Lines looked at while the lock is held once.
const CHUNK_LINES: usize = 512;

/// Marks that reorder the text around them.
const BIDI: [char; 9] = [
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}',
];

#[derive(Debug, Clone)]
enum Kept {
    Line(Arc<LogLine>),
    Access(Arc<AccessRecord>),
}

#[derive(Debug, Default)]
struct Lines {
    /// Number of the first line kept.
    first: u64,
    kept: VecDeque<Kept>,
}

/// What is told of each event as it comes.
type Echo = Arc<dyn Fn(&LogLine) + Send + Sync>;

/// The ring; cheap to clone.
#[derive(Clone)]
pub struct LogRing {
    lines: Arc<RwLock<Lines>>,
    /// Number that the next line gets.
    next: watch::Sender<u64>,
    clock: Clock,
    redactor: Redactor,
    echo: Option<Echo>,
}

impl Debug for LogRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogRing").field("next", &self.next).finish_non_exhaustive()
    }
}

/// What a look into the ring gave.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) lines: Vec<LogLine>,
    /// Where to go on.
    pub(crate) next: u64,
    /// Lines that were gone before they could be looked at.
    pub(crate) missed: u64,
    /// Whether the end was reached.
    pub(crate) at_end: bool,
}

impl LogRing {
    /// An empty ring.
    #[must_use]
    pub fn new(clock: Clock, redactor: Redactor) -> Self {
        Self { lines: Arc::default(), next: watch::Sender::new(0), clock, redactor, echo: None }
    }

    /// The same ring, which also hands each event on (access records not) as it comes.
    #[must_use]
    pub fn echoing(self, echo: impl Fn(&LogLine) + Send + Sync + 'static) -> Self {
        Self { echo: Some(Arc::new(echo)), ..self }
    }

    /// Takes finished requests over.
    pub fn push_access(&self, records: impl Iterator<Item = AccessRecord>) {
        self.push(records.map(|record| Kept::Access(Arc::new(record))));
    }

    fn push(&self, new: impl Iterator<Item = Kept>) {
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        for kept in new {
            if lines.kept.len() >= LOG_RING_LINES {
                lines.kept.pop_front();
                lines.first += 1;
            }
            lines.kept.push_back(kept);
        }
        let next = lines.first + lines.kept.len() as u64;
        drop(lines);
        self.next.send_if_modified(|known| std::mem::replace(known, next) != next);
    }

    /// The number of the oldest line.
    pub(crate) fn start(&self) -> u64 {
        self.lines.read().unwrap_or_else(PoisonError::into_inner).first
    }

    /// Waits for a line behind this number.
    pub(crate) async fn beyond(&self, number: u64) {
        let mut next = self.next.subscribe();
        // The sender lives in self, so this cannot fail while we wait.
        drop(next.wait_for(|next| *next > number).await);
    }

    /// Looks at the next lines from a number on and takes those that pass.
    pub(crate) fn take(&self, from: u64, filter: &LogFilter) -> Taken {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        let begin = from.max(lines.first);
        let skip = usize::try_from(begin - lines.first).unwrap_or(usize::MAX);
        let chunk: Vec<Kept> = lines.kept.iter().skip(skip).take(CHUNK_LINES).cloned().collect();
        let end = lines.first + lines.kept.len() as u64;
        // What follows takes its time, and whoever logs must not wait for it.
        drop(lines);
        let now_ms = self.clock.unix_ms();
        let mut taken = Taken { next: begin, missed: begin - from, ..Taken::default() };
        for kept in &chunk {
            let line = told(taken.next, kept, &self.redactor);
            taken.next += 1;
            if filter.matches(&line, now_ms) {
                taken.lines.push(line);
            }
        }
        taken.at_end = taken.next >= end;
        taken
    }
}

fn told(number: u64, kept: &Kept, redactor: &Redactor) -> LogLine {
    match kept {
        Kept::Line(line) => LogLine { number, ..LogLine::clone(line) },
        Kept::Access(record) => access(number, record, redactor),
    }
}

fn access(number: u64, record: &AccessRecord, redactor: &Redactor) -> LogLine {
    let took = units::latency(record.micros);
    // The path by itself: a secret in it might seem to reach to the end of the line.
    let path = redactor.redact(&record.path);
    let mut message = format!("{} {path} {} {took}", record.method, record.status);
    if !record.failure.is_empty() {
        message.push(' ');
        message.push_str(record.failure);
    }
    let mut fields = BTreeMap::new();
    let texts = [
        ("route", &record.route),
        ("consumer", &record.consumer),
        ("request", &record.request),
        ("client", &record.peer),
        ("upstream", &record.upstream),
    ];
    for (name, value) in texts.iter().filter(|(_, value)| !value.is_empty()) {
        fields.insert((*name).to_owned(), printable(&redactor.redact(value)));
    }
    fields.insert("status".to_owned(), record.status.to_string());
    fields.insert("micros".to_owned(), record.micros.to_string());
    let (message, level) = (printable(&message), record.level());
    LogLine { number, at_unix_ms: record.at_unix_ms, level, target: "record".to_owned(), message, fields }
}

/// Control characters escaped and length bounded: a line must not be able to repaint a console.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if out.len() >= LOG_MESSAGE_BYTES {
            out.push_str("… (cut)");
            break;
        }
        match c {
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() || BIDI.contains(&c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

struct Fields<'r> {
    redactor: &'r Redactor,
    message: String,
    fields: BTreeMap<String, String>,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
}

impl Fields<'_> {
    fn put(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message = printable(&self.redactor.redact(text));
        } else {
            let secret = !text.is_empty() && self.redactor.is_secret(field.name());
            let shown = if secret { MASK.to_owned() } else { printable(&self.redactor.redact(text)) };
            self.fields.insert(field.name().to_owned(), shown);
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for LogRing {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut seen = Fields { redactor: &self.redactor, message: String::new(), fields: BTreeMap::new() };
        event.record(&mut seen);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        };
        let line = LogLine {
            number: 0,
            at_unix_ms: self.clock.unix_ms(),
            level,
            target: event.metadata().target().to_owned(),
            message: seen.message,
            fields: seen.fields,
        };
        if let Some(echo) = &self.echo {
            echo(&line);
        }
        self.push(std::iter::once(Kept::Line(Arc::new(line))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn ring(count: usize) -> LogRing {
        let ring = LogRing::new(Clock::manual(1_000), Redactor::default());
        let record =
            |index: usize| AccessRecord { status: 200, path: format!("/{index}"), ..AccessRecord::default() };
        ring.push_access((0..count).map(record));
        ring
    }

    #[test]
    fn a_reader_that_falls_behind_is_told_how_much_it_missed() {
        let ring = ring(LOG_RING_LINES + 7);
        let taken = ring.take(2, &LogFilter::default());
        assert_eq!((taken.missed, taken.lines.len(), taken.at_end), (5, CHUNK_LINES, false));
        assert_eq!(taken.lines[0].number, 7);
        assert_eq!(ring.start(), 7);
    }

    #[test]
    fn filtered_before_the_cut() {
        let ring = ring(300);
        let filter = LogFilter::parse("\"/299 200\"").unwrap();
        let taken = ring.take(0, &filter);
        assert_eq!(taken.lines.len(), 1);
        assert!(taken.at_end && taken.lines[0].message.contains("/299 200"));
    }

    #[test]
    fn no_line_leaves_with_a_secret() {
        let told = Arc::new(RwLock::new(Vec::new()));
        let heard = Arc::clone(&told);
        let echo = move |line: &LogLine| heard.write().unwrap().push(line.clone());
        let ring = ring(0).echoing(echo);
        let record = AccessRecord { path: "/a;cookie=s3cr3t".to_owned(), ..AccessRecord::default() };
        ring.push_access(std::iter::once(record));
        let subscriber = tracing_subscriber::registry().with(ring.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(password = "s3cr3t", error = %"sent Bearer s3cr3t", "Cookie: {}", "a=s3cr3t");
        });
        let lines = ring.take(0, &LogFilter::default()).lines;
        assert!(lines[0].message.starts_with(" /a;cookie=••• 0 "), "{lines:?}");
        let echoed = told.read().unwrap().clone();
        assert_eq!((lines.len(), echoed.len(), &echoed[0].fields), (2, 1, &lines[1].fields));
        assert!(!format!("{lines:?}{echoed:?}").contains("s3cr3t"), "{lines:?}");
    }

    #[test]
    fn a_message_cannot_repaint_a_console() {
        assert_eq!(printable("a\x1b[2Jb\r\n\u{202e}c"), "a\\x1b[2Jb\\x0d\\x0a\\u{202e}c");
        assert!(printable(&"x".repeat(LOG_MESSAGE_BYTES * 2)).ends_with("… (cut)"));
    }
}
