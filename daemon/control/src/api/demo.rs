//! `POST /platform/demo/seed` (spec/doorman.md 4.22): made-up groups, APIs, users and proto files to look at, in one
//! change. Nobody can log in as such a user, and no calls are made up.

use super::query::Query;
use super::{Outcome, endpoints, groups};
use crate::change::Draft;
use crate::envelope::Reply;
use crate::schema;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::{apis, protos};
use crate::{Inner, resource};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::Problem;
use gatehouse_common::secret::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SUBJECTS: [&str; 8] =
    ["orders", "invoices", "weather", "parcels", "tickets", "accounts", "search", "reports"];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
/// What a made-up proto file says.
const PROTO: &str = "syntax = \"proto3\";\npackage demo;\nimport \"google/protobuf/empty.proto\";\n\
message Reply { string message = 1; }\nservice Demo { rpc Hello (google.protobuf.Empty) returns (Reply); }\n";

pub(crate) fn routes(config: &mut ServiceConfig) {
    resource!(config, "/demo/seed", post => seed);
}

/// How many of each, and the number that names them.
#[derive(Debug, Clone, Copy)]
struct Size {
    users: usize,
    apis: usize,
    endpoints: usize,
    groups: usize,
    protos: usize,
    seed: u64,
}

impl Size {
    fn of(query: &Query) -> Result<Self, Problem> {
        let count = |name: &str, usual: usize, most: usize| {
            query.number(name, 0, most).map(|count| count.unwrap_or(usual))
        };
        Ok(Self {
            users: count("users", 40, 1_000)?,
            apis: count("apis", 15, 200)?,
            endpoints: count("endpoints", 6, 50)?,
            groups: count("groups", 8, 100)?,
            protos: count("protos", 6, 50)?,
            seed: query.number("seed", 0, 999_999)?.unwrap_or(1),
        })
    }
}

async fn seed(control: &Inner, request: &HttpRequest, _body: &Bytes) -> Outcome {
    let caller = caller(control, request)?;
    let only = || Problem::compat(403, "DEMO001", "Only an administrator may seed demo data");
    if !caller.is_admin() {
        return Err(only());
    }
    let size = Size::of(&Query::of(request))?;
    // A password that nobody knows.
    let password = Secret::new(format!("{}-{}", uuid::Uuid::new_v4(), uuid::Uuid::new_v4()));
    let hash = control.hasher.hash(password).await?;
    let epoch = control.clock.unix_ms();
    let (tell, hear) = tokio::sync::oneshot::channel();
    let make = move |state: &State, caller: &Caller| {
        if !caller.is_admin() {
            return Err(only());
        }
        let rows = made(size, &hash, epoch)?;
        let new: Vec<_> =
            rows.into_iter().filter(|(table, key, _)| state.get(table, key).is_none()).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut draft = Draft::new("demo.seed", format!("demo/{}", size.seed));
        for (table, key, row) in new {
            *counts.entry(table).or_default() += 1;
            draft = draft.put(table, key, row);
        }
        let draft = draft.detail(json!({ "made": counts }));
        // Only a caller who has gone away does not hear.
        drop(tell.send(counts));
        if draft.rows.is_empty() { Err(Problem::compat(200, "", "it is there already")) } else { Ok(draft) }
    };
    match caller.submit(control, make).await {
        Err(problem) if problem.status != 200 => return Err(problem),
        _ => {}
    }
    let counts = hear.await.unwrap_or_default();
    let mut answer = Row::new();
    answer.insert("message".to_owned(), json!("Demo data seeded"));
    for table in ["users", "apis", "endpoints", "groups", "protos", "subscriptions"] {
        answer.insert(table.to_owned(), json!(counts.get(table).copied().unwrap_or_default()));
    }
    // Access records are of calls that were made.
    answer.insert("logs".to_owned(), json!(0));
    Ok(Reply::Data(200, Value::Object(answer)))
}

