use super::*;

/// 2025-01-01T00:00:00Z.
const BEGIN: i64 = 1_735_689_600;

fn call(user: &str, status: u16, micros: u64) -> AccessRecord {
    AccessRecord {
        status,
        micros,
        consumer: user.into(),
        route: "shop/v1".into(),
        bytes_out: 10,
        ..AccessRecord::default()
    }
}

fn sum(history: &History, from: i64, step: Step) -> Bucket {
    let mut sum = Bucket::default();
    history.between(from, i64::MAX, step).iter().for_each(|bucket| sum.merge(bucket));
    sum
}

/// One call by a user of the minute, each minute.
fn fed(history: &History, from: i64, minutes: i64) {
    for minute in 0..minutes {
        history.advance((from + minute * MINUTE) * 1_000);
        history.count(&[call(&format!("u{}", minute % 7), 200, 1_000)], 0);
    }
}

#[test]
fn each_step_tells_the_same_sums() {
    let history = History::default();
    fed(&history, BEGIN, 2 * 1_440 + 90);
    let now = BEGIN + (2 * 1_440 + 89) * MINUTE;
    for (from, step, count, points) in [
        (BEGIN, Step::Hour, 2 * 1_440 + 90, 50),
        (BEGIN, Step::Day, 2 * 1_440 + 90, 3),
        (Step::Hour.begin(now - DAY), Step::Hour, 1_470, 25),
        (Step::Hour.begin(now - DAY), Step::Minute, 1_470, 1_470),
        (now - HOUR, Step::Minute, 61, 61),
    ] {
        let found = history.between(from, i64::MAX, step);
        let requests: u64 = found.iter().map(|bucket| bucket.requests).sum();
        assert_eq!((requests, found.len()), (count, points), "{step:?} from {from}");
    }
    let hour = sum(&history, now - HOUR, Step::Minute).detail.unwrap();
    assert_eq!((hour.statuses[&200], hour.unique.count(), hour.users.largest(9).len()), (61, 7, 7));
    assert_eq!(hour.apis.largest(1), [("rest:shop/v1".to_owned(), 61)]);
    let month = sum(&history, BEGIN, Step::Day);
    assert_eq!(month.detail.as_ref().unwrap().statuses[&200], 2 * 1_440 + 90);
    let off = (month.p95_ms() - 1.0).abs();
    assert!(off < 0.2 && (month.mean_ms() - 1.0).abs() < 1e-9, "{off}");
    let old = history.between(now - 20 * HOUR, now - 19 * HOUR, Step::Minute);
    assert!(old.iter().all(|minute| minute.detail.is_none() && minute.p95_ms() > 0.9), "sums only");
}

#[test]
fn what_was_dropped_is_still_counted() {
    let history = History::default();
    history.advance(BEGIN * 1_000);
    history.count(&[call("ana", 503, 2_000)], 4);
    history.count(&[], 4);
    history.count(&[call("ana", 200, 4_000)], 5);
    let sum = sum(&history, BEGIN, Step::Minute);
    assert_eq!((sum.requests, sum.unseen, sum.errors, sum.mean_ms()), (7, 5, 1, 3.0));
}

/// Rows as they come back from a file.
fn written(rows: &[Row]) -> Vec<Row> {
    let lines = rows.iter().map(|row| serde_json::to_string(row).unwrap());
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

#[test]
fn a_restart_changes_nothing_whenever_it_comes() {
    for (minutes, away) in [(10, 0), (59, 0), (60, 0), (61, 3), (1_500, 2), (1_500, 70)] {
        let history = History::default();
        fed(&history, BEGIN, minutes);
        let mut rows = history.rows();
        rows.extend(history.open());
        let after = History::default();
        let now = BEGIN + (minutes - 1 + away) * MINUTE;
        after.restore(written(&rows).into_iter(), now * 1_000);
        for step in [Step::Hour, Step::Day] {
            history.advance(now * 1_000);
            let (old, new) = (sum(&history, BEGIN, step), sum(&after, BEGIN, step));
            assert_eq!((new.requests, &new.detail), (old.requests, &old.detail), "{minutes} {away} {step:?}");
        }
        // The same minute goes on.
        after.count(&[call("ana", 200, 1)], 0);
        assert_eq!(sum(&after, BEGIN, Step::Hour).requests, minutes as u64 + 1);
        after.advance((now + HOUR) * 1_000);
        assert_eq!(sum(&after, BEGIN, Step::Hour).requests, minutes as u64 + 1, "{minutes} {away}");
    }
}

#[test]
fn a_clock_that_jumps_loses_nothing() {
    let history = History::default();
    for minute in [0, 1, 600, 2, 1, 3] {
        history.advance((BEGIN + minute * MINUTE) * 1_000);
        history.count(&[call("ana", 200, 1)], 0);
    }
    assert_eq!(sum(&history, 0, Step::Minute).requests, 6);
    assert_eq!(history.between(0, i64::MAX, Step::Minute).len(), 5);
}

#[test]
fn holds_a_month() {
    let history = History::default();
    // The broadest hours there can be: each part of the breakdown full.
    let calls: Vec<AccessRecord> = (0..100)
        .map(|number| AccessRecord {
            route: format!("service-{number}/v1").as_str().into(),
            ..call(&format!("customer-{number}"), 200 + number % 40, 1 << (number % 26))
        })
        .collect();
    history.count(&calls, 0);
    let broad = Packed::new(&history.between(0, i64::MAX, Step::Minute).remove(0)).text.len();
    let hours = (0..=24 * 33).map(|hour| Bucket { requests: 1, ..Bucket::begun(BEGIN + hour * HOUR) });
    let history = History::default();
    history.restore(hours.map(|hour| Row::Hour(Arc::new(hour))), (BEGIN + 24 * 33 * HOUR) * 1_000);
    let kept = history.0.read().unwrap().hours.len();
    assert!((32 * 24 - 1..=32 * 24).contains(&kept), "{kept}");
    assert!((3 << 20..7 << 20).contains(&(kept * broad)), "{kept} hours of {broad} bytes");
}
