//! Items to rows: each item passes the checks of its single resource, on a state that has what came before it. Fields
//! that are not declared are as they are by default; what the daemon sets itself stays.

use super::document::Item;
use super::fault;
use super::references::Secrets;
use super::shapes::{self, Section};
use crate::api::{addressable, endpoints, rate_limits, routings, tiers};
use crate::schema::{self, Field};
use crate::state::{Fields as _, Row, State};
use crate::subjects::fitting::Place;
use crate::subjects::sealing::Sealer;
use crate::subjects::{apis, credits, rate_rules, security, times, validations};
use gatehouse_common::ops::config::ConfigFault;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What rows are made with beside the items.
pub(super) struct Means<'m> {
    pub(super) sealer: &'m Sealer,
    pub(super) secrets: &'m Secrets,
    /// Hashes of declared passwords, by user.
    pub(super) hashes: &'m HashMap<String, String>,
    pub(super) now_ms: i64,
}

/// Rows in the making.
pub(super) struct Making<'m> {
    pub(super) means: Means<'m>,
    pub(super) after: State,
    /// Rows that were written or removed.
    pub(super) written: BTreeSet<Place>,
    /// Where each declared row is declared.
    pub(super) declared: BTreeMap<Place, String>,
    /// Accounts whose number is put anew.
    pub(super) settles: Vec<(String, String)>,
    pub(super) faults: Vec<ConfigFault>,
    sections: Vec<Section>,
}

/// An expectation that is not met.
pub(super) fn refused(field: &str, expected: &str) -> Problem {
    Problem::compat(422, "VAL001", format!("{field}: expected {expected}")).at(field)
}

/// Refuses a field that is none.
pub(super) fn known(row: &Row, fields: &[Field], more: &[&str]) -> Result<(), Problem> {
    let is_known =
        |name: &&String| fields.iter().any(|(known, ..)| known == name) || more.contains(&name.as_str());
    match row.keys().find(|name| !is_known(name)) {
        Some(name) => Err(refused(name, "no such field; see gatehouse config schema")),
        None => Ok(()),
    }
}

impl<'m> Making<'m> {
    pub(super) fn new(state: &State, means: Means<'m>) -> Self {
        let (written, declared, settles, faults) = Default::default();
        let sections = shapes::sections();
        Self { means, after: state.clone(), written, declared, settles, faults, sections }
    }

    pub(super) fn set(&mut self, table: &'static str, key: &str, row: Option<Row>) {
        self.after.set(table, key, row.map(Arc::new));
        self.written.insert((table, key.to_owned()));
    }

    /// A row that is declared at a place; declared twice it is refused, naming both places.
    pub(super) fn put(
        &mut self,
        place: &str,
        table: &'static str,
        key: &str,
        row: Row,
    ) -> Result<(), Problem> {
        let there = (table, key.to_owned());
        if let Some(other) = self.declared.get(&there) {
            return Err(refused(&format!("{table} {key:?}"), &format!("it once; {other} declares it too")));
        }
        self.declared.insert(there, place.to_owned());
        // A row of an earlier version may not have a field that has its default now.
        let fields = match table {
            "endpoints" => shapes::endpoint(),
            "validations" => shapes::validation(),
            _ => self.fields(table),
        };
        let whole = |row: &Row| schema::complete(&fields, row);
        if self.after.get(table, key).is_none_or(|old| **old != row && whole(old) != whole(&row)) {
            self.set(table, key, Some(row));
        }
        Ok(())
    }

    /// Makes the rows of an item, or notes why not.
    pub(super) fn item(&mut self, item: &Item) {
        let made = match item.section {
            "apis" => self.api(item),
            "users" => self.user(item),
            "security" => self.security(item),
            _ => self.plain(item),
        };
        if let Err(problem) = made {
            let detail = problem.detail.trim_start_matches("Validation Error: ").to_owned();
            self.faults.push(fault(&item.place, format!("{}: {detail}", item.section)));
        }
    }

    fn table(&self, section: &'static str) -> &'static str {
        self.sections.iter().find(|known| known.name == section).map_or(section, |found| found.table)
    }

    /// The fields of a section, by its name or by its table.
    pub(super) fn fields(&self, section: &str) -> Vec<Field> {
        let found = self.sections.iter().find(|known| known.name == section || known.table == section);
        found.map(|found| found.fields.clone()).unwrap_or_default()
    }

    /// A row with the declared fields, and with those of the old one that nobody can declare.
    pub(super) fn whole(&self, (table, key): (&str, &str), fields: &[Field], declared: Row) -> Row {
        let own = |(name, _): &(&String, &Value)| !fields.iter().any(|(known, ..)| known == name);
        let old = self.after.get(table, key);
        let mut row: Row = old
            .into_iter()
            .flat_map(|old| old.iter())
            .filter(own)
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        row.extend(declared);
        row
    }

    /// Says when a row was made and changed; a row that stays keeps both.
    fn stamp(&self, (table, key): (&str, &str), row: &mut Row) {
        let now = json!(times::text(self.means.now_ms));
        let Some(old) = self.after.get(table, key) else {
            row.extend([("created_at".to_owned(), now.clone()), ("updated_at".to_owned(), now)]);
            return;
        };
        for name in ["created_at", "updated_at"] {
            row.insert(name.to_owned(), old.get(name).cloned().unwrap_or(Value::Null));
        }
        if **old != *row {
            row.insert("updated_at".to_owned(), now);
        }
    }

    /// A secret's text by its reference.
    pub(super) fn secret(&self, reference: &str) -> Result<&'m str, Problem> {
        let unknown = || refused(reference, "a reference that could be read");
        self.means.secrets.get(reference).map(|secret| secret.expose().as_str()).ok_or_else(unknown)
    }

