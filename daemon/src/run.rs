//! The daemon's life: start, signals, sd_notify, the phases of shutdown, restart in place.

use crate::assemble::{self, House};
use crate::demo;
use crate::settings::checked::Settings;
use crate::settings::{self, Inputs};
use crate::upstreams;
use anyhow::Context as _;
use command_fds::{CommandFdExt as _, FdMapping};
use gatehouse_corridor::reload::Outcome;
use gatehouse_corridor::shutdown::{Ending, Phase};
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

/// Runs until a signal or a runbook ends it; after [`Ending::Restart`] this process becomes the new one.
/// `inputs` is where the settings came from, for reading them anew.
pub(crate) fn run(settings: Settings, inputs: Inputs, demo: bool) -> anyhow::Result<()> {
    // Taken at the start: after an upgrade the path names the new binary, /proc/self/exe the old one.
    let binary = std::env::current_exe().context("finding the binary")?;
    let (ending, listener) = actix_web::rt::System::new().block_on(live(settings, inputs, demo))?;
    match ending {
        Ending::Exit => Ok(()),
        Ending::Restart => Err(become_anew(binary, listener)),
    }
}

/// Executes the binary in this very process, so that whoever supervises the pid notices nothing; the
/// listener stays open, so that connections queue instead of being refused. Returns only on failure.
fn become_anew(binary: PathBuf, listener: TcpListener) -> anyhow::Error {
    let mut command = std::process::Command::new(binary);
    command.args(std::env::args_os().skip(1));
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

async fn live(settings: Settings, inputs: Inputs, demo: bool) -> anyhow::Result<(Ending, TcpListener)> {
    let mut signals = Signals::new()?;
    let mut house = assemble::assemble(settings).await?;
    let mut reloads = house.reloads.take().context("the door for reloads")?;
    if demo {
        demo::start(&house).await.context("starting the demo")?;
    }
    announce(&house)?;
    notify(&[NotifyState::Ready]);
    watchdog(&house);
    let ending = loop {
        tokio::select! {
            ending = house.shutdown.asked() => break ending,
            _ = signals.terminate.recv() => house.shutdown.ask(Ending::Exit),
            _ = signals.interrupt.recv() => house.shutdown.ask(Ending::Exit),
            _ = signals.again.recv() => house.shutdown.ask(Ending::Restart),
            _ = signals.dump.recv() => dump(&house),
            _ = signals.hangup.recv() => drop(reload(&house, &inputs).await),
            // The house holds a sender, so this does not end.
            Some(asker) = reloads.recv() => drop(asker.send(reload(&house, &inputs).await)),
        }
    };
    end(house, ending).await
}

struct Signals {
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
}

/// Outside systemd there is nobody to tell, which is no failure.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(target: "run", %error, "sd_notify failed");
    }
}

/// Beats from the runtime that serves ops and control: when that hangs, systemd restarts us.
fn watchdog(house: &House) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    house.tasks.spawn(async move {
        let mut beat = tokio::time::interval(limit / 3);
        loop {
            beat.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    });
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
async fn reload(house: &House, inputs: &Inputs) -> Outcome {
    let stamp = NotifyState::monotonic_usec_now();
    match &stamp {
        Ok(stamp) => notify(&[NotifyState::Reloading, stamp.clone()]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    let outcome = reread(house, inputs).await;
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

/// Applies the settings as they are now; the log level, and the names of those that wait for a restart.
async fn reread(house: &House, inputs: &Inputs) -> Result<(String, Vec<&'static str>), Vec<String>> {
    let inputs = Inputs::from_process(inputs.flags.clone(), inputs.file.clone());
    let (merged, file) = settings::merge(&inputs)?;
    let new = settings::checked::check(&merged, file)?;
    let one = |error: anyhow::Error| vec![format!("{error:#}")];
    let config = assemble::reloaded(house, &new).map_err(one)?;
    house.control.reload(config).await.map_err(|problem| vec![problem.detail])?;
    house.data.resolve_by(upstreams::resolution(&new));
    house.log_filter.set(&new.log_level).map_err(one)?;
    let waiting = house.settings.needing_restart(&new);
    Ok((new.log_level, waiting))
}

async fn end(house: House, ending: Ending) -> anyhow::Result<(Ending, TcpListener)> {
    let House {
        shutdown,
        data,
        control,
        telemetry,
        mut workers,
        ops,
        tasks,
        store,
        records,
        history_file,
        listener,
        ..
    } = house;
    // After STOPPING=1 systemd kills this very process once TimeoutStopSec= is over, anew or not.
    if ending == Ending::Exit {
        notify(&[NotifyState::Stopping]);
    }
    shutdown.enter(Phase::Draining);
    tracing::info!(target: "run", deadline_secs = shutdown.drain.as_secs(), "draining");
    data.draining(true);
    workers.pause().await;
    let deadline = Instant::now() + shutdown.drain;
    // Connections that ask for nothing are not waited for longer than QUIET.
    let quiet = Instant::now() + QUIET;
    while Instant::now() < deadline
        && (telemetry.in_flight.load(Ordering::Acquire) > 0
            || (telemetry.connections.load(Ordering::Acquire) > 0 && Instant::now() < quiet))
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = telemetry.in_flight.load(Ordering::Acquire);
    shutdown.enter(Phase::Closing);
    workers.stop().await;
    if let Err(problem) = control.settle().await {
        tracing::error!(target: "run", code = problem.code, "leased credits are not written back: {problem}");
    }
    ops.close().await;
    tasks.close().await;
    records.stop();
    history_file.stop();
    control.settle_usage();
    ops.settle();
    store.close();
    tracing::info!(target: "run", cut = left, "ended");
    Ok((ending, listener))
}
