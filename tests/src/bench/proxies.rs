//! The upstream and the four proxies, all started and ended here, each tuned as its operator would.

use super::{BASE, LOAD, PROXY, pinned};
use crate::daemon::{Daemon, PASSWORD};
use crate::wait::eventually;
use anyhow::Context as _;
use serde_json::json;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Signs the tokens; HAProxy verifies with it what Gatehouse issued.
const SIGNING_KEY: &str = "a-key-for-this-benchmark-and-nothing-else";
/// Every proxy is asked for the same path.
pub(crate) const PREFIX: &str = "/api/rest/bench/v1";

/// A server that is ended by its pid.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts it and waits until its port answers.
    fn start(mut command: Command, port: u16, log: &Path) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        command.stdin(Stdio::null()).stdout(File::create(log)?).stderr(Stdio::inherit());
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let server = Self { child, port };
        eventually("a server to listen", || TcpStream::connect(("127.0.0.1", port)))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Softly: nginx ends its worker. Hard after that, in case it was deaf.
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        if asked.is_ok_and(|status| status.success())
            && eventually("a server to end", || match self.child.try_wait() {
                Ok(Some(_)) => Ok(()),
                other => Err(other),
            })
            .is_ok()
        {
            return;
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What serves the bodies.
#[derive(Debug)]
pub(crate) struct Upstream(Server);

/// A proxy under measurement.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// URL of the upstream's bodies through it.
    pub(crate) base: String,
    pub(crate) token: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Other(Server),
    Gatehouse(Box<Daemon>),
}

impl Line {
    /// The process at the head of its family.
    pub(crate) fn pid(&self) -> u32 {
        match &self.kind {
            Kind::Other(server) => server.child.id(),
            Kind::Gatehouse(daemon) => daemon.pid(),
        }
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What a program runs under.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Under<'p> {
    Processor(usize),
    /// Counts from the moment it is told to, and dumps into this file with a number behind its name.
    Callgrind(&'p Path),
}

impl Under<'_> {
    fn command(self, program: &Path) -> Command {
        let file = match self {
            Self::Processor(processor) => return pinned(processor, program),
            Self::Callgrind(file) => file,
        };
        let mut command = Command::new("/usr/bin/valgrind");
        command.args(["--tool=callgrind", "--instr-atstart=no"]);
        command.arg("--quiet").arg(format!("--callgrind-out-file={}", file.display())).arg(program);
        command
    }
}

/// nginx with one worker, all its files in a folder of its own.
fn nginx(folder: PathBuf, under: Under<'_>, port: u16, http: &str) -> anyhow::Result<Server> {
    std::fs::create_dir_all(&folder)?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
        .concat();
    let text = format!(
        "daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ {temporary} access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;\n\
         keepalive_timeout 75s; keepalive_requests 1000000000; default_type application/octet-stream;\n{http}\n}}\n",
        place = folder.display()
    );
    let text = if is_root() { format!("user root;\n{text}") } else { text };
    // One process to look at.
    let text =
        if matches!(under, Under::Callgrind(_)) { format!("master_process off;\n{text}") } else { text };
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text)?;
    let mut command = under.command(Path::new("/usr/sbin/nginx"));
    command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(file);
    Server::start(command, port, &folder.join("output"))
}

/// A worker of another user could not read the temporary folder.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

