//! Addresses of upstreams' names, of one worker: asked of DNS when a connection is opened and the last answer's time is
//! over, and again while connections are kept. What files say is handed in; nothing here reads one.

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bounds of an answer's time, whatever it says.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3_600);
/// So long behind its time an answer still serves while there is no newer one.
const STALE: Duration = Duration::from_secs(300);
/// How long there is no new question after one that failed.
const FAILED: Duration = Duration::from_secs(1);
/// How long a question may take where an answer that is over could serve instead.
const HURRY: Duration = Duration::from_secs(2);
/// An address is gone when so many answers in a row do not have it: some servers tell a part of theirs each time.
const MISSED: u8 = 3;
/// A name that nobody asked for so long is forgotten.
const UNUSED: Duration = Duration::from_secs(900);

/// How names are resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Name servers, asked in this order over UDP, and TCP where an answer is long.
    pub servers: Vec<SocketAddr>,
    /// Domains that are put behind short names.
    pub search: Vec<String>,
    /// A name with fewer dots is a short one.
    pub ndots: usize,
    /// For each question and server, milliseconds.
    pub timeout_ms: u64,
    /// Questions asked again, if there is no answer.
    pub attempts: usize,
    /// Addresses by name, lower case, that come before any server's (`/etc/hosts`).
    pub hosts: HashMap<String, Vec<IpAddr>>,
}

/// Why a name has no address.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Unresolved(Arc<str>);

type Addresses = Rc<[IpAddr]>;
type Asking = Shared<LocalBoxFuture<'static, Result<Addresses, Unresolved>>>;

/// What is known of one name.
#[derive(Default)]
struct Entry {
    /// Of the last good answer.
    newest: Option<Addresses>,
    /// All that were in one of the last answers, and how many since then had them not.
    lately: Vec<(IpAddr, u8)>,
    /// Why the last question failed.
    failed: Option<Unresolved>,
    /// Until when nothing is asked, and until when `newest` serves.
    fresh: Option<Instant>,
    stale: Option<Instant>,
    used: Option<Instant>,
    asking: Option<Asking>,
}

impl Entry {
    /// What serves without a question.
    fn ready(&self, now: Instant) -> Option<Result<Addresses, Unresolved>> {
        self.fresh.filter(|until| now < *until)?;
        Some(self.usable(now))
    }

    /// The newest answer, if it is not too old.
    fn usable(&self, now: Instant) -> Result<Addresses, Unresolved> {
        let newest = self.newest.as_ref().filter(|_| self.stale.is_some_and(|until| now < until));
        let why = || self.failed.clone().unwrap_or_else(|| Unresolved("no answer".into()));
        newest.map(Rc::clone).ok_or_else(why)
    }

    fn answered(&mut self, addresses: &[IpAddr], ttl: Duration, now: Instant) {
        for (_, missed) in &mut self.lately {
            *missed += 1;
        }
        self.lately.retain(|(address, missed)| *missed < MISSED && !addresses.contains(address));
        self.lately.extend(addresses.iter().map(|address| (*address, 0)));
        let fresh = now + ttl.clamp(SHORTEST, LONGEST);
        (self.newest, self.failed) = (Some(addresses.into()), None);
        (self.fresh, self.stale) = (Some(fresh), Some(fresh + STALE));
    }

    fn failed(&mut self, why: Unresolved, now: Instant) {
        (self.failed, self.fresh) = (Some(why), Some(now + FAILED));
    }
}

struct Inner {
    resolution: Arc<ArcSwap<Resolution>>,
    resolver: RefCell<Option<(Arc<Resolution>, TokioResolver)>>,
    known: RefCell<FxHashMap<Arc<str>, Entry>>,
}

/// A worker's names.
#[derive(Clone)]
pub(crate) struct Names(Rc<Inner>);

impl Names {
    pub(crate) fn new(resolution: Arc<ArcSwap<Resolution>>) -> Self {
        Self(Rc::new(Inner { resolution, resolver: RefCell::default(), known: RefCell::default() }))
    }

    /// Addresses of a name, at least one, in the order in which they are to be tried.
    pub(crate) async fn resolve(&self, name: &Arc<str>) -> Result<Addresses, Unresolved> {
        if let Some(fixed) = self.0.resolution.load().hosts.get(&**name) {
            return Ok(fixed.as_slice().into());
        }
        let now = Instant::now();
        let asking = {
            let mut known = self.0.known.borrow_mut();
            let entry = known.entry(Arc::clone(name)).or_default();
            entry.used = Some(now);
            if let Some(ready) = entry.ready(now) {
                return ready;
            }
            let asking = || self.clone().ask(Arc::clone(name)).boxed_local().shared();
            entry.asking.get_or_insert_with(asking).clone()
        };
        asking.await
    }

