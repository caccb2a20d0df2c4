//! Audit records in the system's journal, for who collects them there. The trail stays what counts: the journal's queue
//! may drop, and a crash between the two keeps a record from it.

use anyhow::Context as _;
use gatehouse_ops::AuditExport;
use tracing::Dispatch;
use tracing::dispatcher::with_default;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

/// Marks our events, so that the filter leaves all others of the process alone.
const TARGET: &str = "gatehouse::audit";

/// The way to the journal: `SYSLOG_IDENTIFIER=gatehoused-audit`, a field for each part of a record.
///
/// # Errors
/// When there is no journal.
pub(crate) fn audit() -> anyhow::Result<AuditExport> {
    let layer = tracing_journald::layer().context("audit_journald: reaching the system's journal")?;
    let layer = layer
        .with_field_prefix(Some("GATEHOUSE".to_owned()))
        .with_syslog_identifier("gatehoused-audit".to_owned());
    let filter = Targets::new().with_target(TARGET, LevelFilter::INFO);
    let dispatch = Dispatch::new(Registry::default().with(filter).with(layer));
    Ok(AuditExport::new(move |record| {
        let entry = &record.entry;
        with_default(&dispatch, || {
            tracing::info!(
                target: TARGET,
                seq = record.seq,
                at_unix_ms = entry.at_unix_ms,
                actor = entry.actor,
                source = entry.source,
                action = entry.action,
                object = entry.object,
                outcome = entry.outcome,
                detail = %entry.detail,
                revision = entry.revision.0,
                previous = record.previous,
                hash = record.hash,
                "{} {} {}: {}",
                entry.actor, entry.action, entry.object, entry.outcome,
            );
        });
    }))
}
