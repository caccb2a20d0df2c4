//! `gatehouse`: chooses between console, verb and plain text, and the exit code. No logic lives here.

use gatehouse_tui::client::{Client, Socket};
use gatehouse_tui::environment::Environment;
use gatehouse_tui::output::Output;
use gatehouse_tui::{cli, console, exit, plain, verbs};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let invocation = match cli::parse(&words).and_then(|found| captive(found, &environment)) {
        Ok(invocation) => invocation,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "gatehouse: {error}"));
            return ExitCode::from(exit::USAGE);
        }
    };
    if invocation.help || invocation.version {
        let version = concat!("gatehouse ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
        let text = if invocation.help { cli::help() } else { version };
        drop(std::io::stdout().write_all(text.as_bytes()));
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "gatehouse: {error}"));
            return ExitCode::from(exit::FAILED);
        }
    };
    let code = runtime.block_on(choose(&invocation, &environment));
    // The input thread may sit in a read of a terminal that is gone.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// With `--captive` the words come from SSH; no shell ever sees them.
fn captive(found: cli::Invocation, environment: &Environment) -> Result<cli::Invocation, cli::Usage> {
    if !found.captive {
        return Ok(found);
    }
    let command = environment.ssh_command.as_deref().unwrap_or_default();
    let words = shlex::split(command)
        .ok_or_else(|| cli::Usage(format!("SSH_ORIGINAL_COMMAND: quotes do not match: {command}")))?;
    // The door is the administrator's choice, not the caller's.
    let asked = cli::parse(&words)?;
    if asked.socket.is_some() {
        return Err(cli::Usage("--socket: not for you to choose here".to_owned()));
    }
    // Files of the box are not the caller's to read.
    if asked.verb.as_ref().is_some_and(|request| request.verb == "import") {
        return Err(cli::Usage("import: not over this door; run it on the box".to_owned()));
    }
    Ok(cli::Invocation { socket: found.socket, captive: true, ..asked })
}

async fn choose(invocation: &cli::Invocation, environment: &Environment) -> u8 {
    let socket = invocation.socket.clone().or_else(|| environment.socket.clone());
    let client = Client::new(socket.map_or(Socket::Usual, Socket::At));
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut output = Output::new(&mut out, &mut err);
    let ssh = environment.ssh_connection.as_deref();
    if let Some(request) = &invocation.verb {
        // Whoever comes by SSH's forced command has no files here.
        let request = cli::Request { files: !invocation.captive, stdin: true, ..request.clone() };
        return verbs::perform(&client, &request, ssh, &mut output).await;
    }
    if !std::io::stdout().is_terminal() {
        let overview = cli::Request { verb: "status", ..cli::Request::default() };
        return verbs::perform(&client, &overview, ssh, &mut output).await;
    }
    if invocation.plain || environment.plain || environment.term == "dumb" || !std::io::stdin().is_terminal()
    {
        return plain::session(&client, ssh, &mut output).await;
    }
    // A captive session writes no files on the box.
    let home = environment.home.clone().filter(|_| !invocation.captive);
    let environment = Environment { home, ..environment.clone() };
    match console::run(client, &environment, invocation.ascii).await {
        Ok(code) => code,
        Err(error) => {
            output.complain(&format!("{error}; gatehouse --plain needs no screen"));
            exit::FAILED
        }
    }
}
