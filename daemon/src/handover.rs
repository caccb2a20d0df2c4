//! Restart with an overlap: the old process starts the new one beside itself, gives it the listener and its idle
//! connections, and goes on only until its requests are answered. Knows no room and no signal.
//!
//! What is said, over one socket: the new process has read its settings ([`Word::Loaded`]); the old one has closed its
//! store ([`Word::Go`]); the new one serves ([`Word::Ready`]); the service manager was told so ([`Word::Main`]);
//! then the connections. Whoever reads the end of the socket knows that the other one is gone.

pub(crate) mod launch;
mod wire;

pub(crate) use wire::{Wire, Word};

use anyhow::{Context as _, anyhow, bail};
use bytes::BytesMut;
use command_fds::{CommandFdExt as _, FdMapping};
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_data::Adopter;
use rustix::process::Pid;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::time::timeout;

/// How long the new process may take to read its settings, and then to serve. New connections wait for the second.
const LOADS: Duration = Duration::from_secs(10);
const SERVES: Duration = Duration::from_secs(10);
/// How long the end of a process may take to be reported, and the word that the service manager knows us.
const SOON: Duration = Duration::from_secs(2);

/// First of the inherited descriptors (sd_listen_fds(3)): the listener; behind it the socket of a handover.
const LISTENER: i32 = 3;
const HANDOVER: i32 = 4;

/// What this process was started with.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// From systemd, or from our predecessor.
    pub(crate) listener: Option<TcpListener>,
    /// From our predecessor.
    pub(crate) wire: Option<OwnedFd>,
}

/// Takes the inherited descriptors; once.
///
/// # Errors
/// When there are others than a listener and the socket of a handover: connections to them would wait for ever.
pub(crate) fn inherited() -> anyhow::Result<Inherited> {
    let mut given = listenfd::ListenFd::from_env();
    let expected = "the service manager gives other descriptors (LISTEN_FDS) than one TCP listener; \
                    gatehoused.socket may have one ListenStream= only";
    let listener = match given.len() {
        0 => None,
        _ => given.take_tcp_listener(0).context(expected)?,
    };
    let (family, kind) = wire::kind();
    let wire = match given.len() {
        0 | 1 => None,
        2 => given.take_custom(1, family, kind, "handover socket").context(expected)?,
        count => bail!("{expected}, not {count}"),
    };
    Ok(Inherited { listener, wire })
}

/// The program that a restart starts.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) binary: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

/// A command with the listener, and the socket of a handover, as its inherited descriptors.
fn with_descriptors(mut command: Command, listener: OwnedFd, wire: OwnedFd) -> anyhow::Result<Command> {
    command
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "gateway:handover")
        // They name another process than the one they reach.
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID");
    let mappings = vec![
        FdMapping { parent_fd: listener, child_fd: LISTENER },
        FdMapping { parent_fd: wire, child_fd: HANDOVER },
    ];
    command.fd_mappings(mappings).context("giving the listener away")?;
    Ok(command)
}

/// The new process, as the old one sees it.
#[derive(Debug)]
pub(crate) struct Successor {
    wire: Wire,
    launcher: Child,
    report: Lines<BufReader<tokio::net::UnixStream>>,
    pid: Pid,
    ended: Option<String>,
}

