//! `backup_now`: writes a consistent archive of store and settings into the data folder's `backups`. It changes
//! nothing else, so there is nothing to undo. Keys (`keys/`) are not part of it; keep a copy of that folder too.

use super::{Doing, Job, Runbook, disagrees, no_such_step};
use crate::plan::{Proposal, block, good, step};
use gatehouse_common::ids::RunId;
use gatehouse_common::problem::Problem;
use gatehouse_common::runbook::{RunbookSpec, Tier};
use gatehouse_common::units;
use gatehouse_corridor::command::{Backup, Command};

pub(crate) struct BackupNow;

/// Space that must be left after a backup, bytes.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Name of the archive that a run writes.
pub(crate) fn name(kind: &str, run: &RunId) -> String {
    format!("{kind}-{run}.jsonl")
}

/// Writes the archive of a run, unless a cut run has written it already.
pub(crate) async fn write(job: &Job, kind: &str) -> Result<Backup, Problem> {
    let name = name(kind, &job.run);
    let there = job.world.control.ask(|reply| Command::Backups(job.grant.read, reply)).await?;
    let mine = |backup: &Backup| backup.path.file_name().is_some_and(|file| file == name.as_str());
    if let Some(backup) = there.into_iter().find(mine) {
        return Ok(backup);
    }
    let write = job.grant.write()?;
    job.world.control.ask(|reply| Command::Backup(write, name.clone(), reply)).await
}

/// In words.
pub(crate) fn told(backup: &Backup) -> String {
    let file = backup.path.file_name().unwrap_or_default().to_string_lossy();
    format!("{file}: {} rows, {}, revision {}", backup.rows, units::bytes(backup.bytes), backup.revision)
}

/// Whether the disk has room for another archive.
pub(crate) fn room(job: &Job) -> Result<gatehouse_common::runbook::Finding, Problem> {
    let (free, _) = job.world.disk()?;
    let wanted = job.world.store.size_bytes() + RESERVE_BYTES;
    Ok(match free > wanted {
        true => good(format!("disk {} free", units::bytes(free))),
        false => block(
            format!("disk {} free; {} wanted", units::bytes(free), units::bytes(wanted)),
            "Free space first.",
        ),
    })
}

impl Runbook for BackupNow {
    fn spec(&self) -> RunbookSpec {
        RunbookSpec {
            id: "backup_now".to_owned(),
            title: "Back up now".to_owned(),
            group: "Data".to_owned(),
            about: "Writes a consistent archive of store and settings to the folder `backups` and reads it back. \
                    Changes nothing else. The folder `keys` is not part of it: keep a copy of that too."
                .to_owned(),
            tier: Tier::Safe,
            params: Vec::new(),
            exclusive: Some("backup".to_owned()),
        }
    }

    fn examine<'a>(&'a self, job: &'a Job) -> Doing<'a, Proposal> {
        Box::pin(async move {
            let revision = job.world.control.ask(|reply| Command::Revision(job.grant.read, reply)).await?;
            let folder = job.world.data_dir.join("backups");
            Ok(Proposal {
                title: format!("Back up {}", job.world.host),
                findings: vec![room(job)?],
                steps: vec![step("write", format!("write store and settings to {}", folder.display()), None)],
                changes: vec!["backups +1".to_owned()],
                verify: vec!["the archive reads to its end, count and checksum agree".to_owned()],
                risks: Vec::new(),
                tier: Tier::Safe,
                confirm_word: String::new(),
                fingerprint: String::new(),
                revision,
            })
        })
    }

    fn step<'a>(&'a self, index: usize, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            match index {
                0 => write(job, "backup").await.map(|backup| told(&backup)),
                _ => Err(no_such_step(index)),
            }
        })
    }

    fn undo<'a>(&'a self, index: usize, _job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move { Err(no_such_step(index)) })
    }

    fn verify<'a>(&'a self, job: &'a Job) -> Doing<'a, String> {
        Box::pin(async move {
            let name = name("backup", &job.run);
            let ask = |reply| Command::CompareBackup(job.grant.read, name, reply);
            let read = job.world.control.ask(ask).await.map_err(|problem| disagrees(problem.detail))?;
            Ok(format!("read back: {}", told(&read.backup)))
        })
    }
}
