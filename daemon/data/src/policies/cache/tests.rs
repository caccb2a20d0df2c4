//! The cache as a client and an upstream see it.

use super::*;
use proptest::prelude::*;

type Pairs = Vec<(&'static str, &'static [u8])>;
type Owned = std::vec::IntoIter<(&'static str, &'static [u8])>;

fn pairs(text: &'static str) -> Pairs {
    text.split('|')
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name, value.as_bytes()))
        .collect()
}

const PLACE: Place<'static> = Place { version: 1, route: "shop/v1", routing: "", target: "/items?a=1" };

fn cache(bytes: u64) -> Cache {
    Cache::new(bytes, Arc::default()).unwrap()
}

fn look(cache: &Cache, asked: &'static str, now_ms: i64) -> Found {
    cache.look(PLACE, "GET", &pairs(asked).into_iter(), now_ms)
}

fn exchange(asked: &'static str, answered: &'static str) -> Exchange<Owned, Owned> {
    Exchange {
        asked: pairs(asked).into_iter(),
        authenticated: false,
        status: 200,
        answered: pairs(answered).into_iter(),
    }
}

/// Asks, and keeps what is answered if that may be.
fn fill(
    cache: &mut Cache,
    place: Place<'_>,
    asked: &'static str,
    answered: &'static str,
    body: &[u8],
) -> bool {
    let Found::Miss(ticket) = cache.look(place, "GET", &pairs(asked).into_iter(), 0) else { return false };
    let Some(mut recording) = cache.offer(place, ticket, &exchange(asked, answered), 0) else { return false };
    let fits = recording.push(body);
    if fits {
        cache.keep(recording);
    }
    fits
}

fn kind(found: &Found) -> &'static str {
    match found {
        Found::Pass => "pass",
        Found::OnlyIfCached => "only",
        Found::Miss(_) => "miss",
        Found::Fresh(_) => "fresh",
        Found::Stale(..) => "stale",
    }
}

#[test]
fn calls_are_answered() {
    let mut cache = cache(1 << 20);
    assert!(fill(
        &mut cache,
        PLACE,
        "accept: a",
        "cache-control: max-age=10|etag: \"e\"|vary: accept",
        b"body"
    ));
    for (method, asked, now_ms, expected) in [
        ("GET", "accept: a", 0, "fresh"),
        ("HEAD", "accept: a", 9_999, "fresh"),
        ("GET", "accept: a", 10_000, "stale"),
        ("HEAD", "accept: a", 10_000, "pass"),
        ("GET", "accept: b", 0, "miss"),
        ("GET", "accept: a|cache-control: no-cache", 0, "stale"),
        ("GET", "accept: a|pragma: no-cache", 0, "stale"),
        ("GET", "accept: a|pragma: no-cache|cache-control: x", 0, "fresh"),
        ("GET", "accept: a|cache-control: No-Store", 0, "pass"),
        ("GET", "accept: a|cache-control: max-age=4", 4_999, "fresh"),
        ("GET", "accept: a|cache-control: max-age=4", 5_000, "stale"),
        ("GET", "accept: a|cache-control: min-fresh=5", 5_000, "fresh"),
        ("GET", "accept: a|cache-control: min-fresh=5", 5_001, "stale"),
        ("GET", "accept: a|cache-control: max-stale", 10_000, "stale"),
        ("GET", "accept: a|cache-control: only-if-cached", 0, "fresh"),
        ("GET", "accept: b|cache-control: only-if-cached", 0, "only"),
        ("GET", "accept: a|range: bytes=0-1", 0, "pass"),
        ("GET", "accept: a|if-match: \"e\"", 0, "pass"),
        ("POST", "accept: a", 0, "pass"),
    ] {
        let found = cache.look(PLACE, method, &pairs(asked).into_iter(), now_ms);
        assert_eq!(kind(&found), expected, "{method} {asked} {now_ms}");
    }
    let Found::Fresh(stored) = look(&cache, "accept: a", 3_500) else { panic!() };
    assert_eq!((&*stored.body, stored.age_secs(3_500), stored.status), (b"body".as_slice(), 3, 200));
    for other in [
        Place { version: 2, ..PLACE },
        Place { routing: "k", ..PLACE },
        Place { target: "/items?a=2", ..PLACE },
        Place { route: "shop/v2", ..PLACE },
    ] {
        assert_eq!(kind(&cache.look(other, "GET", &pairs("accept: a").into_iter(), 0)), "miss", "{other:?}");
    }
    cache.at(0);
    assert_eq!(kind(&look(&cache, "accept: a", 0)), "fresh");
    cache.at(1);
    assert_eq!(kind(&look(&cache, "accept: a", 0)), "miss");
    assert!(format!("{cache:?}").contains("bytes: 0"));
}

