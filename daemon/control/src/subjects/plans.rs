//! The answer to a dry run: what would change, whose routes it touches, what it would be refused for.

use super::masks;
use crate::Inner;
use crate::api::DRY_RUN;
use crate::change::terms::Seen;
use crate::declared::MARKS;
use crate::envelope::Reply;
use crate::session::caller;
use actix_web::HttpRequest;
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Rows that a plan shows.
const SHOWN: usize = 1_000;

/// The plan in place of what the handler would have answered; who may not ask for the change is told so.
///
/// # Errors
/// What the handler refuses because of who asks, or how often.
pub(crate) fn planned(
    control: &Inner,
    request: &HttpRequest,
    seen: &Seen,
    outcome: Result<Reply, Problem>,
) -> Result<Reply, Problem> {
    let refused = match (&seen.refused, &outcome) {
        (_, Err(problem)) if matches!(problem.status, 401 | 403 | 429) || problem.status >= 500 => {
            return outcome;
        }
        (Some(problem), _) => vec![refusal(problem)],
        // What the handler looks for after the change is not there.
        (None, _) if !seen.plans.is_empty() => Vec::new(),
        (None, Err(problem)) if problem.field.as_deref() == Some(DRY_RUN) => return outcome,
        (None, Err(problem)) => vec![refusal(problem)],
        (None, Ok(Reply::Bare(status, text))) if *status >= 400 => {
            let body: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            vec![json!({"status": status, "error_code": "", "error_message": body})]
        }
        (None, Ok(_)) => Vec::new(),
    };
    let routes: BTreeSet<&String> = seen.plans.iter().flat_map(|plan| &plan.routes).collect();
    let rows = || seen.plans.iter().flat_map(|plan| &plan.rows).filter(|row| row.table != MARKS);
    // Who has no session (a login, a registration) sees no row.
    let caller = caller(control, request).ok();
    let shown = rows().take(SHOWN).filter_map(|row| Some(masks::planned(caller.as_ref()?, row)));
    let actions: Vec<Value> =
        seen.plans.iter().map(|plan| json!({"action": plan.action, "object": plan.object})).collect();
    Ok(Reply::Data(
        200,
        json!({"dry_run": true, "actions": actions, "changes": shown.collect::<Vec<_>>(), "total": rows().count(),
               "routes": routes, "refused": refused}),
    ))
}

fn refusal(problem: &Problem) -> Value {
    json!({"status": problem.status, "error_code": problem.code, "error_message": problem.detail,
           "field": problem.field})
}
