//! The way to upstreams: TLS, names, connections, probes, choice of a server.

use gatehouse_tests::backend::{Authority, Backend};
use gatehouse_tests::daemon::{Answer, Daemon, PASSWORD};
use gatehouse_tests::dns::NameServer;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A daemon with one worker, and its administrator's token.
fn daemon(settings: &[(&str, &str)]) -> (tempfile::TempDir, Daemon, String) {
    let folder = tempfile::tempdir().unwrap();
    let settings: Vec<_> = [("THREADS", "1")].into_iter().chain(settings.iter().copied()).collect();
    let daemon = Daemon::start(folder.path(), &settings).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    (folder, daemon, admin)
}

/// Makes a public API with two endpoints in front of these servers; the answer, if it is refused.
fn api(daemon: &Daemon, admin: &str, name: &str, servers: &[String], more: &Value) -> Result<(), Answer> {
    let mut api = json!({"api_name": name, "api_version": "v1", "api_public": true, "api_auth_required": false,
                         "api_servers": servers});
    api.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let (status, answer) = daemon.call("POST", "/platform/api", admin, Some(api)).unwrap();
    if status >= 300 {
        return Err((status, answer));
    }
    for uri in ["/x", "/slow"] {
        let endpoint = json!({"api_name": name, "api_version": "v1", "endpoint_method": "GET", "endpoint_uri": uri,
                              "endpoint_description": "test"});
        let (status, answer) = daemon.call("POST", "/platform/endpoint", admin, Some(endpoint)).unwrap();
        assert!(status < 300, "{status} {answer}");
    }
    Ok(())
}

fn call(daemon: &Daemon, name: &str) -> (u16, String) {
    let (status, body) = daemon.call("GET", &format!("/api/rest/{name}/v1/x"), "", None).unwrap();
    let code = body.get("error_code").and_then(Value::as_str).map(str::to_owned);
    (status, code.unwrap_or_else(|| body.as_str().unwrap_or_default().to_owned()))
}

fn said(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

fn plain(backend: &Backend) -> String {
    format!("http://{}", backend.address)
}

#[test]
fn tls_upstreams_are_checked_by_name_time_and_roots() {
    let (_folder, daemon, admin) = daemon(&[]);
    let (own, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let start = |name, expired| {
        Backend::start("127.0.0.1:0", "tls", Some(own.server(name, expired).unwrap())).unwrap()
    };
    let (good, wrong, old) =
        (start("localhost", false), start("other.test", false), start("localhost", true));
    for (name, backend, roots, wanted) in [
        ("good", &good, json!({"api_upstream_roots": own.pem}), said(200, "tls")),
        ("systems", &good, json!({}), said(502, "GTW006")),
        ("others", &good, json!({"api_upstream_roots": other.pem}), said(502, "GTW006")),
        ("wrong", &wrong, json!({"api_upstream_roots": own.pem}), said(502, "GTW006")),
        ("old", &old, json!({"api_upstream_roots": own.pem}), said(502, "GTW006")),
    ] {
        let server = format!("https://localhost:{}", backend.address.port());
        api(&daemon, &admin, name, &[server], &roots).unwrap();
        assert_eq!(call(&daemon, name), wanted, "{name}");
    }
    assert_eq!(good.state.requests(), 1, "nothing is sent to one that is not trusted");
    let open = good.state.accepted();
    let trusted = format!("http://localhost:{}", good.address.port());
    api(&daemon, &admin, "plain", &[trusted], &json!({})).unwrap();
    assert_ne!(call(&daemon, "plain").0, 200, "a connection with TLS serves nobody who did not ask for it");
    assert!(good.state.accepted() > open);
    let broken = json!({"api_upstream_roots": own.pem.replacen("MII", "AAA", 1)});
    let (status, answer) = api(&daemon, &admin, "broken", &[], &broken).unwrap_err();
    assert_eq!(status, 400, "{answer}");
    assert!(answer.to_string().contains("api_upstream_roots"), "{answer}");
}

/// An address in front of another that carries nothing before so long; `None`: never.
fn slow(to: SocketAddr, wait: Option<Duration>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            let Some(wait) = wait else {
                held.push(stream);
                continue;
            };
            std::thread::spawn(move || {
                std::thread::park_timeout(wait);
                let other = TcpStream::connect(to).unwrap();
                let (mut up, mut down) = (stream.try_clone().unwrap(), other.try_clone().unwrap());
                // Either way ends when its reader or writer is gone.
                std::thread::spawn(move || std::io::copy(&mut up, &mut &other).ok());
                std::io::copy(&mut down, &mut &stream).ok();
            });
        }
    });
    address
}

