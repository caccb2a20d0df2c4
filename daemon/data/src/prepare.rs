//! Snapshot to [`Prepared`]: all parsing, compiling and allocating that requests would else repeat. What a change left
//! as it was is taken over as it is, with its counters.

mod check;
pub(crate) mod route;
pub(crate) mod server;
pub(crate) mod who;

use crate::policies::addresses::Addresses;
use crate::policies::anonymous::Allowance;
use crate::policies::forwarded::Proxies;
use crate::policies::rules::Rules;
use crate::policies::shed::Shares;
use crate::upstream::peer::Peers;
use gatehouse_common::ids::{Revision, RouteId};
use gatehouse_corridor::snapshot::api::Balance;
use gatehouse_corridor::snapshot::{Api, Routing, Snapshot};
use gatehouse_corridor::telemetry::Telemetry;
use imbl::ordmap::DiffItem;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap};
use jsonwebtoken::DecodingKey;
use route::Route;
use rustc_hash::{FxBuildHasher, FxHashSet};
use server::Targets;
use std::collections::HashMap;
use std::sync::Arc;
use who::Who;

pub(crate) use check::check;

/// A table that shares what did not change with the one before. A quick hash: a client chooses what is looked up here,
/// but not what lies here.
pub(crate) type Table<V> = GenericHashMap<Arc<str>, Arc<V>, FxBuildHasher, DefaultSharedPtr>;

/// All that a call needs, immutable.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The last revision that changed who may show what: verified tokens of an earlier one are looked at again.
    pub(crate) identity: Revision,
    pub(crate) routes: Table<Route>,
    /// The same routes by host name.
    pub(crate) hosts: Table<Route>,
    pub(crate) routings: Table<Targets>,
    /// The last revision that changed a routing.
    pub(crate) routed: Revision,
    pub(crate) consumers: Table<Who>,
    pub(crate) token_keys: Arc<HashMap<String, DecodingKey>>,
    pub(crate) platform: Arc<Addresses>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) rules: Arc<Rules>,
    /// What anonymous addresses may spend, by credit group; of groups that some API names for them.
    pub(crate) allowances: Table<Allowance>,
    /// How many APIs have each priority, and what of the gateway's bound each may fill.
    pub(crate) priorities: [usize; 10],
    pub(crate) shares: Shares,
    /// Whom upstream connections are with, shared by all routes.
    pub(crate) peers: Arc<Peers>,
    /// The routes whose servers are probed.
    pub(crate) probed: OrdMap<String, Arc<Route>>,
}

impl std::ops::Deref for Prepared {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

type Rows<V> = imbl::OrdMap<String, Arc<V>>;

/// The rows that are new or other ones.
fn changed<'s, V: PartialEq>(
    before: &'s Rows<V>,
    now: &'s Rows<V>,
) -> impl Iterator<Item = (&'s String, &'s Arc<V>)> {
    before.diff(now).filter_map(|item| match item {
        DiffItem::Add(key, row) | DiffItem::Update { new: (key, row), .. } => Some((key, row)),
        DiffItem::Remove(..) => None,
    })
}

/// A routing's servers are trusted by the system's roots: it belongs to no API.
fn compile_routing(routing: &Routing, peers: &Peers) -> Result<Targets, String> {
    let trust = peers.trust(None)?;
    Targets::compile(&Balance::RoundRobin, &routing.servers, routing.server_index, &trust)
}

