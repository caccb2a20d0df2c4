//! Serves what ops asks for: one match, each arm one call. A proof in a command is the permission to do it.

use crate::api::v1::introspect;
use crate::change::Draft;
use crate::change::history::Head;
use crate::declared::apply::{apply, undo};
use crate::declared::{self, Owner};
use crate::subjects::{backups, engine, entities, importing, restoring, revocation};
use crate::{Control, Inner};
use gatehouse_common::ops::config::ConfigRevision;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::{Command, Reply};
use gatehouse_corridor::shutdown::Ending;
use gatehouse_corridor::tasks::TaskGroup;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Control {
    /// Serves the command door until the group is closed; a command that has begun comes to its end.
    pub fn serve(&self, mut commands: mpsc::Receiver<Command>, tasks: &TaskGroup) {
        let (control, group) = (Arc::clone(&self.0), tasks.clone());
        tasks.spawn(async move {
            while let Some(command) = commands.recv().await {
                let control = Arc::clone(&control);
                group.spawn_to_end(async move { obey(&control, command).await });
            }
        });
    }
}

/// The asker may have gone; what was done stays done.
fn say<T>(reply: Reply<T>, answer: Result<T, Problem>) {
    drop(reply.send(answer));
}

async fn obey(control: &Arc<Inner>, command: Command) {
    let state = control.changes.state();
    let now_ms = control.clock.unix_ms();
    match command {
        Command::Revision(_, reply) => say(reply, Ok(state.revision)),
        Command::Routes(_, reply) => say(reply, Ok(entities::routes(&state))),
        Command::Consumers(_, reply) => say(reply, Ok(entities::consumers(&state, now_ms))),
        Command::Tokens(_, reply) => say(reply, Ok(entities::tokens(&state))),
        Command::Sessions(_, reply) => say(reply, Ok(entities::sessions(&state, now_ms))),
        Command::RevokeTokens(_, actor, consumer, reply) => {
            say(reply, revocation::revoke(control, actor, &consumer).await);
        }
        Command::ProbeToken(_, consumer, reply) => say(reply, revocation::probe_token(control, &consumer)),
        Command::Backup(_, name, reply) => {
            say(reply, blocking(control, move |control| backups::write(control, &name)).await);
        }
        Command::Backups(_, reply) => say(reply, blocking(control, backups::list).await),
        Command::CompareBackup(_, name, reply) => {
            say(reply, blocking(control, move |control| restoring::compare(control, &name)).await);
        }
        Command::Restore(_, actor, name, reply) => {
            say(reply, restoring::restore(control, actor, name).await);
        }
        Command::Audit(_, entry, reply) => {
            say(reply, control.changes.submit(Actor::System, move |_| Ok(Draft::record(entry))).await);
        }
        Command::ConfigExport(_, yaml, reply) => say(reply, declared::export(&state, yaml, now_ms)),
        Command::ConfigSchema(_, reply) => say(reply, Ok(format!("{:#}\n", declared::schema()))),
        Command::ConfigHistory(_, most, reply) => say(reply, Ok(history(control, most))),
        Command::ConfigFolder(_, reply) => say(reply, Ok(control.folder.get())),
        Command::ConfigPlan(_, actor, files, reply) => {
            say(reply, Ok(apply(control, (actor, Owner::Apply, true), files).await));
        }
        Command::ConfigApply(_, actor, files, reply) => {
            say(reply, Ok(apply(control, (actor, Owner::Apply, false), files).await));
        }
        Command::ConfigUndo(_, actor, revision, reply) => say(reply, undo(control, actor, revision).await),
        Command::Import(_, actor, request, reply) => {
            say(reply, importing::octoprox(control, actor, request).await);
        }
        Command::Introspect(_, token, reply) => {
            say(reply, introspect::told(control, token.expose()).await);
        }
        Command::Engine(_, reply) => say(reply, Ok(engine::state(&control.config()).await)),
        Command::Restart(_, actor, reply) => {
            tracing::info!(target: "control", %actor, "restart asked for");
            say(reply, Ok(()));
            control.config().shutdown.ask(Ending::Restart);
        }
    }
}

/// The newest revisions.
fn history(control: &Inner, most: usize) -> Vec<ConfigRevision> {
    let heads = control.changes.history.heads();
    let shown = |head: Head| ConfigRevision {
        id: head.revision,
        at_unix_ms: head.at_unix_ms,
        actor: head.actor,
        source: head.source,
        action: head.action,
        object: head.object,
        rows: head.rows,
        undoes: head.undoes,
    };
    heads.into_values().rev().take(most).map(shown).collect()
}

/// Files are read and written where no request waits for them.
pub(crate) async fn blocking<T: Send + 'static>(
    control: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let control = Arc::clone(control);
    let done = tokio::task::spawn_blocking(move || work(&control)).await;
    done.unwrap_or_else(|error| Err(Problem::new(Code::Internal, format!("the work ended early: {error}"))))
}
