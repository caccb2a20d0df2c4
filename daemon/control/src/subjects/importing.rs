//! Importing Octoprox's tables (spec/octoprox.md 10): numbers, hashes and keys stay as they were, in one change. A second
//! import changes nothing; a row that cannot be taken is left out, and a note says why.

use super::imported::{Given, note_of};
use crate::Inner;
use crate::change::{Draft, numbers};
use crate::index::By;
use crate::state::{Fields as _, Row, State};
use crate::subjects::{accounts, passwords};
use gatehouse_common::ops::imports::{ImportCount, ImportReport, ImportRequest, ImportRow};
use gatehouse_common::problem::Problem;
use gatehouse_corridor::actor::Actor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::OnceLock;

/// Field of a user: its number in the file that it came with.
const ORIGIN: &str = "octoprox_id";
/// Notes told.
const NOTES: usize = 1_000;

type Write = (&'static str, String, Option<Row>);

/// What is made of a file.
#[derive(Debug, Default)]
struct Plan {
    /// Local rows that make room for numbers of the file.
    moved: Vec<Write>,
    rows: Vec<Write>,
    report: ImportReport,
    /// Names by number, of users that are there after the import.
    names: BTreeMap<i64, String>,
}

impl Plan {
    fn note(&mut self, text: String) {
        if self.report.notes.len() < NOTES {
            self.report.notes.push(text);
        }
    }

    fn user(&mut self, state: &State, row: &ImportRow, now_ms: i64) -> Result<bool, String> {
        let given = Given(row);
        let id = given.whole("id").filter(|id| *id > 0).ok_or("id: expected a number from 1")?;
        let name = given.text("username").unwrap_or_default();
        crate::api::addressable(&name, crate::api::users::TAKEN, "", "username").map_err(|why| why.detail)?;
        if !(1..=128).contains(&name.chars().count()) {
            return Err("username: expected 1 to 128 characters".to_owned());
        }
        if self.names.contains_key(&id) || self.names.values().any(|known| *known == name) {
            return Err("id or username: given twice".to_owned());
        }
        let by_number = state.keys_by_number(By::UserNumber, id);
        if let Some(holder) = by_number.filter(|holder| **holder != *name)
            && state.get("users", holder).is_some_and(|row| row.contains_key(ORIGIN))
        {
            return Err(format!("id: an earlier import gave it to {holder:?}"));
        }
        if let Some(old) = state.get("users", &name) {
            return self.adopt(old, (id, name));
        }
        let (role, status) =
            (given.text("role").unwrap_or_default(), given.text("status").unwrap_or_default());
        let hash = given.text("password_hash").unwrap_or_default();
        let usable = passwords::bearable(&hash);
        let kind = if role == "admin" { "admin" } else { "user" };
        let mut new = accounts::plain(&name, "", if usable { &hash } else { "" }, (kind, now_ms));
        new.extend([
            ("id".to_owned(), json!(id)),
            (ORIGIN.to_owned(), json!(id)),
            ("active".to_owned(), json!(status == "active")),
            (numbers::CREATED.to_owned(), json!(given.time("created_at").unwrap_or(now_ms))),
            (numbers::UPDATED.to_owned(), json!(given.time("updated_at").unwrap_or(now_ms))),
        ]);
        new.extend(given.time("last_synced_at").map(|at| ("last_synced_unix_ms".to_owned(), json!(at))));
        new.extend(self.linked(state, &given, &name));
        let outer_role = given.text("nexusgate_role").filter(|text| !text.is_empty());
        new.extend(outer_role.map(|text| ("nexusgate_role".to_owned(), json!(text))));
        if !["admin", "user"].contains(&&*role) {
            self.note(format!("user {name:?}: role {role:?} became user"));
        }
        if !["active", "inactive"].contains(&&*status) {
            self.note(format!("user {name:?}: status {status:?} became inactive"));
        }
        if !usable {
            self.note(format!("user {name:?}: no usable password hash; set a new password"));
        }
        self.rows.push(("users", name.clone(), Some(new)));
        self.names.insert(id, name);
        Ok(true)
    }

    /// What an outer platform calls the user: by it the platform's tokens name them, so no two may share one.
    fn linked(&mut self, state: &State, given: &Given<'_>, name: &str) -> Option<(String, Value)> {
        const FIELD: &str = "nexusgate_user_id";
        let text = given.text(FIELD).filter(|text| !text.is_empty())?;
        let Ok(id) = uuid::Uuid::try_parse(&text).map(|id| id.to_string()) else {
            self.note(format!("user {name:?}: {FIELD} is no UUID and was left out"));
            return None;
        };
        let mut taken = self.rows.iter().filter_map(|(_, _, row)| row.as_ref());
        if taken.any(|row| row.text(FIELD) == id) || state.keys_by(By::UserNexusgate, &id).next().is_some() {
            self.note(format!("user {name:?}: {FIELD} belongs to another user and was left out"));
            return None;
        }
        Some((FIELD.to_owned(), json!(id)))
    }

    /// A user of that name is here: whoever it is here, with the number and the keys of the file.
    fn adopt(&mut self, old: &Row, (id, name): (i64, String)) -> Result<bool, String> {
        match old.get(ORIGIN).and_then(Value::as_i64) {
            Some(origin) if origin == id => {
                self.names.insert(id, name);
                return Ok(false);
            }
            Some(origin) => return Err(format!("username: an earlier import gave it to id {origin}")),
            None => {}
        }
        let mut row = old.clone();
        row.extend([("id".to_owned(), json!(id)), (ORIGIN.to_owned(), json!(id))]);
        self.note(format!(
            "user {name:?}: is here already; password, role and state stay, number and keys are taken"
        ));
        self.rows.push(("users", name.clone(), Some(row)));
        self.names.insert(id, name);
        Ok(true)
    }

    fn owner(&self, given: &Given<'_>) -> Result<String, String> {
        let id = given.whole("user_id").unwrap_or_default();
        self.names.get(&id).cloned().ok_or_else(|| format!("user_id {id}: that user was not taken"))
    }

    fn key(&mut self, state: &State, row: &ImportRow, now_ms: i64) -> Result<bool, String> {
        let given = Given(row);
        let id = given.whole("id").filter(|id| *id > 0).ok_or("id: expected a number from 1")?;
        let owner = self.owner(&given)?;
        let key = format!("octoprox-{id}");
        if state.get("keys", &key).is_some() {
            return Ok(false);
        }
        if self.rows.iter().any(|(table, taken, _)| *table == "keys" && *taken == key) {
            return Err("id: given twice".to_owned());
        }
        let prefix = given.text("key_prefix").unwrap_or_default();
        let prefix = prefix.strip_prefix("mcp_").unwrap_or(&prefix);
        if prefix.is_empty() || prefix.len() > 64 || prefix.contains('_') {
            return Err("key_prefix: expected the part of the key between its underscores".to_owned());
        }
        let hash = given.text("key_hash").unwrap_or_default();
        if !passwords::bearable(&hash) {
            return Err("key_hash: expected an Argon2id hash of bearable cost".to_owned());
        }
        let mut new = Row::new();
        new.extend([
            ("id".to_owned(), json!(id)),
            ("username".to_owned(), json!(owner)),
            ("prefix".to_owned(), json!(prefix)),
            ("phc".to_owned(), json!(hash)),
            ("name".to_owned(), given.text("name").map_or(Value::Null, Value::from)),
            (numbers::CREATED.to_owned(), json!(given.time("created_at").unwrap_or(now_ms))),
        ]);
        for (column, field) in [("last_used_at", "last_used_unix_ms"), ("expires_at", "expires_unix_ms")] {
            new.extend(given.time(column).map(|at| (field.to_owned(), json!(at))));
        }
        let outer = given.text("nexusgate_token_id").filter(|id| !id.is_empty());
        new.extend(outer.map(|outer| ("nexusgate_token_id".to_owned(), json!(outer))));
        self.rows.push(("keys", key, Some(new)));
        Ok(true)
    }

    /// Kept as a row; whoever runs workspaces takes it up from there.
    fn workspace(&mut self, state: &State, row: &ImportRow, now_ms: i64) -> Result<bool, String> {
        let given = Given(row);
        let id = given.whole("id").filter(|id| *id > 0).ok_or("id: expected a number from 1")?;
        let owner = self.owner(&given)?;
        let name = given.text("name").unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !plain || !(1..=128).contains(&name.len()) {
            return Err("name: expected 1 to 128 of letters, digits, '.', '_' and '-'".to_owned());
        }
        match state.get("workspaces", &name).map(|old| old.number("id")) {
            Some(old) if old == id => return Ok(false),
            Some(old) => return Err(format!("name: workspace {old} has it here")),
            None => {}
        }
        if self.rows.iter().any(|(table, taken, _)| *table == "workspaces" && *taken == name) {
            return Err("name: given twice".to_owned());
        }
        let told = given.text("status").unwrap_or_default();
        let status = if ["active", "inactive", "deleted"].contains(&&*told) { &*told } else { "inactive" };
        if status != told {
            self.note(format!("workspace {name:?}: status {told:?} became inactive"));
        }
        let mut new = Row::new();
        new.extend([
            ("id".to_owned(), json!(id)),
            ("name".to_owned(), json!(name)),
            ("username".to_owned(), json!(owner)),
            ("status".to_owned(), json!(status)),
            ("metadata".to_owned(), given.json("metadata")),
            (numbers::CREATED.to_owned(), json!(given.time("created_at").unwrap_or(now_ms))),
        ]);
        for (column, field) in [
            ("deleted_at", "deleted_unix_ms"),
            ("purge_after", "purge_after_unix_ms"),
            ("updated_at", "updated_unix_ms"),
        ] {
            new.extend(given.time(column).map(|at| (field.to_owned(), json!(at))));
        }
        for field in ["nexusgate_service_id", "container_id", "container_status"] {
            new.extend(
                given.text(field).filter(|text| !text.is_empty()).map(|text| (field.to_owned(), json!(text))),
            );
        }
        self.rows.push(("workspaces", name, Some(new)));
        Ok(true)
    }

    /// Gives local rows that hold a number of the file another one: the file's are known elsewhere.
    fn make_room(&mut self, state: &State) {
        for (table, by) in numbers::tables() {
            let mine = self.rows.iter().filter(|(name, ..)| *name == table);
            let wanted: BTreeMap<i64, String> =
                mine.filter_map(|(_, key, row)| Some((row.as_ref()?.number("id"), key.clone()))).collect();
            let adopted: BTreeSet<&String> = wanted.values().collect();
            let mut next = numbers::next(state, table).max(wanted.keys().last().copied().unwrap_or(0) + 1);
            let mut notes = Vec::new();
            for (number, key) in &wanted {
                let Some(holder) = state.keys_by_number(by, *number).filter(|holder| *holder != key) else {
                    continue;
                };
                let Some(row) = state.get(table, holder) else { continue };
                let mut row = Row::clone(row);
                row.insert("id".to_owned(), json!(next));
                if !adopted.contains(&holder.to_owned()) {
                    notes.push(format!(
                        "{table} {holder:?}: number {number} became {next}, the file's has it"
                    ));
                }
                self.moved.push((table, holder.to_owned(), Some(row)));
                next += 1;
            }
            notes.into_iter().for_each(|note| self.note(note));
        }
    }
}

/// Counts what became of a row.
fn counted(count: &mut ImportCount, outcome: Result<bool, String>) -> Option<String> {
    match outcome {
        Ok(true) => count.taken += 1,
        Ok(false) => count.unchanged += 1,
        Err(why) => {
            count.refused += 1;
            return Some(why);
        }
    }
    None
}

fn plan(state: &State, request: &ImportRequest, now_ms: i64) -> Plan {
    let mut plan = Plan::default();
    for row in &request.users {
        let outcome = plan.user(state, row, now_ms);
        if let Some(why) = counted(&mut plan.report.users, outcome) {
            plan.note(note_of("user", row, "username", &why));
        }
    }
    for row in &request.api_keys {
        let outcome = plan.key(state, row, now_ms);
        if let Some(why) = counted(&mut plan.report.api_keys, outcome) {
            plan.note(note_of("API key", row, "key_prefix", &why));
        }
    }
    for row in &request.workspaces {
        let outcome = plan.workspace(state, row, now_ms);
        if let Some(why) = counted(&mut plan.report.workspaces, outcome) {
            plan.note(note_of("workspace", row, "name", &why));
        }
    }
    plan.make_room(state);
    plan.report.dry_run = request.dry_run;
    plan.report.revision = state.revision;
    plan
}

/// Imports, or says what importing would do.
///
/// # Errors
/// What kept the change from the disk; nothing is taken then.
pub(crate) async fn octoprox(
    control: &Inner,
    actor: Actor,
    request: ImportRequest,
) -> Result<ImportReport, Problem> {
    let now_ms = control.clock.unix_ms();
    let first = plan(&control.changes.state(), &request, now_ms);
    if request.dry_run || first.rows.is_empty() {
        return Ok(first.report);
    }
    let told = Arc::new(OnceLock::new());
    let tell = Arc::clone(&told);
    let make = move |state: &State| {
        let Plan { moved, rows, report, .. } = plan(state, &request, now_ms);
        let detail =
            json!({"users": report.users, "api_keys": report.api_keys, "workspaces": report.workspaces});
        tell.get_or_init(|| report);
        let mut draft = Draft::new("import.octoprox", "appliance").detail(detail);
        draft.rows = moved.into_iter().chain(rows).collect();
        Ok(draft)
    };
    let revision = control.changes.submit(actor, make).await?;
    Ok(ImportReport { revision, ..told.get().cloned().unwrap_or_default() })
}

#[cfg(test)]
mod tests;
