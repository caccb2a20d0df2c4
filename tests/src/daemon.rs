//! The real `gatehoused` on a free port with a folder of its own, ended by its pid.

use crate::wait::eventually;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Password of the administrator in every test.
pub const PASSWORD: &str = "Correct-Horse-9-Battery";

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
}

/// An answer: status and body, JSON if it is.
pub type Answer = (u16, Value);

/// Path of the daemon under test.
#[must_use]
pub fn binary() -> PathBuf {
    built("gatehoused")
}

/// Path of the console under test.
#[must_use]
pub fn console() -> PathBuf {
    built("gatehouse")
}

/// Path of the workspace's server under test.
#[must_use]
pub fn workspace() -> PathBuf {
    built("gatehouse-workspace")
}

fn built(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().unwrap_or_default();
    // target/debug/deps/suite-… to target/debug
    folder.pop();
    folder.pop();
    folder.join(name)
}

/// The binary with nothing of our own environment that it would take for a setting.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(binary());
    command.env_clear().stdin(Stdio::null());
    command
}

/// Sends a process a signal.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status()?;
    anyhow::ensure!(sent.success(), "kill {name} {pid}: {sent}");
    Ok(())
}

impl Daemon {
    /// Starts on a folder and waits until it is alive.
    ///
    /// # Errors
    /// When it does not come up; run `cargo build -p gatehouse-daemon` first.
    pub fn start(data: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_as(command(), data, settings)
    }

    /// As [`Daemon::start`], by a command that ends in the binary: a tracer in front of it, for example.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_as(mut command: Command, data: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = command
            .env("GATEHOUSE_DATA_DIR", data)
            .env("GATEHOUSE_RUNTIME_DIR", data.join("run"))
            .env("GATEHOUSE_LISTEN", format!("127.0.0.1:{port}"))
            .env("GATEHOUSE_LOGIN_RATE_DISABLED", "true")
            .env("GATEHOUSE_DOCKER_HOST", "none")
            .env("GATEHOUSE_ARGON2_MEMORY_KIB", "8192")
            .env("GATEHOUSE_ARGON2_ITERATIONS", "1")
            .env("BOOTSTRAP_ADMIN_PASSWORD", PASSWORD)
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary().display()))?;
        let mut daemon = Self { child, url: format!("http://127.0.0.1:{port}"), data: data.to_owned() };
        eventually("the daemon to be alive", || daemon.call("GET", "/platform/monitor/liveness", "", None))?;
        anyhow::ensure!(daemon.child.try_wait()?.is_none(), "the daemon ended");
        Ok(daemon)
    }

    /// One request; an HTTP error is an answer like any other.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(std::time::Duration::from_secs(20))).build().new_agent();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let mut response = match body {
            Some(body) => agent.run(request.body(body.to_string())?)?,
            None => agent.run(request.body(())?)?,
        };
        let text = response.body_mut().read_to_string()?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((response.status().as_u16(), value))
    }

    /// A fresh token of a user.
    ///
    /// # Errors
    /// When the login fails.
    pub fn login(&self, user: &str, password: &str) -> anyhow::Result<String> {
        let body = json!({"email": user, "password": password});
        let (status, answer) = self.call("POST", "/platform/authorization", "", Some(body))?;
        let token = answer.get("access_token").and_then(Value::as_str);
        Ok(token.with_context(|| format!("login: {status} {answer}"))?.to_owned())
    }

    /// Ends it as a power cut would end a process.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `-USR2`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(self.pid(), name)
    }

    /// Waits for its end; the exit code.
    ///
    /// # Errors
    /// When it ends by a signal.
    pub fn ended(mut self) -> anyhow::Result<i32> {
        self.child.wait()?.code().context("ended by a signal")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
