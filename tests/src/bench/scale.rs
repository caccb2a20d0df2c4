//! A large configuration: ten thousand APIs with a hundred thousand endpoints, and a hundred thousand consumers. How soon
//! it is served after a start, what it takes to change one row of it, and what fifty changes a second cost the calls.

use super::load::{self, Seen};
use super::proxies::PREFIX;
use super::{BAR, median, pinned, process};
use crate::daemon::{Daemon, PASSWORD};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const APIS: usize = 10_000;
/// Of each API.
const ENDPOINTS: usize = 10;
const USERS: usize = 100_000;
/// APIs and users of one request that makes them.
const APIS_AT_ONCE: usize = 1_000;
const USERS_AT_ONCE: usize = 20_000;
/// Changes measured one by one, and their number in a second beside a load.
const CHANGES: usize = 50;
const CHANGES_A_SECOND: u32 = 50;
const ROUNDS: usize = 3;
const SECONDS: u32 = 3;
/// Bars: seconds to load, milliseconds until a change is live, share of the throughput that changes may cost, MiB.
const BAR_LOAD_SECS: f64 = 2.0;
const BAR_LIVE_MS: f64 = 20.0;
const BAR_COST: f64 = 0.05;
const BAR_MIB: f64 = 64.0;

fn start(gatehoused: &Path, folder: &Path) -> anyhow::Result<Daemon> {
    let mut command = pinned(super::PROXY, gatehoused);
    command.env_clear().stdin(Stdio::null());
    Daemon::start_as(command, folder, &[("GATEHOUSE_LOGIN_RATE_LIMIT", "1000000")])
}

fn call(daemon: &Daemon, admin: &str, (method, path): (&str, &str), body: Value) -> anyhow::Result<()> {
    let (status, answer) = daemon.call(method, path, admin, Some(body))?;
    anyhow::ensure!((200..300).contains(&status), "{path}: {status} {answer}");
    Ok(())
}

fn fill(daemon: &Daemon, admin: &str, upstream: u16) -> anyhow::Result<()> {
    let server = format!("http://127.0.0.1:{upstream}{PREFIX}");
    for begin in (0..APIS).step_by(APIS_AT_ONCE) {
        let names = || (begin..begin + APIS_AT_ONCE).map(|at| format!("api-{at}"));
        let apis: Vec<Value> = names()
            .map(|name| {
                json!({"api_name": name, "api_version": "v1", "api_description": "one of many",
                       "api_allowed_groups": ["ALL"], "api_servers": [server]})
            })
            .collect();
        let endpoints: Vec<Value> = names()
            .flat_map(|name| {
                (0..ENDPOINTS).map(move |at| {
                    let uri = if at == 0 { format!("/{}", BAR.0) } else { format!("/things/{at}/{{id}}") };
                    json!({"api_name": name, "api_version": "v1", "endpoint_method": "GET", "endpoint_uri": uri,
                           "endpoint_description": "a thing"})
                })
            })
            .collect();
        call(
            daemon,
            admin,
            ("POST", "/platform/config/import"),
            json!({"apis": apis, "endpoints": endpoints}),
        )?;
    }
    // The hash of a password that nobody knows: hashing a hundred thousand would take longer than all else.
    let hash =
        "$argon2id$v=19$m=8192,t=1,p=4$JHtplv6AKBe6YGI9S3+MYQ$dAu1UDihRZ6kMavlGQS4DD1YbGIKK7h3NW2XXQeJusY";
    for begin in (0..USERS).step_by(USERS_AT_ONCE) {
        let users: Vec<Value> = (begin..begin + USERS_AT_ONCE)
            .map(|at| {
                json!({"id": at + 1_000, "username": format!("user-{at}"), "password_hash": hash,
                             "role": "user", "status": "active"})
            })
            .collect();
        let body = json!({"dry_run": false, "users": users, "api_keys": [], "workspaces": []});
        let (status, answer) = daemon.ops("POST", "/v1/import/octoprox", Some(body))?;
        let taken = answer.pointer("/data/users/taken").or_else(|| answer.pointer("/users/taken"));
        anyhow::ensure!(
            status == 200 && taken == Some(&json!(USERS_AT_ONCE)),
            "importing users: {status} {answer}"
        );
    }
    // The first administrator has bounds of its own.
    let ana = json!({"username": "ana", "email": "ana@x.org", "password": PASSWORD, "role": "user", "groups": ["ALL"]});
    call(daemon, admin, ("POST", "/platform/user"), ana)?;
    let subscription = json!({"username": "ana", "api_name": "api-0", "api_version": "v1"});
    call(daemon, admin, ("POST", "/platform/subscription/subscribe"), subscription)
}