#[test]
fn a_304_makes_it_fresh_again() {
    let mut cache = cache(1 << 20);
    assert!(fill(&mut cache, PLACE, "", "cache-control: max-age=10|etag: \"e\"|x: 1", b"body"));
    let Found::Stale(stale, ticket) = look(&cache, "", 20_000) else { panic!() };
    let confirmed = exchange("", "cache-control: max-age=5|etag: \"e\"|x: 2");
    let stored = cache.confirm(PLACE, (&stale, ticket), confirmed, 20_000).unwrap();
    assert_eq!(&*stored.body, b"body");
    assert!(stored.fields().any(|field| field == ("x", b"2".as_slice())));
    assert_eq!(kind(&look(&cache, "", 24_999)), "fresh");
    let Found::Stale(stale, ticket) = look(&cache, "", 25_000) else { panic!() };
    assert!(cache.confirm(PLACE, (&stale, ticket), exchange("", "etag: \"f\""), 25_000).is_none());
    let private = exchange("", "cache-control: private|etag: \"e\"");
    let once = cache.confirm(PLACE, (&stale, ticket), private, 25_000).unwrap();
    assert_eq!(&*once.body, b"body");
    assert_eq!(kind(&look(&cache, "", 25_000)), "miss");
}

#[test]
fn an_unsafe_call_voids_it_for_all_workers() {
    let shared = Arc::<Invalidations>::default();
    let mut one = Cache::new(1 << 20, Arc::clone(&shared)).unwrap();
    let mut other = Cache::new(1 << 20, Arc::clone(&shared)).unwrap();
    let answer = "cache-control: max-age=10|etag: \"e\"";
    assert!(fill(&mut one, PLACE, "", answer, b"1") && fill(&mut other, PLACE, "", answer, b"1"));
    // A call that is on its way meanwhile brings what was before.
    let slow = Place { routing: "slow", ..PLACE };
    let Found::Miss(ticket) = one.look(slow, "GET", &pairs("").into_iter(), 0) else { panic!() };
    shared.void(PLACE.route, PLACE.target);
    assert_eq!((kind(&look(&one, "", 0)), kind(&look(&other, "", 0))), ("miss", "miss"));
    one.keep(one.offer(slow, ticket, &exchange("", answer), 0).unwrap());
    assert_eq!(kind(&one.look(slow, "GET", &pairs("").into_iter(), 0)), "miss");
    assert!(fill(&mut one, PLACE, "", answer, b"2"));
    let Found::Fresh(stored) = look(&one, "", 0) else { panic!() };
    assert_eq!(&*stored.body, b"2");
}

#[test]
fn bounds() {
    assert!(Cache::new(0, Arc::default()).is_none());
    let mut cache = cache(1 << 20);
    let answer = "cache-control: max-age=10|vary: x";
    assert!(!fill(&mut cache, PLACE, "", answer, &vec![0; 1 << 16]), "longer than its part");
    let values: Vec<&'static str> =
        (0..20).map(|number| -> &'static str { format!("x: {number}").leak() }).collect();
    for asked in &values {
        assert!(fill(&mut cache, PLACE, asked, answer, b"body"));
    }
    let kept = values.iter().filter(|asked| kind(&look(&cache, asked, 0)) == "fresh").count();
    assert_eq!(kept, VARIANTS, "of one target only so many");
    assert_eq!(kind(&look(&cache, "x: 19", 0)), "fresh", "the latest");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn never_more_bytes_than_given(sizes in proptest::collection::vec((0u32..200, 0usize..9_000), 1..200)) {
        let mut cache = cache(1 << 17);
        for (number, size) in sizes {
            let target = format!("/{number}");
            let place = Place { target: &target, ..PLACE };
            let _kept = fill(&mut cache, place, "", "cache-control: max-age=10", &vec![0; size]);
            prop_assert!(cache.store.weight() <= 1 << 17);
        }
    }

    /// What comes out was put in for the same target, and was asked for after the last void.
    #[test]
    fn never_another_answer(steps in proptest::collection::vec((0u8..4, 0u8..3), 1..60)) {
        let mut cache = cache(1 << 20);
        let mut truth = std::collections::HashMap::new();
        for (count, (step, number)) in steps.into_iter().enumerate() {
            let target = format!("/{number}");
            let place = Place { target: &target, ..PLACE };
            match cache.look(place, "GET", &pairs("").into_iter(), 0) {
                Found::Fresh(stored) => prop_assert_eq!(Some(&stored.body.to_vec()), truth.get(&number)),
                _ if step == 0 => {}
                _ => {
                    let body = count.to_string().into_bytes();
                    if fill(&mut cache, place, "", "cache-control: max-age=10", &body) {
                        truth.insert(number, body);
                    }
                }
            }
            if step == 3 {
                cache.shared.void(place.route, &target);
                truth.remove(&number);
            }
        }
    }
}
