//! The daemon's life: start, signals, sd_notify, the end, restart by executing the binary anew.

use crate::assemble::{self, Beside, House};
use crate::base::{self, Base};
use crate::closing::{self, Plane};
use crate::demo;
use crate::handover::{self, Adoption, Inherited, Predecessor, Program};
use crate::restart::{self, Attempt};
use crate::settings::checked::Settings;
use crate::settings::{self, Inputs};
use crate::upstreams;
use anyhow::Context as _;
use command_fds::{CommandFdExt as _, FdMapping};
use gatehouse_corridor::reload::Outcome;
use gatehouse_corridor::shutdown::{Ending, Phase, Refusal};
use gatehouse_corridor::tasks::TaskGroup;
use sd_notify::NotifyState;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long the end waits for connections without a request in flight.
const QUIET: Duration = Duration::from_secs(1);

/// Runs until a signal or a runbook ends it; after [`Ending::Restart`] a new process serves, or this one becomes it.
/// `inputs` is where the settings came from, for reading them anew.
pub(crate) fn run(settings: Settings, inputs: Inputs, demo: bool) -> anyhow::Result<()> {
    // Taken at the start: after an upgrade the path names the new binary, /proc/self/exe the old one.
    let binary = std::env::current_exe().context("finding the binary")?;
    let program = Program { binary, arguments: std::env::args_os().skip(1).collect() };
    let start = Start { settings, inputs, demo, program };
    let (start, anew) = actix_web::rt::System::new().block_on(live(start, handover::inherited()?))?;
    match anew {
        None => Ok(()),
        Some(listener) => Err(become_anew(start.program, listener)),
    }
}

/// Executes the binary in this very process, so that whoever supervises the pid notices nothing; the
/// listener stays open, so that connections queue instead of being refused. Returns only on failure.
fn become_anew(program: Program, listener: TcpListener) -> anyhow::Error {
    let mut command = std::process::Command::new(program.binary);
    command.args(program.arguments);
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", std::process::id().to_string())
        .env_remove("LISTEN_FDNAMES");
    let mapping = FdMapping { parent_fd: OwnedFd::from(listener), child_fd: 3 };
    if let Err(error) = command.fd_mappings(vec![mapping]) {
        return anyhow::Error::new(error).context("keeping the listener");
    }
    anyhow::Error::new(command.exec()).context("restarting in place")
}

