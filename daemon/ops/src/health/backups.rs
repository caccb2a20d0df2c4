//! Is there a backup, and how old is the newest?

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::units;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::Command;
use gatehouse_corridor::permission::grant;
use std::time::Duration;

/// Older than this is too old: a nightly backup that failed once.
const OLD: Duration = Duration::from_secs(26 * 3_600);

/// Age of the newest backup; `None` if there is none.
pub(crate) async fn age(world: &crate::world::World) -> Option<Duration> {
    let read = grant(&Actor::System).read;
    let newest = world.control.ask(|reply| Command::Backups(read, reply)).await.ok()?.into_iter().next()?;
    let millis = world.clock.unix_ms().saturating_sub(newest.made_unix_ms);
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let told = |item: HealthItem| HealthItem { runbook: Some("backup_now".to_owned()), ..item };
    let remedy = "Run backup_now, and keep a copy on another machine.";
    vec![match sight.backup_age {
        None => told(ill("BACKUP-NONE", Severity::Warning, "there is no backup".to_owned(), remedy)),
        Some(age) if age > OLD => {
            told(ill("BACKUP-OLD", Severity::Warning, format!("newest {} ago", units::span(age)), remedy))
        }
        Some(age) => item("BACKUP", Severity::Ok, format!("newest {} ago", units::span(age))),
    }]
}
