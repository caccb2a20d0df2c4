//! The one authorisation function: what a user's role, as it is now, allows.

use super::roles;
use crate::state::{Fields as _, Row, State};

/// Whether a user's role has a permission.
pub(crate) fn has(state: &State, user: &Row, permission: &str) -> bool {
    state.get("roles", user.text("role")).is_some_and(|role| role.flag(permission))
}

/// Whether a user's role is an administrator's.
pub(crate) fn administers(state: &State, user: &Row) -> bool {
    roles::is_admin(state, user.text("role"))
}
