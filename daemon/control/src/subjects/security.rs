//! The platform's security settings (spec/doorman.md 4.17): fields, what they mean, and whose address a client's is.

use crate::schema::{self, Absent, Field, Kind};
use crate::state::{Fields as _, Row, State};
use crate::subjects::addresses::{self, listed};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::snapshot::Security;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Table and key of the one row.
pub(crate) const PLACE: (&str, &str) = ("settings", "security");

pub(crate) const FIELDS: &[Field] = &[
    ("enable_auto_save", Kind::Flag, Absent::Is(false)),
    ("auto_save_frequency_seconds", Kind::Between(60, 31_536_000), Absent::Number(900)),
    ("dump_path", Kind::Text(1, 512), Absent::Text("generated/memory_dump.bin")),
    ("ip_whitelist", Kind::Texts, Absent::Empty),
    ("ip_blacklist", Kind::Texts, Absent::Empty),
    ("trust_x_forwarded_for", Kind::Flag, Absent::Is(false)),
    ("xff_trusted_proxies", Kind::Texts, Absent::Empty),
    ("allow_localhost_bypass", Kind::Flag, Absent::Null),
];

/// The settings as they are; `bypass` is what the daemon's own settings say, and locks the field.
pub(crate) fn settings(state: &State, bypass: Option<bool>) -> Row {
    let none = Row::new();
    let mut row = schema::complete(FIELDS, state.get(PLACE.0, PLACE.1).map_or(&none, |row| row));
    let said = bypass.or_else(|| row.get("allow_localhost_bypass").and_then(Value::as_bool));
    row.insert("allow_localhost_bypass".to_owned(), json!(said.unwrap_or(false)));
    row
}

/// The settings as the data plane may know them.
pub(crate) fn compiled(row: &Row) -> Security {
    Security {
        allow: row.list("ip_whitelist"),
        deny: row.list("ip_blacklist"),
        trust_forwarded: row.flag("trust_x_forwarded_for"),
        trusted_proxies: row.list("xff_trusted_proxies"),
        localhost_bypass: row.flag("allow_localhost_bypass"),
    }
}

/// Reads a body: older names beside the present ones (spec/doorman.md 7).
///
/// # Errors
/// 422 `VAL001`, or 400 `SEC005`, naming the field.
pub(crate) fn changes(body: &Value) -> Result<Row, Problem> {
    let mut body = body.clone();
    if let Some(object) = body.as_object_mut() {
        if let Some(flag) = object.remove("auto_save_memory_enabled") {
            object.entry("enable_auto_save").or_insert(flag);
        }
        if let Some(minutes) = object.remove("auto_save_memory_interval_minutes").and_then(|m| m.as_i64()) {
            object.entry("auto_save_frequency_seconds").or_insert(json!(minutes.saturating_mul(60)));
        }
    }
    let changes = schema::update(FIELDS, &body)?;
    let refused =
        |field: &str, text: &str| Err(Problem::compat(400, "SEC005", format!("{field}: {text}")).at(field));
    for field in ["ip_whitelist", "ip_blacklist", "xff_trusted_proxies"] {
        if let Some(text) = addresses::problem(&changes.list(field)) {
            return refused(field, &text);
        }
    }
    let path = changes.text("dump_path");
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return refused("dump_path", "expected a path below the data folder");
    }
    Ok(changes)
}

/// What an administrator should know about these settings.
pub(crate) fn warnings(security: &Security) -> Vec<&'static str> {
    [
        (
            security.trust_forwarded && security.trusted_proxies.is_empty(),
            "trust_x_forwarded_for without xff_trusted_proxies believes every loopback and private peer; list the proxies",
        ),
        (
            !security.trust_forwarded && !security.trusted_proxies.is_empty(),
            "xff_trusted_proxies without trust_x_forwarded_for has no effect",
        ),
        (
            security.trusted_proxies.iter().any(|proxy| proxy.ends_with("/0")),
            "xff_trusted_proxies holds every address: any client can say that it is another",
        ),
        (
            security.localhost_bypass && !(security.allow.is_empty() && security.deny.is_empty()),
            "allow_localhost_bypass lets every program on this machine pass the address lists",
        ),
    ]
    .into_iter()
    .filter_map(|(holds, text)| holds.then_some(text))
    .collect()
}

/// What a peer says about where a request comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forwarded {
    /// Whether there is any field that only a proxy writes.
    pub(crate) any: bool,
    /// All values of `X-Forwarded-For`, joined by commas.
    pub(crate) chain: Option<String>,
    pub(crate) real_ip: Option<String>,
}

