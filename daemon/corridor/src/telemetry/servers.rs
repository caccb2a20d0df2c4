//! What probes found of each upstream server.

use gatehouse_common::limits::PROBED_SERVERS_MAX;
use imbl::OrdMap;
use std::sync::{Arc, PoisonError, RwLock};

/// `name/version` of the API, and the server's URL without user information.
pub type ServerName = (Arc<str>, Arc<str>);

/// Probed servers and whether each is out, at one moment: a cheap, consistent copy.
pub type Servers = OrdMap<ServerName, bool>;

/// The registry: written when a probe changes its mind, read by who asks.
#[derive(Debug, Default)]
pub(super) struct Registry(RwLock<Servers>);

impl Registry {
    /// Says whether a server is out; beyond `PROBED_SERVERS_MAX` new ones are not kept.
    pub(super) fn set(&self, route: &Arc<str>, server: &Arc<str>, out: bool) {
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = (Arc::clone(route), Arc::clone(server));
        if servers.len() < PROBED_SERVERS_MAX || servers.contains_key(&name) {
            servers.insert(name, out);
        }
    }

    /// Forgets all servers of an API.
    pub(super) fn forget(&self, route: &Arc<str>) {
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let first: ServerName = (Arc::clone(route), "".into());
        let names: Vec<ServerName> = servers
            .range(first..)
            .map(|(name, _)| name)
            .take_while(|name| name.0 == *route)
            .cloned()
            .collect();
        for name in names {
            servers.remove(&name);
        }
    }

    pub(super) fn all(&self) -> Servers {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_while_their_api_is() {
        let registry = Registry::default();
        let [a, b]: [Arc<str>; 2] = ["a/v1", "a/v10"].map(Into::into);
        let [one, two]: [Arc<str>; 2] = ["http://one", "http://two"].map(Into::into);
        for (route, server, out) in
            [(&a, &one, true), (&a, &two, false), (&b, &one, false), (&a, &one, false)]
        {
            registry.set(route, server, out);
        }
        assert_eq!(registry.all().len(), 3);
        assert!(registry.all().values().all(|out| !out));
        registry.forget(&a);
        assert_eq!(registry.all().keys().map(|(route, _)| &**route).collect::<Vec<_>>(), ["a/v10"]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let registry = Registry::default();
        let route: Arc<str> = "a/v1".into();
        for number in 0..PROBED_SERVERS_MAX + 5 {
            registry.set(&route, &number.to_string().into(), false);
        }
        registry.set(&route, &"1".into(), true);
        let all = registry.all();
        assert_eq!(all.len(), PROBED_SERVERS_MAX);
        assert_eq!(all.get(&(route, "1".into())), Some(&true), "what is known goes on");
    }
}