/// A second process may serve while this one ends only where somebody is told which of them is the service, and where
/// the end of this one does not take the other along (the first process of a container).
fn may_overlap() -> bool {
    std::process::id() != 1 && std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// What the process was started for.
struct Start {
    settings: Settings,
    inputs: Inputs,
    demo: bool,
    program: Program,
}

/// The listener comes back if the process is to execute its binary anew.
async fn live(mut start: Start, inherited: Inherited) -> anyhow::Result<(Start, Option<TcpListener>)> {
    let mut signals = Signals::new()?;
    let predecessor = match inherited.wire {
        Some(wire) => Some(Predecessor::greet(wire).await?),
        None => None,
    };
    let base = base::base(&start.settings, inherited.listener)?;
    let beside = if predecessor.is_some() { Beside::Predecessor } else { Beside::Nothing };
    let mut house = assembled(&start, &base, beside).await?;
    announce(&house)?;
    let adoption = match predecessor {
        Some(predecessor) => {
            predecessor.ready().await;
            predecessor.adopt(house.workers.adopter())
        }
        None => Adoption::default(),
    };
    notify(&[NotifyState::Ready]);
    let (beats, leftovers) = (watchdog(), TaskGroup::new("leftovers"));
    let listener = loop {
        let ending = serve(&mut house, &base, &mut signals, &start.inputs).await?;
        // What was taken anew counts on, whatever comes of a restart.
        start.settings = house.settings.clone();
        if ending == Ending::Exit || !may_overlap() {
            end(house, ending).await;
            let anew = ending == Ending::Restart && !signals.ended().await;
            break anew.then_some(base.listener);
        }
        match restart::attempt(house, &start.program, &base.listener).await {
            Attempt::Done(successor, old) => {
                beats.close().await;
                old.hand_over(successor, &mut signals, &adoption).await;
                break None;
            }
            Attempt::NotBegun(same, refusal) => {
                same.shutdown.refuse(refusal);
                house = *same;
            }
            Attempt::Failed(old, refusal) => match again(&start, &base, refusal).await {
                Ok(new) => {
                    leftovers.spawn_to_end(old.leave_to(new.workers.adopter()));
                    house = new;
                }
                Err(error) => {
                    tracing::error!(target: "restart", error = format!("{error:#}"), "this process cannot serve on");
                    old.drain().await;
                    break Some(base.listener);
                }
            },
        }
    };
    adoption.close().await;
    // What an earlier restart left has its own bound of time.
    leftovers.close().await;
    Ok((start, listener))
}

async fn assembled(start: &Start, base: &Base, beside: Beside) -> anyhow::Result<House> {
    let house = assemble::assemble(start.settings.clone(), base, beside).await?;
    if start.demo {
        demo::start(&house).await.context("starting the demo")?;
    }
    Ok(house)
}

/// Serves on in this process after its rooms were closed for nothing.
async fn again(start: &Start, base: &Base, refusal: Refusal) -> anyhow::Result<House> {
    let house = assembled(start, base, Beside::Remains(refusal)).await?;
    tracing::warn!(target: "restart", "this process serves on");
    Ok(house)
}

/// Until the end is asked for, or a restart; `house.settings` are those applied last.
async fn serve(
    house: &mut House,
    base: &Base,
    signals: &mut Signals,
    inputs: &Inputs,
) -> anyhow::Result<Ending> {
    let mut reloads = house.reloads.take().context("the door for reloads")?;
    let ending = loop {
        tokio::select! {
            ending = house.shutdown.asked() => break ending,
            _ = signals.terminate.recv() => house.shutdown.ask(Ending::Exit),
            _ = signals.interrupt.recv() => house.shutdown.ask(Ending::Exit),
            _ = signals.again.recv() => house.shutdown.ask(Ending::Restart),
            _ = signals.dump.recv() => dump(house),
            _ = signals.hangup.recv() => drop(reload(house, base, inputs).await),
            // The house holds a sender, so this does not end.
            Some(asker) = reloads.recv() => drop(asker.send(reload(house, base, inputs).await)),
        }
    };
    // It may serve on.
    house.reloads = Some(reloads);
    Ok(ending)
}

/// The signals we listen to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    again: Signal,
    dump: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            again: signal(SignalKind::user_defined2())?,
            dump: signal(SignalKind::user_defined1())?,
        })
    }

    /// The end is asked for.
    pub(crate) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Whether the end was asked for while nobody listened.
    async fn ended(&mut self) -> bool {
        // One turn of the runtime, which hands on what has come.
        tokio::task::yield_now().await;
        tokio::select! {
            biased;
            () = self.end() => true,
            () = std::future::ready(()) => false,
        }
    }
}

/// Outside systemd there is nobody to tell, which is no failure.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(target: "run", %error, "sd_notify failed");
    }
}

/// Tells systemd that another process is the service from now on. It listens to none but the present one
/// (`NotifyAccess=main`), and takes one that is its own child.
pub(crate) fn notify_main(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]);
}

/// Beats from the runtime that serves ops and control, also while they are closed for a restart: when it hangs, systemd
/// restarts us.
fn watchdog() -> TaskGroup {
    let beats = TaskGroup::new("watchdog");
    let Some(limit) = sd_notify::watchdog_enabled() else { return beats };
    beats.spawn(async move {
        let mut beat = tokio::time::interval(limit / 3);
        loop {
            beat.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    });
    beats
}

fn announce(house: &House) -> anyhow::Result<()> {
    let settings = &house.settings;
    let mut text = format!("gatehoused {} listens on http://{}\n", env!("CARGO_PKG_VERSION"), house.address);
    let password = match (&house.password_file, &house.made_password) {
        (Some(path), _) => Some(format!("password in: {}", path.display())),
        (None, Some(password)) => Some(format!("password (shown once): {}", password.expose())),
        (None, None) => None,
    };
    if let Some(password) = password {
        text.push_str(&format!("administrator: {}   {password}\n", settings.admin_username));
    }
    // The console that was built or installed with this daemon, if it is there.
    let beside = std::env::current_exe().ok().map(|binary| binary.with_file_name("gatehouse"));
    let console = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("gatehouse"));
    let socket = settings.runtime_dir.join("operate.sock");
    text.push_str(&format!("console: {} --socket {}\n", console.display(), socket.display()));
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    tracing::info!(target: "run", address = %house.address, "serving");
    Ok(())
}

