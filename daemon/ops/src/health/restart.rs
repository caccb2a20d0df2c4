//! Did the last restart come about?

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    vec![match sight.world.shutdown.refusal() {
        None => item("RESTART", Severity::Ok, "no restart has failed".to_owned()),
        Some(refusal) => ill(
            "RESTART-FAILED",
            Severity::Warning,
            format!("the last restart failed and the old process serves on: {}", refusal.why),
            "Look at the log: the program or the settings on the disk do not start. Mend them, then restart again.",
        ),
    }]
}
