//! Changes that need a permission: it is looked at in the very state that the change is made on, so that a role taken
//! away while the change waited counts.

use crate::Inner;
use crate::change::Draft;
use crate::session::Caller;
use crate::state::{Fields as _, State};
use gatehouse_common::ids::Revision;
use gatehouse_common::problem::Problem;

/// Whether a user may, as the state says.
pub(crate) fn may(state: &State, user: &str, permission: &str) -> bool {
    let user = state.get("users", user).filter(|user| user.flag("active"));
    let role = user.and_then(|user| state.get("roles", user.text("role")));
    role.is_some_and(|role| role.flag(permission))
}

/// Refuses without the permission, with this code.
pub(crate) fn need(state: &State, user: &str, permission: &str, code: &str) -> Result<(), Problem> {
    let text = format!("You do not have permission: {permission}");
    if may(state, user, permission) { Ok(()) } else { Err(Problem::compat(403, code, text)) }
}

/// Submits a change that needs a permission.
///
/// # Errors
/// 403 with this code, and what [`crate::change::Changes::submit`] refuses.
pub(crate) async fn submit(
    control: &Inner,
    caller: &Caller,
    (permission, code): (&'static str, &'static str),
    make: impl FnOnce(&State) -> Result<Draft, Problem> + Send + 'static,
) -> Result<Revision, Problem> {
    let name = caller.name.clone();
    let make = move |state: &State| need(state, &name, permission, code).and_then(|()| make(state));
    control.changes.submit(caller.actor(), make).await
}