/// SIGUSR1: writes an encrypted dump of all rows, where no request waits for it.
fn dump(house: &House) {
    let control = house.control.clone();
    house.tasks.spawn_to_end(async move {
        match tokio::task::spawn_blocking(move || control.dump()).await {
            Ok(Ok(path)) => tracing::info!(target: "run", path = %path.display(), "dumped"),
            Ok(Err(problem)) => tracing::error!(target: "run", code = problem.code, "not dumped: {problem}"),
            Err(error) => tracing::error!(target: "run", %error, "not dumped"),
        }
    });
}

/// SIGHUP: reads the settings anew. What can change live does; what differs and needs a restart is named in the log.
async fn reload(house: &mut House, base: &Base, inputs: &Inputs) -> Outcome {
    let stamp = NotifyState::monotonic_usec_now();
    match &stamp {
        Ok(stamp) => notify(&[NotifyState::Reloading, stamp.clone()]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    let outcome = reread(house, base, inputs).await;
    match &outcome {
        Ok((log_level, waiting)) if waiting.is_empty() => {
            tracing::info!(target: "run", log_level, "settings reloaded");
        }
        Ok((log_level, waiting)) => {
            let settings = waiting.join(", ");
            tracing::warn!(target: "run", log_level, settings, "settings reloaded; these differ and need a restart");
        }
        Err(problems) => {
            tracing::error!(target: "run", problems = problems.join("; "), "settings not reloaded; the old ones stay");
        }
    }
    notify(&[NotifyState::Ready]);
    outcome.map(|(_, waiting)| waiting)
}

/// Applies the settings as they are now, those excepted that are read at a start only; the log level, and the names of
/// those that wait for a restart.
async fn reread(
    house: &mut House,
    base: &Base,
    inputs: &Inputs,
) -> Result<(String, Vec<&'static str>), Vec<String>> {
    let inputs = Inputs::from_process(inputs.flags.clone(), inputs.file.clone());
    let (merged, file) = settings::merge(&inputs)?;
    // What waits for a restart is to be right too.
    settings::checked::check(&merged, file.clone())?;
    let waiting = settings::waiting(&house.settings.merged, &merged);
    let new = settings::checked::check(&settings::pinned(&house.settings.merged, merged), file)?;
    let one = |error: anyhow::Error| vec![format!("{error:#}")];
    let config = assemble::reloaded(house, &new).map_err(one)?;
    house.control.reload(config).await.map_err(|problem| vec![problem.detail])?;
    house.data.resolve_by(upstreams::resolution(&new));
    base.log_filter.set(&new.log_level).map_err(one)?;
    let level = new.log_level.clone();
    house.settings = new;
    Ok((level, waiting))
}

async fn end(house: House, ending: Ending) {
    let (mut plane, rooms) = closing::parted(house);
    // After STOPPING=1 systemd kills this very process once TimeoutStopSec= is over, anew or not.
    if ending == Ending::Exit {
        notify(&[NotifyState::Stopping]);
    }
    plane.shutdown.enter(Phase::Draining);
    tracing::info!(target: "run", deadline_secs = plane.shutdown.drain.as_secs(), "draining");
    plane.data.draining(true);
    plane.workers.pause().await;
    let deadline = Instant::now() + plane.shutdown.drain;
    // Connections that ask for nothing are not waited for longer than QUIET.
    let quiet = Instant::now() + QUIET;
    let telemetry = &plane.telemetry;
    while Instant::now() < deadline
        && (telemetry.in_flight.load(Ordering::Acquire) > 0
            || (telemetry.connections.load(Ordering::Acquire) > 0 && Instant::now() < quiet))
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = telemetry.in_flight.load(Ordering::Acquire);
    plane.shutdown.enter(Phase::Closing);
    let Plane { workers, records, .. } = plane;
    workers.stop().await;
    // Whoever supervises us has a bound of their own.
    rooms.close(&records, 0, Duration::MAX).await;
    records.stop();
    tracing::info!(target: "run", cut = left, "ended");
}
