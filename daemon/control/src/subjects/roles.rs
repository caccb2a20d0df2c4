//! Roles: permissions, and who counts as an administrator (spec/doorman.md 3).

use crate::index::By;
use crate::state::{Fields as _, Row, State};
use serde_json::json;

/// Every permission.
pub(crate) const PERMISSIONS: [&str; 16] = [
    "manage_users",
    "manage_apis",
    "manage_endpoints",
    "manage_groups",
    "manage_roles",
    "manage_routings",
    "manage_gateway",
    "manage_subscriptions",
    "manage_security",
    "manage_tiers",
    "manage_rate_limits",
    "manage_credits",
    "manage_auth",
    "view_analytics",
    "view_logs",
    "export_logs",
];

/// Roles that are an administrator's by their names.
const BUILT_IN: [&str; 2] = ["admin", "platform admin"];

/// A role of that name, or one that says so.
pub(crate) fn is_admin(state: &State, role: &str) -> bool {
    BUILT_IN.contains(&role) || state.get("roles", role).is_some_and(|role| role.flag("platform_admin"))
}

/// Names of all users who are administrators.
fn admins(state: &State) -> impl Iterator<Item = &str> {
    let marked = state.rows("roles").filter(|(_, row)| row.flag("platform_admin")).map(|(name, _)| &**name);
    let marked = marked.filter(|name| !BUILT_IN.contains(name));
    BUILT_IN.into_iter().chain(marked).flat_map(|role| state.keys_by(By::UserRole, role))
}

/// Whether there is somebody who can administer.
pub(crate) fn administrable(state: &State) -> bool {
    admins(state).any(|name| state.get("users", name).is_some_and(|user| user.flag("active")))
}

/// Whether nobody else could administer without this user.
pub(crate) fn last_admin(state: &State, name: &str) -> bool {
    let active = |name: &str| state.get("users", name).is_some_and(|user| user.flag("active"));
    let Some(role) = state.get("users", name).map(|user| user.text("role")) else { return false };
    active(name) && is_admin(state, role) && !admins(state).any(|other| other != name && active(other))
}

/// The built-in administrator role.
pub(crate) fn admin() -> Row {
    let mut row = Row::new();
    row.insert("role_name".to_owned(), json!("admin"));
    row.insert("role_description".to_owned(), json!("Administrator"));
    row.extend(PERMISSIONS.map(|permission| (permission.to_owned(), json!(true))));
    row
}
