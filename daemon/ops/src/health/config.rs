//! Is the watched folder of declared configuration in force?

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::Command;
use gatehouse_corridor::permission::grant;

/// Faults named in the summary; the rest are counted.
const NAMED: usize = 3;

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let read = grant(&Actor::System).read;
    let known = match sight.world.control.ask(|reply| Command::ConfigFolder(read, reply)).await {
        Ok(known) => known,
        Err(problem) => return vec![item("CONFIG", Severity::Unknown, problem.detail)],
    };
    let Some(folder) = known.folder else {
        return vec![item(
            "CONFIG",
            Severity::Ok,
            "no folder of declared configuration is watched".to_owned(),
        )];
    };
    if known.faults.is_empty() {
        let said = format!("{folder}: {} files, in force", known.files);
        return vec![item("CONFIG", Severity::Ok, said)];
    }
    let told = known.faults.iter().take(NAMED).map(|fault| format!("{}: {}", fault.place, fault.detail));
    let mut said = told.collect::<Vec<_>>().join("; ");
    if known.faults.len() > NAMED {
        said.push_str(&format!("; and {} more", known.faults.len() - NAMED));
    }
    let remedy = "Mend the file; the configuration before stays in force until then. gatehouse config check tells more.";
    vec![ill("CONFIG-BAD", Severity::Warning, said, remedy)]
}
