//! What most tests of traffic begin with.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::upstream;
use serde_json::json;

/// A daemon with API `shop/v1` in front of the upstream, and a token of a subscribed user `ana`.
pub(crate) fn shop(settings: &[(&str, &str)]) -> (tempfile::TempDir, Daemon, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), settings).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let server = format!("http://{}", upstream::start().unwrap());
    let made = |path: &str, body| {
        let (status, answer) = daemon.call("POST", path, &admin, Some(body)).unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    };
    let api = json!({"api_name": "shop", "api_version": "v1", "api_allowed_groups": ["ALL"], "api_servers": [server],
                     "api_allowed_headers": ["x-hop", "x-inner", "upgrade-insecure"]});
    made("/platform/api", api);
    for (method, uri) in [
        ("GET", "/echo"),
        ("POST", "/echo"),
        ("GET", "/slow"),
        ("GET", "/broken"),
        ("GET", "/stall"),
        ("GET", "/later"),
        ("GET", "/flood"),
        ("GET", "/none"),
    ] {
        made(
            "/platform/endpoint",
            json!({"api_name": "shop", "api_version": "v1", "endpoint_method": method, "endpoint_uri": uri,
                   "endpoint_description": "test"}),
        );
    }
    made(
        "/platform/user",
        json!({"username": "ana", "email": "ana@x.org", "password": PASSWORD, "role": "user", "groups": ["ALL"]}),
    );
    made(
        "/platform/subscription/subscribe",
        json!({"username": "ana", "api_name": "shop", "api_version": "v1"}),
    );
    let ana = daemon.login("ana@x.org", PASSWORD).unwrap();
    (folder, daemon, admin, ana)
}
