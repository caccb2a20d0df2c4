//! Does control answer, and how large is the store?

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::units;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::Command;
use gatehouse_corridor::permission::grant;
use std::time::Duration;

/// Longer than this is no answer.
const WAIT: Duration = Duration::from_secs(2);

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let read = grant(&Actor::System).read;
    let asked =
        tokio::time::timeout(WAIT, sight.world.control.ask(|reply| Command::Revision(read, reply))).await;
    vec![match asked {
        Ok(Ok(revision)) => {
            let size = units::bytes(sight.world.store.size_bytes());
            item("STORE", Severity::Ok, format!("revision {revision}, {size} on disk"))
        }
        Ok(Err(problem)) => {
            ill("STORE-SILENT", Severity::Critical, problem.detail, "Look at the log, then restart.")
        }
        Err(_) => ill(
            "STORE-SILENT",
            Severity::Critical,
            format!("control has not answered for {} s", WAIT.as_secs()),
            "Traffic goes on; changes do not. Look at the log, then restart.",
        ),
    }]
}
