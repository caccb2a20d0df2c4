//! What a snapshot becomes, and what of the one before goes on.

use super::*;
use crate::policies::shed::Gate;
use gatehouse_corridor::snapshot::api::HealthCheck;
use gatehouse_corridor::snapshot::{Consumer, Endpoint, GatewayLimits, Rate};
use proptest::prelude::*;
use std::sync::atomic::Ordering;

fn with(before: &Arc<Snapshot>, change: impl FnOnce(&mut Snapshot)) -> Arc<Snapshot> {
    let mut next = Snapshot::clone(before);
    next.revision = Revision(before.revision.0 + 1);
    change(&mut next);
    Arc::new(next)
}

fn api(name: &str, server: &str) -> Arc<Api> {
    let api = Api { id: name.into(), name: name.into(), version: "v1".into(), ..Api::default() };
    Arc::new(Api { servers: vec![server.to_owned()], hostname: Some(format!("{name}.x")), ..api })
}

#[test]
fn a_change_costs_what_it_changes() {
    let telemetry = Telemetry::new(1);
    let first = with(&Arc::default(), |snapshot| {
        snapshot.apis.insert("a/v1".into(), api("a", "http://a"));
        snapshot.apis.insert("b/v1".into(), api("b", "http://b"));
        let rate = Some(Rate { limit: 1, window_ms: 1_000 });
        let ana = Consumer { id: "ana".into(), rate, active: true, ..Consumer::default() };
        snapshot.consumers.insert("ana".into(), Arc::new(ana));
    });
    let one = prepare(&first, &Prepared::default(), &telemetry);
    let second = with(&first, |snapshot| {
        snapshot.apis.insert("a/v1".into(), api("a", "http://c"));
    });
    let two = prepare(&second, &one, &telemetry);
    let same = |name: &str| Arc::ptr_eq(&one.routes[name], &two.routes[name]);
    assert!(!same("a/v1") && same("b/v1"));
    assert_eq!(two.hosts["a.x"].targets.servers[0].host, "c:80");
    assert!(Arc::ptr_eq(&one.consumers["ana"], &two.consumers["ana"]));
    assert_eq!(one.identity, two.identity, "nobody may show another thing");
    let third = with(&second, |snapshot| {
        snapshot.apis.remove("a/v1");
        snapshot.consumers["ana"] =
            Arc::new(Consumer { active: false, ..(*snapshot.consumers["ana"]).clone() });
    });
    let three = prepare(&third, &two, &telemetry);
    assert!(three.routes.get("a/v1").is_none() && three.hosts.get("a.x").is_none());
    assert!(three.identity > two.identity && !three.consumers["ana"].alive());
    let limiter = |prepared: &Prepared| prepared.consumers["ana"].limiter.clone().unwrap();
    assert!(Arc::ptr_eq(&limiter(&two), &limiter(&three)), "it goes on where it stood");
    let fourth = with(&third, |snapshot| snapshot.counters += 1);
    let four = prepare(&fourth, &three, &telemetry);
    assert!(!Arc::ptr_eq(&limiter(&three), &limiter(&four)));
}

/// An API that has its own lists, a host and a bound, as its users changed it.
fn shop(host: &str, path: &str, probed: bool) -> Api {
    let endpoint = |uri: &str, servers: &[&str]| Endpoint {
        method: "GET".into(),
        uri: uri.into(),
        servers: servers.iter().map(|server| (*server).to_owned()).collect(),
        ..Endpoint::default()
    };
    let check = HealthCheck {
        path: path.to_owned(),
        interval_ms: 1_000,
        timeout_ms: 1_000,
        failures: 1,
        successes: 1,
    };
    Api {
        hostname: Some(host.to_owned()),
        endpoints: vec![endpoint("/own", &["http://a", "http://b"]), endpoint("/usual", &[])],
        health_check: probed.then_some(check),
        ..(*api("shop", "http://a")).clone()
    }
}

fn put(before: &Arc<Snapshot>, api: Api) -> Arc<Snapshot> {
    with(before, |snapshot| drop(snapshot.apis.insert(api.path(), Arc::new(api))))
}

fn own(route: &Route) -> &Targets {
    route.methods["GET"].at("/own").unwrap().value.targets.as_ref().unwrap()
}

