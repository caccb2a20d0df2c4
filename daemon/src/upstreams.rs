//! What the system says about upstreams: roots that their certificates are checked against, name servers, fixed
//! addresses. The data plane reads no file; it is handed this.

use crate::settings::checked::Settings;
use crate::settings::gateway::DNS_PORT;
use gatehouse_data::Resolution;
use rustls_pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// A question's time and how often it is asked again: shorter than the system's five seconds, since a client waits.
const TIMEOUT_MS: u64 = 2_000;
const ATTEMPTS: usize = 2;

/// The system's roots, DER: of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or where distributions keep them.
pub(crate) fn roots() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(target: "upstream", %error, "reading the system's roots");
    }
    if found.certs.is_empty() {
        tracing::warn!(target: "upstream", "no roots; https upstreams need api_upstream_roots, or the package ca-certificates");
    }
    found.certs
}

/// How names are resolved: as `resolv.conf` says, unless the settings do.
pub(crate) fn resolution(settings: &Settings) -> Resolution {
    let text = std::fs::read(RESOLV_CONF).unwrap_or_default();
    let (conf, wrong) = resolv_conf::Config::parse_with_errors(&text);
    for error in wrong {
        tracing::warn!(target: "upstream", %error, "{RESOLV_CONF}");
    }
    let search = conf.get_last_search_or_domain().map(ToOwned::to_owned).collect();
    let mut servers = settings.dns_servers.clone();
    if servers.is_empty() {
        servers.extend(conf.nameservers.iter().map(|server| SocketAddr::new(IpAddr::from(server), DNS_PORT)));
    }
    if servers.is_empty() {
        // resolv.conf(5): the one on this machine.
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
    }
    Resolution {
        servers,
        search,
        ndots: usize::try_from(conf.ndots).unwrap_or(1),
        timeout_ms: TIMEOUT_MS,
        attempts: ATTEMPTS,
        hosts: hosts(&settings.hosts_file),
    }
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Addresses by name; a file that is not there has none.
fn hosts(file: &Path) -> HashMap<String, Vec<IpAddr>> {
    match std::fs::read_to_string(file) {
        Ok(text) => fixed(&text),
        Err(error) => {
            tracing::warn!(target: "upstream", %error, "reading {}", file.display());
            HashMap::new()
        }
    }
}

/// Reads hosts(5): an address and its names on a line, `#` begins a comment.
fn fixed(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        // An address with a zone is of one link, which no upstream is.
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            let addresses = hosts.entry(name.to_ascii_lowercase()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_hosts() {
        let text = "# all\n127.0.0.1 localhost Local # two\n\n::1 localhost\nfe80::1%lo0 link\nno address\n127.0.0.1 local";
        let hosts = fixed(text);
        let of =
            |name: &str| hosts.get(name).map(|found| found.iter().map(IpAddr::to_string).collect::<Vec<_>>());
        let some = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        for (name, wanted) in [
            ("localhost", some(&["127.0.0.1", "::1"])),
            ("local", some(&["127.0.0.1"])),
            ("link", None),
            ("address", None),
            ("two", None),
        ] {
            assert_eq!(of(name), wanted, "{name}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "([0-9.: a-z#%\n]{0,80}|.{0,80})") {
            drop(fixed(&text));
        }
    }
}
