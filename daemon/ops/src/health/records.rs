//! Were access records or log lines dropped?

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};
use std::sync::atomic::Ordering;

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let records = sight.telemetry.dropped_records.load(Ordering::Relaxed);
    let lines = sight.telemetry.dropped_lines.load(Ordering::Relaxed);
    if records + lines == 0 {
        return vec![item(
            "RECORDS",
            Severity::Ok,
            "no access record was dropped since the start".to_owned(),
        )];
    }
    let said =
        format!("{records} access records were dropped and {lines} could not be written since the start");
    vec![ill("RECORDS-DROPPED", Severity::Warning, said, "The disk of the log folder is too slow or full.")]
}
