//! Endpoints made of a document: one change, which leaves alone what is there already.

use super::openapi::Spec;
use super::wsdl::Wsdl;
use crate::api::endpoints;
use crate::change::Draft;
use crate::index::By;
use crate::schema;
use crate::state::{Fields as _, Row, State};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use std::collections::HashSet;
use url::Url;

/// Longest description of an endpoint, characters.
const DESCRIPTION: usize = 255;
/// Endpoints that were left out, as far as an answer lists them.
const LISTED: usize = 100;

/// An endpoint that a document asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) description: String,
}

/// What came of them.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) found: usize,
    pub(crate) imported: usize,
    skipped: Vec<Value>,
}

impl Outcome {
    /// The counts, and why the first ones were left out.
    pub(crate) fn told(self, answer: &mut Row) {
        let skipped = self.found - self.imported;
        answer.insert("endpoints_imported".to_owned(), json!(self.imported));
        answer.insert("endpoints_skipped".to_owned(), json!(skipped));
        answer.insert("skipped".to_owned(), json!(self.skipped));
    }
}

/// The path of a URL or of a path, without a slash at its end.
fn path(text: &str) -> String {
    let url = text.parse::<Url>();
    let path = url.as_ref().map_or(text.split(['?', '#']).next().unwrap_or_default(), Url::path);
    path.trim_end_matches('/').to_owned()
}

/// What of a path at the upstream the gateway puts behind an API's server: all that its prefix does not say already.
fn behind(row: &Row, at: &str) -> String {
    let prefix = row.list("api_servers").first().map(|server| path(server)).unwrap_or_default();
    match at.strip_prefix(prefix.as_str()) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.to_owned(),
        _ => at.to_owned(),
    }
}

/// Whether a URL is on the host of one of an API's servers; a path is.
fn at_home(row: &Row, text: &str) -> bool {
    let Ok(url) = text.parse::<Url>() else { return true };
    let same = |server: &String| server.parse::<Url>().is_ok_and(|server| server.host() == url.host());
    row.list("api_servers").iter().any(same)
}

/// The endpoints of an OpenAPI document. Its base path stands in front where it is about the API's own servers.
pub(crate) fn of_openapi(row: &Row, spec: &Spec) -> Vec<Wanted> {
    let base = if at_home(row, &spec.base) { behind(row, &path(&spec.base)) } else { String::new() };
    let wanted = spec.operations.iter().map(|one| Wanted {
        method: one.method.clone(),
        uri: format!("{base}{}", one.path),
        description: one.description.clone(),
    });
    wanted.collect()
}

/// The endpoints that SOAP calls need: one POST for each address (spec/doorman.md 5.10).
pub(crate) fn of_wsdl(row: &Row, wsdl: &Wsdl, fetched: &str) -> Vec<Wanted> {
    // A service without an address is where its document is.
    let own = [fetched.to_owned()];
    let locations = if wsdl.locations.is_empty() { &own[..] } else { &wsdl.locations };
    let names: Vec<_> = wsdl.operations.iter().map(|one| one.name.as_str()).collect();
    let mut wanted: Vec<Wanted> = Vec::new();
    for location in locations {
        let uri = behind(row, &path(location));
        let uri = if uri.is_empty() { "/".to_owned() } else { uri };
        if !wanted.iter().any(|other| other.uri == uri) {
            let description = format!("{}: {}", wsdl.service, names.join(", "));
            wanted.push(Wanted { method: "POST".to_owned(), uri, description });
        }
    }
    wanted
}

/// The change that makes the endpoints which are not there yet.
///
/// # Errors
/// 404 `API001` where the API is gone.
pub(crate) fn draft(state: &State, api: &str, wanted: &[Wanted]) -> Result<(Draft, Outcome), Problem> {
    let row = state.get("apis", api).ok_or_else(gone)?;
    let there = state.keys_by(By::EndpointApi, api).map(endpoints::shape);
    let mut shapes: HashSet<String> = there.collect();
    let mut draft = Draft::new("endpoint.import", format!("api/{api}"));
    let mut outcome = Outcome { found: wanted.len(), ..Outcome::default() };
    let mut made = Vec::new();
    for one in wanted {
        match endpoint(row, one) {
            Ok((key, _)) if !shapes.insert(endpoints::shape(&key)) => {
                outcome.skip(one, "it is there already")
            }
            Ok((key, endpoint)) => {
                made.push(json!(key));
                outcome.imported += 1;
                draft = draft.put("endpoints", key, endpoint);
            }
            Err(problem) => outcome.skip(one, problem.detail.trim_start_matches("Validation Error: ")),
        }
    }
    Ok((draft.detail(json!({ "endpoints": made })), outcome))
}

/// An API that is unknown to a discovery route.
pub(crate) fn gone() -> Problem {
    Problem::compat(404, "API001", "API does not exist for the requested name and version")
}

impl Outcome {
    fn skip(&mut self, one: &Wanted, why: &str) {
        if self.skipped.len() < LISTED {
            self.skipped.push(json!({"endpoint": format!("{} {}", one.method, one.uri), "reason": why}));
        }
    }
}

