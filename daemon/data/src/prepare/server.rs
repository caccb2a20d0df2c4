//! Upstream servers: their addresses, and what is known of each.

use crate::balance::Balancer;
use crate::breaker::Circuit;
use crate::upstream::peer::{Peer, Trust};
use gatehouse_corridor::snapshot::api::Balance;
use http::header::HeaderValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One upstream server of one list. It lives as long as that list has it, whatever else of the API changes.
#[derive(Debug)]
pub(crate) struct Server {
    /// `host:port`: where to connect.
    pub(crate) authority: Arc<str>,
    /// The `Host` sent.
    pub(crate) host: String,
    /// Whom connections are with.
    pub(crate) peer: Arc<Peer>,
    /// Path put before the request's, without a slash at its end.
    pub(crate) prefix: String,
    pub(crate) circuit: Circuit,
    pub(crate) in_flight: AtomicU64,
    /// Its probes fail.
    pub(crate) sick: AtomicBool,
}

impl Server {
    /// Whether it is the same server: a probe of one tells of the other.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.peer, &other.peer) && self.prefix == other.prefix && self.host == other.host
    }
}

/// Parses `http(s)://host[:port][/prefix]`.
pub(crate) fn server(text: &str, trust: &Trust<'_>) -> Result<Server, String> {
    let uri: http::Uri = text.parse().map_err(|_| format!("{text:?}: expected http://HOST:PORT"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(format!("{text:?}: expected a URL that begins with http:// or https://")),
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(|| format!("{text:?}: expected a host without user information"))?;
    let host = authority.host();
    if host.is_empty() || uri.query().is_some() {
        return Err(format!("{text:?}: expected a host and no query"));
    }
    let usual = if tls { 443 } else { 80 };
    let port = authority.port_u16().unwrap_or(usual);
    let peer = trust.peer(host, port, tls).map_err(|wrong| format!("{text:?}: {wrong}"))?;
    let prefix = uri.path().trim_end_matches('/').to_owned();
    let authority = format!("{host}:{port}");
    HeaderValue::from_str(&authority).map_err(|_| format!("{text:?}: expected a plain host"))?;
    // Virtual hosts of TLS rarely know themselves with the usual port.
    let host = if tls && port == usual { host.to_owned() } else { authority.clone() };
    let (circuit, in_flight, sick) = Default::default();
    Ok(Server { authority: authority.into(), host, peer, prefix, circuit, in_flight, sick })
}

/// Servers, and how one of them is chosen.
#[derive(Debug)]
pub(crate) struct Targets {
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) balancer: Balancer,
}

impl Targets {
    /// Compiles a list; `first` is whose turn it is.
    ///
    /// # Errors
    /// What a server's address or the way of choosing is not.
    pub(crate) fn compile(
        balance: &Balance,
        texts: &[String],
        first: usize,
        trust: &Trust<'_>,
    ) -> Result<Self, String> {
        let balancer = Balancer::compile(balance, texts, first)?;
        let servers = texts.iter().map(|text| server(text, trust).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { servers, balancer })
    }

    /// Goes on where a list before stood: whose turn it is, and the servers that both have, with their breakers, with what
    /// they are busy with and with what probes found of them.
    pub(crate) fn follow(&mut self, before: &Self) {
        self.balancer.follow(&before.balancer);
        let mut left: Vec<&Arc<Server>> = before.servers.iter().collect();
        for server in &mut self.servers {
            // One that is listed twice is two.
            if let Some(at) = left.iter().position(|known| known.same(server)) {
                *server = Arc::clone(left.swap_remove(at));
            }
        }
    }
}

/// Counts a call at a server until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Server>);

impl Busy {
    pub(crate) fn at(server: &Arc<Server>) -> Self {
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(server))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::server;
    use crate::upstream::peer::Peers;

    #[test]
    fn addresses() {
        let peers = Peers::default();
        let trust = peers.trust(None).unwrap();
        for (text, authority, host, prefix, tls) in [
            ("http://a", "a:80", "a:80", "", false),
            ("http://a:8080/x/", "a:8080", "a:8080", "/x", false),
            ("http://[::1]:1", "[::1]:1", "[::1]:1", "", false),
            ("https://a/x", "a:443", "a", "/x", true),
            ("https://a:8443", "a:8443", "a:8443", "", true),
        ] {
            let found = server(text, &trust).unwrap();
            assert_eq!(
                (&*found.authority, &*found.host, &*found.prefix, found.peer.tls.is_some()),
                (authority, host, prefix, tls)
            );
        }
        for bad in ["ftp://a", "a:80", "http://u:p@a", "http://a?x", "", "http://"] {
            assert!(server(bad, &trust).is_err(), "{bad}");
        }
    }
}
