//! THE LIST of single resources that answer with an `ETag`: where the row of a path lies.

use super::endpoints;
use crate::Inner;
use crate::change::terms::tag;
use crate::leases::ACCOUNTS;
use crate::session::caller;
use crate::state::State;
use crate::subjects::credits::DEFINITIONS;
use crate::subjects::security::PLACE;
use actix_web::HttpRequest;

/// A path's pattern, its table, and the variables whose values, with slashes between, are the key.
const PLACES: &[(&str, &str, &[&str])] = &[
    ("/platform/api/{name}/{version}", "apis", &["name", "version"]),
    ("/platform/endpoint/endpoint/validation/{id}", "validations", &["id"]),
    ("/platform/endpoint/validation/{id}", "validations", &["id"]),
    ("/platform/user/{username}", "users", &["username"]),
    ("/platform/role/{role}", "roles", &["role"]),
    ("/platform/group/{group}", "groups", &["group"]),
    ("/platform/subscription/subscriptions/{username}", "subscriptions", &["username"]),
    ("/platform/routing/{client_key}", "routings", &["client_key"]),
    ("/platform/credit/defs/{group}", DEFINITIONS, &["group"]),
    ("/platform/credit/{name}", ACCOUNTS, &["name"]),
    ("/platform/tiers/{id}", "tiers", &["id"]),
    ("/platform/tiers/assignments/{user}", "assignments", &["user"]),
    ("/platform/rate-limits/{id}", "rate_rules", &["id"]),
];

/// Table and key of the row that a path is about.
fn place(control: &Inner, request: &HttpRequest) -> Option<(&'static str, String)> {
    let pattern = request.match_pattern()?;
    let part = |name: &str| request.match_info().get(name).unwrap_or_default();
    match pattern.trim_end_matches('/') {
        "/platform/endpoint/{method}/{name}/{version}/{uri:.*}" => {
            Some(("endpoints", endpoints::key(part("method"), part("name"), part("version"), part("uri"))))
        }
        "/platform/security/settings" => Some((PLACE.0, PLACE.1.to_owned())),
        // Each user's own.
        "/platform/vault/{key}" => {
            let caller = caller(control, request).ok()?;
            Some(("vault", super::vault::key(&caller.name, part("key"))))
        }
        pattern => {
            let (_, table, names) = PLACES.iter().find(|(known, ..)| *known == pattern)?;
            Some((table, names.iter().map(|name| part(name)).collect::<Vec<_>>().join("/")))
        }
    }
}

/// The tag of what a path shows, as it was in a state.
pub(crate) fn of(control: &Inner, state: &State, request: &HttpRequest) -> Option<String> {
    let (table, key) = place(control, request)?;
    state.get(table, &key).map(|row| tag(table, &key, row))
}