impl Upstream {
    /// Serves files of these names and lengths.
    pub(crate) fn start(folder: &Path, bodies: &[(&str, usize)]) -> anyhow::Result<Self> {
        let files = folder.join("files");
        std::fs::create_dir_all(&files)?;
        for (name, length) in bodies {
            std::fs::write(files.join(name), vec![b'x'; *length])?;
        }
        let port = free_port()?;
        let files = files.display();
        let http = format!(
            "open_file_cache max=100 inactive=1h; server {{ listen 127.0.0.1:{port} backlog=4096;\n\
             location / {{ root {files}; }} location {PREFIX}/ {{ alias {files}/; }} }}"
        );
        Ok(Self(nginx(folder.join("upstream"), Under::Processor(LOAD), port, &http)?))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    /// A body without a proxy before it.
    pub(crate) fn url(&self, body: &str) -> String {
        format!("http://127.0.0.1:{}{PREFIX}/{body}", self.0.port)
    }
}

/// Starts all; the one to compare with first.
pub(crate) fn all(
    gatehoused: &Path,
    folder: &Path,
    upstream: &Upstream,
    bodies: &[(&str, usize)],
) -> anyhow::Result<Vec<Line>> {
    let under = Under::Processor(PROXY);
    let (daemon, token) = gatehouse((gatehoused, under), &folder.join("gatehouse"), upstream.port(), bodies)?;
    let base = |port: u16| format!("http://127.0.0.1:{port}{PREFIX}");
    let other = |name, server: anyhow::Result<Server>| -> anyhow::Result<Line> {
        let server = server.context(name)?;
        Ok(Line { name, base: base(server.port), token: token.clone(), kind: Kind::Other(server) })
    };
    Ok(vec![
        other(BASE, nginx_proxy((folder.join("nginx-plain"), under), upstream.port(), false))?,
        other("nginx limit+log", nginx_proxy((folder.join("nginx-full"), under), upstream.port(), true))?,
        other("haproxy jwt+limit+log", haproxy(&folder.join("haproxy"), upstream.port()))?,
        Line {
            name: "gatehouse",
            base: format!("{}{PREFIX}", daemon.url),
            token: token.clone(),
            kind: Kind::Gatehouse(Box::new(daemon)),
        },
    ])
}

fn nginx_proxy((folder, under): (PathBuf, Under<'_>), upstream: u16, full: bool) -> anyhow::Result<Server> {
    let port = free_port()?;
    let (zone, limit) = if full {
        let log = folder.join("access.jsonl");
        (
            format!(
                r#"limit_req_zone $http_authorization zone=who:10m rate=1000000r/s;
                log_format json escape=json '{{"at":"$time_iso8601","request_id":"$request_id","method":"$request_method","path":"$uri","client_ip":"$remote_addr","status":$status,"seconds":$request_time,"upstream_seconds":"$upstream_response_time","bytes_in":$request_length,"bytes_out":$body_bytes_sent,"upstream":"$upstream_addr"}}';
                access_log {} json buffer=64k flush=100ms;"#,
                log.display()
            ),
            "limit_req zone=who burst=1000000 nodelay;",
        )
    } else {
        (String::new(), "")
    };
    let http = format!(
        "upstream bodies {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }} {zone}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {limit} proxy_pass http://bodies;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_max_temp_file_size 0; }} }}"
    );
    nginx(folder, under, port, &http)
}

fn haproxy(folder: &Path, upstream: u16) -> anyhow::Result<Server> {
    std::fs::create_dir_all(folder)?;
    let port = free_port()?;
    let text = format!(
        r#"global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 30s
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  log global
  log-format '{{"at":"%trg","method":"%HM","path":"%HP","client_ip":"%ci","status":%ST,"millis":%Ta,"upstream_millis":%Tr,"bytes_in":%U,"bytes_out":%B,"upstream":"%s"}}'
  stick-table type string len 64 size 100k expire 60s store http_req_rate(10s)
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify("HS256","{SIGNING_KEY}") -m int 1 }}
  http-request track-sc0 http_auth_bearer,jwt_payload_query('$.sub')
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000000 }}
  default_backend bodies
backend bodies
  server one 127.0.0.1:{upstream} pool-max-conn 512
"#
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text)?;
    let mut command = pinned(PROXY, Path::new("/usr/sbin/haproxy"));
    command.args(["-db", "-f"]).arg(file);
    Server::start(command, port, &folder.join("access.jsonl"))
}

/// nginx as it is compared with, under callgrind; its pid and its URL with it.
pub(crate) fn counted_nginx(
    folder: PathBuf,
    counts: &Path,
    upstream: u16,
) -> anyhow::Result<(Server, u32, String)> {
    let server = nginx_proxy((folder, Under::Callgrind(counts)), upstream, false)?;
    let (pid, base) = (server.child.id(), format!("http://127.0.0.1:{}{PREFIX}", server.port));
    Ok((server, pid, base))
}

/// The whole chain: token, subscription, group, a limit that is never reached, the record. A token with it.
pub(crate) fn gatehouse(
    (gatehoused, under): (&Path, Under<'_>),
    folder: &Path,
    upstream: u16,
    bodies: &[(&str, usize)],
) -> anyhow::Result<(Daemon, String)> {
    let mut command = under.command(gatehoused);
    command.env_clear().stdin(Stdio::null());
    // The harness makes password hashes cheap; here they are as in production.
    let settings = [
        ("GATEHOUSE_SIGNING_KEY", SIGNING_KEY),
        ("GATEHOUSE_ARGON2_MEMORY_KIB", "19456"),
        ("GATEHOUSE_ARGON2_ITERATIONS", "2"),
        ("GATEHOUSE_CLIENT_CONNECTIONS_MAX", "100000"),
    ];
    let daemon = Daemon::start_as(command, folder, &settings)?;
    let admin = daemon.login("admin", PASSWORD)?;
    let api = json!({"api_name": "bench", "api_version": "v1", "api_allowed_groups": ["ALL"],
                     "api_servers": [format!("http://127.0.0.1:{upstream}")]});
    let mut wanted = vec![("/platform/api", api)];
    wanted.extend(bodies.iter().map(|(name, _)| {
        let endpoint = json!({"api_name": "bench", "api_version": "v1", "endpoint_method": "GET",
                              "endpoint_uri": format!("/{name}"), "endpoint_description": "a body"});
        ("/platform/endpoint", endpoint)
    }));
    let user = json!({"username": "ana", "email": "ana@x.org", "password": PASSWORD, "role": "user", "groups": ["ALL"],
                      "rate_limit_enabled": true, "rate_limit_duration": 1_000_000,
                      "rate_limit_duration_type": "second"});
    wanted.push(("/platform/user", user));
    let subscription = json!({"username": "ana", "api_name": "bench", "api_version": "v1"});
    wanted.push(("/platform/subscription/subscribe", subscription));
    for (path, body) in wanted {
        let (status, answer) = daemon.call("POST", path, &admin, Some(body))?;
        anyhow::ensure!((200..300).contains(&status), "{path}: {status} {answer}");
    }
    let token = daemon.login("ana@x.org", PASSWORD)?;
    Ok((daemon, token))
}