    /// Seals a secret, or keeps the sealed one that is there if it is the same.
    pub(super) fn sealed(&self, place: &str, reference: &str, old: Option<&Value>) -> Result<Value, Problem> {
        let text = self.secret(reference)?;
        let same = |old: &&Value| {
            let open = old.as_str().and_then(|old| self.means.sealer.open(place, old));
            open.is_some_and(|open| open.expose() == text)
        };
        match old.filter(same) {
            Some(old) => Ok(old.clone()),
            None => Ok(json!(self.means.sealer.seal(place, text)?)),
        }
    }

    fn plain(&mut self, item: &Item) -> Result<(), Problem> {
        let fields = self.fields(item.section);
        known(&item.value, &fields, &[])?;
        let mut row = schema::create(&fields, &Value::Object(item.value.clone()))?;
        let (name, taken): (&str, &[&str]) = match item.section {
            "roles" => ("role_name", &["all"]),
            "groups" => ("group_name", &["all"]),
            "credits" => ("api_credit_group", &[]),
            "tiers" => ("tier_id", &tiers::TAKEN),
            "routings" => ("client_key", &["all"]),
            "rate_rules" => ("rule_id", &rate_limits::TAKEN),
            _ => return self.vault(item, row),
        };
        let key = row.text(name).to_owned();
        if key.is_empty() {
            return Err(refused(name, "a name, since it is declared"));
        }
        addressable(&key, taken, "VAL001", name)?;
        let table = self.table(item.section);
        match item.section {
            "credits" => self.credit(&key, &mut row)?,
            "tiers" => {
                row = tiers::checked(row)?;
                self.alone(&key, &row);
            }
            "routings" => routings::check(&row)?,
            "rate_rules" => {
                let wrong = |errors: Vec<String>| Problem::compat(422, "VAL001", errors.join("; "));
                row = rate_rules::checked(row).map_err(wrong)?;
            }
            _ => {}
        }
        if ["tiers", "rate_rules"].contains(&item.section) {
            self.stamp((table, &key), &mut row);
        }
        let row = self.whole((table, &key), &fields, row);
        self.put(&item.place, table, &key, row)
    }

    /// Only one tier is the default.
    fn alone(&mut self, key: &str, row: &Row) {
        let others =
            self.after.rows("tiers").filter(|(other, tier)| *other != key && tier.flag("is_default"));
        let others: Vec<_> = others.map(|(key, tier)| (key.clone(), Row::clone(tier))).collect();
        for (other, mut tier) in others.into_iter().filter(|_| row.flag("is_default")) {
            tier.insert("is_default".to_owned(), json!(false));
            self.set("tiers", &other, Some(tier));
        }
    }

    /// Keys that are not declared stay as they are.
    fn credit(&mut self, key: &str, row: &mut Row) -> Result<(), Problem> {
        let old = self.after.get(credits::DEFINITIONS, key).cloned();
        let declared = ["api_key", "api_key_new"].map(|field| (field, row.remove(field)));
        credits::define(self.means.sealer, key, row)?;
        for (field, reference) in declared {
            let kept = old.as_ref().and_then(|old| old.get(field));
            let value = match reference.as_ref().and_then(Value::as_str) {
                Some(reference) => {
                    let text = self.secret(reference)?;
                    let mut check = Row::from_iter([(field.to_owned(), json!(text))]);
                    credits::define(self.means.sealer, key, &mut check)?;
                    // The new key takes the old one's place as it stands, so both are sealed for that.
                    self.sealed(&credits::place(key, "api_key"), reference, kept)?
                }
                None => kept.cloned().unwrap_or(Value::Null),
            };
            row.insert(field.to_owned(), value);
        }
        if row.text("api_key").is_empty() {
            return Err(refused("api_key", "a reference to a key: file:/PATH, env:NAME or vault:USER/NAME"));
        }
        Ok(())
    }

    fn vault(&mut self, item: &Item, mut row: Row) -> Result<(), Problem> {
        let (user, name) = (row.text("username").to_owned(), row.text("key_name").to_owned());
        addressable(&name, &[], "VAL001", "key_name")?;
        let key = crate::api::vault::key(&user, &name);
        let old = self.after.get("vault", &key).and_then(|old| old.get("value")).cloned();
        let value = match row.get("value").and_then(Value::as_str) {
            Some(reference) => self.sealed(&format!("vault/{key}"), reference, old.as_ref())?,
            None => {
                old.ok_or_else(|| refused("value", "a reference: file:/PATH, env:NAME or vault:USER/NAME"))?
            }
        };
        row.insert("value".to_owned(), value);
        self.stamp(("vault", &key), &mut row);
        self.put(&item.place, "vault", &key, row)
    }