impl Successor {
    /// Starts it and waits until it has read its settings; nothing of ours was touched until then.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) async fn load(program: &Program, listener: &TcpListener) -> anyhow::Result<Self> {
        let (wire, theirs) = wire::pair()?;
        let (report, stdin) = UnixStream::pair()?;
        report.set_nonblocking(true)?;
        let mut report = BufReader::new(tokio::net::UnixStream::from_std(report)?).lines();
        // The program that runs, whatever lies at its path by now: it is known to start.
        let mut command = Command::new("/proc/self/exe");
        command.arg(launch::VERB).arg("--").arg(&program.binary).args(&program.arguments);
        command.stdin(Stdio::from(OwnedFd::from(stdin)));
        let listener = listener.as_fd().try_clone_to_owned()?;
        let launcher =
            with_descriptors(command, listener, theirs)?.spawn().context("starting the launcher")?;
        let first = timeout(SOON, report.next_line()).await;
        let first = first.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let pid = first.strip_prefix(launch::PID).and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        let mut launcher = launcher;
        let Some(pid) = pid else {
            end(&mut launcher);
            bail!("{}: {}", program.binary.display(), if first.is_empty() { "no process" } else { &first });
        };
        let mut successor = Self { wire, launcher, report, pid, ended: None };
        match successor.expect(&Word::Loaded, LOADS).await {
            Ok(()) => Ok(successor),
            Err(error) => {
                successor.abort().await;
                Err(error)
            }
        }
    }

    /// Tells it that the store is free and waits until it serves.
    ///
    /// # Errors
    /// Why it does not; then it is to be ended with [`Successor::abort`].
    pub(crate) async fn serve(&mut self) -> anyhow::Result<()> {
        self.wire.send(&Word::Go).await.context("telling the new process to serve")?;
        self.expect(&Word::Ready, SERVES).await
    }

    async fn expect(&mut self, word: &Word, within: Duration) -> anyhow::Result<()> {
        match timeout(within, self.wire.receive()).await {
            Err(_) => Err(anyhow!("the new process did not say {word:?} within {} s", within.as_secs())),
            Ok(Ok(Some(said))) if said == *word => Ok(()),
            Ok(Ok(Some(said))) => Err(anyhow!("the new process said {said:?}, not {word:?}")),
            Ok(Ok(None)) => Err(anyhow!("the new process ended: {}", self.end().await)),
            Ok(Err(error)) => Err(anyhow!("the new process speaks otherwise: {error}")),
        }
    }

    /// How it ended, once it has.
    async fn end(&mut self) -> String {
        if self.ended.is_none() {
            let line = timeout(SOON, self.report.next_line()).await;
            self.ended = line.ok().and_then(Result::ok).flatten();
        }
        self.ended.clone().unwrap_or_else(|| "it closed its socket".to_owned())
    }

    /// Ends it, if it has not ended by itself; it holds nothing any more when this returns.
    pub(crate) async fn abort(mut self) {
        if self.ended.is_none() {
            // By its parent, which alone knows whether the number is still its own.
            let report = self.report.get_mut().get_mut();
            if let Err(error) = report.write_all(&[launch::KILL]).await {
                tracing::warn!(target: "restart", %error, "the new process was not ended");
            }
            self.end().await;
        }
        end(&mut self.launcher);
    }

    /// Leaves it to the service manager, as whose child it goes on; its process id and the socket to it.
    pub(crate) fn release(mut self) -> (u32, Wire) {
        end(&mut self.launcher);
        (self.pid.as_raw_nonzero().get().unsigned_abs(), self.wire)
    }
}

/// A launcher holds nothing but its child, which it does not take along.
fn end(launcher: &mut Child) {
    if let Err(error) = launcher.kill().and_then(|()| launcher.wait()) {
        tracing::warn!(target: "restart", %error, "the launcher was not ended");
    }
}

/// The old process, as the new one sees it.
#[derive(Debug)]
pub(crate) struct Predecessor(Wire);

impl Predecessor {
    /// Says that the settings are read and waits until the store is free.
    ///
    /// # Errors
    /// When the old process has gone, or goes on by itself.
    pub(crate) async fn greet(wire: OwnedFd) -> anyhow::Result<Self> {
        let wire = Wire::new(wire)?;
        wire.send(&Word::Loaded).await.context("greeting the old process")?;
        match wire.receive().await? {
            Some(Word::Go) => Ok(Self(wire)),
            said => bail!("the old process said {said:?} and hands nothing over"),
        }
    }

    /// Says that we serve, and waits until the service manager knows us: it would not listen to us before.
    pub(crate) async fn ready(&self) {
        let said = self.0.send(&Word::Ready).await;
        let heard = timeout(SOON, self.0.receive()).await;
        if !matches!((said, heard), (Ok(()), Ok(Ok(Some(Word::Main))))) {
            tracing::warn!(target: "restart", "the old process went before it had handed all over");
        }
    }

    /// Takes connections until the old process ends.
    pub(crate) fn adopt(self, adopter: Arc<Adopter>) -> Adoption {
        let adoption = Adoption::default();
        let goes_on = Arc::clone(&adoption.goes_on);
        goes_on.store(true, Ordering::Release);
        adoption.tasks.spawn(async move {
            self.take(&adopter).await;
            goes_on.store(false, Ordering::Release);
        });
        adoption
    }

    async fn take(&self, adopter: &Adopter) {
        let mut count = 0_u64;
        loop {
            match self.0.receive().await {
                Ok(Some(Word::Connection(stream, peer, input))) => {
                    // One that is gone meanwhile is nobody's loss.
                    let input = BytesMut::from(&*input);
                    count += u64::from(adopter.adopt(stream, peer, input).await.is_ok());
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(target: "restart", %error, "the old process hands no more connections over");
                    break;
                }
            }
        }
        tracing::info!(target: "restart", connections = count, "the old process has ended");
    }
}

/// Connections come from an old process. A process that is old itself by then passes them on, so it stays for them.
#[derive(Debug)]
pub(crate) struct Adoption {
    tasks: TaskGroup,
    goes_on: Arc<AtomicBool>,
}

impl Default for Adoption {
    fn default() -> Self {
        Self { tasks: TaskGroup::new("adoption"), goes_on: Arc::default() }
    }
}

impl Adoption {
    /// Whether there may be more.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on.load(Ordering::Acquire)
    }

    /// Takes no more.
    pub(crate) async fn close(&self) {
        self.tasks.close().await;
    }
}
