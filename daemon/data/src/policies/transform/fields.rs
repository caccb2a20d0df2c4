//! Changes to a set of names and values: header fields, and a query's pairs. `remove`, then `rename`, then `add`;
//! a name that is renamed to or added takes the place of what stood under it.

use serde_json::{Map, Value};

/// Changes of one kind.
const CHANGES: usize = 64;

/// Compiled changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    remove: Vec<String>,
    rename: Vec<(String, String)>,
    add: Vec<(String, String)>,
}

/// What becomes of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    Keep,
    Drop,
    Rename(&'a str),
}

impl Changes {
    /// `what` is the key the rules stand at; `name` and `value` check one of each.
    ///
    /// # Errors
    /// What is wrong, with the key it stands at.
    pub(crate) fn compile(
        what: &str,
        rules: &Map<String, Value>,
        name: impl Fn(&str) -> Result<String, String>,
        value: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let mut changes = Self::default();
        for (key, rules) in rules {
            let at = |error: String| format!("{what}.{key}: {error}");
            match (key.as_str(), rules) {
                (_, Value::Null) => {}
                ("remove", Value::Array(names)) => {
                    let names = names.iter().map(|one| name(one.as_str().unwrap_or_default()));
                    changes.remove = names.collect::<Result<_, _>>().map_err(at)?;
                }
                ("remove", _) => return Err(at("expected a list of names".into())),
                ("rename", Value::Object(pairs)) => {
                    let pairs = pairs
                        .iter()
                        .map(|(from, to)| Ok((name(from)?, name(to.as_str().unwrap_or_default())?)));
                    changes.rename = pairs.collect::<Result<_, _>>().map_err(at)?;
                }
                ("rename", _) => return Err(at("expected names by name".into())),
                ("add", Value::Object(pairs)) => {
                    let pairs = pairs.iter().map(|(key, text)| Ok((name(key)?, value(&plain(text)?)?)));
                    changes.add = pairs.collect::<Result<_, _>>().map_err(at)?;
                }
                ("add", _) => return Err(at("expected values by name".into())),
                _ => return Err(at("expected remove, rename or add".into())),
            }
        }
        if changes.remove.len().max(changes.rename.len()).max(changes.add.len()) > CHANGES {
            return Err(format!("{what}: expected at most {CHANGES} changes of a kind"));
        }
        Ok(changes)
    }

    /// Decides about fields of these names; `same` compares a field's name with one of the rules.
    pub(crate) fn fates<'s, N: Copy>(
        &'s self,
        names: impl Iterator<Item = N> + Clone,
        same: impl Fn(N, &str) -> bool + Copy,
    ) -> impl Iterator<Item = Fate<'s>> {
        // Only a rename whose source is there takes the place of its target.
        let renamed: Vec<&(String, String)> = self
            .rename
            .iter()
            .filter(|(from, _)| {
                names.clone().any(|name| same(name, from) && !self.remove.iter().any(|gone| same(name, gone)))
            })
            .collect();
        names.map(move |name| {
            if self.remove.iter().any(|gone| same(name, gone)) {
                return Fate::Drop;
            }
            let target = renamed.iter().find(|(from, _)| same(name, from));
            if let Some((_, to)) = target {
                let replaced = self.add.iter().any(|(added, _)| added == to);
                return if replaced { Fate::Drop } else { Fate::Rename(to) };
            }
            let replaced = renamed.iter().any(|(_, to)| same(name, to))
                || self.add.iter().any(|(added, _)| same(name, added));
            if replaced { Fate::Drop } else { Fate::Keep }
        })
    }

    /// What is added behind all others.
    pub(crate) fn added(&self) -> impl Iterator<Item = (&str, &str)> {
        self.add.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.rename.is_empty() && self.add.is_empty()
    }
}

fn plain(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err("expected text, a number or a boolean".into()),
    }
}