/// The same rows for the same numbers.
fn made(size: Size, hash: &str, epoch: i64) -> Result<Vec<(&'static str, String, Row)>, Problem> {
    let Size { seed, .. } = size;
    let mut rows = Vec::new();
    let group = |at: usize| format!("demo{seed}-group{}", at + 1);
    for at in 0..size.groups {
        let body = json!({"group_name": group(at), "group_description": "Made up"});
        rows.push(("groups", group(at), schema::create(groups::FIELDS, &body)?));
    }
    let subject = |at: usize| SUBJECTS.get(at % SUBJECTS.len()).copied().unwrap_or_default();
    let api = |at: usize| format!("demo{seed}-{}{}", subject(at), at + 1);
    let groups_of =
        |at: usize| if size.groups == 0 { vec!["ALL".to_owned()] } else { vec![group(at % size.groups)] };
    for at in 0..size.apis {
        let (name, key) = (api(at), format!("{}/v1", api(at)));
        let body = json!({"api_name": name, "api_version": "v1", "api_description": "Made up", "api_type": "REST",
                          "api_allowed_groups": groups_of(at), "api_id": uuid::Uuid::new_v4().to_string(),
                          "api_path": format!("/{key}")});
        let row = schema::create(apis::FIELDS, &body)?;
        for number in 0..size.endpoints {
            rows.push(endpoint(&row, number)?);
        }
        rows.push(("apis", key, row));
    }
    for at in 0..size.users {
        let name = format!("demo{seed}-user{}", at + 1);
        let mut row = super::users::plain(&name, &format!("{name}@demo.invalid"), hash, epoch);
        row.insert("groups".to_owned(), json!(groups_of(at)));
        rows.push(("users", name.clone(), row));
        // Those that their group may use.
        let theirs: Vec<_> = (0..size.apis).filter(|api| groups_of(*api) == groups_of(at)).collect();
        let theirs: Vec<_> = theirs.into_iter().take(5).map(|at| format!("{}/v1", api(at))).collect();
        let row = json!({"username": name, "apis": theirs});
        rows.extend(row.as_object().cloned().map(|row| ("subscriptions", name, row)));
    }
    let compiled = protos::compile(PROTO).map_err(|why| Problem::compat(500, "DEMO002", why))?;
    for at in 0..size.protos.min(size.apis) {
        rows.push((protos::TABLE, format!("{}/v1", api(at)), protos::row(&api(at), "v1", PROTO, &compiled)));
    }
    Ok(rows)
}

fn endpoint(api: &Row, number: usize) -> Result<(&'static str, String, Row), Problem> {
    let method = METHODS.get(number % METHODS.len()).copied().unwrap_or_default();
    let (name, version) = (api.text("api_name"), api.text("api_version"));
    let uri = format!("/resource{}/{{id}}", number / METHODS.len() + 1);
    let body = json!({"api_name": name, "api_version": version, "endpoint_method": method, "endpoint_uri": uri,
                      "endpoint_description": "Made up", "api_id": api.text("api_id"),
                      "endpoint_id": uuid::Uuid::new_v4().to_string()});
    Ok(("endpoints", endpoints::key(method, name, version, &uri), schema::create(endpoints::FIELDS, &body)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subjects::stored;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_made_up_is_as_it_would_be_stored() {
        let size = Size { users: 20, apis: 9, endpoints: 6, groups: 3, protos: 4, seed: 7 };
        let rows = made(size, "hash", 1).unwrap();
        let keys: BTreeSet<_> = rows.iter().map(|(table, key, _)| (*table, key.clone())).collect();
        assert_eq!((rows.len(), keys.len()), (3 + 9 + 9 * 6 + 20 + 20 + 4, rows.len()), "each once");
        for (table, key, row) in &rows {
            stored::check(table, key, row).unwrap();
        }
        let of = |size| {
            made(size, "hash", 1)
                .unwrap()
                .into_iter()
                .map(|(table, key, _)| (table, key))
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(of(size), keys, "the same for the same numbers");
        assert!(of(Size { seed: 8, ..size }).is_disjoint(&keys));
        let none = Size { users: 0, apis: 0, endpoints: 0, groups: 0, protos: 3, seed: 1 };
        assert!(of(none).is_empty());
    }
}
