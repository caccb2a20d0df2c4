//! From files to one change: read, secrets fetched, passwords hashed, and then made against the newest state on the change
//! thread. A plan is the same change under a dry run.

use super::document::{Item, read};
use super::making::{Making, Means};
use super::references::{Secrets, Sources};
use super::removing::Owner;
use super::{MARKS, fault};
use crate::Inner;
use crate::api::revisions::past;
use crate::change::Draft;
use crate::change::history::Turned;
use crate::change::terms::{Seen, Terms};
use crate::commands::blocking;
use crate::state::{Fields as _, State};
use crate::subjects::fitting::{self, Place};
use crate::subjects::revisions::Later;
use crate::subjects::sealing::Sealer;
use crate::subjects::{masks, passwords};
use gatehouse_common::ops::config::{ConfigFault, ConfigFiles, ConfigPlan, ConfigRow, ConfigUndo};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use gatehouse_corridor::actor::Actor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

/// Faults that are told at once.
const FAULTS: usize = 100;
/// Rows named in the audit record.
const NAMED: usize = 1_000;

/// Files that have been read, with all that no change may wait for.
struct Prepared {
    owner: Owner,
    prune: bool,
    names: Vec<String>,
    items: Vec<Item>,
    secrets: Secrets,
    hashes: HashMap<String, String>,
    bootstrap: String,
    now_ms: i64,
    sealer: Arc<Sealer>,
}

type Faults = Vec<ConfigFault>;

/// One that is about no place in a file.
fn general(problem: &Problem) -> Faults {
    vec![fault("", problem.detail.clone())]
}

async fn prepare(control: &Arc<Inner>, owner: Owner, files: ConfigFiles) -> Result<Prepared, Faults> {
    let names = files.files.iter().map(|file| file.name.clone()).collect();
    let read = move |control: &Inner| {
        let read = read(&files.files).and_then(|items| {
            let state = control.changes.state();
            let environment = control.config().environment;
            let sources = Sources { environment, state: &state, sealer: &control.sealer };
            sources.read(&items).map(|secrets| (items, secrets))
        });
        Ok((read, files.prune))
    };
    let (read, prune) = blocking(control, read).await.map_err(|problem| general(&problem))?;
    let (items, secrets) = read?;
    let hashes = hashes(control, &items, &secrets).await?;
    let bootstrap = control.config().bootstrap.as_ref().map(|admin| admin.username.clone());
    let (bootstrap, now_ms) = (bootstrap.unwrap_or_default(), control.clock.unix_ms());
    let sealer = Arc::clone(&control.sealer);
    Ok(Prepared { owner, prune, names, items, secrets, hashes, bootstrap, now_ms, sealer })
}

/// Hashes of the passwords that differ from those that are there.
async fn hashes(
    control: &Inner,
    items: &[Item],
    secrets: &Secrets,
) -> Result<HashMap<String, String>, Faults> {
    let (state, mut hashes, mut faults) = (control.changes.state(), HashMap::new(), Vec::new());
    for item in items.iter().filter(|item| item.section == "users") {
        let Some(password) = secrets.get(item.value.text("password")) else { continue };
        let failed = |problem: Problem| fault(&item.place, format!("password: {}", problem.detail));
        if let Err(problem) = passwords::policy(password.expose()) {
            faults.push(failed(problem));
            continue;
        }
        let password = || Secret::new(password.expose().clone());
        let name = item.value.text("username");
        let there = state.get("users", name).map(|user| user.text("password_hash").to_owned());
        let same = control.hasher.verify(password(), there.clone()).await;
        let hash = match (same, there) {
            (Ok(true), Some(there)) => Ok(there),
            (Ok(_), _) => control.hasher.hash(password()).await,
            (Err(problem), _) => Err(problem),
        };
        match hash {
            Ok(hash) => drop(hashes.insert(name.to_owned(), hash)),
            Err(problem) => faults.push(failed(problem)),
        }
    }
    if faults.is_empty() { Ok(hashes) } else { Err(faults) }
}

impl Prepared {
    /// The change that makes a state what is declared.
    fn draft(&self, state: &State) -> Result<Draft, Faults> {
        let means =
            Means { sealer: &self.sealer, secrets: &self.secrets, hashes: &self.hashes, now_ms: self.now_ms };
        let mut making = Making::new(state, means);
        for item in &self.items {
            making.item(item);
        }
        making.own(self.owner);
        if making.faults.is_empty() {
            making.remove(self.owner, self.prune, &self.bootstrap);
            if let Err(problem) = self.fits(&making) {
                making.faults.push(problem);
            }
        }
        if !making.faults.is_empty() {
            making.faults.truncate(FAULTS);
            return Err(making.faults);
        }
        let mut draft = Draft::new("config.apply", "config");
        let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (table, key) in &making.written {
            let (old, new) = (state.get(table, key), making.after.get(table, key));
            if old != new {
                draft.rows.push((*table, key.clone(), new.map(|row| (**row).clone())));
                if *table != MARKS && draft.rows.len() <= NAMED {
                    named.entry(table).or_default().push(key);
                }
            }
        }
        let detail =
            json!({"by": self.owner.name(), "files": self.names, "prune": self.prune, "rows": named});
        Ok(draft.settling(making.settles).detail(detail))
    }