/// Key and row of one, by the checks of any endpoint.
fn endpoint(api: &Row, one: &Wanted) -> Result<(String, Row), Problem> {
    let description: String = one.description.trim().chars().take(DESCRIPTION).collect();
    let description =
        if description.is_empty() { format!("{} {}", one.method, one.uri) } else { description };
    let body = json!({
        "api_name": api.text("api_name"), "api_version": api.text("api_version"), "endpoint_method": one.method,
        "endpoint_uri": one.uri, "endpoint_description": description.chars().take(DESCRIPTION).collect::<String>(),
        "api_id": api.text("api_id"), "endpoint_id": uuid::Uuid::new_v4().to_string(),
    });
    let mut row = schema::create(endpoints::FIELDS, &body)?;
    endpoints::normalise(&mut row);
    endpoints::check(&row)?;
    let places = ["endpoint_method", "api_name", "api_version", "endpoint_uri"];
    let [method, name, version, uri] = places.map(|place| row.text(place));
    Ok((endpoints::key(method, name, version, uri), row))
}

#[cfg(test)]
mod tests {
    use super::super::{openapi, wsdl};
    use super::*;
    use std::sync::Arc;

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap()
    }

    fn api(server: &str) -> Row {
        row(json!({"api_name": "a", "api_version": "v1", "api_id": "id", "api_servers": [server]}))
    }

    #[test]
    fn paths_are_those_behind_the_apis_server() {
        for (server, base, uri) in [
            ("http://up:1", "", "/pets"),
            ("http://up:1", "/", "/pets"),
            ("http://up:1/", "/v3", "/v3/pets"),
            ("http://up:1/v3", "/v3/", "/pets"),
            ("http://up:1/v3", "/v30", "/v30/pets"),
            ("http://up:1", "https://up/v3", "/v3/pets"),
            ("http://up:1", "https://elsewhere/v3", "/pets"),
        ] {
            let document =
                json!({"openapi": "3.0.0", "servers": [{"url": base}], "paths": {"/pets": {"get": {}}}});
            let spec = openapi::read(&document).unwrap();
            assert_eq!(of_openapi(&api(server), &spec)[0].uri, uri, "{server} {base}");
        }
        for (server, location, uri) in [
            ("http://up/ws", "http://inside:99/ws/calc?x", "/calc"),
            ("http://up", "http://inside/", "/"),
            ("http://up", "", "/calc"),
        ] {
            let text = format!(
                "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/' xmlns:s='http://schemas.xmlsoap.org/wsdl/soap/'>\
                 <binding name='b'><s:binding/></binding><service name='S'><port binding='b'>\
                 <s:address location='{location}'/></port></service></definitions>"
            );
            let wsdl = wsdl::read(text.as_bytes()).unwrap();
            assert_eq!(
                of_wsdl(&api(server), &wsdl, "http://up/calc?wsdl")[0].uri,
                uri,
                "{server} {location}"
            );
        }
    }

    #[test]
    fn what_is_there_stays_and_what_cannot_be_is_told() {
        let mut state = State::default();
        state.set("apis", "a/v1", Some(Arc::new(api("http://up"))));
        let old = json!({"api_name": "a", "api_version": "v1", "endpoint_method": "GET", "endpoint_uri": "/pets/{x}"});
        state.set("endpoints", "GET a/v1 /pets/{x}", Some(Arc::new(row(old))));
        let want = |method: &str, uri: &str| Wanted {
            method: method.to_owned(),
            uri: uri.to_owned(),
            description: "d".repeat(300),
        };
        let wanted = [
            want("GET", "/pets/{id}"),
            want("GET", "/pets"),
            want("GET", "/pets"),
            want("TRACE", "/pets"),
            want("GET", "/pets/{id}.json"),
            want("GET", &format!("/{}", "x".repeat(300))),
            want("GET", "/a b"),
            want("POST", "/pets/"),
        ];
        let (draft, outcome) = draft(&state, "a/v1", &wanted).unwrap();
        let keys: Vec<_> = draft.rows.iter().map(|(table, key, _)| (*table, key.as_str())).collect();
        assert_eq!(keys, [("endpoints", "GET a/v1 /pets"), ("endpoints", "POST a/v1 /pets/")]);
        let made = draft.rows[0].2.as_ref().unwrap();
        assert_eq!((made.text("api_id"), made.text("endpoint_description").len()), ("id", 255));
        assert_eq!((outcome.found, outcome.imported), (8, 2));
        let reasons: Vec<_> = outcome.skipped.iter().map(|one| one["reason"].as_str().unwrap()).collect();
        assert_eq!(
            (reasons.len(), reasons[0], reasons[1]),
            (6, "it is there already", "it is there already")
        );
        assert!(reasons[2..].iter().all(|reason| reason.contains("expected")), "{reasons:?}");
        let mut answer = Row::new();
        outcome.told(&mut answer);
        assert_eq!(answer["endpoints_skipped"], 6);
        assert_eq!(super::draft(&state, "b/v1", &wanted).unwrap_err().code, "API001");
    }
}
