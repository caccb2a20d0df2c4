//! Credits: what a call costs, whose key pays upstream, that nothing is sold twice whatever ends the daemon.

use crate::market::{ECHO, Market, bearer, told, verdict};
use crate::raw::{Wire, get};
use gatehouse_tests::daemon::Daemon;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a crash loses of an account at most: the largest block (`daemon/control/src/leases.rs`).
const BLOCK: u64 = 1_024;

/// Credit group `gold`, whose key goes upstream in `x-key`, and an API that is paid from it.
fn paid(settings: &[(&str, &str)]) -> Market {
    let market = Market::open(settings);
    let group = json!({"api_credit_group": "gold", "api_key": "the-groups-key", "api_key_header": "x-key",
                       "credit_tiers": [{"tier_name": "t", "credits": 2, "input_limit": 0, "output_limit": 0,
                                         "reset_frequency": "monthly"}]});
    market.manage("POST", "/platform/credit", group);
    market.change(json!({"api_credits_enabled": true, "api_credit_group": "gold"}));
    market
}

fn grant(market: &Market, credits: u64, key: Option<&str>) {
    let mut account = json!({"tier_name": "t", "available_credits": credits});
    if let Some(key) = key {
        account["user_api_key"] = json!(key);
    }
    let body = json!({"username": "ana", "users_credits": {"gold": account}});
    market.manage("POST", "/platform/credit/ana", body);
}

fn left(daemon: &Daemon, token: &str) -> u64 {
    let (_, account) = daemon.call("GET", "/platform/credit/ana", token, None).unwrap();
    account["users_credits"]["gold"]["available_credits"].as_u64().unwrap()
}

#[test]
fn as_many_calls_as_were_granted_with_the_key_that_pays() {
    let market = paid(&[]);
    assert_eq!(verdict(&market.call()), (401, "GTW008".to_owned()), "nothing was granted");
    grant(&market, 3, None);
    for _ in 0..3 {
        let seen = told(&market.as_ana("GET", ECHO, "X-Key: of-the-client\r\n", ""));
        assert_eq!(seen["fields"]["x-key"], "the-groups-key", "{seen}");
    }
    assert_eq!(verdict(&market.call()), (401, "GTW008".to_owned()));
    assert_eq!((left(&market.daemon, &market.admin), market.upstream.requests()), (0, 3));
    grant(&market, 2, Some("the-users-own"));
    assert_eq!(told(&market.call())["fields"]["x-key"], "the-users-own");
    market.manage("PUT", "/platform/credit/gold", json!({"api_key_header": "x-other-key"}));
    let seen = told(&market.call());
    assert_eq!(
        (&seen["fields"]["x-other-key"], &seen["fields"]["x-key"]),
        (&json!("the-users-own"), &Value::Null)
    );
    assert_eq!(market.call().status, 401);
    market.change(json!({"api_credits_enabled": false}));
    assert_eq!(
        told(&market.call())["fields"]["x-other-key"],
        Value::Null,
        "it costs nothing, and no key goes out"
    );
}

#[test]
fn a_call_that_is_refused_costs_nothing() {
    let market = paid(&[]);
    grant(&market, 2, None);
    assert_eq!(market.ask("GET", ECHO, "", "").status, 401);
    assert_eq!(market.as_ana("GET", "/api/rest/shop/v1/none", "", "").status, 404);
    assert_eq!(market.call().status, 200);
    assert_eq!(left(&market.daemon, &market.admin), 1);
}

/// So many calls at once; how many of each status.
fn crowd(daemon: &Daemon, token: &str, calls: usize) -> (u64, u64) {
    let (fine, broke) = (AtomicU64::new(0), AtomicU64::new(0));
    let ask = get(ECHO).replacen("\r\n", &format!("\r\n{}", bearer(token)), 1);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut wire = Wire::open(daemon);
                for _ in 0..calls / 20 {
                    wire.send(&ask);
                    match wire.answer().status {
                        200 => fine.fetch_add(1, Ordering::Relaxed),
                        401 => broke.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    (fine.into_inner(), broke.into_inner())
}

#[test]
fn a_crowd_spends_exactly_what_was_granted() {
    let market = paid(&[]);
    grant(&market, 100, None);
    assert_eq!(crowd(&market.daemon, &market.ana, 200), (100, 100));
    assert_eq!((market.upstream.requests(), left(&market.daemon, &market.admin)), (100, 0));
}

#[test]
fn what_ends_the_daemon_loses_a_block_at_most_and_sells_nothing_twice() {
    let mut market = paid(&[]);
    let granted = 5_000;
    grant(&market, granted, None);
    let mut spent = 0;
    for _ in 0..2 {
        spent += crowd(&market.daemon, &market.ana, 400).0;
        let Market { folder, daemon, admin, ana, upstream } = market;
        daemon.kill().unwrap();
        let daemon = Daemon::start(folder.path(), &[]).unwrap();
        market = Market { folder, daemon, admin, ana, upstream };
    }
    let rest = left(&market.daemon, &market.admin);
    assert!(rest + spent <= granted, "{rest} left and {spent} spent of {granted}");
    assert!(rest + spent + 2 * BLOCK >= granted, "{rest} left and {spent} spent of {granted}");
    assert_eq!(market.upstream.requests(), spent);
    // An orderly end loses nothing.
    assert_eq!(crowd(&market.daemon, &market.ana, 100).0, 100);
    let Market { folder, daemon, admin, .. } = market;
    assert!(std::process::Command::new("kill").arg(daemon.pid().to_string()).status().unwrap().success());
    assert_eq!(daemon.ended().unwrap(), 0);
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    assert_eq!(left(&daemon, &admin), rest - 100);
}

#[test]
fn anonymous_callers_have_credits_of_their_own() {
    let market = paid(&[]);
    let open = json!({"api_auth_required": false, "api_anonymous_allowed": true, "api_anonymous_credit_group": "gold"});
    market.change(open);
    grant(&market, 1, Some("the-users-own"));
    let nobody = || market.ask("GET", ECHO, "", "");
    for _ in 0..2 {
        let seen = told(&nobody());
        assert_eq!(
            (&seen["fields"]["x-key"], &seen["fields"]["x-doorman-user"]),
            (&json!("the-groups-key"), &Value::Null)
        );
    }
    assert_eq!(verdict(&nobody()), (401, "GTW008".to_owned()), "the first tier has two");
    let seen = told(&market.call());
    assert_eq!(
        (&seen["fields"]["x-key"], &seen["fields"]["x-doorman-user"]),
        (&json!("the-users-own"), &json!("ana"))
    );
    assert_eq!(market.call().status, 401);
    assert_eq!(
        market.ask("GET", ECHO, "Authorization: Bearer a.b.c\r\n", "").status,
        401,
        "a bad token is none"
    );
    market.clear();
    eventually("an address to begin anew", || if nobody().status == 200 { Ok(()) } else { Err(()) }).unwrap();
}
