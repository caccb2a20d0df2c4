//! Proto files: uploaded, compiled, kept.

use crate::discovery::{code, get, refused, send};
use crate::market::{Market, bearer};
use serde_json::{Value, json};

/// Sends a file as browsers do.
fn upload(
    market: &Market,
    method: &str,
    token: &str,
    (field, file, text): (&str, &str, &str),
) -> (u16, Value) {
    let body = format!(
        "--b0undary\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nx\r\n--b0undary\r\nContent-Disposition: \
         form-data; name=\"{field}\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n{text}\r\n\
         --b0undary--\r\n"
    );
    let fields = format!("{}Content-Type: multipart/form-data; boundary=b0undary\r\n", bearer(token));
    let reply = market.ask(method, "/platform/proto/greeter/v1", &fields, &body);
    (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::String(reply.body)))
}

const HELLO: &str = "syntax = \"proto3\";\npackage hello.v1;\nimport \"google/protobuf/empty.proto\";\nmessage Reply { string message = 1; }\n\
                     service Greeter { rpc Hello (google.protobuf.Empty) returns (Reply); }\n";

#[test]
fn a_proto_file_is_kept_if_it_compiles() {
    let market = Market::open(&[]);
    let path = "/platform/proto/greeter/v1";
    let file = ("file", "hello.proto", HELLO);
    assert_eq!(upload(&market, "POST", "none", file).0, 401);
    assert_eq!(code(upload(&market, "POST", &market.ana, file)), refused(403, "AUTH001"));
    assert_eq!(code(upload(&market, "PUT", &market.ana, file)), refused(403, "API008"));
    for (method, expected) in [("GET", refused(403, "API008")), ("DELETE", refused(403, "API008"))] {
        let reply = market.ask(method, path, &bearer(&market.ana), "");
        assert_eq!((reply.status, reply.code()), expected, "{method}");
    }
    assert_eq!(code(send(&market, "GET", path, "", "")), refused(404, "API002"));
    // The API need not exist yet.
    let (status, told) = upload(&market, "POST", &market.admin, file);
    assert_eq!((status, told["message"].is_string()), (200, true), "{told}");
    assert_eq!(send(&market, "GET", path, "", ""), (200, json!({ "content": HELLO })));
    let admin = market.admin.as_str();
    for (field, name, text) in [
        ("file", "hello.txt", HELLO),
        ("file", "hello.proto", "message {"),
        ("file", "hello.proto", "import \"other.proto\";"),
        ("other", "hello.proto", HELLO),
        ("file", "hello.proto", &"message M {".repeat(5_000)),
    ] {
        assert_eq!(
            code(upload(&market, "POST", admin, (field, name, text))),
            refused(400, "REQ003"),
            "{field} {name} {text:.40}"
        );
    }
    let fields = "Content-Type: application/json\r\n";
    assert_eq!(code(send(&market, "POST", path, fields, "{}")), refused(400, "REQ003"));
    assert_eq!(code(send(&market, "POST", path, "", "")), refused(400, "REQ003"));
    let large = format!("{HELLO}// {}", "x".repeat(1_048_576));
    assert_eq!(code(upload(&market, "POST", admin, ("file", "a.proto", &large))), refused(413, "REQ002"));
    assert_eq!(send(&market, "GET", path, "", "").1["content"], HELLO, "nothing of what was refused");
    // As large as one may be, so that the body is larger than others may be.
    let most = format!("{HELLO}// {}", "x".repeat(1_048_576 - HELLO.len() - 3));
    let (status, told) = upload(&market, "PUT", admin, ("proto_file", "a.PROTO", &most));
    assert_eq!(status, 200, "{told}");

    market.api("greeter", &market.upstream.url(), json!({"api_type": "GRPC"}));
    let (status, told) = send(&market, "GET", "/platform/api/greeter/v1/grpc/services", "", "");
    assert_eq!((status, &told["services"]), (200, &json!(["hello.v1.Greeter"])), "{told}");
    assert_eq!(told["methods"][0]["methods"][0]["name"], "Hello");
    assert_eq!(code(get(&market, "grpc/services")), refused(404, "GRPC001"));
    let (status, told) = send(&market, "GET", "/platform/tools/grpc/check", "", "");
    assert_eq!((status, &told["available"]["grpc_tools_protoc"]), (200, &json!(true)), "{told}");
    assert_eq!(told["details"]["proto_files"], 1);
    // It goes with its API.
    assert_eq!(send(&market, "DELETE", "/platform/api/greeter/v1", "", "").0, 200);
    assert_eq!(code(send(&market, "GET", path, "", "")), refused(404, "API002"));
    assert_eq!(send(&market, "DELETE", path, "", "").0, 200, "also where there is none");
}

#[test]
fn a_proto_file_survives_a_restart_and_leaves_a_record() {
    let mut market = Market::open(&[]);
    assert_eq!(upload(&market, "POST", &market.admin, ("file", "hello.proto", HELLO)).0, 200);
    let folder = market.folder.path().to_owned();
    let old = std::mem::replace(
        &mut market.daemon,
        gatehouse_tests::daemon::Daemon::start(tempfile::tempdir().unwrap().path(), &[]).unwrap(),
    );
    old.kill().unwrap();
    market.daemon = gatehouse_tests::daemon::Daemon::start(&folder, &[]).unwrap();
    market.admin = market.daemon.login("admin", gatehouse_tests::daemon::PASSWORD).unwrap();
    assert_eq!(send(&market, "GET", "/platform/proto/greeter/v1", "", "").1["content"], HELLO);
    let trail = walk(&folder.join("audit"));
    assert!(trail.contains("proto.put") && trail.contains("hello.v1.Greeter"), "{trail}");
    assert!(!trail.contains("rpc Hello"), "a record holds no file");
}

/// All text of a folder's files.
fn walk(folder: &std::path::Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}
