//! THE LIST of tools: name, what it is for, its arguments, what it does. Files in `files.rs`, git in `git.rs`.

use crate::root::Root;
use crate::settings::Settings;
use crate::{files, git};
use rmcp::handler::server::tool::schema_for_input;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

/// What tools work on.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) root: Root,
    pub(crate) settings: Settings,
    /// git's home, outside the root.
    pub(crate) home: PathBuf,
}

/// A result in the conventions of spec/octoprox.md 8.2, or the text of the error.
type Outcome = Result<CallToolResult, String>;
type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One tool.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    about: &'static str,
    schema: fn() -> Result<Arc<JsonObject>, String>,
    hints: fn() -> ToolAnnotations,
    pub(crate) run: fn(Arc<Bench>, JsonObject) -> Work,
}

/// THE LIST, in order of names.
pub(crate) const LIST: &[Entry] = &[
    Entry {
        name: "fs_delete",
        about: "Removes a file or, with recursive, a folder. What is missing is removed already.",
        schema: schema_for_input::<Delete>,
        hints: || {
            ToolAnnotations::new().read_only(false).destructive(true).idempotent(true).open_world(false)
        },
        run: |bench, given| on_files(bench, given, delete),
    },
    Entry {
        name: "fs_list",
        about: "Names of what lies in a folder, hidden ones included.",
        schema: schema_for_input::<List>,
        hints: || ToolAnnotations::new().read_only(true).open_world(false),
        run: |bench, given| on_files(bench, given, list),
    },
    Entry {
        name: "fs_read_text",
        about: "The text of a file, at most max_bytes of it; `truncated` says that there is more.",
        schema: schema_for_input::<Read>,
        hints: || ToolAnnotations::new().read_only(true).open_world(false),
        run: |bench, given| on_files(bench, given, read),
    },
    Entry {
        name: "fs_write_text",
        about: "Writes a file, whole or not at all.",
        schema: schema_for_input::<Write>,
        hints: || {
            ToolAnnotations::new().read_only(false).destructive(true).idempotent(true).open_world(false)
        },
        run: |bench, given| on_files(bench, given, write),
    },
    Entry {
        name: "git",
        about: "Runs a git sub-command in the workspace: clone, pull, fetch, status, log, diff, show, branch, checkout, add, \
                reset, commit, push, remote, config or init, with the options that are allowed for it.",
        schema: schema_for_input::<Git>,
        hints: || ToolAnnotations::new().read_only(false).destructive(true).open_world(true),
        run: |bench, given| Box::pin(run_git(bench, given)),
    },
    Entry {
        name: "ssh_public_key",
        about: "The public half of the key that git uses over SSH; empty if there is none.",
        schema: schema_for_input::<Nothing>,
        hints: || ToolAnnotations::new().read_only(true).open_world(false),
        run: |bench, given| on_files(bench, given, public_key),
    },
];

/// The tool of a name.
pub(crate) fn named(name: &str) -> Option<&'static Entry> {
    LIST.iter().find(|entry| entry.name == name)
}

impl Entry {
    /// As `tools/list` shows it.
    pub(crate) fn described(&self) -> Result<Tool, String> {
        Ok(Tool::new(self.name, self.about, (self.schema)()?).with_annotations((self.hints)()))
    }
}

#[derive(Deserialize, JsonSchema)]
struct List {
    /// Folder, relative to the workspace.
    #[serde(default = "here")]
    path: String,
}

#[derive(Deserialize, JsonSchema)]
struct Read {
    /// File, relative to the workspace.
    path: String,
    /// Most bytes to read, 1 to 4194304.
    #[serde(default = "read_bytes", deserialize_with = "number")]
    max_bytes: i64,
}

#[derive(Deserialize, JsonSchema)]
struct Write {
    /// File, relative to the workspace.
    path: String,
    /// What it will hold.
    text: String,
    /// Makes the folders that are missing.
    #[serde(default = "yes")]
    mkdirs: bool,
}

#[derive(Deserialize, JsonSchema)]
struct Delete {
    /// File or folder, relative to the workspace.
    path: String,
    /// Folders with all that is in them.
    #[serde(default)]
    recursive: bool,
}

#[derive(Deserialize, JsonSchema)]
struct Git {
    /// The sub-command and its arguments.
    args: Vec<String>,
    /// Longest time, seconds, 1 to 300.
    #[serde(default = "git_secs", deserialize_with = "number")]
    timeout_s: i64,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

fn here() -> String {
    ".".to_owned()
}

fn read_bytes() -> i64 {
    200_000
}

fn git_secs() -> i64 {
    120
}

fn yes() -> bool {
    true
}

/// A whole number, or the text of one: older clients send both.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(from)?;
    let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
    number.ok_or_else(|| D::Error::custom("expected a whole number"))
}

