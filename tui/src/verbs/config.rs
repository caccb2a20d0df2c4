//! `gatehouse config`: files to the daemon, and what it says of them.

use super::{Failure, Work};
use crate::cli::Usage;
use crate::client::query;
use crate::clock::date_time;
use crate::exit;
use crate::report::table;
use crate::text::clean;
use gatehouse_common::limits::CONFIG_BODY_BYTES;
use gatehouse_common::ops::config::{
    ConfigFile, ConfigFiles, ConfigPlan, ConfigRevision, ConfigRow, ConfigText, ConfigUndo,
};
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What can be done, and what it is given.
const ACTIONS: [(&str, &str); 8] = [
    ("export", "[--format toml|yaml]"),
    ("schema", ""),
    ("check", "PATH…"),
    ("diff", "PATH… [--prune]"),
    ("apply", "PATH… [--prune]"),
    ("history", ""),
    ("rollback", "REVISION"),
    ("revert", "REVISION"),
];
const ENDINGS: [&str; 4] = ["toml", "yaml", "yml", "json"];

fn usage(text: impl Into<String>) -> Failure {
    Usage(text.into()).into()
}

impl Work<'_, '_> {
    pub(super) async fn config(&mut self) -> Result<u8, Failure> {
        let words = &self.request.words;
        let action = words.first().map(String::as_str).unwrap_or_default();
        match action {
            "export" => self.config_export().await,
            "schema" => self.text("/v1/config/schema").await,
            "check" => {
                let plan: ConfigPlan = self.send("/v1/config/plan").await?;
                self.checked(&plan, action)
            }
            "diff" => {
                let plan: ConfigPlan = self.send("/v1/config/plan").await?;
                self.checked(&plan, action)
            }
            "apply" => {
                let plan: ConfigPlan = self.send("/v1/config/apply").await?;
                self.checked(&plan, action)
            }
            "history" => self.history().await,
            "rollback" => self.undo(false).await,
            "revert" => self.undo(true).await,
            other => {
                let forms: Vec<_> = ACTIONS
                    .iter()
                    .map(|(name, words)| format!("{name} {words}").trim_end().to_owned())
                    .collect();
                let said = if other.is_empty() { String::new() } else { format!("unknown {other}; ") };
                Err(usage(format!("config: {said}expected one of: {}", forms.join("; "))))
            }
        }
    }

    async fn text(&mut self, path: &str) -> Result<u8, Failure> {
        let text: ConfigText = self.client.get(path).await?;
        if self.request.json {
            self.output.object(&text)?;
        } else {
            self.output.prompt(&text.text)?;
        }
        Ok(exit::DONE)
    }

    async fn config_export(&mut self) -> Result<u8, Failure> {
        let format = self.request.params.iter().find(|(name, _)| name == "format");
        let format = format.map_or("toml", |(_, format)| format.as_str()).to_owned();
        self.text(&query("/v1/config/export", &[("format", &format)])).await
    }

    /// Reads the files named and sends them.
    async fn send(&mut self, path: &str) -> Result<ConfigPlan, Failure> {
        let paths = self.request.words.get(1..).unwrap_or_default();
        if paths.is_empty() {
            return Err(usage("config: expected a file, a folder of files, or - for standard input"));
        }
        let mut files = Vec::new();
        for path in paths {
            self.read(path, &mut files)?;
        }
        let files = ConfigFiles { files, prune: self.request.prune };
        Ok(self.client.post(path, &files).await?)
    }

