//! One API, ready to serve: everything that its requests would else parse or allocate.

use super::server::{Server, Targets};
use crate::policies::addresses::Addresses;
use crate::policies::compress::Compress;
use crate::policies::cors::Cors;
use crate::policies::external::External;
use crate::policies::shed::Gate;
use crate::policies::transform::{Side, Transform};
use crate::policies::validate::Validator;
use crate::retry::Budget;
use crate::upstream::peer::{Peers, Trust};
use gatehouse_corridor::snapshot::{Api, GatewayLimits};
use gatehouse_corridor::telemetry::RouteStats;
use matchit::Router;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Who must show who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nobody; what is sent along is not looked at.
    Public,
    /// Nobody; but a credential counts, and who has none counts by its address.
    Anonymous,
    /// Everybody.
    Known,
}

/// An endpoint.
pub(crate) struct Endpoint {
    /// `None`: the API's.
    pub(crate) targets: Option<Arc<Targets>>,
    pub(crate) validator: Option<Validator>,
    /// `METHOD/name/version/uri`, as rate-limit rules call it.
    pub(crate) name: String,
}

/// A route.
pub(crate) struct Route {
    /// `name/version`.
    pub(crate) name: String,
    /// The revision it was compiled at: another for each version of the API.
    pub(crate) version: u64,
    pub(crate) api: Arc<Api>,
    pub(crate) access: Access,
    pub(crate) targets: Targets,
    /// All servers of its lists, if the API has them probed.
    pub(crate) probed: Vec<Arc<Server>>,
    pub(crate) methods: FxHashMap<String, Router<Endpoint>>,
    /// The lists of endpoints that have their own, by the endpoint's name.
    own: FxHashMap<String, Arc<Targets>>,
    /// Listed headers that pass both ways.
    headers: Vec<String>,
    pub(crate) addresses: Addresses,
    pub(crate) cors: Cors,
    pub(crate) request: Option<Transform>,
    pub(crate) response: Option<Transform>,
    pub(crate) compress: Option<Compress>,
    pub(crate) budget: Arc<Budget>,
    /// Bounds what is in flight here, if the API says how much.
    pub(crate) gate: Arc<Gate>,
    /// Whose tokens count beside our own.
    pub(crate) external: Option<External>,
    pub(crate) stats: Arc<RouteStats>,
}

/// Routes are told apart by their identity, as the rows that they are made of.
impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Route {
    /// Compiles an API. What is counted and known goes on where it stood `before`, in the same API's route.
    ///
    /// # Errors
    /// The first field that is not what it should be.
    pub(crate) fn compile(
        api: &Arc<Api>,
        limits: &GatewayLimits,
        stats: Arc<RouteStats>,
        peers: &Peers,
        before: Option<&Self>,
    ) -> Result<Self, Wrong> {
        let name = api.path();
        let before = before.filter(|before| before.api.id == api.id);
        // Where probes begin or end, what they found does not count, so those servers are others.
        let known = before.filter(|before| before.probes() == api.health_check.is_some());
        let trust = peers.trust(api.upstream_roots.as_deref()).map_err(at("api_upstream_roots"))?;
        let mut targets =
            Targets::compile(&api.balance, &api.servers, 0, &trust).map_err(at("api_servers"))?;
        if let Some(known) = known {
            targets.follow(&known.targets);
        }
        let (methods, own) = endpoints(api, &trust, known)?;
        let mut probed = Vec::new();
        if api.health_check.is_some() {
            let lists = std::iter::once(&targets).chain(own.values().map(|own| &**own));
            probed.extend(lists.flat_map(|list| list.servers.iter().cloned()));
        }
        let transform = |rules: &Option<Arc<serde_json::Value>>, side| {
            rules.as_ref().map(|rules| Transform::compile(rules, side)).transpose()
        };
        Ok(Self {
            access: match (api.public, api.auth_required, api.anonymous) {
                (true, _, _) | (false, false, false) => Access::Public,
                (false, false, true) => Access::Anonymous,
                (false, true, _) => Access::Known,
            },
            targets,
            probed,
            methods,
            own,
            headers: api.allowed_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            addresses: Addresses::api(&api.addresses).map_err(at("api_ip_whitelist"))?,
            cors: Cors::compile(&api.cors).map_err(at("api_cors_allow_origins"))?,
            request: transform(&api.request_transform, Side::Request).map_err(at("api_request_transform"))?,
            response: transform(&api.response_transform, Side::Response)
                .map_err(at("api_response_transform"))?,
            compress: Compress::compile(&limits.compression, api.compress).map_err(at("api_compress"))?,
            budget: before.map(|before| Arc::clone(&before.budget)).unwrap_or_default(),
            gate: before.map(|before| Arc::clone(&before.gate)).unwrap_or_default(),
            external: api.issuer.as_ref().map(External::compile).transpose().map_err(at("api_issuer"))?,
            stats,
            version: 0,
            name,
            api: Arc::clone(api),
        })
    }

    /// Whether its servers are probed.
    fn probes(&self) -> bool {
        self.api.health_check.is_some()
    }

    /// Whether the API lists any header.
    pub(crate) fn lists_any(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Whether the API lists this header, in any case.
    pub(crate) fn lists(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A field of an API that is not what it should be.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) field: &'static str,
    pub(crate) detail: String,
}

/// Names the field.
pub(crate) fn at(field: &'static str) -> impl Fn(String) -> Wrong {
    move |detail| Wrong { field, detail }
}

type Endpoints = (FxHashMap<String, Router<Endpoint>>, FxHashMap<String, Arc<Targets>>);

/// Endpoints by method, and the lists of those that have their own.
fn endpoints(api: &Api, trust: &Trust<'_>, known: Option<&Route>) -> Result<Endpoints, Wrong> {
    let (mut methods, mut lists) = Endpoints::default();
    for endpoint in &api.endpoints {
        let uri = pattern(&endpoint.uri);
        let name = format!("{}/{}{uri}", endpoint.method, api.path());
        let mut targets = None;
        if !endpoint.servers.is_empty() {
            let mut own = Targets::compile(&api.balance, &endpoint.servers, 0, trust)
                .map_err(at("endpoint_servers"))?;
            if let Some(known) = known.and_then(|known| known.own.get(&name)) {
                own.follow(known);
            }
            let own = Arc::new(own);
            lists.insert(name.clone(), Arc::clone(&own));
            targets = Some(own);
        }
        let validator = endpoint.validation.as_ref().map(Validator::compile).transpose();
        let ready = Endpoint { targets, validator: validator.map_err(at("validation_schema"))?, name };
        let router = methods.entry(endpoint.method.clone()).or_default();
        router.insert(uri, ready).map_err(|error| Wrong {
            field: "endpoint_uri",
            detail: format!("{} {}: {error}", endpoint.method, endpoint.uri),
        })?;
    }
    Ok((methods, lists))
}

fn pattern(uri: &str) -> String {
    if uri.starts_with('/') { uri.to_owned() } else { format!("/{uri}") }
}