#[test]
fn connecting_has_its_own_time_within_the_whole() {
    let (_folder, daemon, admin) = daemon(&[("HTTP_READ_TIMEOUT", "0.3"), ("HTTP_CONNECT_TIMEOUT", "20")]);
    let own = Authority::new().unwrap();
    let backend =
        Backend::start("127.0.0.1:0", "tls", Some(own.server("localhost", false).unwrap())).unwrap();
    for (name, wait, total, wanted) in [
        ("late", Some(Duration::from_millis(600)), json!(null), said(200, "tls")),
        ("never", None, json!(0.5), said(504, "GTW010")),
    ] {
        let server = format!("https://localhost:{}", slow(backend.address, wait).port());
        let more = json!({"api_upstream_roots": own.pem, "api_total_timeout": total});
        api(&daemon, &admin, name, &[server], &more).unwrap();
        let begun = Instant::now();
        assert_eq!(call(&daemon, name), wanted, "{name}");
        assert!(begun.elapsed().as_secs() < 10, "{name}: {:?}", begun.elapsed());
    }
}

#[test]
fn tls_sessions_are_resumed() {
    let (_folder, daemon, admin) = daemon(&[]);
    let own = Authority::new().unwrap();
    let backend =
        Backend::start("127.0.0.1:0", "tls", Some(own.server("localhost", false).unwrap())).unwrap();
    backend.state.closes.store(true, Ordering::SeqCst);
    let server = format!("https://localhost:{}", backend.address.port());
    api(&daemon, &admin, "tls", &[server], &json!({"api_upstream_roots": own.pem})).unwrap();
    for _ in 0..4 {
        assert_eq!(call(&daemon, "tls"), said(200, "tls"));
    }
    assert_eq!((backend.state.accepted(), backend.state.resumed.load(Ordering::SeqCst)), (4, 3));
}

#[test]
fn a_name_that_moves_is_followed_and_a_silent_name_server_does_no_harm() {
    let one = Backend::start("127.0.0.1:0", "one", None).unwrap();
    let port = one.address.port();
    let two = Backend::start(&format!("127.0.0.2:{port}"), "two", None).unwrap();
    let names = NameServer::start(Ipv4Addr::LOCALHOST).unwrap();
    let servers = names.at.to_string();
    let (_folder, daemon, admin) = daemon(&[("GATEHOUSE_DNS_SERVERS", &servers)]);
    api(&daemon, &admin, "moves", &[format!("http://up.test:{port}")], &json!({})).unwrap();
    api(&daemon, &admin, "none", &[format!("http://none.test:{port}")], &json!({})).unwrap();
    assert_eq!(call(&daemon, "none"), said(502, "GTW006"));
    for _ in 0..5 {
        assert_eq!(call(&daemon, "moves"), said(200, "one"));
    }
    assert_eq!(one.state.accepted(), 1, "its connection is kept beyond the answer's time");
    names.tell(Ipv4Addr::new(127, 0, 0, 2));
    // Although there is always a connection that could be used again.
    let moved = || match call(&daemon, "moves") {
        (200, name) if name == "two" => Ok(()),
        other => Err(other),
    };
    eventually("the other address", moved).unwrap();
    names.silence();
    two.state.closes.store(true, Ordering::SeqCst);
    let opened = two.state.accepted();
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(3) {
        assert_eq!(call(&daemon, "moves"), said(200, "two"));
    }
    assert!(two.state.accepted() > opened + 1, "also new connections are opened by the last answer");
}

