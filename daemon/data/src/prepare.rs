//! Snapshot to [`Prepared`]: all parsing, compiling and allocating that requests would else repeat.

use crate::policies::rate_limit::Limiter;
use gatehouse_common::ids::Revision;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::snapshot::{Api, ApiKey, Consumer, GatewayLimits, Snapshot};
use gatehouse_corridor::telemetry::RouteStats;
use http::header::HeaderValue;
use jsonwebtoken::DecodingKey;
use matchit::Router;
use rustc_hash::FxHashMap;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// An upstream base address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Upstream {
    /// `host:port`: where to connect, and the `Host` sent.
    pub(crate) authority: Arc<str>,
    /// Path put before the request's, without a slash at its end.
    pub(crate) prefix: String,
}

/// Upstreams taken in turn.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) all: Vec<Upstream>,
    pub(crate) turn: AtomicUsize,
}

/// A route, ready to serve.
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) api: Api,
    pub(crate) targets: Targets,
    pub(crate) methods: FxHashMap<String, Router<Targets>>,
    pub(crate) headers: HashSet<String>,
    pub(crate) stats: Arc<RouteStats>,
}

/// A consumer, ready to be asked.
pub(crate) struct Who {
    pub(crate) consumer: Consumer,
    /// The name, as upstreams get it; `None` if no field can hold it.
    pub(crate) name: Option<HeaderValue>,
    pub(crate) subscriptions: HashSet<String>,
    pub(crate) limiter: Option<Arc<Limiter>>,
}

/// All that a call needs, immutable.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) revision: Revision,
    counters: u64,
    pub(crate) limits: Arc<GatewayLimits>,
    pub(crate) routes: FxHashMap<String, Route>,
    pub(crate) consumers: HashMap<String, Arc<Who>>,
    pub(crate) api_keys: HashMap<[u8; 32], Arc<ApiKey>>,
    pub(crate) token_keys: HashMap<String, DecodingKey>,
    pub(crate) revoked: HashSet<String>,
    order: Vec<String>,
}

impl Prepared {
    /// Takes the counters of the routes, in the snapshot's order.
    pub(crate) fn adopt_stats(&mut self, stats: Vec<Arc<RouteStats>>) {
        for (name, stats) in self.order.iter().zip(stats) {
            if let Some(route) = self.routes.get_mut(name) {
                route.stats = stats;
            }
        }
    }
}

/// Parses `http://host[:port][/prefix]`.
pub(crate) fn upstream(text: &str) -> Result<Upstream, String> {
    let uri: http::Uri = text.parse().map_err(|_| format!("{text:?}: expected http://HOST:PORT"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("{text:?}: expected a URL that begins with http://"));
    }
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(|| format!("{text:?}: expected a host without user information"))?;
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host();
    if host.is_empty() || uri.query().is_some() {
        return Err(format!("{text:?}: expected a host and no query"));
    }
    let prefix = uri.path().trim_end_matches('/').to_owned();
    let authority = format!("{host}:{port}");
    HeaderValue::from_str(&authority).map_err(|_| format!("{text:?}: expected a plain host"))?;
    Ok(Upstream { authority: authority.into(), prefix })
}

fn targets(servers: &[String]) -> Targets {
    let all = servers.iter().filter_map(|server| upstream(server).ok()).collect();
    Targets { all, turn: AtomicUsize::new(0) }
}

/// All problems of the APIs that `before` does not share, each naming its API and field.
pub(crate) fn check(before: &Snapshot, snapshot: &Snapshot) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut found =
        |field: &str, detail: String| problems.push(Problem::new(Code::BadInput, detail).at(field));
    let shared = |key: &String, api: &Arc<Api>| before.apis.get(key).is_some_and(|old| Arc::ptr_eq(old, api));
    for (key, api) in snapshot.apis.iter().filter(|(key, api)| !shared(key, api)) {
        let name = api.path();
        if *key != name {
            found("api_name", format!("{name}: it lies under the key {key:?}"));
        }
        for server in api.servers.iter().chain(api.endpoints.iter().flat_map(|endpoint| &endpoint.servers)) {
            if let Err(detail) = upstream(server) {
                found("api_servers", format!("{name}: {detail}"));
            }
        }
        let mut methods: HashMap<&str, Router<()>> = HashMap::new();
        for endpoint in &api.endpoints {
            let router = methods.entry(&endpoint.method).or_default();
            if let Err(error) = router.insert(pattern(&endpoint.uri), ()) {
                found("endpoint_uri", format!("{name}: {} {}: {error}", endpoint.method, endpoint.uri));
            }
        }
    }
    problems
}