    /// The addresses of a name that its connections may still be with, for who keeps some; asks anew when the time is
    /// over. `None`: nothing is known that speaks against any.
    pub(crate) fn lately(&self, name: &Arc<str>) -> Option<Vec<IpAddr>> {
        if let Some(fixed) = self.0.resolution.load().hosts.get(&**name) {
            return Some(fixed.clone());
        }
        let now = Instant::now();
        let known = self.0.known.borrow();
        let entry = known.get(name)?;
        if entry.ready(now).is_none() && entry.asking.is_none() {
            let (names, name) = (self.clone(), Arc::clone(name));
            // Of the worker itself; it ends with the answer.
            drop(tokio::task::spawn_local(async move { drop(names.resolve(&name).await) }));
        }
        (!entry.lately.is_empty()).then(|| entry.lately.iter().map(|(address, _)| *address).collect())
    }

    /// Forgets names that nobody asks for any more.
    pub(crate) fn tidy(&self, now: Instant) {
        let used = |entry: &Entry| entry.used.is_some_and(|used| now.duration_since(used) < UNUSED);
        self.0.known.borrow_mut().retain(|_, entry| entry.asking.is_some() || used(entry));
    }

    /// Asks, and keeps the answer.
    async fn ask(self, name: Arc<str>) -> Result<Addresses, Unresolved> {
        let could_serve = {
            let known = self.0.known.borrow();
            known.get(&name).is_some_and(|entry| entry.usable(Instant::now()).is_ok())
        };
        let asked = self.lookup(&name);
        let answer = if could_serve {
            let late = |_| Err(Unresolved("no answer in time".into()));
            tokio::time::timeout(HURRY, asked).await.unwrap_or_else(late)
        } else {
            asked.await
        };
        let now = Instant::now();
        let mut known = self.0.known.borrow_mut();
        let entry = known.entry(name).or_default();
        entry.asking = None;
        match answer {
            Ok((addresses, until)) => entry.answered(&addresses, until.saturating_duration_since(now), now),
            Err(why) => entry.failed(why, now),
        }
        entry.usable(now)
    }

    /// One question; addresses and the end of their time.
    async fn lookup(&self, name: &str) -> Result<(Vec<IpAddr>, Instant), Unresolved> {
        let wrong = |error: hickory_resolver::net::NetError| Unresolved(error.to_string().into());
        let resolver = self.resolver().map_err(wrong)?;
        let found = resolver.lookup_ip(name).await.map_err(wrong)?;
        let until = found.valid_until();
        let addresses = in_turn(found.iter());
        if addresses.is_empty() { Err(Unresolved("no address".into())) } else { Ok((addresses, until)) }
    }

    /// The resolver of the present settings.
    fn resolver(&self) -> Result<TokioResolver, hickory_resolver::net::NetError> {
        let now = self.0.resolution.load_full();
        let mut kept = self.0.resolver.borrow_mut();
        if let Some((of, resolver)) = &*kept
            && Arc::ptr_eq(of, &now)
        {
            return Ok(resolver.clone());
        }
        let made = resolver(&now)?;
        *kept = Some((now, made.clone()));
        Ok(made)
    }
}

fn resolver(resolution: &Resolution) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let servers = resolution.servers.iter().map(|server| {
        let at = |mut config: ConnectionConfig| {
            config.port = server.port();
            config
        };
        NameServerConfig::new(
            server.ip(),
            true,
            vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())],
        )
    });
    let search = resolution.search.iter().filter_map(|domain| Name::from_utf8(domain).ok()).collect();
    let config = ResolverConfig::from_parts(None, search, servers.collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.ndots = resolution.ndots;
    options.timeout = Duration::from_millis(resolution.timeout_ms);
    options.attempts = resolution.attempts;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.use_hosts_file = ResolveHosts::Never;
    // Answers are kept here, also beyond their time.
    options.cache_size = 0;
    builder.build()
}

