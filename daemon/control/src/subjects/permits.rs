//! Changes that need one permission.

use crate::Inner;
use crate::change::Draft;
use crate::session::Caller;
use crate::state::State;
use gatehouse_common::ids::Revision;
use gatehouse_common::problem::Problem;

/// Submits a change that needs a permission: it is looked at in the very state that the change is made on, so that a
/// role taken away while the change waited counts.
///
/// # Errors
/// 403 with this code, and what [`Caller::submit`] refuses.
pub(crate) async fn submit(
    control: &Inner,
    caller: &Caller,
    (permission, code): (&'static str, &'static str),
    make: impl FnOnce(&State) -> Result<Draft, Problem> + Send + 'static,
) -> Result<Revision, Problem> {
    let checked = move |state: &State, caller: &Caller| {
        caller.needs(permission, code)?;
        make(state)
    };
    caller.submit(control, checked).await
}