/// Compiles what differs from `before`. What [`check`] refuses is left out.
pub(crate) fn prepare(snapshot: &Arc<Snapshot>, before: &Prepared, telemetry: &Telemetry) -> Prepared {
    let old = &before.snapshot;
    let mut prepared = Prepared {
        snapshot: Arc::clone(snapshot),
        identity: before.identity,
        routes: before.routes.clone(),
        hosts: before.hosts.clone(),
        routings: before.routings.clone(),
        routed: before.routed,
        consumers: before.consumers.clone(),
        token_keys: Arc::clone(&before.token_keys),
        platform: Arc::clone(&before.platform),
        proxies: Arc::clone(&before.proxies),
        rules: Arc::clone(&before.rules),
        allowances: before.allowances.clone(),
        priorities: before.priorities,
        shares: before.shares.clone(),
        peers: Arc::clone(&before.peers),
        probed: before.probed.clone(),
    };
    if !Arc::ptr_eq(&old.limits, &snapshot.limits) {
        // What an API leaves open is as the settings say.
        prepared.all_routes(snapshot, telemetry);
    } else {
        prepared.routes_of(old, snapshot, telemetry);
    }
    if prepared.priorities != before.priorities || !Arc::ptr_eq(&old.limits, &snapshot.limits) {
        let taken =
            (0..).zip(prepared.priorities).filter(|(_, apis)| *apis > 0).map(|(priority, _)| priority);
        prepared.shares = Shares::compile(snapshot.limits.in_flight, taken).unwrap_or_default();
    }
    prepared.consumers_of(old, snapshot);
    prepared.routings_of(old, snapshot);
    prepared.identity_of(old, snapshot);
    prepared.allowances_of(old, snapshot);
    if !Arc::ptr_eq(&old.security, &snapshot.security) {
        prepared.platform = Addresses::platform(&snapshot.security).map(Arc::new).unwrap_or_default();
        let proxies = Proxies::compile(&snapshot.security.trusted_proxies);
        prepared.proxies = proxies.map(Arc::new).unwrap_or_default();
    }
    let anew = old.counters != snapshot.counters;
    if anew || !Arc::ptr_eq(&old.rules, &snapshot.rules) {
        let known = (!anew).then_some(&*before.rules);
        prepared.rules = Rules::compile(&snapshot.rules, known).map(Arc::new).unwrap_or_default();
    }
    prepared
}

impl Prepared {
    fn all_routes(&mut self, snapshot: &Snapshot, telemetry: &Telemetry) {
        let before = std::mem::take(&mut self.routes);
        (self.hosts, self.priorities, self.probed) = Default::default();
        let ids: FxHashSet<&RouteId> = snapshot.apis.values().map(|api| &api.id).collect();
        telemetry.retain(|id| ids.contains(id));
        for api in snapshot.apis.values() {
            self.counted(api, usize::wrapping_add);
            let before = before.get(api.path().as_str());
            self.route(api, before.map(|before| &**before), snapshot, telemetry);
        }
    }

    fn routes_of(&mut self, old: &Snapshot, snapshot: &Snapshot, telemetry: &Telemetry) {
        for item in old.apis.diff(&snapshot.apis) {
            let (gone, come) = match item {
                DiffItem::Add(_, api) => (None, Some(api)),
                DiffItem::Update { old: (_, gone), new: (_, come) } => (Some(gone), Some(come)),
                DiffItem::Remove(_, gone) => (Some(gone), None),
            };
            let before = gone.and_then(|gone| self.routes.remove(gone.path().as_str()));
            if before.as_ref().is_some_and(|before| !before.probed.is_empty()) {
                self.probed.remove(&gone.map(|gone| gone.path()).unwrap_or_default());
            }
            if let Some(gone) = gone {
                self.counted(gone, usize::wrapping_sub);
                // Another API may have taken it in the same snapshot.
                let host = gone.hostname.as_deref();
                let host = host.filter(|host| self.hosts.get(*host).is_some_and(|at| at.api.id == gone.id));
                if let Some(host) = host {
                    self.hosts.remove(host);
                }
                if come.is_none_or(|come| come.id != gone.id) {
                    telemetry.forget_route(&gone.id);
                }
            }
            if let Some(come) = come {
                self.counted(come, usize::wrapping_add);
                self.route(come, before.as_deref(), snapshot, telemetry);
            }
        }
    }

    fn route(&mut self, api: &Arc<Api>, before: Option<&Route>, snapshot: &Snapshot, telemetry: &Telemetry) {
        let name = api.path();
        let stats = telemetry.route_stats(&api.id, &name);
        match Route::compile(api, &snapshot.limits, stats, &self.peers, before) {
            Ok(mut route) => {
                route.version = snapshot.revision.0;
                let route = Arc::new(route);
                if !route.probed.is_empty() {
                    self.probed.insert(name.clone(), Arc::clone(&route));
                }
                if let Some(host) = &api.hostname {
                    self.hosts.insert(host.as_str().into(), Arc::clone(&route));
                }
                self.routes.insert(name.into(), route);
            }
            Err(wrong) => {
                tracing::error!(target: "prepare", api = name, field = wrong.field, detail = wrong.detail, "not served");
            }
        }
    }