#[test]
fn a_route_goes_on_where_it_stood() {
    let telemetry = Telemetry::new(1);
    let first = put(&Arc::default(), shop("a.x", "/up", true));
    let one = prepare(&first, &Prepared::default(), &telemetry);
    let before = &one.routes["shop/v1"];
    let place = Gate::enter(Arc::clone(&before.gate), 1);
    assert!(place.is_some());
    (0..10).for_each(|_| assert!(before.budget.take(0)));
    before.targets.servers[0].sick.store(true, Ordering::Relaxed);
    own(before).balancer.choose(None, |_| false, |_| 0);
    let limits = |snapshot: &mut Snapshot| {
        snapshot.limits = Arc::new(GatewayLimits { in_flight: 7, ..GatewayLimits::default() });
    };
    // A field of it, and what all routes depend on.
    for second in [put(&first, shop("b.x", "/well", true)), with(&first, limits)] {
        let two = prepare(&second, &one, &telemetry);
        let after = &two.routes["shop/v1"];
        assert!(!Arc::ptr_eq(before, after), "it was made anew");
        assert!(Gate::enter(Arc::clone(&after.gate), 1).is_none(), "what is in flight still is");
        assert!(!after.budget.take(0), "retries that were made still count");
        for (old, new) in [(&before.targets, &after.targets), (own(before), own(after))] {
            let same = old.servers.iter().zip(&new.servers).all(|(old, new)| Arc::ptr_eq(old, new));
            assert!(same, "breakers and probes go on");
        }
        assert_eq!(own(after).balancer.choose(None, |_| false, |_| 0), Some(1), "the next one's turn");
        assert_eq!(after.probed.len(), 3);
        assert!(two.probed.contains_key("shop/v1") && two.priorities == one.priorities);
    }
    let unprobed = prepare(&put(&first, shop("a.x", "/up", false)), &one, &telemetry);
    let after = &unprobed.routes["shop/v1"];
    assert!(!after.targets.servers[0].sick.load(Ordering::Relaxed), "nobody would let it in again");
    let other = Api { id: "another".into(), ..shop("a.x", "/up", true) };
    let anew = prepare(&put(&first, other), &one, &telemetry);
    assert!(
        Gate::enter(Arc::clone(&anew.routes["shop/v1"].gate), 1).is_some(),
        "another API of the same name"
    );
}

#[test]
fn counters_of_routes_that_went_while_all_were_made_anew_are_forgotten() {
    let telemetry = Telemetry::new(1);
    let first = with(&Arc::default(), |snapshot| {
        snapshot.apis.insert("a/v1".into(), api("a", "http://a"));
        snapshot.apis.insert("b/v1".into(), api("b", "http://b"));
    });
    let one = prepare(&first, &Prepared::default(), &telemetry);
    let second = with(&first, |snapshot| {
        snapshot.apis.remove("b/v1");
        snapshot.limits = Arc::default();
    });
    prepare(&second, &one, &telemetry);
    let left: Vec<String> = telemetry.routes().values().map(|entry| entry.name.to_string()).collect();
    assert_eq!(left, ["a/v1"]);
}

#[test]
fn a_host_goes_from_one_api_to_another_in_one_change() {
    let telemetry = Telemetry::new(1);
    let named = |name: &str, host: Option<&str>| {
        let api = Api { hostname: host.map(str::to_owned), ..(*api(name, "http://a")).clone() };
        (api.path(), Arc::new(api))
    };
    let all = |rows: Vec<(String, Arc<Api>)>| {
        with(&Arc::default(), |snapshot| snapshot.apis = rows.into_iter().collect())
    };
    let first = all(vec![named("m", Some("one.x")), named("z", Some("two.x"))]);
    let one = prepare(&first, &Prepared::default(), &telemetry);
    for (rows, wanted) in [
        // The other one goes, or both change places, whatever their order.
        (vec![named("m", Some("two.x"))], [None, Some("m/v1")]),
        (vec![named("z", Some("one.x"))], [Some("z/v1"), None]),
        (vec![named("a", Some("two.x")), named("m", None)], [None, Some("a/v1")]),
        (vec![named("m", Some("two.x")), named("z", Some("one.x"))], [Some("z/v1"), Some("m/v1")]),
        (vec![named("m", None), named("z", None)], [None, None]),
    ] {
        let two = prepare(&all(rows), &one, &telemetry);
        let found = ["one.x", "two.x"].map(|host| two.hosts.get(host).map(|route| route.name.as_str()));
        assert_eq!(found, wanted);
    }
}

proptest! {
    /// Whatever passes `check` loads whole.
    #[test]
    fn what_passes_loads(uris in proptest::collection::vec("/?[a-z{}*/]{0,12}", 0..6), server in ".{0,20}") {
        let endpoints: Vec<Endpoint> = uris
            .iter()
            .map(|uri| Endpoint { method: "GET".into(), uri: uri.clone(), ..Endpoint::default() })
            .collect();
        let api = Arc::new(Api { endpoints, ..(*api("a", &server)).clone() });
        let snapshot = with(&Arc::default(), |snapshot| drop(snapshot.apis.insert("a/v1".into(), api)));
        let prepared = prepare(&snapshot, &Prepared::default(), &Telemetry::new(1));
        let passes = check(&Snapshot::default(), &snapshot).is_empty();
        prop_assert_eq!(passes, prepared.routes.get("a/v1").is_some());
    }
}
