//! What tests of policies begin with: an API whose every rule can be changed, in front of an upstream that answers what
//! it is told to.

use crate::raw::{Reply, Wire, request};
use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::scripted::Scripted;
use serde_json::{Value, json};

/// Path of the endpoint that most calls go to.
pub(crate) const ECHO: &str = "/api/rest/shop/v1/echo";

/// A daemon with API `shop/v1`, and `ana`, who is subscribed to it.
pub(crate) struct Market {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) daemon: Daemon,
    pub(crate) admin: String,
    pub(crate) ana: String,
    pub(crate) upstream: Scripted,
}

impl Market {
    pub(crate) fn open(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(folder.path(), settings).unwrap();
        let admin = daemon.login("admin", PASSWORD).unwrap();
        let upstream = Scripted::start("first").unwrap();
        let mut market = Self { folder, daemon, admin, ana: String::new(), upstream };
        market.api("shop", &market.upstream.url(), json!({}));
        market.user("ana");
        market.ana = market.daemon.login("ana@x.org", PASSWORD).unwrap();
        market
    }

    /// Makes an API with a few endpoints.
    pub(crate) fn api(&self, name: &str, server: &str, more: Value) {
        let mut api = json!({"api_name": name, "api_version": "v1", "api_allowed_groups": ["ALL"],
                             "api_servers": [server], "api_allowed_headers": ["x-inner", "x-in", "etag"]});
        api.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        self.manage("POST", "/platform/api", api);
        for (method, uri) in [("GET", "/echo"), ("POST", "/echo"), ("GET", "/hold"), ("GET", "/items/{id}")] {
            let endpoint = json!({"api_name": name, "api_version": "v1", "endpoint_method": method,
                                  "endpoint_uri": uri, "endpoint_description": "test"});
            self.manage("POST", "/platform/endpoint", endpoint);
        }
    }

    /// Makes a user who is subscribed.
    pub(crate) fn user(&self, name: &str) {
        let user = json!({"username": name, "email": format!("{name}@x.org"), "password": PASSWORD, "role": "user",
                          "groups": ["ALL"]});
        self.manage("POST", "/platform/user", user);
        let subscription = json!({"username": name, "api_name": "shop", "api_version": "v1"});
        self.manage("POST", "/platform/subscription/subscribe", subscription);
    }

    /// A call of the administrator that must go well.
    pub(crate) fn manage(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.daemon.call(method, path, &self.admin, Some(body)).unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Changes fields of the API `shop/v1`.
    pub(crate) fn change(&self, fields: Value) {
        self.manage("PUT", "/platform/api/shop/v1", fields);
    }

    /// Changes fields of `ana`, and lets all limits begin anew.
    pub(crate) fn limit(&self, fields: Value) {
        self.manage("PUT", "/platform/user/ana", fields);
        self.clear();
    }

    /// Lets all limits begin anew.
    pub(crate) fn clear(&self) {
        self.manage("DELETE", "/api/caches", Value::Null);
    }

    /// One request on a connection of its own, with more fields, each with its line end.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Reply {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let mut wire = Wire::with(&self.daemon, request(method, path, &format!("{fields}{length}"), body));
        wire.answer_to(method).unwrap()
    }

    /// As [`Market::ask`], as `ana`.
    pub(crate) fn as_ana(&self, method: &str, path: &str, fields: &str, body: &str) -> Reply {
        self.ask(method, path, &format!("{}{fields}", bearer(&self.ana)), body)
    }

    /// `ana` asks for the endpoint that most calls go to.
    pub(crate) fn call(&self) -> Reply {
        self.as_ana("GET", ECHO, "", "")
    }
}

/// The field of a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// What the upstream was asked, as it told.
pub(crate) fn told(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str(&reply.body).unwrap()
}

/// Status and code.
pub(crate) fn verdict(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}
