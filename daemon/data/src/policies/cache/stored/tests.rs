//! What may be kept, for how long, for whom.

use super::*;
use proptest::prelude::*;

const DATE: &str = "Tue, 15 Nov 1994 12:45:26 GMT";
const DATE_MS: i64 = 784_903_526_000;

fn stored(asked: &str, answered: &str, status: u16, authenticated: bool) -> Option<Stored> {
    let split = |text: &'static str| {
        text.split('|').filter_map(|line| line.split_once(": ")).map(|(name, value)| (name, value.as_bytes()))
    };
    let leaked = |text: &str| -> &'static str { text.replace("DATE", DATE).leak() };
    let exchange =
        Exchange { asked: split(leaked(asked)), authenticated, status, answered: split(leaked(answered)) };
    let times = Times { asked_ms: DATE_MS, answered_ms: DATE_MS + 2_000 };
    Head::read(&exchange).map(|head| head.with(Bytes::new(), times, 0))
}

#[test]
fn what_may_be_kept() {
    for (asked, answered, status, authenticated, kept) in [
        ("", "cache-control: max-age=9", 200, false, true),
        ("", "Cache-Control: MAX-AGE=9", 404, false, true),
        ("", "cache-control: max-age=9", 206, false, false),
        ("", "cache-control: max-age=9", 500, false, false),
        ("", "", 200, false, false),
        ("", "etag: \"a\"", 200, false, false),
        ("", "last-modified: DATE", 200, false, false),
        ("", "cache-control: public", 200, false, false),
        ("", "cache-control: no-cache|etag: \"a\"", 200, false, true),
        ("", "cache-control: no-cache", 200, false, false),
        ("", "cache-control: max-age=0", 200, false, false),
        ("", "cache-control: max-age=0|etag: \"a\"", 200, false, true),
        ("", "cache-control: max-age=9|cache-control: No-Store", 200, false, false),
        ("", "cache-control: max-age=9, Private", 200, false, false),
        ("", "cache-control: max-age=9, private=\"x\"", 200, false, false),
        ("", "cache-control: max-age=9, public|set-cookie: a=b", 200, false, false),
        ("", "cache-control: max-age=9|vary: *", 200, false, false),
        ("", "cache-control: max-age=9|vary: accept, *", 200, false, false),
        ("", "cache-control: max-age=9|vary: accept", 200, false, true),
        ("", "expires: Tue, 15 Nov 1994 12:46:26 GMT|date: DATE", 200, false, true),
        ("", "expires: 0|date: DATE", 200, false, false),
        ("", "expires: Tue, 15 Nov 1994 12:46:26 GMT", 200, false, false),
        ("cache-control: no-store", "cache-control: max-age=9", 200, false, false),
        ("authorization: x", "cache-control: max-age=9", 200, false, false),
        ("", "cache-control: max-age=9", 200, true, false),
        ("", "cache-control: max-age=9, public", 200, true, true),
        ("", "cache-control: s-maxage=9", 200, true, true),
        ("", "cache-control: max-age=9, must-revalidate", 200, true, true),
        ("", "cache-control: max-age=9, proxy-revalidate", 200, true, false),
    ] {
        assert_eq!(
            stored(asked, answered, status, authenticated).is_some(),
            kept,
            "{asked} {answered} {status}"
        );
    }
}

#[test]
fn ages_and_lives() {
    for (answered, fresh_ms, age_secs) in [
        ("cache-control: max-age=9", 7_000, 2),
        ("cache-control: max-age=9, s-maxage=20", 18_000, 2),
        ("cache-control: s-maxage=0, max-age=9|etag: \"a\"", -2_000, 2),
        ("cache-control: max-age=9|age: 5", 2_000, 7),
        ("cache-control: max-age=9|age: 99999999999999999999", 7_000, 2),
        ("cache-control: max-age=9|date: Tue, 15 Nov 1994 12:45:20 GMT", 1_000, 8),
        ("cache-control: max-age=9|date: Tue, 15 Nov 2094 12:45:20 GMT", 7_000, 2),
        ("expires: Tue, 15 Nov 1994 12:46:26 GMT|date: DATE", 58_000, 2),
        ("expires: Tue, 15 Nov 1994 12:46:26 GMT|date: DATE|cache-control: max-age=5", 3_000, 2),
        ("cache-control: no-cache, max-age=9|etag: \"a\"", 0, 2),
    ] {
        let stored = stored("", answered, 200, false).unwrap();
        assert_eq!(stored.fresh_ms(DATE_MS + 2_000), fresh_ms, "{answered}");
        assert_eq!(stored.age_secs(DATE_MS + 2_000), age_secs, "{answered}");
        assert_eq!(stored.age_secs(DATE_MS + 5_500), age_secs + 3, "{answered}");
        assert_eq!(stored.age_secs(0), age_secs, "a clock that went back");
    }
}

#[test]
fn vary_selects() {
    let kept = stored("Accept: a|accept: b|x: 1", "cache-control: max-age=9|vary: Accept, X-No", 200, false)
        .unwrap();
    let suits = |fields: &[(&'static str, &'static [u8])]| kept.suits(&fields.iter().copied());
    assert!(suits(&[("accept", b"a, b")]));
    assert!(suits(&[("ACCEPT", b" a"), ("accept", b"b "), ("x", b"2")]));
    assert!(!suits(&[("accept", b"a")]));
    assert!(!suits(&[]));
    assert!(!suits(&[("accept", b"a, b"), ("x-no", b"1")]));
}

#[test]
fn a_304_confirms_its_own_version() {
    let kept =
        stored("", "cache-control: max-age=0|etag: \"a\"|content-length: 5|x: old|x: older", 200, false)
            .unwrap();
    let new = [("etag", b"W/\"a\"".as_slice()), ("Content-Length", b"0"), ("X", b"new")];
    assert!(kept.confirmed(&new.into_iter()));
    assert!(kept.confirmed(&[].into_iter()));
    assert!(!kept.confirmed(&[("etag", b"\"b\"".as_slice())].into_iter()));
    let fields: Vec<_> = kept
        .refreshed(&new.into_iter())
        .into_iter()
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)))
        .collect();
    assert_eq!(fields, ["cache-control=max-age=0", "content-length=5", "etag=W/\"a\"", "X=new"]);
    assert_eq!(kept.validators().collect::<Vec<_>>(), [("if-none-match", b"\"a\"".as_slice())]);
    assert!(kept.not_modified([("if-none-match", b"\"a\"".as_slice())].into_iter()));
    let dated = stored("", "cache-control: max-age=9|last-modified: DATE", 200, false).unwrap();
    assert_eq!(dated.validators().next().unwrap().0, "if-modified-since");
    assert!(is_of_304("ETag") && !is_of_304("content-length"));
}

proptest! {
    #[test]
    fn never_panics(name in "cache-control|age|date|expires|vary|etag|[a-z]{1,3}", value in any::<Vec<u8>>(), now in any::<i64>()) {
        let fields = [("cache-control", b"max-age=9".as_slice()), (name.as_str(), value.as_slice())];
        let exchange = Exchange { asked: fields.into_iter(), authenticated: false, status: 200, answered: fields.into_iter() };
        if let Some(head) = Head::read(&exchange) {
            let kept = head.with(Bytes::new(), Times { asked_ms: now, answered_ms: !now }, 0);
            let _either = (kept.fresh_ms(now), kept.age_secs(now), kept.not_modified(fields.into_iter()));
            prop_assert!(kept.suits(&fields.into_iter()));
        }
    }
}