#[test]
fn a_probe_takes_a_server_out_and_in_again() {
    let (_folder, daemon, admin) = daemon(&[]);
    let (one, two) = (
        Backend::start("127.0.0.1:0", "one", None).unwrap(),
        Backend::start("127.0.0.1:0", "two", None).unwrap(),
    );
    let check = json!({"api_health_check": {"path": "/up", "interval": 0.05, "timeout": 1, "failures": 2, "successes": 2}});
    api(&daemon, &admin, "probed", &[plain(&one), plain(&two)], &check).unwrap();
    let items = || -> String {
        let (_, health) = daemon.ops("GET", "/v1/health", None).unwrap();
        health.to_string()
    };
    one.state.status.store(503, Ordering::SeqCst);
    let told = || if items().contains("UPSTREAM-OUT") { Ok(()) } else { Err(items()) };
    eventually("the server to be out", told).unwrap();
    for _ in 0..6 {
        assert_eq!(call(&daemon, "probed"), said(200, "two"));
    }
    one.state.status.store(200, Ordering::SeqCst);
    let back = || if call(&daemon, "probed") == said(200, "one") { Ok(()) } else { Err(()) };
    eventually("the server to be in again", back).unwrap();
    let well = || if items().contains("UPSTREAM-OUT") { Err(items()) } else { Ok(()) };
    eventually("that to be told", well).unwrap();
    let (status, _) = daemon.call("DELETE", "/platform/api/probed/v1", &admin, None).unwrap();
    assert_eq!(status, 200);
    let quiet = || {
        let before = one.state.requests();
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        if one.state.requests() == before { Ok(()) } else { Err(before) }
    };
    eventually("the probes to end", quiet).unwrap();
}

#[test]
fn what_probes_found_outlives_a_change_of_the_api() {
    let (_folder, daemon, admin) = daemon(&[]);
    let (one, two) = (
        Backend::start("127.0.0.1:0", "one", None).unwrap(),
        Backend::start("127.0.0.1:0", "two", None).unwrap(),
    );
    let check = json!({"api_health_check": {"path": "/up", "interval": 1, "timeout": 1, "failures": 2, "successes": 2}});
    one.state.status.store(503, Ordering::SeqCst);
    api(&daemon, &admin, "probed", &[plain(&one), plain(&two)], &check).unwrap();
    let told = || {
        let (_, health) = daemon.ops("GET", "/v1/health", None).unwrap();
        if health.to_string().contains("UPSTREAM-OUT") { Ok(()) } else { Err(health) }
    };
    eventually("the server to be out", told).unwrap();
    // Another list gets the same server, of which that list knows nothing yet.
    let own = json!({"endpoint_servers": [plain(&one), plain(&two)]});
    let (status, _) = daemon.call("PUT", "/platform/endpoint/GET/probed/v1/slow", &admin, Some(own)).unwrap();
    assert_eq!(status, 200);
    for _ in 0..6 {
        assert_eq!(call(&daemon, "probed"), said(200, "two"));
    }
}

#[test]
fn servers_are_chosen_as_the_api_says() {
    let (_folder, daemon, admin) = daemon(&[]);
    let (one, two) = (
        Backend::start("127.0.0.1:0", "one", None).unwrap(),
        Backend::start("127.0.0.1:0", "two", None).unwrap(),
    );
    let servers = [plain(&one), plain(&two)];
    let shares = |name: &str, header: &dyn Fn(usize) -> String| {
        let before = (one.state.requests(), two.state.requests());
        for number in 0..40 {
            let request = ureq::get(format!("{}/api/rest/{name}/v1/x", daemon.url));
            assert_eq!(request.header("x-tenant", header(number)).call().unwrap().status(), 200);
        }
        (one.state.requests() - before.0, two.state.requests() - before.1)
    };
    for (name, balance) in [("turn", "round_robin"), ("least", "least_request"), ("hash", "hash:X-Tenant")] {
        api(&daemon, &admin, name, &servers, &json!({"api_balance": balance})).unwrap();
    }
    assert_eq!(shares("turn", &|_| "a".to_owned()), (20, 20));
    let (least, other) = shares("least", &|_| "a".to_owned());
    assert!(least > 5 && other > 5, "both get their part: {least} {other}");
    let same = shares("hash", &|_| "a".to_owned());
    assert!(same == (40, 0) || same == (0, 40), "{same:?}");
    let spread = shares("hash", &|number| format!("tenant-{number}"));
    assert!(spread.0 > 5 && spread.1 > 5, "{spread:?}");
}

