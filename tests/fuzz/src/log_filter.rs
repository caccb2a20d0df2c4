//! A log filter: whatever is typed, it is one or it is told why not.
#![no_main]

use gatehouse_common::logquery::LogFilter;
use gatehouse_common::ops::logs::{Level, LogLine};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(filter) = LogFilter::parse(&String::from_utf8_lossy(bytes)) else { return };
    let line = LogLine {
        number: 1,
        at_unix_ms: 5,
        level: Level::Info,
        target: "record".into(),
        message: "a word".into(),
        fields: [("route".to_owned(), "a/v1".to_owned())].into(),
    };
    let _either = filter.matches(&line, 10);
});
