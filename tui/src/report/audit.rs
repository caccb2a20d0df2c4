//! The audit trail in words.

use super::table;
use crate::clock::date_time;
use crate::text::clean;
use gatehouse_common::ops::audit::{AuditBreak, AuditPage, AuditVerdict};

/// `gatehouse audit`.
#[must_use]
pub fn audit(page: &AuditPage) -> Vec<String> {
    let rows: Vec<_> = page
        .records
        .iter()
        .map(|record| {
            let entry = &record.entry;
            vec![
                record.seq.to_string(),
                date_time(entry.at_unix_ms),
                entry.actor.clone(),
                entry.action.clone(),
                entry.object.clone(),
                entry.outcome.clone(),
            ]
        })
        .collect();
    let mut lines = table(&["SEQ", "TIME", "WHO", "WHAT", "TO", "OUTCOME"], &rows);
    lines.push(match (&page.broken, page.chain_ok) {
        (_, true) => format!("chain verified, {} records", page.total),
        (Some(place), false) => format!("CHAIN BROKEN: {}", clean(place)),
        (None, false) => "CHAIN NOT VERIFIED".to_owned(),
    });
    lines
}

/// Where a trail breaks.
#[must_use]
pub fn audit_break(broken: &AuditBreak) -> String {
    format!("CHAIN BROKEN: {} line {}: {}", clean(&broken.file), broken.line, clean(&broken.why))
}

/// `gatehouse audit verify`.
#[must_use]
pub fn audit_verdict(verdict: &AuditVerdict) -> Vec<String> {
    let AuditVerdict { records, files, hash, broken } = verdict;
    vec![match broken {
        Some(broken) => audit_break(broken),
        None => format!("{records} records in {files} files, chain intact, last hash {}", clean(hash)),
    }]
}