    fn security(&mut self, item: &Item) -> Result<(), Problem> {
        let fields = self.fields("security");
        known(&item.value, &fields, &[])?;
        let declared = Value::Object(item.value.clone());
        security::changes(&declared)?;
        let row = schema::create(&fields, &declared)?;
        let (table, key) = security::PLACE;
        let row = self.whole((table, key), &fields, row);
        self.put(&item.place, table, key, row)
    }

    fn api(&mut self, item: &Item) -> Result<(), Problem> {
        let fields = self.fields("apis");
        known(&item.value, &fields, &["endpoints"])?;
        let mut given = item.value.clone();
        let nested = given.remove("endpoints");
        if let Some(Value::Object(security)) = given.get_mut("api_ws_security")
            && let Some(reference) = security.get("password").and_then(Value::as_str)
        {
            let text = self.secret(reference)?;
            security.insert("password".to_owned(), json!(text));
        }
        let mut row = schema::create(&fields, &Value::Object(given))?;
        let key = format!("{}/{}", row.text("api_name"), row.text("api_version"));
        for name in ["api_name", "api_version"] {
            addressable(row.text(name), &[], "API002", name)?;
        }
        let old = self.after.get("apis", &key).cloned();
        self.ws_security(&key, &mut row, old.as_deref())?;
        let id = old.as_ref().map(|old| old.text("api_id").to_owned()).filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        row.extend([("api_id".to_owned(), json!(id)), ("api_path".to_owned(), json!(format!("/{key}")))]);
        let row = self.whole(("apis", &key), &fields, row);
        apis::check(&self.after, &key, &row)?;
        self.put(&item.place, "apis", &key, row)?;
        let nested = match &nested {
            None => &Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(refused("endpoints", "a list of endpoints")),
        };
        for (index, endpoint) in nested.iter().enumerate() {
            let at = |problem: Problem| Problem {
                detail: format!(
                    "{key}: endpoints[{index}]: {}",
                    problem.detail.trim_start_matches("Validation Error: ")
                ),
                ..problem
            };
            self.endpoint(&item.place, (&key, &id), endpoint).map_err(at)?;
        }
        Ok(())
    }

    /// A password that is there and the same stays sealed as it is.
    fn ws_security(&self, key: &str, row: &mut Row, old: Option<&Row>) -> Result<(), Problem> {
        let place = format!("apis/{key}/api_ws_security");
        let kept = old.and_then(|old| old.get("api_ws_security")?.get("password")).cloned();
        let text = row.get("api_ws_security").and_then(|security| security.get("password")?.as_str());
        let text = text.map(str::to_owned);
        apis::seal(self.means.sealer, key, row, old)?;
        let open = kept.as_ref().and_then(|kept| self.means.sealer.open(&place, kept.as_str()?));
        if let (Some(text), Some(open), Some(kept)) = (text, open, kept)
            && *open.expose() == text
            && let Some(Value::Object(security)) = row.get_mut("api_ws_security")
        {
            security.insert("password".to_owned(), kept);
        }
        Ok(())
    }

    fn endpoint(&mut self, place: &str, (api, api_id): (&str, &str), given: &Value) -> Result<(), Problem> {
        let fields = shapes::endpoint();
        let object = given.as_object().ok_or_else(|| refused("endpoint", "a table of fields"))?;
        known(object, &fields, &["validation"])?;
        let mut row = schema::create(&fields, given)?;
        endpoints::normalise(&mut row);
        endpoints::check(&row)?;
        let (name, version) = api.split_once('/').unwrap_or((api, ""));
        let (method, uri) = (row.text("endpoint_method").to_owned(), row.text("endpoint_uri").to_owned());
        let key = endpoints::key(&method, name, version, &uri);
        if row.text("endpoint_description").is_empty() {
            row.insert("endpoint_description".to_owned(), json!(format!("{method} {uri}")));
        }
        let old = self.after.get("endpoints", &key).map(|old| old.text("endpoint_id").to_owned());
        let id = old.filter(|id| !id.is_empty()).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        row.extend(
            [("api_name", name), ("api_version", version), ("api_id", api_id), ("endpoint_id", &id)]
                .map(|(field, value)| (field.to_owned(), json!(value))),
        );
        if endpoints::taken(&self.after, &key, &row) {
            return Err(refused(&format!("{method} {uri}"), "paths that no other endpoint matches"));
        }
        self.put(place, "endpoints", &key, row)?;
        let Some(given) = object.get("validation") else { return Ok(()) };
        let fields = shapes::validation();
        let object = given.as_object().ok_or_else(|| refused("validation", "a table of fields"))?;
        known(object, &fields, &[])?;
        let mut row = schema::create(&fields, given)?;
        row.insert("endpoint_id".to_owned(), json!(id));
        validations::check(&row)?;
        self.put(place, "validations", &id, row)
    }
}
