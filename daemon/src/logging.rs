//! Log lines to standard error, as they left the log ring: redacted, control characters escaped.

use crate::records::line::{Stamp, word};
use crate::settings::checked::Settings;
use gatehouse_common::ops::logs::LogLine;
use gatehouse_ops::LogRing;
use serde_json::{Map, Value, json};
use std::io::Write as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The live log level.
pub(crate) struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// Changes the level.
    pub(crate) fn set(&self, level: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

/// Our own lines at the level asked for; the server's below a warning tell an operator nothing.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    Ok(EnvFilter::try_new(format!("{level},actix_server=warn"))?)
}

/// Sends the events of all rooms to the ring, and what leaves it to standard error.
///
/// # Errors
/// A level that is none, or a second call.
pub(crate) fn start(settings: &Settings, log: LogRing) -> anyhow::Result<(LogFilter, LogRing)> {
    let (filter, handle) = reload::Layer::new(filter(&settings.log_level)?);
    let json = settings.log_json;
    let log = log.echoing(move |line| {
        let text = if json { structured(line) } else { plain(line) };
        // A closed standard error is no reason not to serve.
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    });
    tracing_subscriber::registry().with(filter).with(log.clone()).try_init()?;
    Ok((LogFilter(handle), log))
}

/// `TIME LEVEL target: message name=value`.
fn plain(line: &LogLine) -> String {
    let mut text = format!(
        "{} {:>5} {}: {}",
        Stamp::default().of(line.at_unix_ms),
        word(line.level),
        line.target,
        line.message
    );
    for (name, value) in &line.fields {
        text.push_str(&format!(" {name}={value}"));
    }
    text.push('\n');
    text
}

/// One object; `request_id`, `username` and `client_ip` beside the names of ours, where there is one (spec/doorman.md 7).
fn structured(line: &LogLine) -> String {
    let mut object = Map::new();
    object.insert("timestamp".to_owned(), json!(Stamp::default().of(line.at_unix_ms)));
    object.insert("level".to_owned(), json!(word(line.level)));
    object.insert("target".to_owned(), json!(line.target));
    object.insert("message".to_owned(), json!(line.message));
    for (ours, older) in [("request", "request_id"), ("consumer", "username"), ("client", "client_ip")] {
        if let Some(value) = line.fields.get(ours) {
            object.insert(older.to_owned(), json!(value));
        }
    }
    object.insert("fields".to_owned(), json!(line.fields));
    format!("{}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::ops::logs::Level;
    use std::collections::BTreeMap;

    #[test]
    fn a_line_in_both_forms() {
        let fields = BTreeMap::from([("request".to_owned(), "r1".to_owned())]);
        let (level, target, message) = (Level::Warn, "run".to_owned(), "a \"b\"".to_owned());
        let line = LogLine { number: 7, at_unix_ms: 1_735_689_600_007, level, target, message, fields };
        assert_eq!(plain(&line), "2025-01-01T00:00:00.007Z  WARN run: a \"b\" request=r1\n");
        let made: Value = serde_json::from_str(&structured(&line)).unwrap();
        let wanted = json!({"timestamp": "2025-01-01T00:00:00.007Z", "level": "WARN", "target": "run",
                            "message": "a \"b\"", "request_id": "r1", "fields": {"request": "r1"}});
        assert_eq!(made, wanted);
    }
}