    fn fits(&self, making: &Making<'_>) -> Result<(), ConfigFault> {
        let written = making.written.iter().filter(|(table, _)| *table != MARKS);
        fitting::check(&making.after, written.map(|(table, key)| (*table, key.as_str()))).map_err(|misfit| {
            let at = |place: &Option<Place>| making.declared.get(place.as_ref()?).cloned();
            let place = at(&misfit.row).or_else(|| at(&misfit.other)).unwrap_or_default();
            fault(&place, misfit.problem.detail)
        })
    }
}

/// The rows of a plan as they are shown.
fn rows(turned: &[Turned]) -> Vec<ConfigRow> {
    let shown = |row: &Turned| {
        let part = |shown: &Value, name: &str| shown.get(name).filter(|part| !part.is_null()).cloned();
        let shown = masks::shown(row);
        ConfigRow {
            table: row.table.clone(),
            key: row.key.clone(),
            op: masks::op(row).to_owned(),
            before: part(&shown, "before"),
            after: part(&shown, "after"),
        }
    };
    turned.iter().filter(|row| row.table != MARKS).map(shown).collect()
}

/// What a dry run found: the plan, and whether there is anything to do at all.
fn planned(seen: &Seen) -> (ConfigPlan, bool) {
    let mut plan = ConfigPlan::default();
    for one in &seen.plans {
        plan.changes.extend(rows(&one.rows));
        plan.routes.extend(one.routes.iter().cloned());
    }
    (plan, seen.plans.iter().any(|one| !one.rows.is_empty()))
}

/// Submits a change, dry or not; `Err` has what is wrong.
async fn submitted(
    control: &Inner,
    (actor, dry): (Actor, bool),
    make: impl FnOnce(&State) -> Result<Draft, Faults> + Send + 'static,
) -> Result<(u64, Seen), Faults> {
    let (told, terms) = (Arc::new(OnceLock::new()), Arc::new(Terms::new(dry, None)));
    let tell = Arc::clone(&told);
    let make = move |state: &State| {
        make(state).map_err(|faults| {
            drop(tell.set(faults));
            Problem::new(Code::BadInput, "the configuration is not as it must be")
        })
    };
    let outcome = terms.keep(control.changes.submit(actor, make)).await;
    match outcome {
        Ok(revision) => Ok((revision.0, terms.seen())),
        Err(problem) => Err(told.get().cloned().unwrap_or_else(|| general(&problem))),
    }
}

/// What files would do, and does it unless it is a dry run; with faults nothing is done.
pub(crate) async fn apply(
    control: &Arc<Inner>,
    (actor, owner, dry): (Actor, Owner, bool),
    files: ConfigFiles,
) -> ConfigPlan {
    let failed = |faults: Faults| ConfigPlan { faults, ..ConfigPlan::default() };
    let prepared = match prepare(control, owner, files).await {
        Ok(prepared) => Arc::new(prepared),
        Err(faults) => return failed(faults),
    };
    let make = |prepared: &Arc<Prepared>| {
        let prepared = Arc::clone(prepared);
        move |state: &State| prepared.draft(state)
    };
    let seen = match submitted(control, (actor.clone(), true), make(&prepared)).await {
        Ok((_, seen)) => seen,
        Err(faults) => return failed(faults),
    };
    let (plan, anything) = planned(&seen);
    if dry || !anything {
        return plan;
    }
    match submitted(control, (actor, false), make(&prepared)).await {
        Ok((revision, _)) => ConfigPlan { revision: Some(revision), ..plan },
        Err(faults) => failed(faults),
    }
}

/// Takes back one revision, or all behind it.
///
/// # Errors
/// One that is not kept, rows that were changed since, or a state that nothing would change.
pub(crate) async fn undo(control: &Inner, actor: Actor, undo: ConfigUndo) -> Result<ConfigPlan, Problem> {
    let (past, now_ms, id) = (past(control), control.clock.unix_ms(), undo.revision);
    past.head(id)?;
    let make = move |state: &State| {
        let heads = past.history.heads();
        let (revisions, later, action) = match undo.alone {
            true => (BTreeSet::from([id]), Later::Refuse, "config.revert"),
            false => {
                (heads.range(id + 1..).map(|(id, _)| *id).collect(), Later::Overwrite, "config.rollback")
            }
        };
        let mut draft = past.undo((state, None), &revisions, later, now_ms)?;
        if draft.rows.is_empty() {
            return Err(Problem::new(Code::Conflict, "it is so already; nothing would change"));
        }
        let detail = json!({ "undoes": revisions });
        (draft.action, draft.object) = (action, format!("revision/{id}"));
        Ok(draft.detail(detail).undoing(revisions.into_iter().collect()))
    };
    let revision = control.changes.submit(actor, make).await?.0;
    let (store, kept) =
        (control.store.clone(), control.changes.history.head(revision).is_some_and(|h| h.kept));
    let read = move || if kept { crate::change::history::rows(&store, revision) } else { Ok(Vec::new()) };
    let turned = tokio::task::spawn_blocking(read).await;
    let turned = turned.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))?;
    Ok(ConfigPlan { changes: rows(&turned), revision: Some(revision), ..ConfigPlan::default() })
}
