//! The workspace's server as its clients see it: the real binary, both eras of the protocol, over HTTP.

use gatehouse_tests::daemon::workspace;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TOKEN: &str = "T0ken-for-the-workspace-0123456789";

/// A running server and its folder.
struct Server {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

/// Status, headers that matter, body.
struct Answer {
    status: u16,
    session: Option<String>,
    allow: Option<String>,
    challenge: Option<String>,
    body: String,
}

impl Answer {
    /// The one message of a stream or of a plain answer.
    fn message(&self) -> Value {
        let mut data = self.body.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        let text = data.rfind(|data| !data.is_empty()).unwrap_or(&self.body);
        serde_json::from_str(text).unwrap_or_else(|_| panic!("no message: {} {}", self.status, self.body))
    }
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        std::fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(workspace())
            .env_clear()
            .env("WORKSPACE_ROOT", folder.path().join("root"))
            .env("WORKSPACE_TOKEN_FILE", folder.path().join("token"))
            .env("TMPDIR", folder.path())
            .env("MCP_BIND_HOST", "127.0.0.1")
            .env("MCP_PORT", port.to_string())
            .env("MCP_ALLOWED_HOSTS", "127.0.0.1,ws.example.org")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; cargo build -p gatehouse-workspace", workspace().display())
            });
        let server = Self { child, url: format!("http://127.0.0.1:{port}"), folder };
        let healthy = || server.send("GET", "/health", &[], "").map(|answer| answer.status);
        assert_eq!(eventually("the server to be healthy", healthy).unwrap(), 200);
        server
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, ureq::Error> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(Duration::from_secs(30))).build().new_agent();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = match body.is_empty() {
            true => agent.run(request.body(()).unwrap())?,
            false => agent.run(request.body(body.to_owned()).unwrap())?,
        };
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (session, allow, challenge) =
            (header("mcp-session-id"), header("allow"), header("www-authenticate"));
        let body = answer.body_mut().read_to_string()?;
        Ok(Answer { status: answer.status().as_u16(), session, allow, challenge, body })
    }

    /// A POST as clients send it, with more headers.
    fn post(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let mut all = vec![
            ("authorization", bearer.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        all.extend(headers);
        self.send("POST", "/mcp", &all, &body.to_string()).unwrap()
    }

    /// Opens a session of the older era.
    fn session(&self) -> String {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let answer = self.post(&[], &hello);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.message()["result"]["protocolVersion"], "2025-06-18");
        let session = answer.session.unwrap();
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.post(&[("mcp-session-id", &session)], &ready).status, 202);
        session
    }

    fn ask(&self, session: &str, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        self.post(&[("mcp-session-id", session)], &body).message()
    }

    /// Calls a tool; the result.
    fn call(&self, session: &str, tool: &str, arguments: Value) -> Value {
        self.ask(session, "tools/call", json!({"name": tool, "arguments": arguments}))["result"].clone()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn said(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn a_client_of_the_older_era_works_with_files_and_git() {
    let server = Server::start();
    let session = server.session();
    let listed = server.ask(&session, "tools/list", json!({}));
    let tools: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(tools, ["fs_delete", "fs_list", "fs_read_text", "fs_write_text", "git", "ssh_public_key"]);
    assert!(listed["result"]["cacheScope"].is_null(), "{listed}");
    let call = |tool: &str, arguments: Value| server.call(&session, tool, arguments);
    let wrote = call("fs_write_text", json!({"path": "a/b.txt", "text": "hello"}));
    assert_eq!((said(&wrote), &wrote["structuredContent"]), ("ok", &json!({"result": "ok"})));
    assert_eq!(std::fs::read_to_string(server.root().join("a/b.txt")).unwrap(), "hello");
    let read = call("fs_read_text", json!({"path": "a/b.txt", "max_bytes": "2"}));
    assert_eq!(read["structuredContent"], json!({"result": "he", "truncated": true}));
    assert_eq!(call("fs_list", json!({"path": "a"}))["structuredContent"], json!({"result": ["b.txt"]}));
    for words in [
        json!(["init", "-b", "main"]),
        json!(["config", "user.name", "Ana"]),
        json!(["config", "user.email", "a@b.c"]),
        json!(["add", "-A"]),
        json!(["commit", "-m", "first; & last"]),
    ] {
        let done = call("git", json!({"args": words, "timeout_s": 60}));
        assert_eq!(done["structuredContent"]["returncode"], 0, "{words}: {done}");
    }
    let shown = call("git", json!({"args": ["log", "--oneline"]}));
    assert!(shown["structuredContent"]["stdout"].as_str().unwrap().contains("first; & last"), "{shown}");
    assert_eq!(said(&call("fs_delete", json!({"path": "a", "recursive": true}))), "ok");
    assert_eq!(said(&call("ssh_public_key", json!({}))), "");
    let deleted = server.send(
        "DELETE",
        "/mcp",
        &[("authorization", &format!("Bearer {TOKEN}")), ("mcp-session-id", &session)],
        "",
    );
    assert!(deleted.unwrap().status < 300);
    let late = server
        .post(&[("mcp-session-id", &session)], &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    assert_eq!(late.status, 404, "a session that has ended");
}

#[test]
fn a_client_of_the_newer_era_needs_no_session() {
    let server = Server::start();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    });
    let ask = |method: &str, name: Option<&str>, mut params: Value| {
        params["_meta"] = meta.clone();
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        headers.extend(name.map(|name| ("mcp-name", name)));
        server.post(&headers, &json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params}))
    };
    let listed = ask("tools/list", None, json!({}));
    assert_eq!((listed.status, listed.session.as_ref()), (200, None), "{}", listed.body);
    let listed = listed.message();
    assert_eq!(
        listed["result"]["cacheScope"], "private",
        "what depends on who asks is for nobody else's cache"
    );
    let call = json!({"name": "fs_write_text", "arguments": {"path": "x", "text": "new era"}});
    let wrote = ask("tools/call", Some("fs_write_text"), call.clone());
    assert_eq!(said(&wrote.message()["result"]), "ok", "{}", wrote.body);
    assert_eq!(std::fs::read_to_string(server.root().join("x")).unwrap(), "new era");
    let other = ask("tools/call", Some("fs_list"), call);
    assert_eq!(
        (other.status, &other.message()["error"]["code"]),
        (400, &json!(-32020)),
        "header and body differ"
    );
    assert_eq!(ask("no/such", None, json!({})).status, 404);
}