    fn counted(&mut self, api: &Api, change: impl Fn(usize, usize) -> usize) {
        if let Some(apis) = self.priorities.get_mut(usize::from(api.priority)) {
            *apis = change(*apis, 1);
        }
    }

    fn consumers_of(&mut self, old: &Snapshot, snapshot: &Snapshot) {
        let nothing = Snapshot::default();
        let anew = old.counters != snapshot.counters;
        if anew {
            self.consumers = Table::default();
        }
        if anew {
            snapshot.consumers.values().for_each(|consumer| consumer.usage.clear_limits());
        }
        let old = if anew { &nothing } else { old };
        for item in old.consumers.diff(&snapshot.consumers) {
            let (name, consumer) = match item {
                DiffItem::Add(name, consumer) | DiffItem::Update { new: (name, consumer), .. } => {
                    (name, consumer)
                }
                DiffItem::Remove(name, _) => {
                    self.consumers.remove(name.as_str());
                    continue;
                }
            };
            let before = self.consumers.get(name.as_str()).map(|who| &**who);
            match Who::compile(consumer, before) {
                Ok(who) => drop(self.consumers.insert(name.as_str().into(), Arc::new(who))),
                Err(wrong) => {
                    tracing::error!(target: "prepare", consumer = name, field = wrong.field, detail = wrong.detail, "not let in");
                }
            }
        }
    }

    fn routings_of(&mut self, old: &Snapshot, snapshot: &Snapshot) {
        for item in old.routings.diff(&snapshot.routings) {
            self.routed = snapshot.revision;
            match item {
                DiffItem::Remove(key, _) => drop(self.routings.remove(key.as_str())),
                DiffItem::Add(key, routing) | DiffItem::Update { new: (key, routing), .. } => {
                    if let Ok(targets) = compile_routing(routing, &self.peers) {
                        self.routings.insert(key.as_str().into(), Arc::new(targets));
                    }
                }
            }
        }
    }

    fn allowances_of(&mut self, old: &Snapshot, snapshot: &Snapshot) {
        let names = |(_, api): (&String, &Arc<Api>)| api.anonymous_credit_group.is_some();
        let groups = old.credit_groups.ptr_eq(&snapshot.credit_groups);
        let anew = old.counters != snapshot.counters;
        if groups && !anew && !changed(&old.apis, &snapshot.apis).any(names) {
            return;
        }
        let before = if anew { Table::default() } else { std::mem::take(&mut self.allowances) };
        self.allowances = Table::default();
        for name in snapshot.apis.values().filter_map(|api| api.anonymous_credit_group.as_ref()) {
            let rate = snapshot.credit_groups.get(name).and_then(|group| group.anonymous);
            let Some(rate) = rate.filter(|_| self.allowances.get(name.as_str()).is_none()) else { continue };
            let known = before.get(name.as_str()).filter(|known| known.continues(rate)).cloned();
            let made = || Allowance::compile("credit_tiers", rate).map(Arc::new).ok();
            if let Some(allowance) = known.or_else(made) {
                self.allowances.insert(name.as_str().into(), allowance);
            }
        }
    }

    /// Whether another may show what it could not before, or the other way round.
    fn identity_of(&mut self, old: &Snapshot, snapshot: &Snapshot) {
        let same_keys = old.token_keys.len() == snapshot.token_keys.len()
            && old
                .token_keys
                .iter()
                .zip(&snapshot.token_keys)
                .all(|(a, b)| a.kid == b.kid && a.secret.expose() == b.secret.expose());
        if !same_keys {
            let keys = snapshot.token_keys.iter();
            let keys = keys.map(|key| (key.kid.clone(), DecodingKey::from_secret(key.secret.expose())));
            self.token_keys = Arc::new(keys.collect());
        }
        // The keys of an external issuer lie in its API's row.
        let issuer = |(_, api): (&String, &Arc<Api>)| api.issuer.is_some();
        let same = same_keys
            && !changed(&old.apis, &snapshot.apis).any(issuer)
            && old.consumers.ptr_eq(&snapshot.consumers)
            && old.revoked_tokens.ptr_eq(&snapshot.revoked_tokens)
            && old.api_keys.ptr_eq(&snapshot.api_keys);
        if !same || old.counters != snapshot.counters {
            self.identity = snapshot.revision;
        }
    }
}

#[cfg(test)]
mod tests;
