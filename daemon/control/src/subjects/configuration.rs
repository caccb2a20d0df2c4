//! The configuration as lists of resources (spec/doorman.md 4.16). An import is made against a state that already has
//! what came before it in the lists, by the checks of the single resources, and is written whole or not at all.

use crate::api::{addressable, endpoints, groups, roles, routings};
use crate::change::Draft;
use crate::index;
use crate::schema::{self, Field};
use crate::session::Caller;
use crate::state::{Fields as _, Row, State};
use crate::subjects::apis;
use crate::subjects::roles::is_admin;
use crate::subjects::sealing::Sealer;
use gatehouse_common::problem::Problem;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// One list: its name, which is its table's too, and who may change it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) list: &'static str,
    pub(crate) permission: &'static str,
}

const fn part(list: &'static str, permission: &'static str) -> Part {
    Part { list, permission }
}

/// Every list, in the order in which one may speak of another.
pub(crate) const PARTS: [Part; 5] = [
    part("roles", "manage_roles"),
    part("groups", "manage_groups"),
    part("apis", "manage_apis"),
    part("endpoints", "manage_endpoints"),
    part("routings", "manage_routings"),
];

/// A row as it is exported.
pub(crate) fn shown(list: &str, row: &Row) -> Value {
    if list == "apis" { apis::shown(row) } else { json!(row) }
}

/// The rows of a list that a caller may see.
pub(crate) fn exported(state: &State, list: &'static str, admin: bool) -> Vec<Value> {
    let seen = |key: &str| list != "roles" || admin || !is_admin(state, key);
    state.rows(list).filter(|(key, _)| seen(key)).map(|(_, row)| shown(list, row)).collect()
}

