//! `gatehoused store …`: check, export and import of the store while no daemon holds it.

use crate::assemble::store_folder;
use crate::settings::checked::Settings;
use anyhow::Context as _;
use clap::Subcommand;
use gatehouse_store::segments::AuditLog;
use gatehouse_store::{Store, archive};
use std::io::{BufReader, Write as _};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Read every row and the whole audit chain
    Check,
    /// Write all rows as JSON lines
    Export {
        /// File to write
        file: PathBuf,
    },
    /// Read rows from JSON lines; may be repeated after an interruption
    Import {
        /// File to read
        file: PathBuf,
    },
}

/// Does one verb.
pub(crate) fn run(verb: &StoreVerb, settings: &Settings) -> anyhow::Result<()> {
    let database = store_folder(&settings.data_dir).join("db");
    if !matches!(verb, StoreVerb::Import { .. }) && !database.exists() {
        anyhow::bail!("data_dir: {}: there is no store to read", settings.data_dir.display());
    }
    let store = Store::open(&store_folder(&settings.data_dir), &settings.store_backend)
        .context("opening the store")?;
    let said = match verb {
        StoreVerb::Check => check(&store, settings)?,
        StoreVerb::Export { file } => export(&store, file)?,
        StoreVerb::Import { file } => import(&store, file)?,
    };
    store.close();
    writeln!(std::io::stdout(), "{said}")?;
    Ok(())
}

fn check(store: &Store, settings: &Settings) -> anyhow::Result<String> {
    let mut said = String::new();
    for table in store.tables()? {
        let rows = store.scan(&table)?;
        for (key, value) in &rows {
            serde_json::from_slice::<serde_json::Value>(value)
                .with_context(|| format!("table {table}, key {key}: not JSON"))?;
        }
        said.push_str(&format!("{table}: {} rows\n", rows.len()));
    }
    let audit = AuditLog::open(&settings.data_dir.join("audit")).context("opening the audit trail")?;
    let records = audit.verify().map_err(|broken| anyhow::anyhow!("audit trail: {broken}"))?.records;
    said.push_str(&format!("audit trail: {records} records, chain intact"));
    Ok(said)
}

fn export(store: &Store, file: &PathBuf) -> anyhow::Result<String> {
    let beside = file.with_extension("partial");
    let mut out = std::io::BufWriter::new(
        std::fs::File::create(&beside).with_context(|| format!("writing {}", beside.display()))?,
    );
    let info = archive::export(store, &mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    std::fs::rename(&beside, file).with_context(|| format!("writing {}", file.display()))?;
    Ok(format!("{} rows to {}", info.rows, file.display()))
}

fn import(store: &Store, file: &PathBuf) -> anyhow::Result<String> {
    let open = || std::fs::File::open(file).with_context(|| format!("reading {}", file.display()));
    // Checked to its end first: a truncated archive changes nothing.
    let (_, rows) =
        archive::read_rows(&mut BufReader::new(open()?)).with_context(|| format!("{}", file.display()))?;
    gatehouse_control::check_rows(&rows).with_context(|| format!("{}", file.display()))?;
    let info = archive::import(store, &mut BufReader::new(open()?))
        .with_context(|| format!("{}", file.display()))?;
    Ok(format!("{} rows from {}", info.rows, file.display()))
}
