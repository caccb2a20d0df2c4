//! `gatehoused`: from the command line to the exit code. No logic lives here.

mod assemble;
mod audit_cli;
mod base;
mod closing;
mod demo;
mod docs;
mod exit;
mod handover;
mod history;
mod journal;
mod logging;
mod records;
mod restart;
mod run;
mod settings;
mod store_cli;
mod upstreams;

use clap::{Parser, Subcommand};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The Gatehouse daemon: gateway and manager in one process.
#[derive(Debug, Parser)]
#[command(name = "gatehoused", version)]
struct Arguments {
    /// Settings file instead of /etc/gatehouse/gatehouse.toml
    #[arg(long)]
    config: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Folder of the store, keys, audit trail and backups
    #[arg(long)]
    data_dir: Option<String>,
    /// Folder of the console's sockets
    #[arg(long)]
    runtime_dir: Option<String>,
    /// Any other setting as NAME=VALUE; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Print the merged settings with their sources and exit; 78 when invalid
    #[arg(long)]
    check: bool,
    /// Start a small upstream and register a demo API in front of it
    #[arg(long)]
    demo: bool,
    /// Print a generated page of docs/ (config, errors, runbooks) and exit
    #[arg(long, hide = true, value_name = "PAGE")]
    print_docs: Option<docs::Page>,
    #[command(subcommand)]
    command: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Work on the store while no daemon runs
    #[command(subcommand)]
    Store(store_cli::StoreVerb),
    /// Verify or export the audit trail, also of a copy, also while a daemon runs
    #[command(subcommand)]
    Audit(audit_cli::AuditVerb),
    /// Between two daemons during a restart
    #[command(hide = true)]
    Launch {
        binary: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    if let Some(page) = arguments.print_docs {
        return said(&page.text());
    }
    if let Some(Verb::Launch { binary, arguments }) = &arguments.command {
        return ended(handover::launch::run(binary, arguments));
    }
    let (merged, checked, inputs) = match load(&arguments) {
        Ok(loaded) => loaded,
        Err(problems) => return refused(exit::CONFIG, &problems),
    };
    if arguments.check {
        return said(&settings::print(&merged));
    }
    let outcome = match arguments.command {
        Some(Verb::Store(verb)) => store_cli::run(&verb, &checked),
        Some(Verb::Audit(verb)) => audit_cli::run(&verb, &checked),
        _ => run::run(checked, inputs, arguments.demo),
    };
    ended(outcome)
}

fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refused(exit::of(&error), &[format!("{error:#}")]),
    }
}

type Loaded = (settings::Merged, settings::checked::Settings, settings::Inputs);

fn load(arguments: &Arguments) -> Result<Loaded, Vec<String>> {
    let mut flags = BTreeMap::new();
    let named = [
        ("listen", &arguments.listen),
        ("data_dir", &arguments.data_dir),
        ("runtime_dir", &arguments.runtime_dir),
    ];
    for (name, value) in named {
        flags.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    for pair in &arguments.set {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| vec![format!("--set {pair:?}: expected NAME=VALUE")])?;
        if settings::table::named(name).is_none() {
            return Err(vec![format!("--set: unknown setting {name:?}; docs/config.md lists all")]);
        }
        flags.insert(name.to_owned(), value.to_owned());
    }
    let inputs = settings::Inputs::from_process(flags, arguments.config.clone());
    let (merged, file) = settings::merge(&inputs)?;
    let checked = settings::checked::check(&merged, file)?;
    Ok((merged, checked, inputs))
}

fn said(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(exit::INTERNAL),
    }
}

fn refused(code: u8, problems: &[String]) -> ExitCode {
    for problem in problems {
        drop(writeln!(std::io::stderr(), "gatehoused: {problem}"));
    }
    ExitCode::from(code)
}