    fn read(&self, path: &str, files: &mut Vec<ConfigFile>) -> Result<(), Failure> {
        let failed =
            |path: &Path, error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
        if path == "-" {
            if !self.request.stdin {
                return Err(usage("config: standard input is not to be had in this session"));
            }
            let mut text = String::new();
            let most = CONFIG_BODY_BYTES as u64;
            let read = std::io::stdin().take(most).read_to_string(&mut text);
            read.map_err(|error| failed(Path::new("standard input"), error))?;
            // YAML holds JSON too; TOML begins otherwise.
            let toml = toml_like(&text);
            files.push(ConfigFile { name: if toml { "stdin.toml" } else { "stdin.yaml" }.to_owned(), text });
            return Ok(());
        }
        if !self.request.files {
            return Err(usage(
                "config: files are not to be had in this session; send one to standard input with -",
            ));
        }
        let path = PathBuf::from(path);
        let mut found = vec![path.clone()];
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(|error| failed(&path, error))?;
            let wanted = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
                !name.starts_with('.') && ENDINGS.contains(&ending.as_str()) && path.is_file()
            };
            found = entries.flatten().map(|entry| entry.path()).filter(wanted).collect();
            found.sort();
        }
        for path in found {
            let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            files.push(ConfigFile { name: path.display().to_string(), text });
        }
        Ok(())
    }

    /// Tells a plan; the exit code is its outcome.
    fn checked(&mut self, plan: &ConfigPlan, action: &str) -> Result<u8, Failure> {
        if self.request.json {
            self.output.object(plan)?;
        } else {
            for fault in &plan.faults {
                let place = if fault.place.is_empty() { "configuration" } else { &fault.place };
                self.output.complain(&clean(&format!("{place}: {}", fault.detail)));
            }
            if plan.faults.is_empty() {
                self.output.lines(&told(plan, action))?;
            }
        }
        Ok(match action {
            _ if !plan.faults.is_empty() => exit::FAILED,
            "diff" if !plan.changes.is_empty() => exit::DIFFERS,
            _ => exit::DONE,
        })
    }

    async fn history(&mut self) -> Result<u8, Failure> {
        let revisions: Vec<ConfigRevision> = self.client.get("/v1/config/revisions").await?;
        if self.request.json {
            self.output.object(&revisions)?;
            return Ok(exit::DONE);
        }
        let undone: Vec<u64> = revisions.iter().flat_map(|one| one.undoes.iter().copied()).collect();
        let row = |one: &ConfigRevision| {
            let mark = if undone.contains(&one.id) { "taken back" } else { "" };
            vec![
                one.id.to_string(),
                date_time(one.at_unix_ms),
                one.actor.clone(),
                one.action.clone(),
                one.object.clone(),
                one.rows.to_string(),
                mark.to_owned(),
            ]
        };
        let rows: Vec<_> = revisions.iter().map(row).collect();
        self.output.lines(&table(&["REVISION", "TIME", "ACTOR", "ACTION", "OBJECT", "ROWS", ""], &rows))?;
        Ok(exit::DONE)
    }

    async fn undo(&mut self, alone: bool) -> Result<u8, Failure> {
        let revision = match self.request.words.get(1).map(|word| word.parse::<u64>()) {
            Some(Ok(revision)) => revision,
            _ => {
                return Err(usage("config: expected the number of a revision; see gatehouse config history"));
            }
        };
        let plan: ConfigPlan =
            self.client.post("/v1/config/rollback", &ConfigUndo { revision, alone }).await?;
        self.checked(&plan, "apply")
    }
}

/// Whether a text looks like TOML: its first line that says something is a table's head or `name = value`.
fn toml_like(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        line.starts_with("[[") || (line.starts_with('[') && line.ends_with(']')) || line.contains(" = ")
    })
}

fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// A row that differs: a line for it, and of an update one for each field.
fn row(row: &ConfigRow) -> Vec<String> {
    let sign = match row.op.as_str() {
        "create" => '+',
        "delete" => '-',
        _ => '~',
    };
    let mut lines = vec![clean(&format!("{sign} {} {}", row.table, row.key))];
    if row.op == "update" {
        let fields =
            |part: &Option<Value>| part.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        let (before, after) = (fields(&row.before), fields(&row.after));
        let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let text = format!("    {name}: {} -> {}", value(before.get(name)), value(after.get(name)));
            lines.push(clean(&text));
        }
    }
    lines
}

fn told(plan: &ConfigPlan, action: &str) -> Vec<String> {
    let mut lines: Vec<String> = plan.changes.iter().flat_map(row).collect();
    let count = |op: &str| plan.changes.iter().filter(|row| row.op == op).count();
    let counts =
        format!("{} created, {} changed, {} deleted", count("create"), count("update"), count("delete"));
    if !plan.routes.is_empty() {
        lines.push(clean(&format!("routes touched: {}", plan.routes.join(", "))));
    }
    lines.push(match (action, plan.revision, plan.changes.is_empty()) {
        ("apply", Some(revision), _) => format!("{counts}; revision {revision}"),
        ("check", ..) => format!("well formed; applied it would be: {counts}"),
        (_, _, true) => "nothing differs".to_owned(),
        _ => counts,
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_told_line_by_line() {
        let plan = ConfigPlan {
            changes: vec![
                ConfigRow {
                    table: "groups".into(),
                    key: "a\u{1b}[31m".into(),
                    op: "create".into(),
                    before: None,
                    after: Some(json!({})),
                },
                ConfigRow {
                    table: "apis".into(),
                    key: "shop/v1".into(),
                    op: "update".into(),
                    before: Some(json!({"active": true})),
                    after: Some(json!({"active": false, "api_cache": true})),
                },
            ],
            routes: vec!["shop/v1".into()],
            ..ConfigPlan::default()
        };
        let lines = told(&plan, "diff");
        assert!(!lines.join("\n").contains('\u{1b}'));
        assert_eq!(
            lines.get(1..).unwrap(),
            [
                "~ apis shop/v1",
                "    active: true -> false",
                "    api_cache: - -> true",
                "routes touched: shop/v1",
                "1 created, 1 changed, 0 deleted"
            ]
        );
        assert_eq!(told(&ConfigPlan::default(), "diff"), ["nothing differs"]);
    }

    #[test]
    fn what_comes_by_standard_input_is_told_apart() {
        for (text, toml) in [
            ("# x\n[[groups]]\n", true),
            ("a = 1\n", true),
            ("groups:\n  - group_name: x\n", false),
            ("{\"groups\": []}", false),
            ("", false),
        ] {
            assert_eq!(toml_like(text), toml, "{text}");
        }
    }
}
