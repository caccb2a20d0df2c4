//! Does the audit chain hold, and do records reach it?

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    if let Some(why) = sight.audit.stuck() {
        let remedy = "Records wait in the store and are lost by nothing; free space or mend the folder.";
        return vec![ill("AUDIT-STUCK", Severity::Critical, why, remedy)];
    }
    let trail = sight.audit.clone();
    let verified = tokio::task::spawn_blocking(move || trail.verify()).await;
    vec![match verified {
        Ok(Ok(records)) => item("AUDIT", Severity::Ok, format!("{records} records, chain intact")),
        Ok(Err(broken)) => ill(
            "AUDIT-BROKEN",
            Severity::Critical,
            broken,
            "Somebody or something changed the trail: keep the folder `audit` and compare it with a copy.",
        ),
        Err(error) => item("AUDIT", Severity::Unknown, error.to_string()),
    }]
}
