//! Whom an upstream connection is with: address, whether it speaks TLS, as whom and trusted by which roots. Routes that
//! mean the same share one [`Peer`], so that its identity is its place in memory; connections never cross from one to
//! another.

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// Servers whose TLS sessions are remembered for each set of roots.
const SESSIONS: usize = 1_024;
/// Fewer peers than this are not looked through for those that are gone.
const FEW: usize = 256;

/// SHA-256 of an API's own roots; `None`: the system's.
type Roots = Option<[u8; 32]>;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Address(IpAddr),
    /// Lower case.
    Name(Arc<str>),
}

/// How a server shows who it is.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    /// Sent, and looked for in the certificate.
    pub(crate) name: ServerName<'static>,
}

/// One that connections are made to.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
    /// The last attempt to connect failed.
    failing: AtomicBool,
}

impl Peer {
    /// A connection was made, or not. Whether that is news.
    pub(crate) fn connected(&self, well: bool) -> bool {
        // Mostly nothing changes, and then nothing is written.
        self.failing.load(Ordering::Relaxed) == well && self.failing.swap(!well, Ordering::Relaxed) == well
    }
}

type Identity = (Host, u16, Option<Roots>);

#[derive(Debug, Default)]
struct Known {
    peers: HashMap<Identity, Weak<Peer>>,
    /// When so many are known, those that are gone are forgotten.
    full: usize,
    configs: HashMap<[u8; 32], Weak<ClientConfig>>,
}

/// All peers that some route names. Its lock is taken when routes are compiled, never by a request.
#[derive(Debug)]
pub(crate) struct Peers {
    provider: Arc<CryptoProvider>,
    /// For who brings no roots; `None`: TLS cannot be had.
    system: Option<Arc<ClientConfig>>,
    known: RwLock<Known>,
}

impl Default for Peers {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Peers {
    /// Peers that are checked against these roots, where an API brings none.
    pub(crate) fn new(system: &[CertificateDer<'static>]) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut store = RootCertStore::empty();
        // What cannot be read is of no use, and there are others.
        store.add_parsable_certificates(system.iter().cloned());
        let system = config(&provider, store).ok();
        Self { provider, system, known: RwLock::default() }
    }

    /// Peers as one API trusts them: by its own roots, PEM text, or the system's.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn trust(&self, pem: Option<&str>) -> Result<Trust<'_>, String> {
        let Some(pem) = pem else {
            return Ok(Trust { peers: self, config: self.system.clone(), roots: None });
        };
        let roots: [u8; 32] = Sha256::digest(pem.as_bytes()).into();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).configs.get(&roots).cloned();
        let config = match known.and_then(|config| config.upgrade()) {
            Some(config) => config,
            None => {
                let made = config(&self.provider, own(pem)?)?;
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                known.configs.retain(|_, config| config.strong_count() > 0);
                known.configs.insert(roots, Arc::downgrade(&made));
                made
            }
        };
        Ok(Trust { peers: self, config: Some(config), roots: Some(roots) })
    }
}

/// The certificates of a PEM text.
fn own(pem: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for (at, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let certificate = certificate.map_err(|error| format!("expected PEM text: {error}"))?;
        store.add(certificate).map_err(|error| format!("certificate {}: {error}", at + 1))?;
    }
    if store.is_empty() { Err("expected PEM text with a CERTIFICATE in it".to_owned()) } else { Ok(store) }
}

fn config(provider: &Arc<CryptoProvider>, roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// See [`Peers::trust`].
#[derive(Debug)]
pub(crate) struct Trust<'a> {
    peers: &'a Peers,
    config: Option<Arc<ClientConfig>>,
    roots: Roots,
}

