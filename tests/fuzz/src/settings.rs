//! See `daemon/src/settings/fuzz.rs`.
#![no_main]
#![allow(dead_code, reason = "the daemon uses the rest")]

#[path = "../../../daemon/src"]
mod daemon {
    pub(crate) mod settings;
}
use daemon::settings;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    thread_local!(static PLACE: tempfile::NamedTempFile = tempfile::NamedTempFile::new().expect("a file to write settings to"));
    PLACE.with(|place| settings::fuzz::settings(bytes, place.path()));
});
