//! What was done and served, read back out of the files: access records and the audit trail, newest first, by a filter.
//! A look is bounded in lines and in time, and says when it ended before the files did.

use super::backwards::Backwards;
use super::ordered::Ordered;
use super::times;
use gatehouse_common::ops::audit::AuditRecord;
use gatehouse_corridor::telemetry::Protocol;
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Lines looked at by one look.
const LINES: u64 = 2_000_000;
/// Longest time of one look.
const TIME: Duration = Duration::from_secs(4);
/// Records are written when they end, in batches: neighbours may stand this much out of order, milliseconds.
const DISORDER_MS: i64 = 60_000;

/// What a line is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Source {
    #[default]
    Gateway,
    Platform,
    Auth,
}

impl Source {
    /// The word of queries and answers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Platform => "platform",
            Self::Auth => "auth",
        }
    }
}

/// An access record or an audit record.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Item {
    pub(crate) at_ms: i64,
    pub(crate) source: Source,
    pub(crate) level: &'static str,
    pub(crate) message: String,
    pub(crate) user: String,
    /// `name/version`.
    pub(crate) api: String,
    /// Path of a request, object of a change.
    pub(crate) endpoint: String,
    /// Method of a request, action of a change.
    pub(crate) method: String,
    pub(crate) status: Option<u16>,
    pub(crate) micros: Option<u64>,
    pub(crate) bytes: (u64, u64),
    pub(crate) address: String,
    pub(crate) request: String,
    /// Of a request: `rest`, `websocket` and such.
    pub(crate) protocol: String,
}

impl Item {
    /// As answers show it; what there is not is null.
    pub(crate) fn shown(&self) -> Value {
        let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        json!({
            "timestamp": times::text(self.at_ms), "level": self.level, "message": self.message,
            "source": self.source.word(), "user": text(&self.user), "api": text(&self.api),
            "endpoint": text(&self.endpoint), "method": text(&self.method), "status_code": self.status,
            "response_time": self.micros.map(|micros| micros as f64 / 1e3), "ip_address": text(&self.address),
            "protocol": text(&self.protocol),
            "request_id": text(&self.request),
        })
    }
}

/// A line of the access records, as far as it is looked at.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Access<'l> {
    at_unix_ms: i64,
    #[serde(borrow)]
    request_id: Cow<'l, str>,
    #[serde(borrow)]
    method: Cow<'l, str>,
    #[serde(borrow)]
    path: Cow<'l, str>,
    #[serde(borrow)]
    route: Cow<'l, str>,
    #[serde(borrow)]
    consumer: Cow<'l, str>,
    #[serde(borrow)]
    client_ip: Cow<'l, str>,
    status: u16,
    micros: u64,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(borrow)]
    failure: Cow<'l, str>,
    #[serde(borrow)]
    protocol: Cow<'l, str>,
}

/// A request that was carried; what was asked of the appliance's own surface is in the audit trail, and no traffic.
fn accessed(line: &[u8]) -> Option<Item> {
    let line: Access<'_> = serde_json::from_slice(line).ok()?;
    if line.status == 0 || line.protocol == Protocol::Manage.word() {
        return None;
    }
    let level = match line.status {
        500.. => "ERROR",
        499 | 429 => "WARNING",
        _ => "INFO",
    };
    let mut message = format!("{} {} {}", line.method, line.path, line.status);
    if !line.failure.is_empty() {
        message.push_str(&format!(" {}", line.failure));
    }
    Some(Item {
        at_ms: line.at_unix_ms,
        source: Source::Gateway,
        level,
        message,
        user: line.consumer.into_owned(),
        api: line.route.into_owned(),
        endpoint: line.path.into_owned(),
        method: line.method.into_owned(),
        status: Some(line.status),
        micros: Some(line.micros),
        bytes: (line.bytes_in, line.bytes_out),
        address: line.client_ip.into_owned(),
        request: line.request_id.into_owned(),
        protocol: line.protocol.into_owned(),
    })
}

fn audited(line: &[u8]) -> Option<Item> {
    let entry = serde_json::from_slice::<AuditRecord>(line).ok()?.entry;
    let level = match entry.outcome.as_str() {
        "ok" => "INFO",
        "refused" => "WARNING",
        _ => "ERROR",
    };
    let sign_on = ["session.", "login.", "token."].iter().any(|begin| entry.action.starts_with(begin));
    Some(Item {
        at_ms: entry.at_unix_ms,
        source: if sign_on { Source::Auth } else { Source::Platform },
        level,
        message: format!("{} {} {}", entry.action, entry.object, entry.outcome),
        user: entry.actor,
        api: entry.object.strip_prefix("api/").unwrap_or_default().to_owned(),
        endpoint: entry.object,
        method: entry.action,
        status: None,
        micros: None,
        bytes: (0, 0),
        address: entry.source,
        request: String::new(),
        protocol: String::new(),
    })
}