impl Trust<'_> {
    /// The peer of a host (in brackets, if it is an address of version 6), the same one as long as some route names it.
    ///
    /// # Errors
    /// If a certificate could not be for that host.
    pub(crate) fn peer(&self, host: &str, port: u16, tls: bool) -> Result<Arc<Peer>, String> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let place = match bare.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(bare.to_ascii_lowercase().into()),
        };
        let identity = (place, port, tls.then_some(self.roots));
        let known =
            self.peers.known.read().unwrap_or_else(PoisonError::into_inner).peers.get(&identity).cloned();
        if let Some(peer) = known.and_then(|peer| peer.upgrade()) {
            return Ok(peer);
        }
        let tls = match (tls, &self.config) {
            (false, _) => None,
            (true, None) => return Err("TLS cannot be had".to_owned()),
            (true, Some(config)) => {
                let name = ServerName::try_from(bare.to_owned());
                let name = name.map_err(|_| format!("{host:?}: expected a DNS name or an address"))?;
                Some(Tls { config: Arc::clone(config), name })
            }
        };
        let peer = Peer { host: identity.0.clone(), port, tls, failing: AtomicBool::new(false) };
        let peer = Arc::new(peer);
        let mut known = self.peers.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.peers.len() >= known.full.max(FEW) {
            known.peers.retain(|_, peer| peer.strong_count() > 0);
            known.full = known.peers.len() * 2;
        }
        known.peers.insert(identity, Arc::downgrade(&peer));
        Ok(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PEM text of a root of its own.
    fn root() -> String {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn one_peer_for_each_address_and_way_of_trusting() {
        let (peers, one, other) = (Peers::default(), root(), root());
        let of = |roots: Option<&str>, host: &str, port, tls| {
            peers.trust(roots).unwrap().peer(host, port, tls).unwrap()
        };
        let first = of(None, "a.example", 443, true);
        for (roots, host, port, tls, same) in [
            (None, "A.example", 443, true, true),
            (None, "a.example", 443, false, false),
            (None, "a.example", 444, true, false),
            (None, "b.example", 443, true, false),
            (Some(&*one), "a.example", 443, true, false),
        ] {
            let peer = of(roots, host, port, tls);
            assert_eq!(Arc::ptr_eq(&first, &peer), same, "{roots:?} {host}:{port} {tls}");
        }
        let (a, b) = (of(Some(&one), "a", 1, true), of(Some(&one), "b", 1, true));
        let config = |peer: &Peer| Arc::clone(&peer.tls.as_ref().unwrap().config);
        assert!(Arc::ptr_eq(&config(&a), &config(&b)), "one for the same roots");
        assert!(!Arc::ptr_eq(&config(&a), &config(&of(Some(&other), "a", 1, true))));
        let plain = of(Some(&one), "a", 1, false);
        assert!(Arc::ptr_eq(&plain, &of(None, "a", 1, false)), "without TLS no roots count");
        assert_eq!(of(None, "[::1]", 1, true).host, Host::Address("::1".parse().unwrap()));
    }

    #[test]
    fn peers_that_no_route_names_are_forgotten() {
        let peers = Peers::default();
        let trust = peers.trust(None).unwrap();
        let kept = trust.peer("kept", 1, false).unwrap();
        for port in 1..=3_000 {
            drop(trust.peer("gone", port, false).unwrap());
        }
        assert!(peers.known.read().unwrap().peers.len() <= FEW);
        assert!(Arc::ptr_eq(&kept, &trust.peer("kept", 1, false).unwrap()));
    }

    #[test]
    fn roots_that_are_none_are_refused() {
        let peers = Peers::default();
        let broken = root().replacen("MII", "AAA", 1);
        for bad in ["", "roots", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &broken] {
            assert!(peers.trust(Some(bad)).is_err(), "{bad}");
        }
        assert!(peers.trust(None).unwrap().peer("a_b", 1, false).is_ok());
        assert!(peers.trust(None).unwrap().peer("-", 1, true).is_err());
    }

    #[test]
    fn only_a_change_is_news() {
        let peer = Peers::default().trust(None).unwrap().peer("a", 1, false).unwrap();
        let news = [true, false, false, true, true, false].map(|well| peer.connected(well));
        assert_eq!(news, [false, true, false, true, false, true]);
    }
}
