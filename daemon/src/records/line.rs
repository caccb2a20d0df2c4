//! An access record as a line, of JSON or for the eye. The query is never part of a record; the rest of what a client
//! chooses passes the redactor.

use actix_web::cookie::time::OffsetDateTime;
use gatehouse_common::ops::logs::Level;
use gatehouse_common::redact::Redactor;
use gatehouse_corridor::telemetry::AccessRecord;
use std::fmt::Write as _;

/// Unix milliseconds as text (RFC 3339, UTC), as records and the log have them. Remembers its last second: a batch holds few.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    second: Option<i64>,
    text: String,
}

impl Stamp {
    /// The text; empty outside the years 0 to 9999.
    pub(crate) fn of(&mut self, unix_ms: i64) -> &str {
        let second = unix_ms.div_euclid(1_000);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            if let Ok(at) = OffsetDateTime::from_unix_timestamp(second) {
                let (date, time) = (at.date(), at.time());
                // Infallible: a String grows.
                write!(self.text, "{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()).ok();
                write!(self.text, "T{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second()).ok();
            }
        }
        self.text.truncate("2025-01-01T00:00:00".len());
        if !self.text.is_empty() {
            write!(self.text, ".{:03}Z", unix_ms.rem_euclid(1_000)).ok();
        }
        &self.text
    }
}

/// The word of a level.
pub(crate) fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}

/// How records become lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) json: bool,
    pub(super) redactor: Redactor,
    stamp: Stamp,
    /// Room for a trace id as text.
    trace: String,
}

/// A record as it stands in the file. Names of spec/doorman.md 7 beside ours.
struct Line<'r> {
    timestamp: &'r str,
    level: &'static str,
    at_unix_ms: i64,
    request_id: &'r str,
    method: &'r str,
    path: &'r str,
    protocol: &'static str,
    route: &'r str,
    consumer: &'r str,
    username: &'r str,
    client_ip: &'r str,
    status: u16,
    micros: u64,
    upstream_micros: u64,
    bytes_in: u64,
    bytes_out: u64,
    upstream: &'r str,
    failure: &'r str,
    policy: &'r str,
    priority: u8,
    retries: u8,
    upstream_timeouts: u8,
    trace_id: &'r str,
    user_agent: Option<&'r str>,
    test: bool,
}

impl Lines {
    pub(super) fn new(json: bool, redactor: Redactor) -> Self {
        Self { json, redactor, stamp: Stamp::default(), trace: String::new() }
    }

    /// Adds a record's line to a batch.
    pub(super) fn add(&mut self, record: &AccessRecord, into: &mut Vec<u8>) {
        self.trace.clear();
        if record.trace != [0; 16] {
            // Infallible: a String grows.
            write!(self.trace, "{:032x}", u128::from_be_bytes(record.trace)).ok();
        }
        let path = self.redactor.redact(&record.path);
        let request_id = self.redactor.redact(&record.request);
        let agent = record.agent.as_deref().map(|agent| self.redactor.redact(agent));
        let line = Line {
            timestamp: self.stamp.of(record.at_unix_ms),
            level: word(record.level()),
            at_unix_ms: record.at_unix_ms,
            request_id: &request_id,
            method: &record.method,
            path: &path,
            protocol: record.protocol.word(),
            route: &record.route,
            consumer: &record.consumer,
            username: &record.consumer,
            client_ip: &record.peer,
            status: record.status,
            micros: record.micros,
            upstream_micros: record.upstream_micros,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            upstream: &record.upstream,
            failure: record.failure,
            policy: record.policy,
            priority: record.priority,
            retries: record.retries,
            upstream_timeouts: record.timeouts,
            trace_id: &self.trace,
            user_agent: agent.as_deref(),
            test: record.test,
        };
        if self.json {
            json(&line, into);
        } else {
            plain(&line, into);
        }
    }
}

/// A JSON text. Nearly all are written as they are; one look over a whole text costs less than one at each byte.
fn text(into: &mut Vec<u8>, name: &str, text: &str) {
    into.extend_from_slice(name.as_bytes());
    let special = |any, byte: &u8| any | (*byte < b' ') | (*byte == b'"') | (*byte == b'\\');
    if text.as_bytes().iter().fold(false, special) {
        // Into memory: this cannot fail.
        serde_json::to_writer(into, text).ok();
        return;
    }
    into.push(b'"');
    into.extend_from_slice(text.as_bytes());
    into.push(b'"');
}

fn number(into: &mut Vec<u8>, name: &str, number: impl serde::Serialize) {
    into.extend_from_slice(name.as_bytes());
    // Into memory: this cannot fail.
    serde_json::to_writer(into, &number).ok();
}

