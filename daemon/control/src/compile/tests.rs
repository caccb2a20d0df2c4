//! Whatever the changes are, and in whatever order they come, what is compiled of each is what compiling all gives.

use super::*;
use crate::leases::ACCOUNTS;
use crate::state::Fields as _;
use crate::subjects::{credits, tiers};
use gatehouse_common::ids::Revision;
use gatehouse_common::secret::Secret;
use proptest::prelude::*;
use serde_json::{Value, json};

/// When all of it is compiled.
const NOW: i64 = 1_700_000_000_000;

fn row(value: Value) -> Option<Arc<Row>> {
    value.as_object().cloned().map(Arc::new)
}

fn compiler() -> Compiler {
    Compiler {
        token_keys: Vec::new(),
        limits: Arc::default(),
        counters: 0,
        enforce_admin_subscription: false,
        localhost_bypass: None,
        sealer: Arc::new(Sealer::new(&Secret::new("0123456789".to_owned())).unwrap()),
        cells: Arc::default(),
        usages: Arc::default(),
        clock: Clock::manual(NOW),
        jwks: KeySets::new(),
    }
}

/// A row of what decides about calls beside APIs and users.
fn rule(table: usize, key: u8, variant: u8) -> (&'static str, String, Value) {
    let (name, other) = (format!("n{key}"), variant % 3);
    match table {
        9 => {
            let limits = json!({"requests_per_minute": variant});
            ("tiers", format!("t{other}"), json!({"tier_id": format!("t{other}"), "limits": limits}))
        }
        10 => {
            let span = (NOW + i64::from(other) - 1, Some(NOW + i64::from(variant % 2)));
            let below = tiers::assignment(&name, "t0", (0, None));
            let upper = tiers::assignment(&name, &format!("t{other}"), span);
            ("assignments", name, Value::Object(tiers::laid_upon(Some(&below), upper, 0)))
        }
        11 => {
            let rule = json!({"rule_type": "global", "time_window": "minute", "limit": variant, "enabled": other > 0});
            ("rate_rules", name, rule)
        }
        _ => {
            let rules = json!({"a": {"required": true, "min": variant}});
            let value = json!({"validation_enabled": key > 1, "validation_schema": rules});
            ("validations", format!("e{other}"), value)
        }
    }
}

