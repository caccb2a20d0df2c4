//! Instructions of a request in user space, by callgrind: they do not wobble with what else the machine does. What each
//! part of the chain adds is what a call with it costs more than one without.

use super::load;
use super::proxies::{self, PREFIX, Under, Upstream};
use crate::daemon::{Daemon, PASSWORD};
use crate::wait::eventually;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Of one load. Instrumented, a proxy answers a few thousand requests in it.
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 64;
const BODY: &str = "b100";

/// A process under callgrind.
struct Counted {
    pid: u32,
    /// Where it dumps.
    file: PathBuf,
    dumps: u32,
}

impl Counted {
    fn tell(&self, order: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new("/usr/bin/callgrind_control");
        let told = command
            .args(order)
            .arg(self.pid.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        anyhow::ensure!(told.success(), "callgrind_control {order:?}: {told}");
        Ok(())
    }

    /// Instructions per request of one load; `answered_here`: by an error, and all others by none.
    fn load(
        &mut self,
        (url, token): (&str, &str),
        answered_here: bool,
        script: &Path,
    ) -> anyhow::Result<f64> {
        // Connections, tokens, buffers: what is made once is not counted.
        load::drive((url, token), script, CONNECTIONS, 1)?;
        self.tell(&["--zero"])?;
        self.tell(&["--instr=on"])?;
        let seen = load::drive((url, token), script, CONNECTIONS, SECONDS)?;
        self.tell(&["--instr=off"])?;
        let refused = seen.errors > 0.0;
        anyhow::ensure!(refused == answered_here, "{url}: {} of {} calls failed", seen.errors, seen.requests);
        self.tell(&["--dump"])?;
        self.dumps += 1;
        let file = format!("{}.{}", self.file.display(), self.dumps);
        let total = eventually("callgrind's dump", || {
            let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
            total(&text).context("no totals yet")
        })?;
        Ok(total / seen.requests)
    }
}

/// The sum in a dump.
fn total(dump: &str) -> Option<f64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// A load on our daemon: what it is called, the path below its address, whose token.
struct Part {
    name: &'static str,
    path: String,
    user: &'static str,
}

/// Makes what the parts need, each beside the chain of the bar. In the order in which one adds to another.
fn parts(daemon: &Daemon, upstream: u16) -> anyhow::Result<Vec<Part>> {
    let admin = daemon.login("admin", PASSWORD)?;
    let call = |path: &str, body: Value| {
        let (status, answer) = daemon.call("POST", path, &admin, Some(body))?;
        anyhow::ensure!((200..300).contains(&status), "{path}: {status} {answer}");
        anyhow::Ok(())
    };
    for (name, limits) in [("bob", false), ("cyd", true)] {
        let mut user = json!({"username": name, "email": format!("{name}@x.org"), "password": PASSWORD, "role": "user",
                              "groups": ["ALL"]});
        let bounds = json!({"rate_limit_enabled": true, "rate_limit_duration": 1_000_000, "throttle_enabled": true,
                            "throttle_duration": 1_000_000, "throttle_queue_limit": 1_000_000_000_u64,
                            "bandwidth_limit_enabled": true, "bandwidth_limit_bytes": 1_u64 << 50});
        if let (true, Some(user), Value::Object(bounds)) = (limits, user.as_object_mut(), bounds) {
            user.extend(bounds);
        }
        call("/platform/user", user)?;
    }
    let group = json!({"api_credit_group": "gold", "api_key": "k", "api_key_header": "x-key",
                       "credit_tiers": [{"tier_name": "t", "credits": 1, "input_limit": 0, "output_limit": 0,
                                         "reset_frequency": "monthly"}]});
    call("/platform/credit", group)?;
    let account = json!({"gold": {"tier_name": "t", "available_credits": 1_000_000_000}});
    call("/platform/credit/ana", json!({"username": "ana", "users_credits": account}))?;
    let apis = [
        ("open", json!({"api_public": true})),
        ("paid", json!({"api_credits_enabled": true, "api_credit_group": "gold"})),
        ("listed", json!({"api_ip_mode": "whitelist", "api_ip_whitelist": ["10.0.0.0/8", "127.0.0.0/8"]})),
        ("changed", json!({"api_response_transform": {"headers": {"add": {"x-a": "b"}}}})),
    ];
    for (name, own) in apis {
        let mut api = json!({"api_name": name, "api_version": "v1", "api_allowed_groups": ["ALL"],
                             "api_servers": [format!("http://127.0.0.1:{upstream}{PREFIX}")]});
        if let (Some(api), Value::Object(own)) = (api.as_object_mut(), own) {
            api.extend(own);
        }
        call("/platform/api", api)?;
        let endpoint = json!({"api_name": name, "api_version": "v1", "endpoint_method": "GET",
                              "endpoint_uri": format!("/{BODY}"), "endpoint_description": "a body"});
        call("/platform/endpoint", endpoint)?;
        let subscription = json!({"username": "ana", "api_name": name, "api_version": "v1"});
        call("/platform/subscription/subscribe", subscription)?;
    }
    for name in ["bob", "cyd"] {
        let subscription = json!({"username": name, "api_name": "bench", "api_version": "v1"});
        call("/platform/subscription/subscribe", subscription)?;
    }
    let of = |api: &str| format!("/api/rest/{api}/v1/{BODY}");
    Ok(vec![
        Part { name: "answered here: no such API", path: of("none"), user: "ana" },
        Part { name: "proxied for anybody, with record", path: of("open"), user: "ana" },
        Part { name: "and token, subscription, group", path: of("bench"), user: "bob" },
        Part { name: "and a rate limit: the chain of the bar", path: of("bench"), user: "ana" },
        Part { name: "the chain, and throttle and bandwidth", path: of("bench"), user: "cyd" },
        Part { name: "the chain, and credits", path: of("paid"), user: "ana" },
        Part { name: "the chain, and an address list", path: of("listed"), user: "ana" },
        Part { name: "the chain, and a changed field", path: of("changed"), user: "ana" },
    ])
}

/// nginx plain, then ours part by part; nothing where valgrind is missing.
pub(crate) fn measure(
    gatehoused: &Path,
    folder: &Path,
    upstream: &Upstream,
    script: &Path,
    say: &mut impl Write,
) -> anyhow::Result<Value> {
    if !Path::new("/usr/bin/valgrind").exists() {
        writeln!(say, "SKIPPED: instructions per request: valgrind is missing")?;
        return Ok(Value::Null);
    }
    writeln!(say, "\ninstructions per request in user space, 100 B, {CONNECTIONS} connections")?;
    let mut rows = Vec::new();
    let mut told = |name: &str, count: f64| {
        rows.push(json!({"what": name, "instructions": count}));
        writeln!(say, "{count:>10.0}  {name}").and_then(|()| say.flush())
    };
    let file = folder.join("callgrind-nginx");
    let (server, pid, base) = proxies::counted_nginx(folder.join("nginx-counted"), &file, upstream.port())?;
    let mut counted = Counted { pid, file, dumps: 0 };
    told(super::BASE, counted.load((&format!("{base}/{BODY}"), "none"), false, script)?)?;
    drop(server);
    let file = folder.join("callgrind-gatehouse");
    let under = Under::Callgrind(&file);
    let bodies = [(BODY, 100)];
    let (daemon, _) =
        proxies::gatehouse((gatehoused, under), &folder.join("counted"), upstream.port(), &bodies)?;
    let parts = parts(&daemon, upstream.port())?;
    let mut counted = Counted { pid: daemon.pid(), file, dumps: 0 };
    let here = format!("/api/rest/none/v1/{BODY}");
    for Part { name, path, user } in parts {
        let token = daemon.login(&format!("{user}@x.org"), PASSWORD)?;
        told(name, counted.load((&format!("{}{path}", daemon.url), &token), path == here, script)?)?;
    }
    Ok(json!(rows))
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_of_a_dump() {
        assert_eq!(total("events: Ir\nsummary: 3\n\ntotals: 737326605\n"), Some(737_326_605.0));
        assert_eq!(total("events: Ir\n"), None);
    }
}
