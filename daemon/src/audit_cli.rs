//! `gatehoused audit …`: the trail of a data folder, or of a copy of its folder `audit`, without a daemon or beside one.
//! Nothing is opened but the trail, and nothing is written.

use crate::settings::checked::Settings;
use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use gatehouse_common::auditquery::AuditFilter;
use gatehouse_corridor::clock::Clock;
use gatehouse_store::walk::{Walked, walk};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Follow the whole chain; says where it breaks first
    Verify {
        /// Folder of the trail instead of `audit` in the data folder
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Print records as JSON lines, oldest first, up to the first that does not hold
    Export {
        /// Folder of the trail instead of `audit` in the data folder
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Filter: words, actor:x, action:x, object:x, outcome:x, since:1h, from:2026-11-25, to:2026-11-26T12:00
        #[arg(allow_hyphen_values = true)]
        query: Vec<String>,
    },
}

/// Does one verb.
pub(crate) fn run(verb: &AuditVerb, settings: &Settings) -> anyhow::Result<()> {
    let usual = settings.data_dir.join("audit");
    match verb {
        AuditVerb::Verify { folder } => {
            let Walked { records, files, hash } =
                walk(folder.as_deref().unwrap_or(&usual), |_| {}).map_err(|broken| anyhow!("{broken}"))?;
            writeln!(
                std::io::stdout(),
                "{records} records in {files} files, chain intact, last hash {hash}"
            )?;
        }
        AuditVerb::Export { folder, query } => {
            export(folder.as_deref().unwrap_or(&usual), &query.join(" "))?;
        }
    }
    Ok(())
}

fn export(folder: &Path, query: &str) -> anyhow::Result<()> {
    let filter =
        AuditFilter::parse(query, Clock::System.unix_ms()).map_err(|problem| anyhow!(problem.detail))?;
    let (mut out, mut failed) = (BufWriter::new(std::io::stdout().lock()), None);
    let walked = walk(folder, |record| {
        if failed.is_none() && filter.matches(&record.entry) {
            let line = serde_json::to_string(record).map_err(std::io::Error::from);
            failed = line.and_then(|line| writeln!(out, "{line}")).err();
        }
    });
    out.flush().context("standard output")?;
    if let Some(error) = failed {
        return Err(error).context("standard output");
    }
    walked.map(drop).map_err(|broken| anyhow!("{broken}"))
}