/// Rows as they were before an import, by table and key.
pub(crate) type Before = BTreeMap<(&'static str, String), Option<Arc<Row>>>;

/// An import that has been checked.
pub(crate) struct Import {
    after: State,
    before: Before,
    ids: HashSet<String>,
    pub(crate) counts: BTreeMap<&'static str, usize>,
}

impl Import {
    /// Makes an import of a body, as a caller may.
    ///
    /// # Errors
    /// What the first bad item is refused for, with its place in the lists.
    pub(crate) fn of(state: &State, caller: &Caller, sealer: &Sealer, body: &Value) -> Result<Self, Problem> {
        let refused =
            || Problem::compat(422, "VAL001", "Validation Error: body: expected an object of lists");
        let lists = body.as_object().ok_or_else(refused)?;
        let of_apis = state.rows("apis").map(|(_, row)| row.text("api_id").to_owned());
        let of_endpoints = state.rows("endpoints").map(|(_, row)| row.text("endpoint_id").to_owned());
        let ids = of_apis.chain(of_endpoints).collect();
        let counts = PARTS.iter().map(|part| (part.list, 0)).collect();
        let mut import = Self { after: state.clone(), before: Before::new(), ids, counts };
        for part in PARTS {
            let Some(items) = lists.get(part.list).filter(|items| !items.is_null()) else { continue };
            let refused = || {
                let text = format!("Validation Error: {}: expected a list", part.list);
                Problem::compat(422, "VAL001", text).at(part.list)
            };
            caller.needs(part.permission, "CFG006")?;
            for (index, item) in items.as_array().ok_or_else(refused)?.iter().enumerate() {
                let place = |problem: Problem| {
                    let detail = format!("{}[{index}]: {}", part.list, problem.detail);
                    Problem { detail, ..problem }
                };
                import.item(part.list, caller, sealer, item).map_err(place)?;
            }
            import.counts.insert(part.list, items.as_array().map_or(0, Vec::len));
        }
        Ok(import)
    }

    fn item(&mut self, list: &str, caller: &Caller, sealer: &Sealer, item: &Value) -> Result<(), Problem> {
        match list {
            "roles" => self.role(caller, item),
            "groups" => self.plain("groups", ("group_name", groups::FIELDS), item).map(drop),
            "apis" => self.api(sealer, item),
            "endpoints" => self.endpoint(item),
            _ => {
                let row = self.plain("routings", ("client_key", routings::FIELDS), item)?;
                routings::check(&row)
            }
        }
    }

    fn put(&mut self, table: &'static str, key: String, row: Row) {
        if self.after.get(table, &key).is_some_and(|old| **old == row) {
            return;
        }
        let old = self.after.set(table, &key, Some(Arc::new(row)));
        // What was there before the whole import, should an item come twice.
        self.before.entry((table, key)).or_insert(old);
    }

    /// The row an item makes: a new one whole, one that is there with what the item says of it.
    fn upserted(&self, table: &str, key: &str, fields: &[Field], item: &Value) -> Result<Row, Problem> {
        let Some(old) = self.after.get(table, key) else { return schema::create(fields, item) };
        let mut row = Row::clone(old);
        row.extend(schema::update(fields, item)?);
        Ok(row)
    }

    fn plain(
        &mut self,
        table: &'static str,
        (name, fields): (&str, &[Field]),
        item: &Value,
    ) -> Result<Row, Problem> {
        let key = schema::update(fields, item)?.text(name).to_owned();
        let mut row = self.upserted(table, &key, fields, item)?;
        let key = if key.is_empty() { uuid::Uuid::new_v4().to_string() } else { key };
        row.insert(name.to_owned(), json!(key));
        addressable(&key, &["all"], "VAL001", name)?;
        self.put(table, key, row.clone());
        Ok(row)
    }

    fn role(&mut self, caller: &Caller, item: &Value) -> Result<(), Problem> {
        let fields = roles::fields();
        let name = schema::update(&fields, item)?.text("role_name").to_owned();
        let before = is_admin(&self.after, &name);
        let row = self.plain("roles", ("role_name", &fields), item)?;
        if !caller.is_admin() && (before || is_admin(&self.after, &name) || row.flag("platform_admin")) {
            return Err(Problem::compat(403, "ROLE014", "Only an administrator may modify this role"));
        }
        Ok(())
    }

    /// An id that is given and that nobody else has is kept.
    fn id(&mut self, given: &str) -> String {
        let fresh = !given.is_empty() && !self.ids.contains(given);
        let id = if fresh { given.to_owned() } else { uuid::Uuid::new_v4().to_string() };
        self.ids.insert(id.clone());
        id
    }

    fn api(&mut self, sealer: &Sealer, item: &Value) -> Result<(), Problem> {
        let mut given = schema::update(apis::FIELDS, item)?;
        let key = format!("{}/{}", given.text("api_name"), given.text("api_version"));
        let old = self.after.get("apis", &key).cloned();
        let mut row = self.upserted("apis", &key, apis::FIELDS, item)?;
        apis::seal(sealer, &key, &mut given, old.as_deref())?;
        row.extend(given.remove_entry("api_ws_security"));
        let id = match &old {
            Some(old) => old.text("api_id").to_owned(),
            None => self.id(row.text("api_id")),
        };
        row.extend([("api_id".to_owned(), json!(id)), ("api_path".to_owned(), json!(format!("/{key}")))]);
        for name in ["api_name", "api_version"] {
            addressable(row.text(name), &[], "API002", name)?;
        }
        apis::check(&self.after, &key, &row)?;
        self.put("apis", key, row);
        Ok(())
    }

    fn endpoint(&mut self, item: &Value) -> Result<(), Problem> {
        let mut given = schema::update(endpoints::FIELDS, item)?;
        endpoints::normalise(&mut given);
        let names = ["endpoint_method", "api_name", "api_version", "endpoint_uri"];
        let [method, name, version, uri] = names.map(|name| given.text(name));
        let key = endpoints::key(method, name, version, uri);
        let mut row = self.upserted("endpoints", &key, endpoints::FIELDS, item)?;
        endpoints::normalise(&mut row);
        endpoints::check(&row)?;
        let unknown = || Problem::compat(400, "END002", "API does not exist for the endpoint");
        let api = self.after.get("apis", &index::owner(&row)).cloned().ok_or_else(unknown)?;
        let old = self.after.get("endpoints", &key).cloned();
        if old.is_none() && endpoints::taken(&self.after, &key, &row) {
            return Err(Problem::compat(400, "END001", "Endpoint already exists for the requested API"));
        }
        let id = match &old {
            Some(old) => old.text("endpoint_id").to_owned(),
            None => self.id(row.text("endpoint_id")),
        };
        row.extend([("endpoint_id".to_owned(), json!(id)), ("api_id".to_owned(), json!(api.text("api_id")))]);
        self.put("endpoints", key, row);
        Ok(())
    }

    /// The change that writes it, and what was there before.
    pub(crate) fn draft(self) -> (Draft, Before) {
        let mut draft = Draft::new("config.import", "config");
        for (table, key) in self.before.keys() {
            if let Some(row) = self.after.get(table, key) {
                draft = draft.put(table, key.as_str(), Row::clone(row));
            }
        }
        (draft, self.before)
    }
}

/// Names of rows, at most so many, for a record.
pub(crate) fn named(before: &Before, most: usize) -> Value {
    let mut tables: Map<String, Value> = Map::new();
    for ((table, key), old) in before.iter().take(most) {
        let list = tables.entry(*table).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"key": key, "new": old.is_none()}));
        }
    }
    Value::Object(tables)
}