#[test]
fn failures_are_tried_elsewhere_counted_and_a_breaker_ends_them() {
    let (_folder, daemon, admin) = daemon(&[]);
    let (bad, good) = (
        Backend::start("127.0.0.1:0", "bad", None).unwrap(),
        Backend::start("127.0.0.1:0", "good", None).unwrap(),
    );
    bad.state.status.store(500, Ordering::SeqCst);
    api(&daemon, &admin, "two", &[plain(&bad), plain(&good)], &json!({"api_allowed_retry_count": 1}))
        .unwrap();
    for _ in 0..20 {
        assert_eq!(call(&daemon, "two"), said(200, "good"));
    }
    assert_eq!((bad.state.requests(), good.state.requests()), (5, 20), "five failures open the breaker");
    let records = || {
        let mut text = String::new();
        for file in std::fs::read_dir(daemon.data.join("logs")).unwrap() {
            text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
        }
        let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let again =
            records.filter(|record| record["path"] == "/api/rest/two/v1/x" && record["retries"] == 1).count();
        if again == 5 { Ok(()) } else { Err(again) }
    };
    eventually("five records of a second attempt", records).unwrap();
    api(&daemon, &admin, "one", &[plain(&bad)], &json!({})).unwrap();
    let statuses: Vec<_> = (0..7).map(|_| call(&daemon, "one").0).collect();
    assert_eq!(statuses, [500, 500, 500, 500, 500, 503, 503]);
    assert_eq!(bad.state.requests(), 10);
}

#[test]
fn connections_are_used_again() {
    let (_folder, daemon, admin) = daemon(&[]);
    let backend = Backend::start("127.0.0.1:0", "x", None).unwrap();
    api(&daemon, &admin, "load", &[plain(&backend)], &json!({})).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..120 {
                    assert_eq!(call(&daemon, "load").0, 200);
                }
            });
        }
    });
    assert_eq!(backend.state.requests(), 480);
    assert!(backend.state.accepted() <= 4, "{}", backend.state.accepted());
}

#[test]
fn a_server_gets_no_more_connections_than_it_may() {
    let (_folder, daemon, admin) = daemon(&[("HTTP_MAX_CONNECTIONS", "1")]);
    let backend = Backend::start("127.0.0.1:0", "x", None).unwrap();
    for (name, patience) in [("short", 0.1), ("long", 5.0)] {
        api(&daemon, &admin, name, &[plain(&backend)], &json!({"api_connect_timeout": patience})).unwrap();
    }
    let both = |name: &str| {
        let path = format!("/api/rest/{name}/v1/slow");
        let mut statuses = std::thread::scope(|scope| {
            let calls = [(); 2].map(|()| scope.spawn(|| daemon.call("GET", &path, "", None).unwrap().0));
            calls.map(|call| call.join().unwrap())
        });
        statuses.sort_unstable();
        statuses
    };
    assert_eq!(both("short"), [200, 503]);
    assert_eq!(both("long"), [200, 200], "it waits for the other one's connection");
    assert_eq!(backend.state.accepted(), 1);
}

#[test]
fn an_upstream_that_takes_no_body_is_given_up() {
    let (_folder, daemon, admin) = daemon(&[("MAX_BODY_SIZE_BYTES", "100000000")]);
    // It accepts nothing: the kernel takes the connection and what its buffers hold.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    api(&daemon, &admin, "full", &[server], &json!({"api_write_timeout": 0.3})).unwrap();
    let endpoint = json!({"api_name": "full", "api_version": "v1", "endpoint_method": "POST", "endpoint_uri": "/x",
                          "endpoint_description": "test"});
    assert!(daemon.call("POST", "/platform/endpoint", &admin, Some(endpoint)).unwrap().0 < 300);
    let begun = std::time::Instant::now();
    let body = json!("x".repeat(30_000_000));
    // The answer may be lost where the client is still sending; what it was is in the record.
    drop(daemon.call("POST", "/api/rest/full/v1/x", "", Some(body)));
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(15),
        "long before the time for an answer is over"
    );
    let record = || {
        let mut text = String::new();
        for file in std::fs::read_dir(daemon.data.join("logs")).unwrap() {
            text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
        }
        let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.into_iter().find(|record| record["path"] == "/api/rest/full/v1/x").ok_or(text)
    };
    let record = eventually("the record", record).unwrap();
    assert_eq!((&record["status"], &record["failure"]), (&json!(504), &json!("GTW010")), "{record}");
}