/// Files are read and written where nothing else waits for them.
fn on_files<T>(bench: Arc<Bench>, given: JsonObject, work: fn(&Bench, T) -> Outcome) -> Work
where
    T: DeserializeOwned + Send + 'static,
{
    Box::pin(async move {
        let given = arguments(given)?;
        let done = tokio::task::spawn_blocking(move || work(&bench, given)).await;
        done.unwrap_or_else(|error| Err(format!("the work ended early: {error}")))
    })
}

fn arguments<T: DeserializeOwned>(given: JsonObject) -> Result<T, String> {
    serde_json::from_value(Value::Object(given)).map_err(|error| format!("Invalid arguments: {error}"))
}

fn list(bench: &Bench, given: List) -> Outcome {
    let (names, more) = files::list(&bench.root, &given.path).map_err(|why| why.to_string())?;
    let blocks = names.iter().map(|name| ContentBlock::text(name.clone())).collect();
    Ok(told(blocks, json!(names), more))
}

fn read(bench: &Bench, given: Read) -> Outcome {
    let (text, more) =
        files::read(&bench.root, &given.path, given.max_bytes).map_err(|why| why.to_string())?;
    Ok(told(vec![ContentBlock::text(text.clone())], json!(text), more))
}

fn write(bench: &Bench, given: Write) -> Outcome {
    files::write(&bench.root, &given.path, &given.text, given.mkdirs).map_err(|why| why.to_string())?;
    Ok(text("ok"))
}

fn delete(bench: &Bench, given: Delete) -> Outcome {
    files::delete(&bench.root, &given.path, given.recursive).map_err(|why| why.to_string())?;
    Ok(text("ok"))
}

fn public_key(bench: &Bench, _given: Nothing) -> Outcome {
    let path = bench.settings.ssh_key.with_extension("pub");
    // A key that lies in the root is read as tools read: no link leads out.
    let found = match path.strip_prefix(bench.root.path()) {
        Ok(inside) => bench.root.dir().read_to_string(inside),
        Err(_) => std::fs::read_to_string(&path),
    };
    Ok(text(&found.unwrap_or_default()))
}

async fn run_git(bench: Arc<Bench>, given: JsonObject) -> Outcome {
    let given: Git = arguments(given)?;
    let ended = git::run(&bench, &given.args, given.timeout_s).await;
    let ended = ended.map_err(|why| why.to_string())?;
    let object = json!({
        "returncode": ended.code, "stdout": ended.stdout, "stderr": ended.stderr, "truncated": ended.truncated,
    });
    let pretty = serde_json::to_string_pretty(&object).map_err(|error| error.to_string())?;
    let mut result = CallToolResult::success(vec![ContentBlock::text(pretty)]);
    result.structured_content = Some(object);
    Ok(result)
}

fn text(text: &str) -> CallToolResult {
    told(vec![ContentBlock::text(text)], json!(text), false)
}

fn told(blocks: Vec<ContentBlock>, value: Value, more: bool) -> CallToolResult {
    let mut result = CallToolResult::success(blocks);
    result.structured_content = Some(match more {
        true => json!({ "result": value, "truncated": true }),
        false => json!({ "result": value }),
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_is_described() {
        for entry in LIST {
            let tool = entry.described().unwrap();
            assert_eq!(tool.input_schema["type"], "object", "{}", entry.name);
            assert!(tool.annotations.is_some());
            assert!(named(entry.name).is_some());
        }
        assert!(LIST.is_sorted_by_key(|entry| entry.name));
        let git = named("git").unwrap().described().unwrap();
        assert_eq!(git.input_schema["required"], json!(["args"]));
        assert_eq!(git.input_schema["properties"]["timeout_s"]["default"], 120);
    }

    #[test]
    fn arguments_are_taken_as_older_clients_send_them() {
        let given = |value: Value| arguments::<Read>(value.as_object().unwrap().clone());
        assert_eq!(given(json!({"path": "a", "max_bytes": "7", "more": 1})).ok().unwrap().max_bytes, 7);
        assert_eq!(given(json!({"path": "a"})).ok().unwrap().max_bytes, 200_000);
        for wrong in [json!({}), json!({"path": 1}), json!({"path": "a", "max_bytes": 1.5})] {
            assert!(given(wrong.clone()).err().unwrap().starts_with("Invalid arguments"), "{wrong}");
        }
    }
}
