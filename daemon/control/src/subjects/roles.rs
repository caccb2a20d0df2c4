//! Roles: permissions, and who counts as an administrator (spec/doorman.md 3).

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

/// A role of that name, or one that says so.
pub(crate) fn is_admin(state: &State, role: &str) -> bool {
    matches!(role, "admin" | "platform admin")
        || state.get("roles", role).is_some_and(|role| role.flag("platform_admin"))
}

/// Whether nobody else could administer without this user.
pub(crate) fn last_admin(state: &State, name: &str) -> bool {
    let can = |user: &Row| user.flag("active") && is_admin(state, user.text("role"));
    state.get("users", name).is_some_and(|user| can(user))
        && !state.rows("users").any(|(other, user)| other != name && can(user))
}

/// The built-in administrator role.
pub(crate) fn admin() -> Row {
    let mut row = Row::new();
    row.insert("role_name".to_owned(), json!("admin"));
    row.insert("role_description".to_owned(), json!("Administrator"));
    row.extend(PERMISSIONS.map(|permission| (permission.to_owned(), json!(true))));
    row
}
