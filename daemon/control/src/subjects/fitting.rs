//! Whether rows fit together: what the checks of the single resources say of a row beside its own fields. For changes
//! that write many rows at once.

use crate::api::{endpoints, routings};
use crate::index::{self, By};
use crate::state::{Fields as _, Row, State};
use crate::subjects::{apis, roles, security, tiers};
use gatehouse_common::problem::{Code, Problem};

/// A row in the way of another: its table, its key.
pub(crate) type Place = (&'static str, String);

/// Whether rows fit.
pub(crate) type Fit = Result<(), Box<Misfit>>;

/// Why rows do not fit.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) problem: Problem,
    /// The row that does not fit, if it is one.
    pub(crate) row: Option<Place>,
    /// What is in the way, if it is a row.
    pub(crate) other: Option<Place>,
}

fn conflict(table: &'static str, key: &str, text: &str, other: Option<Place>) -> Box<Misfit> {
    let problem = Problem::new(Code::Conflict, format!("{table} {key:?}: {text}"));
    Box::new(Misfit { problem, row: Some((table, key.to_owned())), other })
}

/// Checks rows that were written into a state.
///
/// # Errors
/// The first that does not fit, and what is in its way.
pub(crate) fn check<'r>(after: &State, written: impl Iterator<Item = (&'static str, &'r str)>) -> Fit {
    let mut people = false;
    for (table, key) in written {
        people |= ["users", "roles"].contains(&table);
        match after.get(table, key) {
            Some(row) => there(after, table, key, row)?,
            None => gone(after, table, key)?,
        }
    }
    if people && !roles::administrable(after) {
        let text = "no active administrator would be left";
        let problem = Problem::new(Code::Conflict, text);
        return Err(Box::new(Misfit { problem, row: None, other: None }));
    }
    Ok(())
}

/// A row that is there: what it speaks of must be there too.
fn there(after: &State, table: &'static str, key: &str, row: &Row) -> Fit {
    let needs = |other: &'static str, name: &str| match after.get(other, name) {
        Some(_) => Ok(()),
        None => {
            let text = format!("it needs {other} {name:?}, which is not there");
            Err(conflict(table, key, &text, Some((other, name.to_owned()))))
        }
    };
    let checked = |outcome: Result<(), Problem>| outcome.map_err(|problem| named(table, key, problem));
    match table {
        "apis" => checked(apis::check(after, key, row)),
        "endpoints" => {
            needs("apis", &index::owner(row))?;
            checked(endpoints::check(row))?;
            let taken = endpoints::taken(after, key, row);
            if taken {
                Err(conflict(table, key, "another endpoint matches the same paths", None))
            } else {
                Ok(())
            }
        }
        "validations" => match after.keys_by(By::EndpointId, key).next() {
            Some(_) => Ok(()),
            None => Err(conflict(table, key, "there is no endpoint of that id", None)),
        },
        "routings" => checked(routings::check(row)),
        "users" => {
            let mail = index::mail(row.text("email"));
            match after.keys_by(By::UserEmail, &mail).find(|other| *other != key) {
                Some(other) => {
                    let text = format!("{other:?} has the same e-mail address");
                    Err(conflict(table, key, &text, Some(("users", other.to_owned()))))
                }
                None => Ok(()),
            }
        }
        "subscriptions" => {
            needs("users", key)?;
            row.list("apis").iter().try_for_each(|api| needs("apis", api))
        }
        "assignments" => {
            needs("users", key)?;
            tiers::mentioned(row).try_for_each(|tier| needs("tiers", tier))
        }
        "user_credits" => needs("users", key),
        "keys" | "vault" => needs("users", row.text("username")),
        "settings" if key == security::PLACE.1 => checked(security::changes(&row.clone().into()).map(drop)),
        _ => Ok(()),
    }
}

/// A row that is gone: nothing may hang on it.
fn gone(after: &State, table: &'static str, key: &str) -> Fit {
    let hangs = |other: &'static str, by: By, text: &str| match after.keys_by(by, key).next() {
        Some(one) => {
            let text = format!("{text} {one:?}");
            Err(conflict(table, key, &text, Some((other, one.to_owned()))))
        }
        None => Ok(()),
    };
    match table {
        "apis" => {
            hangs("endpoints", By::EndpointApi, "it cannot go: it has the endpoint")?;
            hangs("subscriptions", By::Subscriber, "it cannot go: subscribed is")
        }
        "users" => {
            hangs("keys", By::KeyUser, "it cannot go: it has the key")?;
            for other in ["subscriptions", "assignments", "user_credits"] {
                let empty = |row: &Row| other == "subscriptions" && row.list("apis").is_empty();
                if after.get(other, key).is_some_and(|row| !empty(row)) {
                    let text = format!("it cannot go: it has {other}");
                    return Err(conflict(table, key, &text, Some((other, key.to_owned()))));
                }
            }
            Ok(())
        }
        "tiers" => hangs("assignments", By::AssignedTier, "it cannot go: assigned is"),
        "roles" if key == "admin" => Err(conflict(table, key, "the built-in role cannot go", None)),
        _ => Ok(()),
    }
}

fn named(table: &'static str, key: &str, problem: Problem) -> Box<Misfit> {
    let problem = Problem { detail: format!("{table} {key:?}: {}", problem.detail), ..problem };
    Box::new(Misfit { problem, row: Some((table, key.to_owned())), other: None })
}