/// Whose request it is: the peer's, or, where a trusted proxy tells, the last address of the chain that is not one. Where
/// no proxy is named, loopback and private peers are: no public client can be one.
pub(crate) fn client(security: &Security, peer: IpAddr, told: &Forwarded) -> IpAddr {
    let trusted = |address: IpAddr| match security.trusted_proxies.is_empty() {
        true => addresses::near(address),
        false => listed(&security.trusted_proxies, address),
    };
    if !security.trust_forwarded || !trusted(peer) {
        return peer;
    }
    let Some(chain) = &told.chain else {
        return told.real_ip.as_deref().and_then(|text| text.trim().parse().ok()).unwrap_or(peer);
    };
    let mut client = peer;
    for hop in chain.rsplit(',').map(str::trim) {
        // Whoever stands behind what cannot be read is unknown; the proxy that wrote it is who counts.
        let Ok(address) = hop.parse() else { return client };
        client = address;
        if !trusted(address) {
            return address;
        }
    }
    client
}

/// Why a client may not come in, if so.
pub(crate) fn refusal(security: &Security, peer: IpAddr, told: &Forwarded) -> Option<Problem> {
    if security.allow.is_empty() && security.deny.is_empty() {
        return None;
    }
    if security.localhost_bypass && !told.any && peer.to_canonical().is_loopback() {
        return None;
    }
    let client = client(security, peer, told);
    if listed(&security.deny, client) {
        return Some(Problem::compat(403, "SEC011", "This address is on the deny list"));
    }
    let shut = !security.allow.is_empty() && !listed(&security.allow, client);
    shut.then(|| Problem::compat(403, "SEC010", "This address is not on the allow list"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_trusted_hops_are_believed() {
        let trusting = Security {
            trust_forwarded: true,
            trusted_proxies: texts(&["10.0.0.0/8"]),
            ..Security::default()
        };
        let near = Security { trust_forwarded: true, ..Security::default() };
        let told = Forwarded { any: true, chain: Some("1.2.3.4, 192.168.1.1".to_owned()), real_ip: None };
        assert_eq!(client(&near, "127.0.0.1".parse().unwrap(), &told).to_string(), "1.2.3.4");
        assert_eq!(client(&near, "8.8.8.8".parse().unwrap(), &told).to_string(), "8.8.8.8");
        for (peer, chain, client_) in [
            ("10.0.0.1", Some("1.2.3.4"), "1.2.3.4"),
            ("10.0.0.1", Some("6.6.6.6, 1.2.3.4, 10.0.0.2"), "1.2.3.4"),
            ("10.0.0.1", Some("10.0.0.9, 10.0.0.2"), "10.0.0.9"),
            ("10.0.0.1", Some("1.2.3.4, rubbish, 10.0.0.2"), "10.0.0.2"),
            ("10.0.0.1", None, "9.9.9.9"),
            ("11.0.0.1", Some("1.2.3.4"), "11.0.0.1"),
        ] {
            let told =
                Forwarded { any: true, chain: chain.map(str::to_owned), real_ip: Some("9.9.9.9".to_owned()) };
            assert_eq!(
                client(&trusting, peer.parse().unwrap(), &told).to_string(),
                client_,
                "{peer} {chain:?}"
            );
        }
    }

    #[test]
    fn deny_comes_first_and_loopback_passes_only_unforwarded() {
        let security = Security {
            allow: texts(&["1.2.3.0/24"]),
            deny: texts(&["1.2.3.9"]),
            localhost_bypass: true,
            ..Security::default()
        };
        let forwarded = Forwarded { any: true, chain: Some("1.2.3.4".to_owned()), real_ip: None };
        for (peer, told, code) in [
            ("1.2.3.4", Forwarded::default(), None),
            ("1.2.3.9", Forwarded::default(), Some("SEC011")),
            ("1.2.4.1", Forwarded::default(), Some("SEC010")),
            ("127.0.0.1", Forwarded::default(), None),
            ("127.0.0.1", forwarded, Some("SEC010")),
        ] {
            let found = refusal(&security, peer.parse().unwrap(), &told).map(|problem| problem.code);
            assert_eq!(found.as_deref(), code, "{peer} {told:?}");
        }
    }

    #[test]
    fn older_names_are_taken_and_bad_lists_named() {
        let body = json!({"auto_save_memory_enabled": true, "auto_save_memory_interval_minutes": 5});
        let row = changes(&body).unwrap();
        assert_eq!(Value::Object(row), json!({"enable_auto_save": true, "auto_save_frequency_seconds": 300}));
        for (body, field) in [
            (json!({"ip_whitelist": ["x"]}), "ip_whitelist"),
            (json!({"dump_path": "../x"}), "dump_path"),
            (json!({"auto_save_frequency_seconds": 5}), "auto_save_frequency_seconds"),
        ] {
            assert_eq!(changes(&body).unwrap_err().field.as_deref(), Some(field));
        }
    }

    proptest! {
        #[test]
        fn never_panics(chain in ".{0,40}", peer in any::<[u8; 4]>()) {
            let security = Security {
                trust_forwarded: true,
                trusted_proxies: texts(&["0.0.0.0/0"]),
                allow: texts(&["::1"]),
                ..Security::default()
            };
            drop(refusal(&security, peer.into(), &Forwarded { any: true, chain: Some(chain.clone()), real_ip: Some(chain) }));
        }
    }
}
