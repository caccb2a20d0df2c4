//! The binary `gatehouse-workspace`: reads its settings, serves until it is told to end, chooses the exit code.

use gatehouse_workspace::{settings, start};
use std::io::Write as _;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Wrong settings, as the daemon has it (sysexits.h).
const EXIT_SETTINGS: u8 = 78;
/// All else that keeps it from serving.
const EXIT_INTERNAL: u8 = 70;

fn main() -> ExitCode {
    let environment: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let settings = match settings::read(&environment) {
        Ok(settings) => settings,
        Err(problems) => return fail(EXIT_SETTINGS, &problems.join("\n")),
    };
    // What git starts runs as the same user: it must not read the token out of our environment or memory.
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        return fail(EXIT_INTERNAL, &format!("prctl: {error}"));
    }
    let level = environment.get("LOG_LEVEL").map_or("info", String::as_str).to_lowercase();
    let filter = EnvFilter::try_new(format!("warn,gatehouse_workspace={level}")).unwrap_or_default();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_INTERNAL, &error.to_string()),
    }
}

fn serve(settings: settings::Settings) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let ending = CancellationToken::new();
        let serving = start(settings, ending.clone()).await?;
        tokio::pin!(serving);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = &mut serving => return Ok(()),
        }
        ending.cancel();
        serving.await;
        Ok(())
    })
}

fn fail(code: u8, text: &str) -> ExitCode {
    // Nobody may be listening on standard error, and then there is nobody to tell.
    writeln!(std::io::stderr(), "gatehouse-workspace: {text}").ok();
    ExitCode::from(code)
}
