//! Proto files of APIs (spec/doorman.md 4.14): the text is what is kept, and it is kept only if it compiles. Well-known
//! imports resolve; no file is read.

use crate::state::Row;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Value, json};

/// Table of the rows; the key is `name/version`.
pub(crate) const TABLE: &str = "protos";
/// Brackets within brackets: more than any file has, and few enough for a parser that recurses.
const DEPTH: usize = 64;
/// Name under which the file is compiled.
const FILE: &str = "api.proto";

/// The file itself, and nothing beside it.
struct One(String);

impl FileResolver for One {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == FILE { File::from_source(FILE, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}

/// A file that compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) package: String,
    /// Each service with its methods.
    pub(crate) services: Vec<Value>,
}

/// Compiles a file.
///
/// # Errors
/// What is wrong with it, and in which line if that is known.
pub(crate) fn compile(text: &str) -> Result<Compiled, String> {
    if deepest(text) > DEPTH {
        return Err(format!("expected at most {DEPTH} brackets within one another"));
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(One(text.to_owned()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(false).open_file(FILE).map_err(|error| told(&error))?;
    let pool = compiler.descriptor_pool();
    let file = pool.get_file_by_name(FILE).ok_or("the file compiled to nothing")?;
    let services = file.services().map(|service| {
        let methods = service.methods().map(|method| {
            json!({
                "name": method.name(), "input": method.input().full_name(), "output": method.output().full_name(),
                "client_streaming": method.is_client_streaming(), "server_streaming": method.is_server_streaming(),
            })
        });
        json!({"name": service.full_name(), "methods": methods.collect::<Vec<_>>()})
    });
    Ok(Compiled { package: file.package_name().to_owned(), services: services.collect() })
}

/// How deep brackets stand in one another, those in comments and texts too.
fn deepest(text: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'(' | b'<' => now += 1,
            b'}' | b']' | b')' | b'>' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// What is wrong, behind the line and column if they are known.
fn told(error: &protox::Error) -> String {
    format!("{error:?}").trim_start_matches(FILE).trim_start_matches(':').trim().chars().take(500).collect()
}

/// The row of a file.
pub(crate) fn row(name: &str, version: &str, text: &str, compiled: &Compiled) -> Row {
    let mut row = Row::new();
    for (field, value) in [
        ("api_name", json!(name)),
        ("api_version", json!(version)),
        ("content", json!(text)),
        ("package", json!(compiled.package)),
        ("services", json!(compiled.services)),
    ] {
        row.insert(field.to_owned(), value);
    }
    row
}

/// What the audit trail keeps of one: not the text.
pub(crate) fn summary(row: &Row) -> Value {
    let bytes = row.get("content").and_then(Value::as_str).map_or(0, str::len);
    let services = row.get("services").and_then(Value::as_array);
    let names: Vec<_> =
        services.into_iter().flatten().filter_map(|service| service.get("name")).take(100).collect();
    json!({"package": row.get("package"), "bytes": bytes, "services": names})
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELLO: &str = r#"syntax = "proto3";
package hello.v1;
import "google/protobuf/empty.proto";
import "google/protobuf/timestamp.proto";
message HelloRequest { string name = 1; map<string, int32> counts = 2; google.protobuf.Timestamp at = 3; }
message HelloReply { string message = 1; }
service Greeter {
  rpc Hello (HelloRequest) returns (HelloReply);
  rpc Ping (google.protobuf.Empty) returns (google.protobuf.Empty);
  rpc Watch (stream HelloRequest) returns (stream HelloReply);
}"#;

    #[test]
    fn what_compiles_is_described() {
        let compiled = compile(HELLO).unwrap();
        assert_eq!(compiled.package, "hello.v1");
        let service = &compiled.services[0];
        assert_eq!(service["name"], "hello.v1.Greeter");
        assert_eq!(service["methods"][1]["input"], "google.protobuf.Empty");
        assert_eq!(service["methods"][2]["client_streaming"], true);
        let row = row("a", "v1", HELLO, &compiled);
        assert_eq!(
            summary(&row),
            json!({"package": "hello.v1", "bytes": HELLO.len(), "services": ["hello.v1.Greeter"]})
        );
        for minimal in [
            "syntax = \"proto3\";",
            "syntax = \"proto3\"; message E {} service S { rpc M (E) returns (E); }",
            "syntax = \"proto2\"; package p; message M { optional int32 a = 1; }",
            "",
        ] {
            compile(minimal).unwrap();
        }
    }

    #[test]
    fn what_does_not_is_told() {
        for (text, expected) in [
            ("message {", "1:"),
            ("syntax = \"proto3\";\nmessage M { Unknown a = 1; }", "2:13"),
            ("import \"other.proto\";", "other.proto"),
            ("import \"/etc/passwd\";", "1:8"),
            ("import \"../../etc/passwd\";", "1:8"),
            ("import \"api.proto\";", "api.proto"),
            (&"message M {".repeat(1_000), "64 brackets"),
            (&format!("option (a) = {}", "{ a ".repeat(50_000)), "64 brackets"),
            (&format!("option (a) = {}", "[".repeat(50_000)), "64 brackets"),
        ] {
            let found = compile(text).unwrap_err();
            assert!(found.contains(expected), "{text:.60}: {found}");
        }
        // Nothing that recurses but brackets.
        for text in ["-".repeat(100_000), "a.".repeat(100_000), "/*".repeat(100_000), "\"a\" ".repeat(50_000)]
        {
            drop(compile(&format!("option a = {text}")));
        }
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0..HELLO.len(), text in "[{}()<>;=\"a-z0-9. /*-]{0,20}") {
            drop(compile(&format!("{}{text}{}", &HELLO[..cut], &HELLO[cut..])));
        }
    }
}
