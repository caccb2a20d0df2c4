//! The terms of a request that changes something: `?dry_run=true` and `If-Match`. The gate sets them around the handler,
//! the path of change keeps them, so that no handler needs to know of them.

use super::history::Turned;
use crate::state::{Row, State};
use gatehouse_common::problem::{Code, Problem};
use gatehouse_corridor::snapshot::Snapshot;
use imbl::ordmap::DiffItem;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of a hash that a tag shows: of the place, of the row.
const PLACE_BYTES: usize = 4;
const ROW_BYTES: usize = 12;

tokio::task_local! {
    /// The terms of the request that is being answered.
    static TERMS: Arc<Terms>;
}

/// What is asked of a change beside the change.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Nothing is to be done; what would be is the answer.
    pub(crate) dry: bool,
    /// Tags, one of which the resource must have; `*` is any.
    pub(crate) if_match: Option<Vec<String>>,
    seen: RwLock<Seen>,
}

/// What the path of change found.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// What would be done.
    pub(crate) plans: Vec<Plan>,
    /// What it would be refused for.
    pub(crate) refused: Option<Problem>,
    /// The tag that the resource has, where none of those given was it.
    pub(crate) tag: Option<String>,
}

/// What a change would do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) rows: Vec<Turned>,
    /// APIs (`name/version`) whose routes would be others.
    pub(crate) routes: Vec<String>,
}

impl Terms {
    pub(crate) fn new(dry: bool, if_match: Option<&str>) -> Self {
        let tags = |text: &str| text.split(',').map(|tag| tag.trim().to_owned()).collect();
        Self { dry, if_match: if_match.map(tags), seen: RwLock::default() }
    }

    /// Answers a request under these terms.
    pub(crate) async fn keep<F: Future>(self: &Arc<Self>, answering: F) -> F::Output {
        TERMS.scope(Arc::clone(self), answering).await
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn see(&self, see: impl FnOnce(&mut Seen)) {
        see(&mut self.seen.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the rows that a change touches are still what the asker saw.
    pub(super) fn hold(
        &self,
        rows: &[(&'static str, String, Option<Row>)],
        state: &State,
    ) -> Result<(), Problem> {
        let Some(wanted) = &self.if_match else { return Ok(()) };
        let there = |(table, key, _): &(&'static str, String, Option<Row>)| {
            state.get(table, key).map(|row| tag(table, key, row))
        };
        let tags: Vec<String> = rows.iter().filter_map(there).collect();
        if tags.iter().any(|tag| wanted.iter().any(|wanted| wanted == "*" || wanted == tag)) {
            return Ok(());
        }
        let place = |tag: &str| tag.split('-').next().unwrap_or_default().to_owned();
        let same = tags.iter().find(|tag| wanted.iter().any(|wanted| place(wanted) == place(tag)));
        let now = same.or(tags.first());
        let text = match now {
            Some(now) => format!("If-Match: the resource has changed since; its ETag is {now} now"),
            None => "If-Match: there is no such resource any more".to_owned(),
        };
        self.see(|seen| seen.tag = now.cloned());
        Err(Problem::new(Code::Precondition, text).at("If-Match"))
    }
}

/// The terms of the request that is being answered, if it has any.
pub(crate) fn current() -> Option<Arc<Terms>> {
    TERMS.try_with(Arc::clone).ok()
}

fn short(hash: &[u8], bytes: usize) -> String {
    hex::encode(hash.get(..bytes).unwrap_or(hash))
}

/// The tag (RFC 9110, strong) of a row at its place; another place or another content is another tag.
pub(crate) fn tag(table: &str, key: &str, row: &Row) -> String {
    let place = Sha256::digest(format!("{table}\0{key}"));
    // Fields of a row are in order, so that equal rows are equal text.
    let row = Sha256::digest(serde_json::to_vec(row).unwrap_or_default());
    format!("\"{}-{}\"", short(&place, PLACE_BYTES), short(&row, ROW_BYTES))
}

/// APIs that differ between two snapshots.
pub(super) fn routes(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let differ = before.apis.diff(&after.apis).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name.clone(),
        DiffItem::Update { new: (name, _), .. } => name.clone(),
    });
    differ.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(text: &str) -> Row {
        json!({ "text": text }).as_object().cloned().unwrap()
    }

    #[test]
    fn a_tag_is_of_one_row_in_one_place() {
        let one = tag("groups", "a", &row("x"));
        assert!(one.starts_with('"') && one.ends_with('"'));
        assert_eq!(one, tag("groups", "a", &row("x")));
        for other in
            [tag("groups", "b", &row("x")), tag("roles", "a", &row("x")), tag("groups", "a", &row("y"))]
        {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_change_must_be_of_what_was_seen() {
        let mut state = State::default();
        state.set("groups", "a", Some(Arc::new(row("x"))));
        state.set("users", "u", Some(Arc::new(row("x"))));
        let seen = tag("groups", "a", &row("x"));
        let old = tag("groups", "a", &row("older"));
        let writes = vec![("users", "u".to_owned(), None), ("groups", "a".to_owned(), Some(row("y")))];
        let new = vec![("groups", "new".to_owned(), Some(row("y")))];
        for (given, writes, held) in [
            (None, &writes, true),
            (Some(seen.clone()), &writes, true),
            (Some(format!("\"x\", {seen}")), &writes, true),
            (Some("*".to_owned()), &writes, true),
            (Some(old.clone()), &writes, false),
            (Some("*".to_owned()), &new, false),
        ] {
            let terms = Terms::new(false, given.as_deref());
            let told = terms.hold(writes, &state);
            assert_eq!(told.is_ok(), held, "{given:?}");
            if let Err(problem) = told {
                assert_eq!(problem.status, 412);
                assert_eq!(
                    terms.seen().tag,
                    (given == Some(old.clone())).then(|| seen.clone()),
                    "of the same place"
                );
            }
        }
    }
}