/// Both families in turn, version 4 first: upstreams mostly stand in the same network, where 6 is often half set up.
fn in_turn(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (four, six): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv4);
    let longest = four.len().max(six.len());
    let both = |at: usize| four.get(at).into_iter().chain(six.get(at)).copied();
    (0..longest).flat_map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stream::tests::run;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_answer_serves_its_time_and_beyond_it_while_there_is_no_other() {
        let (mut entry, begun) = (Entry::default(), Instant::now());
        let after = |secs: u64| begun + Duration::from_secs(secs);
        assert!(entry.ready(begun).is_none());
        entry.answered(&addresses(&["10.0.0.1"]), Duration::from_secs(10), begun);
        assert_eq!(entry.ready(after(9)).unwrap().unwrap()[..], addresses(&["10.0.0.1"])[..]);
        assert!(entry.ready(after(10)).is_none(), "asked again");
        let why = Unresolved("refused".into());
        entry.failed(why.clone(), after(10));
        assert!(entry.ready(after(10)).unwrap().is_ok(), "the old one serves");
        assert!(entry.ready(after(11)).is_none(), "and is asked for again");
        entry.failed(why.clone(), after(310));
        assert_eq!(entry.ready(after(310)), Some(Err(why)), "not for ever");
        entry.answered(&addresses(&["10.0.0.2"]), Duration::ZERO, after(400));
        assert!(entry.ready(after(400)).unwrap().is_ok() && entry.ready(after(401)).is_none());
    }

    #[test]
    fn an_address_is_gone_when_three_answers_have_it_not() {
        let (mut entry, now) = (Entry::default(), Instant::now());
        let lately = |entry: &Entry| {
            let mut lately: Vec<_> = entry.lately.iter().map(|(address, _)| *address).collect();
            lately.sort();
            lately
        };
        let (one, two) = (addresses(&["10.0.0.1"]), addresses(&["10.0.0.2"]));
        for (answer, wanted) in [
            (&one, &["10.0.0.1"][..]),
            (&two, &["10.0.0.1", "10.0.0.2"]),
            (&one, &["10.0.0.1", "10.0.0.2"]),
            (&two, &["10.0.0.1", "10.0.0.2"]),
            (&two, &["10.0.0.1", "10.0.0.2"]),
            (&two, &["10.0.0.2"]),
        ] {
            entry.answered(answer, Duration::ZERO, now);
            assert_eq!(lately(&entry), addresses(wanted));
        }
    }

    #[test]
    fn families_take_turns() {
        for (given, wanted) in [
            (&["::1", "::2", "10.0.0.1"][..], &["10.0.0.1", "::1", "::2"][..]),
            (&["10.0.0.1", "10.0.0.2", "::1"], &["10.0.0.1", "::1", "10.0.0.2"]),
            (&[], &[]),
        ] {
            assert_eq!(in_turn(addresses(given).into_iter()), addresses(wanted));
        }
    }

    /// Answers each question for version 4 with `address` and for 6 with nothing; its own address and how many came.
    fn server(address: [u8; 4], ttl: u8) -> (SocketAddr, Arc<std::sync::atomic::AtomicU64>) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (at, count) = (socket.local_addr().unwrap(), Arc::<std::sync::atomic::AtomicU64>::default());
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let end = 12 + bytes[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
                let four = bytes[end - 3] == 1;
                counted.fetch_add(u64::from(four), std::sync::atomic::Ordering::SeqCst);
                let mut answer = bytes[..end].to_vec();
                answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(four), 0, 0, 0, 0]);
                if four {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4]);
                    answer.extend(address);
                }
                socket.send_to(&answer, from).unwrap();
            }
        });
        (at, count)
    }

    #[test]
    fn many_who_ask_at_once_ask_once_and_files_come_first() {
        let (at, count) = server([10, 9, 8, 7], 60);
        let hosts = HashMap::from([("fixed.test".to_owned(), addresses(&["10.1.1.1"]))]);
        let resolution = Resolution {
            servers: vec![at],
            ndots: 1,
            timeout_ms: 1_000,
            attempts: 1,
            hosts,
            ..Resolution::default()
        };
        run(async {
            let names = Names::new(Arc::new(ArcSwap::from_pointee(resolution)));
            let (name, fixed): (Arc<str>, Arc<str>) = ("a.test".into(), "fixed.test".into());
            let (one, two) = tokio::join!(names.resolve(&name), names.resolve(&name));
            assert_eq!(one.unwrap()[..], addresses(&["10.9.8.7"])[..]);
            assert!(two.is_ok() && names.resolve(&name).await.is_ok());
            assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
            assert_eq!(names.lately(&name), Some(addresses(&["10.9.8.7"])));
            assert_eq!(names.resolve(&fixed).await.unwrap()[..], addresses(&["10.1.1.1"])[..]);
            let none = Names::new(Arc::default());
            assert!(none.resolve(&name).await.is_err(), "no server");
        });
    }
}