fn pattern(uri: &str) -> String {
    if uri.starts_with('/') { uri.to_owned() } else { format!("/{uri}") }
}

/// Compiles a snapshot. What [`check`] refuses is left out. Limiters of rates that did not change go on
/// where they stood in the one before, unless counters are to begin anew.
pub(crate) fn prepare(snapshot: &Snapshot, before: &Prepared) -> Prepared {
    let begin = Prepared::default();
    let before = if before.counters == snapshot.counters { before } else { &begin };
    let order: Vec<String> = snapshot.apis.values().map(|api| api.path()).collect();
    let token_keys = snapshot
        .token_keys
        .iter()
        .map(|key| (key.kid.clone(), DecodingKey::from_secret(key.secret.expose())))
        .collect();
    Prepared {
        revision: snapshot.revision,
        counters: snapshot.counters,
        limits: Arc::clone(&snapshot.limits),
        routes: snapshot.apis.values().map(|api| (api.path(), route(api))).collect(),
        consumers: snapshot.consumers.values().map(|one| (one.id.0.clone(), who(one, before))).collect(),
        api_keys: snapshot.api_keys.iter().map(|(hash, key)| (*hash, Arc::clone(key))).collect(),
        token_keys,
        revoked: snapshot.revoked_tokens.iter().cloned().collect(),
        order,
    }
}

fn route(api: &Api) -> Route {
    let mut methods: FxHashMap<String, Router<Targets>> = FxHashMap::default();
    for endpoint in &api.endpoints {
        let router = methods.entry(endpoint.method.clone()).or_default();
        // A conflict was refused by `check`; here the first one stays.
        drop(router.insert(pattern(&endpoint.uri), targets(&endpoint.servers)));
    }
    Route {
        name: api.path(),
        targets: targets(&api.servers),
        methods,
        headers: api.allowed_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
        stats: Arc::default(),
        api: api.clone(),
    }
}

fn who(consumer: &Consumer, before: &Prepared) -> Arc<Who> {
    let old = before.consumers.get(&consumer.id.0).and_then(|who| who.limiter.clone());
    let limiter = consumer.rate.map(|rate| match old {
        Some(old) if old.rate == rate => old,
        _ => Arc::new(Limiter::new(rate)),
    });
    let subscriptions = consumer.subscriptions.iter().cloned().collect();
    let name = HeaderValue::from_str(consumer.id.as_str()).ok();
    Arc::new(Who { consumer: consumer.clone(), name, subscriptions, limiter })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::snapshot::Endpoint;
    use proptest::prelude::*;

    #[test]
    fn upstream_addresses() {
        for (text, authority, prefix) in [
            ("http://a", "a:80", ""),
            ("http://a:8080/x/", "a:8080", "/x"),
            ("http://[::1]:1", "[::1]:1", ""),
        ] {
            let found = upstream(text).unwrap();
            assert_eq!((&*found.authority, found.prefix.as_str()), (authority, prefix));
        }
        for bad in ["https://a", "a:80", "http://u:p@a", "http://a?x", "", "http://"] {
            assert!(upstream(bad).is_err(), "{bad}");
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
            let api = Api { name: "a".into(), version: "v1".into(), endpoints, servers: vec![server], ..Api::default() };
            let snapshot = Snapshot { apis: [("a/v1".to_owned(), Arc::new(api))].into_iter().collect(), ..Snapshot::default() };
            let prepared = prepare(&snapshot, &Prepared::default());
            if check(&Snapshot::default(), &snapshot).is_empty() {
                prop_assert_eq!(prepared.routes["a/v1"].targets.all.len(), 1);
            }
        }
    }
}