#[test]
fn nobody_without_the_token_or_from_a_page_gets_in() {
    let server = Server::start();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let base = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
    let send = |more: &[(&str, &str)]| {
        let headers: Vec<_> = base.iter().chain(more).copied().collect();
        server.send("POST", "/mcp", &headers, &hello.to_string()).unwrap()
    };
    let short = format!("Bearer {}", &TOKEN[1..]);
    for wrong in [
        vec![],
        vec![("authorization", short.as_str())],
        vec![("authorization", TOKEN)],
        vec![("authorization", "Bearer ")],
    ] {
        let answer = send(&wrong);
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert!(answer.challenge.unwrap().starts_with("Bearer error=\"invalid_token\""));
        assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["error"], "invalid_token");
    }
    let bearer = format!("bearer {TOKEN}");
    let known = ("authorization", bearer.as_str());
    assert_eq!(send(&[known]).status, 200);
    assert_eq!(send(&[known, ("host", "ws.example.org")]).status, 200, "the public name");
    assert_eq!(send(&[known, ("host", "evil.example.org")]).status, 403);
    assert_eq!(send(&[known, ("origin", "http://evil.example.org")]).status, 403);
    let get = server.send("GET", "/mcp", &[known, ("accept", "text/event-stream")], "").unwrap();
    assert_eq!((get.status, get.allow.as_deref()), (405, Some("POST, DELETE")));
    assert_eq!(
        server
            .post(
                &[("mcp-session-id", "nobodys")],
                &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            )
            .status,
        404
    );
    assert_eq!(server.send("GET", "/other", &[known], "").unwrap().status, 404);
    assert_eq!(server.send("HEAD", "/health", &[], "").unwrap().status, 200);
}