/// What is looked for; an empty field asks for nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Unix milliseconds, from and up to but not with.
    pub(crate) from_ms: Option<i64>,
    pub(crate) until_ms: Option<i64>,
    pub(crate) user: String,
    pub(crate) api: String,
    pub(crate) endpoint: String,
    pub(crate) request: String,
    pub(crate) method: String,
    pub(crate) address: String,
    pub(crate) level: String,
    pub(crate) source: String,
    pub(crate) but_source: String,
    /// Milliseconds a request took.
    pub(crate) least_ms: Option<f64>,
    pub(crate) most_ms: Option<f64>,
}

impl Wanted {
    pub(crate) fn matches(&self, item: &Item) -> bool {
        let same = |wanted: &str, text: &str| wanted.is_empty() || wanted.eq_ignore_ascii_case(text);
        let took = item.micros.map(|micros| micros as f64 / 1e3);
        let api = self.api.trim_start_matches('/');
        let named = item.api.split('/').next().unwrap_or_default();
        self.from_ms.is_none_or(|from| item.at_ms >= from)
            && self.until_ms.is_none_or(|until| item.at_ms < until)
            && same(&self.user, &item.user)
            && (same(api, &item.api) || api == named)
            && (self.endpoint.is_empty() || item.endpoint.contains(&self.endpoint))
            && same(&self.request, &item.request)
            && same(&self.method, &item.method)
            && same(&self.address, &item.address)
            && same(&self.level, item.level)
            && same(&self.source, item.source.word())
            && (self.but_source.is_empty() || !same(&self.but_source, item.source.word()))
            && self.least_ms.is_none_or(|least| took.is_some_and(|took| took >= least))
            && self.most_ms.is_none_or(|most| took.is_some_and(|took| took <= most))
    }

    fn asks_for(&self, sources: &[Source]) -> bool {
        let asked = |word: &str| self.source.is_empty() || self.source == word;
        sources.iter().any(|source| asked(source.word()) && self.but_source != source.word())
    }
}

/// Where the files are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) records: PathBuf,
    pub(crate) audit: PathBuf,
}

/// Files of a folder whose names begin and end so, the newest first; with when they were written last.
fn listed(folder: &Path, begin: &str) -> Vec<(PathBuf, i64)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(begin))
        .filter_map(|entry| {
            let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            let written = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some((entry.path(), i64::try_from(written.as_millis()).unwrap_or(i64::MAX)))
        })
        .collect();
    found.sort_by(|a, b| (b.1, &b.0).cmp(&(a.1, &a.0)));
    found
}

/// Every file that is looked into.
pub(crate) fn files(places: &Places) -> Vec<PathBuf> {
    let all = listed(&places.records, "access").into_iter().chain(listed(&places.audit, "audit-"));
    all.map(|(path, _)| path).collect()
}

type Lines = Box<dyn Iterator<Item = Item>>;

/// The items of some files, newest first, from a time on.
fn items(files: Vec<(PathBuf, i64)>, from_ms: Option<i64>, parse: fn(&[u8]) -> Option<Item>) -> Lines {
    let from_ms = from_ms.map_or(i64::MIN, |from| from.saturating_sub(DISORDER_MS));
    let young = files.into_iter().take_while(move |(_, written)| *written >= from_ms);
    let lines = young.filter_map(|(path, _)| File::open(path).and_then(Backwards::new).ok());
    // What is no record is passed over: a line half written, or one of another format.
    let items = lines.flatten().filter_map(move |line| parse(&line.ok()?));
    Box::new(Ordered::new(items.take_while(move |item| item.at_ms >= from_ms)))
}

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether all that could match was looked at.
    pub(crate) complete: bool,
}

/// The audit trail, newest first. Blocks on the disk as it is read.
pub(crate) fn trail(folder: &Path) -> impl Iterator<Item = AuditRecord> {
    let files = listed(folder, "audit-").into_iter();
    let lines = files.filter_map(|(path, _)| File::open(path).and_then(Backwards::new).ok()).flatten();
    lines.filter_map(|line| serde_json::from_slice(&line.ok()?).ok())
}

