//! Who may read `/metrics` (spec/doorman.md 4.20, 6).

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use gatehouse_common::secret::Secret;
use ipnet::IpNet;
use std::net::IpAddr;
use std::str::FromStr;
use subtle::ConstantTimeEq as _;

/// Headers by which a proxy says for whom it asks.
const FORWARDED: &[&str] = &["x-forwarded-for", "forwarded", "x-real-ip", "via"];

/// Addresses and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    /// Addresses and networks, separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let parsed = items.map(|item| {
            let network = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| format!("{item:?}: expected an address or a network such as 10.0.0.0/8"))
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

impl Networks {
    /// Whether an address lies in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Access to `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct MetricsAccess {
    /// It is served at all.
    pub enabled: bool,
    /// To everybody.
    pub public: bool,
    /// Bearer token that opens it.
    pub token: Option<Secret<String>>,
    /// Addresses that may.
    pub allowed: Networks,
    /// The last address of `X-Forwarded-For` is the reader's.
    pub trust_forwarded: bool,
    /// APIs with series of their own.
    pub apis_max: usize,
}

/// What came of a wish to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// There is no such page.
    Absent,
    /// A token would help.
    NeedsToken,
    Refused,
}

impl MetricsAccess {
    /// Any one of public, token, list and loopback is enough. A request that a proxy passed on is not loopback's, whoever
    /// sits on this machine.
    pub(crate) fn judge(&self, request: &HttpRequest) -> Verdict {
        if !self.enabled {
            return Verdict::Absent;
        }
        let proxied = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
        let reader = match self.trust_forwarded && proxied {
            true => forwarded_for(request),
            false => request.peer_addr().map(|peer| peer.ip()),
        };
        let reader = reader.map(|address| address.to_canonical());
        let near = reader.is_some_and(|address| address.is_loopback()) && (self.trust_forwarded || !proxied);
        let listed = reader.is_some_and(|address| self.allowed.contain(address));
        match &self.token {
            _ if self.public || near || listed => Verdict::Allowed,
            Some(token) if bears(request, token) => Verdict::Allowed,
            Some(_) => Verdict::NeedsToken,
            None => Verdict::Refused,
        }
    }
}

/// The address that the nearest proxy has seen; what stands before it anybody may have written.
fn forwarded_for(request: &HttpRequest) -> Option<IpAddr> {
    let line = request.headers().get_all("x-forwarded-for").last()?.to_str().ok()?;
    line.rsplit(',').next()?.trim().parse().ok()
}

fn bears(request: &HttpRequest, token: &Secret<String>) -> bool {
    let value = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = value.and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        let same = given.trim().as_bytes().ct_eq(token.expose().as_bytes());
        scheme.eq_ignore_ascii_case("bearer") && bool::from(same)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Absent, Allowed, NeedsToken, Refused};
    use actix_web::test::TestRequest;

    fn access(change: impl Fn(&mut MetricsAccess)) -> MetricsAccess {
        let mut access = MetricsAccess {
            enabled: true,
            public: false,
            token: None,
            allowed: Networks::default(),
            trust_forwarded: false,
            apis_max: 1,
        };
        change(&mut access);
        access
    }

    #[test]
    fn any_one_reason_is_enough_and_none_is_not() {
        let token = |access: &mut MetricsAccess| access.token = Some(Secret::new("correct-horse".to_owned()));
        let listed = |access: &mut MetricsAccess| access.allowed = "10.0.0.0/8, 2001:db8::1".parse().unwrap();
        let trusting = |access: &mut MetricsAccess| access.trust_forwarded = true;
        let forwarded = ("x-forwarded-for", "10.0.0.1, 127.0.0.1");
        let none = ("x", "x");
        for (access, peer, header, wanted) in [
            (access(|_| {}), "127.0.0.1", none, Allowed),
            (access(|_| {}), "::1", none, Allowed),
            (access(|_| {}), "::ffff:127.0.0.1", none, Allowed),
            (access(|_| {}), "10.1.2.3", none, Refused),
            (access(|_| {}), "127.0.0.1", forwarded, Refused),
            (access(|_| {}), "127.0.0.1", ("via", "1.1 proxy"), Refused),
            (access(|access| access.enabled = false), "127.0.0.1", none, Absent),
            (access(|access| access.public = true), "192.0.2.1", forwarded, Allowed),
            (access(listed), "10.1.2.3", none, Allowed),
            (access(listed), "::ffff:10.1.2.3", none, Allowed),
            (access(listed), "2001:db8::1", none, Allowed),
            (access(listed), "2001:db8::2", none, Refused),
            (access(token), "192.0.2.1", ("authorization", "bearer correct-horse"), Allowed),
            (access(token), "192.0.2.1", ("authorization", "Basic correct-horse"), NeedsToken),
            (access(token), "192.0.2.1", ("authorization", "Bearer correct-hors"), NeedsToken),
            (access(token), "192.0.2.1", ("authorization", "Bearer "), NeedsToken),
            (access(trusting), "192.0.2.9", forwarded, Allowed),
            (access(trusting), "127.0.0.1", ("x-forwarded-for", "127.0.0.1, 192.0.2.1"), Refused),
            (access(trusting), "127.0.0.1", ("x-forwarded-for", "unknown"), Refused),
            (access(trusting), "127.0.0.1", none, Allowed),
        ] {
            let peer =
                format!("{}:1", if peer.contains(':') { format!("[{peer}]") } else { peer.to_owned() });
            let request = TestRequest::default().peer_addr(peer.parse().unwrap()).insert_header(header);
            assert_eq!(access.judge(&request.to_http_request()), wanted, "{peer} {header:?} {access:?}");
        }
    }

    #[test]
    fn a_list_says_which_item_is_none() {
        assert!("10.0.0.0/8,,::1 ".parse::<Networks>().is_ok());
        assert!("10.0.0.0/8, x".parse::<Networks>().unwrap_err().starts_with("\"x\""));
    }
}
