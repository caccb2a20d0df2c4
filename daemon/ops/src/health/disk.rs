//! Is there space left for the store, the logs and a backup?

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::units;

/// Below this share of free space the operator is told.
const LOW: f64 = 0.10;
/// Below this one writes will soon be refused.
const FULL: f64 = 0.03;

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let (free, whole) = match sight.world.disk() {
        Ok(disk) => disk,
        Err(problem) => return vec![item("DISK", Severity::Unknown, problem.detail)],
    };
    let share = free as f64 / whole.max(1) as f64;
    let said = format!("{:.0}% free ({} of {})", share * 100.0, units::bytes(free), units::bytes(whole));
    let remedy = "Remove old backups and log files, or enlarge the disk; it recovers by itself.";
    vec![match share {
        share if share < FULL => ill("DISK-FULL", Severity::Critical, said, remedy),
        share if share < LOW => ill("DISK-LOW", Severity::Warning, said, remedy),
        _ => item("DISK", Severity::Ok, said),
    }]
}
