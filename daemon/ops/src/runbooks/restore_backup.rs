//! `restore_backup --backup FILE`: puts a backup's rows in place of the present ones, in one change, after a safety
//! backup of what is there. What was revoked since stays revoked. The settings file is compared and not touched.

use super::backup_now::{self, room, told};
use super::{Doing, Job, Runbook, disagrees, no_such_step};
use crate::plan::{Proposal, good, step, warn};
use crate::probe;
use gatehouse_common::problem::Problem;
use gatehouse_common::runbook::{Param, ParamKind, RunbookSpec, Tier};
use gatehouse_common::units;
use gatehouse_corridor::command::{Command, Comparison};
use std::time::Duration;

pub(crate) struct RestoreBackup;

const SAFETY: &str = "safety";

async fn compare(job: &Job, name: &str) -> Result<Comparison, Problem> {
    let name = name.to_owned();
    job.world.control.ask(|reply| Command::CompareBackup(job.grant.read, name, reply)).await
}

async fn restore(job: &Job, name: String) -> Result<String, Problem> {
    let (destroy, actor) = (job.grant.destroy()?, job.actor.clone());
    let ask = |reply| Command::Restore(destroy, actor, name, reply);
    let revision = job.world.control.ask(ask).await?;
    Ok(format!("published revision {revision}"))
}

fn counted(comparison: &Comparison) -> Vec<String> {
    let line = |(table, added, removed, changed): &(String, usize, usize, usize)| {
        format!("{table} +{added} -{removed} ~{changed}")
    };
    let mut lines: Vec<String> = comparison.tables.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("no difference".to_owned());
    }
    lines.push(format!("credentials {} stay revoked", comparison.stay_revoked));
    lines
}

impl Runbook for RestoreBackup {
    fn spec(&self) -> RunbookSpec {
        RunbookSpec {
            id: "restore_backup".to_owned(),
            title: "Restore a backup".to_owned(),
            group: "Data".to_owned(),
            about:
                "Puts the rows of a backup in place of the present ones, after a safety backup. Changes made \
                    since are lost; what was revoked since stays revoked. Undo restores the safety backup."
                    .to_owned(),
            tier: Tier::NameReason,
            params: vec![Param {
                name: "backup".to_owned(),
                kind: ParamKind::Backup,
                required: true,
                help: "file name of a backup in the folder `backups`".to_owned(),
            }],
            exclusive: Some("service".to_owned()),
        }
    }

    fn examine<'a>(&'a self, job: &'a Job) -> Doing<'a, Proposal> {
        Box::pin(async move {
            let name = job.param("backup").to_owned();
            let comparison = compare(job, &name).await?;
            let age = job.world.clock.unix_ms().saturating_sub(comparison.backup.made_unix_ms);
            let age = units::span(Duration::from_millis(u64::try_from(age).unwrap_or(0)));
            let mut findings =
                vec![good(format!("archive checked: {}", told(&comparison.backup))), room(job)?];
            if !comparison.tables.is_empty() {
                findings.push(warn(format!("{age} of changes since that backup will be lost")));
            }
            if comparison.settings_differ {
                findings.push(warn("the settings file differs from the backup's; it is not touched"));
            }
            Ok(Proposal {
                title: format!("Restore {name} onto {}", job.world.host),
                findings,
                steps: vec![
                    step(
                        "safety backup",
                        "write what is there now to a backup".to_owned(),
                        Some("the file stays"),
                    ),
                    step(
                        "restore",
                        "put the backup's rows in place, in one change, and publish".to_owned(),
                        Some("restore the safety backup"),
                    ),
                ],
                changes: counted(&comparison),
                verify: vec![
                    "the present rows are the backup's".to_owned(),
                    "the gateway answers /platform/monitor/readiness".to_owned(),
                ],
                risks: Vec::new(),
                tier: Tier::NameReason,
                confirm_word: job.world.host.clone(),
                fingerprint: format!("{} {}", comparison.backup.bytes, comparison.backup.made_unix_ms),
                revision: comparison.revision,
            })
        })
    }

    fn step<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            match index {
                0 => backup_now::write(job, SAFETY).await.map(|backup| told(&backup)),
                1 => restore(job, job.param("backup").to_owned()).await,
                _ => Err(no_such_step(index)),
            }
        })
    }

    fn undo<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            match index {
                0 => Ok("the safety backup stays".to_owned()),
                1 => restore(job, backup_now::name(SAFETY, &job.run)).await,
                _ => Err(no_such_step(index)),
            }
        })
    }

    fn verify<'a>(&'a self, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            let left = compare(job, job.param("backup")).await?;
            if !left.tables.is_empty() {
                return Err(disagrees(format!("rows still differ: {}", counted(&left).join(", "))));
            }
            let path = "/platform/monitor/readiness";
            match probe::status(job.world.gateway(), path, None).await? {
                200 => Ok(format!("rows as in the backup, {path} 200")),
                status => Err(disagrees(format!("{path} answered {status}, not 200"))),
            }
        })
    }
}
