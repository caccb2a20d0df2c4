//! A daemon on an empty store: how soon it is ready, what it holds when nobody asks anything.

use super::{median, process};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STARTS: usize = 5;
/// Until the threads have settled.
const IDLE: Duration = Duration::from_secs(3);

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// One start on all defaults but address and folder; the time from before exec until it says READY.
fn start(gatehoused: &Path, folder: &Path) -> anyhow::Result<(Ended, f64)> {
    std::fs::create_dir_all(folder)?;
    let place = folder.join("notify");
    let socket = UnixDatagram::bind(&place)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut command = Command::new(gatehoused);
    command.env_clear().env("NOTIFY_SOCKET", &place);
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.join("data"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let child = Ended(command.spawn().with_context(|| format!("starting {}", gatehoused.display()))?);
    let mut message = [0; 512];
    loop {
        let length = socket.recv(&mut message).context("waiting for READY=1")?;
        let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
        if text.lines().any(|line| line == "READY=1") {
            return Ok((child, begun.elapsed().as_secs_f64() * 1e3));
        }
    }
}

/// Ready time of several starts, idle memory of the last one.
pub(crate) fn measure(gatehoused: &Path, folder: &Path) -> anyhow::Result<Value> {
    let (mut times, mut memory) = (Vec::new(), 0);
    for attempt in 0..STARTS {
        let (child, millis) = start(gatehoused, &folder.join(format!("fresh-{attempt}")))?;
        times.push(millis);
        if attempt + 1 == STARTS {
            std::thread::park_timeout(IDLE);
            memory = process::rss_kib(child.0.id())?;
        }
    }
    Ok(json!({"idle_rss_kib": memory, "ready_ms": median(times.clone()), "ready_ms_each": times}))
}