/// A line of JSON, straight into the batch: by serde, which looks at names and values byte by byte, it costs a tenth of
/// the whole request.
fn json(line: &Line<'_>, into: &mut Vec<u8>) {
    text(into, r#"{"timestamp":"#, line.timestamp);
    text(into, r#","level":"#, line.level);
    number(into, r#","at_unix_ms":"#, line.at_unix_ms);
    for (name, value) in [
        (r#","request_id":"#, line.request_id),
        (r#","method":"#, line.method),
        (r#","path":"#, line.path),
        (r#","protocol":"#, line.protocol),
        (r#","route":"#, line.route),
        (r#","consumer":"#, line.consumer),
        (r#","username":"#, line.username),
        (r#","client_ip":"#, line.client_ip),
    ] {
        text(into, name, value);
    }
    number(into, r#","status":"#, line.status);
    for (name, value) in [
        (r#","micros":"#, line.micros),
        (r#","upstream_micros":"#, line.upstream_micros),
        (r#","bytes_in":"#, line.bytes_in),
        (r#","bytes_out":"#, line.bytes_out),
    ] {
        number(into, name, value);
    }
    text(into, r#","upstream":"#, line.upstream);
    text(into, r#","failure":"#, line.failure);
    // What is mostly empty is left out then.
    for (name, value) in [
        (r#","policy":"#, line.policy),
        (r#","trace_id":"#, line.trace_id),
        (r#","user_agent":"#, line.user_agent.unwrap_or_default()),
    ] {
        if !value.is_empty() {
            text(into, name, value);
        }
    }
    for (name, value) in [
        (r#","priority":"#, line.priority),
        (r#","retries":"#, line.retries),
        (r#","upstream_timeouts":"#, line.upstream_timeouts),
    ] {
        if value > 0 {
            number(into, name, value);
        }
    }
    if line.test {
        into.extend_from_slice(br#","test":true"#);
    }
    into.extend_from_slice(b"}\n");
}

/// A word of a plain line: as it is, or quoted where it could be taken for more than one.
struct Word<'w>(&'w str);

impl std::fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '\\';
        match self.0 {
            "" => f.write_str("-"),
            text if text.chars().all(plain) => f.write_str(text),
            text => write!(f, "{text:?}"),
        }
    }
}

/// `TIME LEVEL CLIENT USER "METHOD PATH" STATUS MICROSus IN/OUT`, then `name=value` for what there is.
fn plain(line: &Line<'_>, into: &mut Vec<u8>) {
    use std::io::Write as _;
    let call = format!("{} {}", line.method, line.path);
    let (client, user) = (Word(line.client_ip), Word(line.username));
    // Into memory: this cannot fail.
    write!(into, "{} {} {client} {user} {call:?} ", line.timestamp, line.level).ok();
    write!(into, "{} {}us {}/{}", line.status, line.micros, line.bytes_in, line.bytes_out).ok();
    let number = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    for (name, value) in [
        ("route", line.route),
        ("upstream", line.upstream),
        ("upstream_us", &number(line.upstream_micros)),
        ("request", line.request_id),
        ("failure", line.failure),
        ("policy", line.policy),
        ("priority", &number(line.priority.into())),
        ("retries", &number(line.retries.into())),
        ("timeouts", &number(line.upstream_timeouts.into())),
        ("trace", line.trace_id),
        ("agent", line.user_agent.unwrap_or_default()),
        ("test", if line.test { "true" } else { "" }),
    ] {
        if !value.is_empty() {
            write!(into, " {name}={}", Word(value)).ok();
        }
    }
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn record() -> AccessRecord {
        AccessRecord {
            at_unix_ms: 1_735_689_600_007,
            method: "GET".into(),
            path: "/a/token=s3cr3t".to_owned(),
            request: "r1".into(),
            status: 429,
            micros: 1_500,
            failure: "Rate limit exceeded",
            retries: 2,
            trace: [0xab; 16],
            agent: Some("curl/8 (Bearer s3cr3t)".into()),
            ..AccessRecord::default()
        }
    }

    fn line(json: bool, record: &AccessRecord) -> String {
        let mut text = Vec::new();
        let mut lines = Lines::new(json, Redactor::default());
        lines.add(record, &mut text);
        lines.add(record, &mut text);
        let text = String::from_utf8(text).unwrap();
        let (first, second) = text.split_at(text.len() / 2);
        assert_eq!(first, second, "nothing is carried over");
        assert!(first.ends_with('\n') && first.lines().count() == 1, "{first}");
        first.trim_end().to_owned()
    }

    #[test]
    fn both_names_stand_in_the_json_and_no_secret() {
        let made: Value = serde_json::from_str(&line(true, &record())).unwrap();
        for (name, wanted) in [
            ("timestamp", json!("2025-01-01T00:00:00.007Z")),
            ("at_unix_ms", json!(1_735_689_600_007_i64)),
            ("level", json!("WARN")),
            ("path", json!("/a/token=•••")),
            ("username", json!("")),
            ("trace_id", json!("ab".repeat(16))),
            ("user_agent", json!("curl/8 (Bearer •••")),
            ("test", Value::Null),
        ] {
            assert_eq!(made[name], wanted, "{name}");
        }
    }

    #[test]
    fn a_plain_line_is_for_the_eye() {
        let record =
            AccessRecord { consumer: "zo\u{eb} x".into(), peer: "::1".into(), test: true, ..record() };
        assert_eq!(
            line(false, &record),
            "2025-01-01T00:00:00.007Z WARN ::1 \"zo\u{eb} x\" \"GET /a/token=•••\" 429 1500us 0/0 request=r1 \
             failure=\"Rate limit exceeded\" retries=2 trace=abababababababababababababababab \
             agent=\"curl/8 (Bearer •••\" test=true"
        );
    }

    #[test]
    fn a_stamp_has_one_length() {
        let mut stamp = Stamp::default();
        for (at, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, ""),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(stamp.of(at), wanted);
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_one_line(path in ".{0,50}", user in ".{0,50}", id in "(?s:.{0,50})") {
            let record = AccessRecord { path, consumer: (&*user).into(), request: (&*id).into(), ..record() };
            let made: Value = serde_json::from_str(&line(true, &record)).unwrap();
            prop_assert_eq!(&made["consumer"], &json!(user));
            line(false, &record);
        }
    }
}