/// Milliseconds from a change's request to its answer, which leaves when the data plane serves it: median and longest.
fn live(daemon: &Daemon, admin: &str) -> anyhow::Result<(f64, f64)> {
    let mut times = Vec::new();
    for at in 0..CHANGES {
        let begun = Instant::now();
        let body = json!({"api_description": format!("changed {at}")});
        call(daemon, admin, ("PUT", &format!("/platform/api/api-{}/v1", at * 37)), body)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok((median(times.clone()), times.into_iter().fold(0.0, f64::max)))
}

/// A load with changes beside it; how many there were.
fn beside(
    daemon: &Daemon,
    admin: &str,
    load: impl FnOnce() -> anyhow::Result<Seen>,
) -> anyhow::Result<(Seen, u64)> {
    let (over, made) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| -> anyhow::Result<()> {
            let begun = Instant::now();
            while !over.load(Ordering::Relaxed) {
                let at = made.fetch_add(1, Ordering::Relaxed);
                let body = json!({"api_description": format!("beside {at}")});
                call(daemon, admin, ("PUT", &format!("/platform/api/api-{}/v1", 1 + at % 9_999)), body)?;
                let due = Duration::from_secs(1) / CHANGES_A_SECOND * u32::try_from(at + 1)?;
                std::thread::park_timeout(due.saturating_sub(begun.elapsed()));
            }
            Ok(())
        });
        let seen = load();
        over.store(true, Ordering::Relaxed);
        changes.join().map_err(|_| anyhow::anyhow!("the changes ended"))??;
        Ok((seen?, made.load(Ordering::Relaxed)))
    })
}

/// Fills a daemon, starts it anew, changes it.
pub(crate) fn measure(
    gatehoused: &Path,
    folder: &Path,
    (upstream, script): (u16, &Path),
    say: &mut impl Write,
) -> anyhow::Result<Value> {
    let folder = folder.join("scale");
    let daemon = start(gatehoused, &folder)?;
    let admin = daemon.login("admin", PASSWORD)?;
    fill(&daemon, &admin, upstream)?;
    daemon.signal("-TERM")?;
    let ended = daemon.ended()?;
    anyhow::ensure!(ended == 0, "the daemon ended with {ended}");
    let begun = Instant::now();
    let daemon = start(gatehoused, &folder)?;
    let load_secs = begun.elapsed().as_secs_f64();
    let admin = daemon.login("admin", PASSWORD)?;
    std::thread::park_timeout(Duration::from_secs(3));
    let idle_mib = process::rss_kib(daemon.pid())? as f64 / 1_024.0;
    let (live_ms, live_most_ms) = live(&daemon, &admin)?;
    let url = format!("{}/api/rest/api-0/v1/{}", daemon.url, BAR.0);
    let ana = daemon.login("ana@x.org", PASSWORD)?;
    let load = || load::drive((&url, &ana), script, BAR.1, SECONDS);
    anyhow::ensure!(load().context("warming up")?.errors == 0.0, "{url}: calls fail");
    let (mut costs, mut errors, mut changes) = (Vec::new(), 0.0, 0);
    for _ in 0..ROUNDS {
        let alone = load()?;
        let (seen, made) = beside(&daemon, &admin, load)?;
        errors += alone.errors + seen.errors;
        changes += made;
        costs.push(1.0 - (seen.requests / seen.micros) / (alone.requests / alone.micros));
    }
    let cost = median(costs);
    let bars = [
        ("seconds from exec until it serves", load_secs, BAR_LOAD_SECS),
        ("idle memory, MiB, the records' own size in it", idle_mib, BAR_MIB),
        ("milliseconds until a change is live, median", live_ms, BAR_LIVE_MS),
        ("share of the throughput that changes cost", cost, BAR_COST),
        ("calls that failed beside the changes", errors, 0.0),
    ];
    writeln!(say, "\n{APIS} APIs, {} endpoints, {USERS} users; {changes} changes", APIS * ENDPOINTS)?;
    for (what, got, most) in &bars {
        let verdict = if got <= most { "met" } else { "MISSED" };
        writeln!(say, "{verdict}: {what}: {got:.2}, at most {most}")?;
    }
    let rows = bars.map(|(what, got, most)| json!({"what": what, "got": got, "at_most": most}));
    Ok(
        json!({"apis": APIS, "endpoints": APIS * ENDPOINTS, "users": USERS, "live_most_ms": live_most_ms, "bars": rows}),
    )
}
