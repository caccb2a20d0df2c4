//! Text to items: TOML or YAML, each item with its file and line. Nothing is looked at but the sections' names.

use super::fault;
use super::shapes::sections;
use crate::state::Row;
use gatehouse_common::ops::config::{ConfigFault, ConfigFile};
use serde::Deserialize;
use serde_json::{Map, Value};

/// An item of a section as it was declared.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) section: &'static str,
    /// `file:line`
    pub(super) place: String,
    pub(super) value: Row,
}

/// Sections by name; of each the lines and values of its items.
macro_rules! document {
    ($name:ident, $spanned:ident, [$($list:ident),*]) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $(#[serde(default)] $list: Vec<$spanned<Value>>,)*
            #[serde(default)]
            security: Option<$spanned<Value>>,
        }

        impl $name {
            fn items(self) -> Vec<(&'static str, $spanned<Value>)> {
                let mut all = Vec::new();
                $(all.extend(self.$list.into_iter().map(|item| (stringify!($list), item)));)*
                all.extend(self.security.map(|item| ("security", item)));
                all
            }
        }
    };
}

use serde_saphyr::Spanned as InYaml;
use toml::Spanned as InToml;

document!(Toml, InToml, [roles, groups, credits, tiers, apis, users, routings, rate_rules, vault]);
document!(Yaml, InYaml, [roles, groups, credits, tiers, apis, users, routings, rate_rules, vault]);

/// The line of a byte, from 1.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// What a TOML date is in JSON: its text.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => match fields.get("$__toml_private_datetime") {
            Some(text) => text.clone(),
            None => Value::Object(fields.into_iter().map(|(name, value)| (name, plain(value))).collect()),
        },
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn item(section: &'static str, place: String, value: Value) -> Result<Item, ConfigFault> {
    match plain(value) {
        Value::Object(value) => Ok(Item { section, place, value: without_nulls(value) }),
        _ => Err(fault(&place, format!("{section}: expected a table of fields"))),
    }
}

/// A field of YAML that is null is one that is not there.
fn without_nulls(fields: Map<String, Value>) -> Row {
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// The first line of a message; parsers draw pictures below it.
fn brief(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

fn toml(file: &ConfigFile) -> Vec<Result<Item, ConfigFault>> {
    let parsed: Result<Toml, _> = toml::from_str(&file.text);
    match parsed {
        Ok(document) => {
            let made = |(section, value): (&'static str, InToml<Value>)| {
                let place = format!("{}:{}", file.name, line(&file.text, value.span().start));
                item(section, place, value.into_inner())
            };
            document.items().into_iter().map(made).collect()
        }
        Err(error) => {
            let at = error.span().map_or(1, |span| line(&file.text, span.start));
            vec![Err(fault(&format!("{}:{at}", file.name), brief(error.message())))]
        }
    }
}

fn yaml(file: &ConfigFile) -> Vec<Result<Item, ConfigFault>> {
    // An empty file, or one of comments alone, declares nothing.
    if file.text.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#')) {
        return Vec::new();
    }
    // `yes`, `on` and `y` are texts, as YAML 1.2 has it.
    // A file is bounded already; a hundred thousand endpoints must fit.
    let budget = serde_saphyr::budget! { max_nodes: 2_000_000, max_events: 4_000_000 };
    let options = serde_saphyr::options! { strict_booleans: true, budget: budget };
    let parsed: Result<Yaml, _> = serde_saphyr::from_str_with_options(&file.text, options);
    match parsed {
        Ok(document) => {
            let made = |(section, value): (&'static str, InYaml<Value>)| {
                let place = format!("{}:{}", file.name, value.referenced.line());
                item(section, place, value.value)
            };
            document.items().into_iter().map(made).collect()
        }
        Err(error) => {
            let at = error.location().map_or(1, |location| location.line());
            vec![Err(fault(&format!("{}:{at}", file.name), brief(&error.to_string())))]
        }
    }
}

/// Reads files to items.
///
/// # Errors
/// Everything that is wrong, each with its file and line.
pub(super) fn read(files: &[ConfigFile]) -> Result<Vec<Item>, Vec<ConfigFault>> {
    let of = |file: &ConfigFile| {
        let lower = file.name.to_lowercase();
        if lower.ends_with(".toml") {
            toml(file)
        } else if lower.ends_with(".yaml") || lower.ends_with(".yml") || lower.ends_with(".json") {
            yaml(file)
        } else {
            vec![Err(fault(&file.name, "expected a name that ends in .toml, .yaml, .yml or .json"))]
        }
    };
    let (good, bad): (Vec<_>, Vec<_>) = files.iter().flat_map(of).partition(Result::is_ok);
    let faults: Vec<_> = bad.into_iter().filter_map(Result::err).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut items: Vec<_> = good.into_iter().filter_map(Result::ok).collect();
    let order: Vec<_> = sections().iter().map(|section| section.name).collect();
    items.sort_by_key(|item| order.iter().position(|name| *name == item.section));
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(name: &str, text: &str) -> ConfigFile {
        ConfigFile { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn each_item_knows_its_line() {
        for (name, text) in [
            (
                "a.toml",
                "[[groups]]\ngroup_name = \"x\"\n\n[[groups]]\ngroup_name = \"y\"\n[security]\nip_whitelist = []\n",
            ),
            ("a.yaml", "groups:\n  - group_name: x\n\n\n  - group_name: y\nsecurity:\n  ip_whitelist: []\n"),
        ] {
            let items = read(&[file(name, text)]).unwrap();
            let seen: Vec<_> = items.iter().map(|item| (item.section, item.place.as_str())).collect();
            assert_eq!(
                seen.iter().map(|(section, _)| *section).collect::<Vec<_>>(),
                ["groups", "groups", "security"]
            );
            let lines: Vec<usize> =
                seen.iter().map(|(_, place)| place.rsplit(':').next().unwrap().parse().unwrap()).collect();
            assert!(lines[0] < lines[1] && lines[1] < lines[2] && lines[2] <= 7, "{seen:?}");
            assert_eq!(items[1].value["group_name"], "y");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for (name, text, line) in [
            ("a.toml", "[[groups]]\ngroup_name = \n", "a.toml:2"),
            ("a.toml", "\n[[grups]]\n", "a.toml:2"),
            ("a.yaml", "groups:\n  - group_name: [\n", "a.yaml:"),
            ("a.yaml", "grups: []\n", "a.yaml:1"),
            ("a.toml", "groups = [1]\n", "a.toml:1"),
            ("a.txt", "", "a.txt"),
        ] {
            let faults = read(&[file(name, text)]).unwrap_err();
            assert!(faults[0].place.starts_with(line), "{text:?}: {faults:?}");
            assert!(!faults[0].detail.is_empty());
        }
        assert!(
            read(&[file("empty.yaml", "# nothing\n"), file("empty.toml", "# nothing\n")]).unwrap().is_empty()
        );
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "groups:\n- &a0 {k: [x, x, x, x, x, x, x, x, x, x]}\n".to_owned();
        for level in 1..12 {
            let last = format!("*a{}", level - 1);
            text.push_str(&format!("- &a{level} {{k: [{}]}}\n", vec![last; 10].join(", ")));
        }
        assert!(read(&[file("a.yaml", &text)]).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z\\[\\]{}:=\"'&*!|>#\\- \n0-9]{0,120}") {
            for name in ["a.toml", "a.yaml"] {
                let faults = read(&[file(name, &text)]).err().unwrap_or_default();
                prop_assert!(faults.iter().all(|fault| fault.place.starts_with(name)));
            }
        }
    }
}