/// Gives what matches, newest first, to a taker. Blocks on the disk.
pub(crate) fn look(places: &Places, wanted: &Wanted, mut take: impl FnMut(Item)) -> Look {
    let begun = Instant::now();
    let none = || -> Lines { Box::new(std::iter::empty()) };
    let access = match wanted.asks_for(&[Source::Gateway]) {
        true => items(listed(&places.records, "access"), wanted.from_ms, accessed),
        false => none(),
    };
    let audit = match wanted.asks_for(&[Source::Platform, Source::Auth]) {
        true => items(listed(&places.audit, "audit-"), wanted.from_ms, audited),
        false => none(),
    };
    let (mut access, mut audit) = (access.peekable(), audit.peekable());
    for seen in 0..LINES {
        if seen % 1_024 == 0 && begun.elapsed() > TIME {
            return Look { complete: false };
        }
        let next = match (access.peek(), audit.peek()) {
            (Some(a), Some(b)) if b.at_ms > a.at_ms => audit.next(),
            (Some(_), _) => access.next(),
            (None, _) => audit.next(),
        };
        match next {
            Some(item) if wanted.matches(&item) => take(item),
            Some(_) => {}
            None => return Look { complete: true },
        }
    }
    Look { complete: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn places() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { records: folder.path().join("logs"), audit: folder.path().join("audit") };
        std::fs::create_dir(&places.records).unwrap();
        std::fs::create_dir(&places.audit).unwrap();
        let mut text = String::from("not a record\n");
        for (at, status) in [(1_000, 200), (3_000, 404), (5_000, 502)] {
            let line = json!({"at_unix_ms": at, "request_id": format!("r{at}"), "method": "GET", "path": "/api/rest/shop/v1/a\"b",
                              "route": "shop/v1", "consumer": "ana", "client_ip": "10.0.0.1", "status": status, "micros": at, "protocol": "rest"});
            writeln!(text, "{line}").unwrap();
        }
        let own = json!({"at_unix_ms": 5_500, "path": "/platform/api", "status": 200, "protocol": "manage"});
        writeln!(text, "{own}").unwrap();
        text.push_str("{\"at_unix_ms\": 6000, \"torn");
        std::fs::write(places.records.join("access.2026-11-25.jsonl"), text).unwrap();
        let audit = |at: i64, action: &str, outcome: &str| {
            json!({"seq": 1, "at_unix_ms": at, "actor": "admin", "source": "10.0.0.9", "action": action, "object": "api/shop/v1",
                   "outcome": outcome, "revision": 1, "previous": "", "hash": ""})
        };
        let trail =
            format!("{}\n{}\n", audit(2_000, "session.login", "ok"), audit(4_000, "api.update", "refused"));
        std::fs::write(places.audit.join("audit-00000001.jsonl"), trail).unwrap();
        (folder, places)
    }

    #[test]
    fn both_are_told_newest_first_by_the_filter() {
        let (_folder, places) = places();
        for (wanted, found) in [
            (Wanted::default(), vec![5_000, 4_000, 3_000, 2_000, 1_000]),
            (Wanted { source: "gateway".into(), ..Wanted::default() }, vec![5_000, 3_000, 1_000]),
            (Wanted { but_source: "gateway".into(), ..Wanted::default() }, vec![4_000, 2_000]),
            (Wanted { source: "auth".into(), ..Wanted::default() }, vec![2_000]),
            (Wanted { level: "error".into(), ..Wanted::default() }, vec![5_000]),
            (
                Wanted { from_ms: Some(2_000), until_ms: Some(5_000), ..Wanted::default() },
                vec![4_000, 3_000, 2_000],
            ),
            (
                Wanted { api: "shop".into(), user: "ANA".into(), ..Wanted::default() },
                vec![5_000, 3_000, 1_000],
            ),
            (Wanted { least_ms: Some(2.5), most_ms: Some(3.5), ..Wanted::default() }, vec![3_000]),
            (Wanted { request: "r1000".into(), endpoint: "a\"b".into(), ..Wanted::default() }, vec![1_000]),
        ] {
            let mut seen = Vec::new();
            let look = look(&places, &wanted, |item| seen.push(item.at_ms));
            assert_eq!((seen, look.complete), (found, true), "{wanted:?}");
        }
        assert_eq!(files(&places).len(), 2);
    }

    #[test]
    fn an_item_shows_what_there_is() {
        let (_folder, places) = places();
        let mut all = Vec::new();
        look(&places, &Wanted::default(), |item| all.push(item.shown()));
        assert_eq!((&all[0]["status_code"], &all[0]["response_time"]), (&json!(502), &json!(5.0)));
        assert_eq!((&all[0]["protocol"], &all[1]["protocol"]), (&json!("rest"), &Value::Null));
        assert_eq!((&all[1]["level"], &all[1]["status_code"]), (&json!("WARNING"), &Value::Null));
    }
}