/// One of a few rows of each table, so that changes meet.
fn change(table: usize, key: u8, variant: u8) -> (&'static str, String, Option<Arc<Row>>) {
    let (key, other) = (key % 4, variant % 3);
    let name = format!("n{key}");
    let (table, name, value) = match table % 15 {
        0 => (
            "apis",
            format!("{name}/v1"),
            json!({"api_name": name, "api_version": "v1", "active": other > 0}),
        ),
        1 => {
            let api = format!("n{other}");
            let uri = format!("/{key}");
            let key = crate::api::endpoints::key("GET", &api, "v1", &uri);
            (
                "endpoints",
                key,
                json!({"api_name": api, "api_version": "v1", "endpoint_uri": uri, "endpoint_id": format!("e{other}"),
                       "endpoint_method": "GET", "endpoint_servers": [variant.to_string()]}),
            )
        }
        2 => {
            let role = format!("n{other}");
            (
                "users",
                name.clone(),
                json!({"username": name, "role": role, "active": variant > 100,
                                           "email": format!("{variant}@x")}),
            )
        }
        3 => ("roles", name.clone(), json!({"role_name": name, "platform_admin": other == 0})),
        4 => ("subscriptions", name.clone(), json!({"username": name, "apis": [format!("n{other}/v1")]})),
        5 => {
            ("routings", name.clone(), json!({"client_key": name, "routing_servers": [variant.to_string()]}))
        }
        6 => ("settings", "security".to_owned(), json!({"ip_blacklist": [format!("10.0.0.{variant}")]})),
        7 => {
            let groups = json!({format!("g{other}"): {"available_credits": variant, "tier_name": "t"}});
            (ACCOUNTS, name.clone(), json!({"username": name, "users_credits": groups}))
        }
        8 => {
            let sealed =
                compiler().sealer.seal(&credits::place(&name, "api_key"), &variant.to_string()).unwrap();
            (
                "credits",
                name.clone(),
                json!({"api_credit_group": name, "api_key": sealed, "api_key_header": "x-key"}),
            )
        }
        9..13 => rule(table % 15, key, variant),
        // A hash belongs to one row: keys are random.
        13 => {
            let hash = hex::encode([key; 32]);
            ("keys", name, json!({"username": format!("n{other}"), "hash": hash}))
        }
        _ => {
            let (hash, scope) =
                (hex::encode([key + 100; 32]), ["gateway", "admin"][usize::from(variant % 2)]);
            let networks = if other == 0 { vec!["10.0.0.0/8"] } else { Vec::new() };
            let value = json!({"username": format!("n{other}"), "hash": hash, "scopes": [scope], "epoch": variant,
                               "networks": networks});
            ("tokens", name, value)
        }
    };
    (table, name, if variant.is_multiple_of(5) { None } else { row(value) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_compiled_change_is_what_compiling_all_gives(
        changes in proptest::collection::vec((0usize..15, any::<u8>(), any::<u8>(), any::<bool>()), 1..40),
    ) {
        let compiler = compiler();
        let (mut state, mut published) = (State::default(), State::default());
        let mut snapshot = compile(&compiler, &state);
        for (table, key, variant, publish) in changes {
            let (table, key, row) = change(table, key, variant);
            state.set(table, &key, row);
            state.revision = Revision(state.revision.0 + 1);
            // Several changes may be published as one.
            if publish {
                snapshot = update(&compiler, &published, &state, &snapshot, &BTreeSet::new());
                published = state.clone();
                let whole = compile(&compiler, &state);
                prop_assert_eq!(format!("{snapshot:?}"), format!("{whole:?}"));
            }
        }
    }

    #[test]
    fn an_index_holds_what_the_rows_say(
        changes in proptest::collection::vec((0usize..15, any::<u8>(), any::<u8>()), 1..60),
    ) {
        let mut state = State::default();
        for (table, key, variant) in changes {
            let (table, key, row) = change(table, key, variant);
            state.set(table, &key, row);
        }
        for role in ["n0", "n1", "n2"] {
            let found: Vec<_> = state.keys_by(crate::index::By::UserRole, role).collect();
            let users = state.rows("users").filter(|(_, row)| row.text("role") == role);
            prop_assert_eq!(found, users.map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        }
    }
}

fn many(apis: usize, endpoints: usize, users: usize) -> State {
    let mut state = State::default();
    for api in 0..apis {
        let name = format!("api{api}");
        let value =
            json!({"api_name": name, "api_version": "v1", "active": true, "api_servers": ["http://a:1"]});
        state.set("apis", &format!("{name}/v1"), row(value));
        for endpoint in 0..endpoints {
            let uri = format!("/e{endpoint}/{{id}}");
            let value =
                json!({"api_name": name, "api_version": "v1", "endpoint_uri": uri, "endpoint_method": "GET"});
            state.set("endpoints", &crate::api::endpoints::key("GET", &name, "v1", &uri), row(value));
        }
    }
    for user in 0..users {
        let name = format!("user{user}");
        let value =
            json!({"username": name, "email": format!("{name}@x.org"), "role": "user", "groups": ["ALL"]});
        state.set("users", &name, row(value));
        state.set("subscriptions", &name, row(json!({"username": name, "apis": ["api1/v1"]})));
    }
    state
}

/// The rows that are not shared, and how long both ways took, seconds.
fn measured(apis: usize, endpoints: usize, users: usize) -> (usize, usize, f64, f64) {
    let compiler = compiler();
    let old = many(apis, endpoints, users);
    let begun = std::time::Instant::now();
    let before = compile(&compiler, &old);
    let whole = begun.elapsed().as_secs_f64();
    let mut new = old.clone();
    let mut api = Row::clone(old.get("apis", "api1/v1").unwrap());
    api.insert("active".to_owned(), json!(false));
    new.set("apis", "api1/v1", Some(Arc::new(api)));
    new.set("subscriptions", "user1", None);
    let begun = std::time::Instant::now();
    let after = update(&compiler, &old, &new, &before, &BTreeSet::new());
    let one = begun.elapsed().as_secs_f64();
    let apis = before.apis.iter().filter(|(key, api)| !Arc::ptr_eq(api, &after.apis[*key])).count();
    let users =
        before.consumers.iter().filter(|(key, one)| !Arc::ptr_eq(one, &after.consumers[*key])).count();
    assert!(
        Arc::ptr_eq(&before.consumers["user1"].usage, &after.consumers["user1"].usage),
        "what it counts in"
    );
    (apis, users, whole, one)
}

#[test]
fn a_change_costs_what_it_changes() {
    let (apis, users, whole, one) = measured(500, 10, 3_000);
    assert_eq!((apis, users), (1, 1), "all other rows are shared");
    // Two rows of thousands: far less than a tenth, whatever else the machine does.
    assert!(one < whole / 10.0, "all: {whole} s, one: {one} s");
}