#[test]
fn tools_do_not_lead_out_and_tell_what_they_refused() {
    let server = Server::start();
    std::os::unix::fs::symlink(server.folder.path(), server.root().join("out")).unwrap();
    std::os::unix::fs::symlink("../secret", server.root().join("link")).unwrap();
    let session = server.session();
    let secret = server.folder.path().join("secret");
    for (tool, arguments, words) in [
        ("fs_read_text", json!({"path": "../secret"}), "Path escapes workspace root"),
        ("fs_read_text", json!({"path": "link"}), "Path escapes workspace root"),
        ("fs_read_text", json!({"path": "out/secret"}), "Path escapes workspace root"),
        ("fs_read_text", json!({"path": secret}), "Path escapes workspace root"),
        ("fs_write_text", json!({"path": "out/secret", "text": "x"}), "Path escapes workspace root"),
        ("fs_delete", json!({"path": "out/secret"}), "Path escapes workspace root"),
        ("fs_read_text", json!({"path": "nowhere"}), "Error executing tool fs_read_text: File not found"),
        ("fs_read_text", json!({"path": 1}), "Invalid arguments"),
        ("git", json!({"args": ["daemon"]}), "allowed whitelist"),
        ("git", json!({"args": ["clone", "--upload-pack=touch x", "."]}), "Argument not allowed"),
        ("git", json!({"args": ["init", "/tmp/elsewhere"]}), "Path escapes workspace root"),
        ("git", json!({"args": ["status"], "timeout_s": 0}), "timeout_s must"),
        ("no_such_tool", json!({}), "Unknown tool: no_such_tool"),
    ] {
        let result = server.call(&session, tool, arguments.clone());
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result}");
        assert!(said(&result).contains(words), "{tool} {arguments}: {result}");
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "outside");
    let log = server.log();
    assert!(
        log.contains("tool=\"fs_read_text\"") && !log.contains(TOKEN) && !log.contains("elsewhere"),
        "{log}"
    );
}

/// Whether any process works for this one.
fn children(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

#[test]
fn a_git_that_hangs_is_ended_and_keeps_nobody_else() {
    let server = Server::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://127.0.0.1:{}/x", silent.local_addr().unwrap().port());
    let (one, other) = (server.session(), server.session());
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let slow = scope.spawn(|| server.call(&one, "git", json!({"args": ["clone", url], "timeout_s": 2})));
        let quick = Instant::now();
        assert_eq!(server.call(&other, "fs_list", json!({}))["isError"], false);
        assert!(quick.elapsed() < Duration::from_secs(1), "{:?}", quick.elapsed());
        let late = slow.join().unwrap();
        assert!(said(&late).contains("timed out after 2 seconds"), "{late}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    });
    let gone = || match children(server.child.id()).trim() {
        "" => Ok(()),
        left => Err(left.to_owned()),
    };
    eventually("git to be gone", gone).unwrap();
}

#[test]
fn it_ends_when_told_and_starts_only_with_a_token() {
    let mut server = Server::start();
    server.session();
    Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    let ended = eventually("the end", || server.child.try_wait().unwrap().ok_or("at work")).unwrap();
    assert_eq!(ended.code(), Some(0), "{}", server.log());
    let start = |variable: (&str, &str), root: &Path| {
        let mut command = Command::new(workspace());
        let ended =
            command.env_clear().env("WORKSPACE_ROOT", root).env(variable.0, variable.1).output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let (code, told) = start(("WORKSPACE_TOKEN", "too-short-to-be-one"), server.folder.path());
    assert!(code == Some(78) && told.contains("WORKSPACE_TOKEN") && !told.contains("too-short"), "{told}");
    let (code, told) = start(("WORKSPACE_TOKEN", TOKEN), Path::new("/nowhere"));
    assert!(code == Some(70) && told.contains("/nowhere"), "{told}");
}
