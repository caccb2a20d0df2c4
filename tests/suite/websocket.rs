//! WebSocket through the gateway, with a real client and a real upstream.

use crate::shop::shop;
use gatehouse_tests::daemon::Daemon;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::WebSocket;
use tungstenite::{Error, Message};

/// Says everything back; `bye` makes it close.
pub(crate) fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if message.to_text().is_ok_and(|text| text == "bye") {
                        socket.close(None).ok();
                    } else if message.is_text() || message.is_binary() {
                        socket.send(message).unwrap();
                    }
                }
            });
        }
    });
    address
}

pub(crate) fn dial(daemon: &Daemon, path: &str, token: &str) -> Result<WebSocket<TcpStream>, u16> {
    let host = daemon.url.trim_start_matches("http://");
    let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let stream = TcpStream::connect(host).unwrap();
    match tungstenite::client(request, stream) {
        Ok((socket, answer)) => {
            assert_eq!(answer.status(), 101);
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

pub(crate) fn record(daemon: &Daemon, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
    let mut text = String::new();
    for file in std::fs::read_dir(daemon.data.join("logs")).unwrap() {
        text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let mut records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.rfind(wanted).ok_or(text)
}

#[test]
fn a_socket_is_carried_with_the_same_checks_and_recorded() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let api = json!({"api_servers": [format!("http://{}", echo())]});
    assert_eq!(daemon.call("PUT", "/platform/api/shop/v1", &admin, Some(api)).unwrap().0, 200);
    let path = "/api/rest/shop/v1/echo";
    assert_eq!(dial(&daemon, path, &ana).err(), Some(400), "the API does not say that it takes them");
    let api = json!({"api_websocket": true});
    assert_eq!(daemon.call("PUT", "/platform/api/shop/v1", &admin, Some(api)).unwrap().0, 200);
    assert_eq!(dial(&daemon, path, "a.b.c").err(), Some(401));
    assert_eq!(dial(&daemon, "/api/rest/shop/v1/other", &ana).err(), Some(404));
    let mut socket = dial(&daemon, path, &ana).unwrap();
    let long = vec![7u8; 1_000_000];
    for message in [Message::text("hello"), Message::binary(vec![0u8, 255, 10]), Message::binary(long)] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.send(Message::text("bye")).unwrap();
    while socket.read().is_ok() {}
    let ended = |record: &Value| record["path"] == path && record["status"] == 101;
    let record = eventually("the record of the socket", || record(&daemon, ended)).unwrap();
    assert_eq!((&record["protocol"], &record["consumer"]), (&json!("websocket"), &json!("ana")), "{record}");
    let bytes = |name: &str| record[name].as_u64().unwrap();
    assert!(bytes("bytes_in") > 1_000_000 && bytes("bytes_out") > 1_000_000, "{record}");
}

#[test]
fn a_socket_outlives_a_change_and_ends_with_its_client() {
    let (_folder, daemon, admin, ana) = shop(&[("WEBSOCKETS_ENABLED", "true")]);
    let api = json!({"api_servers": [format!("http://{}", echo())]});
    assert_eq!(daemon.call("PUT", "/platform/api/shop/v1", &admin, Some(api)).unwrap().0, 200);
    let mut socket = dial(&daemon, "/api/rest/shop/v1/echo", &ana).unwrap();
    let api = json!({"api_description": "changed", "api_servers": ["http://127.0.0.1:9"]});
    assert_eq!(daemon.call("PUT", "/platform/api/shop/v1", &admin, Some(api)).unwrap().0, 200);
    socket.send(Message::text("still here")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("still here"));
    drop(socket);
    let ended = |record: &Value| record["protocol"] == "websocket" && record["status"] == 101;
    eventually("the record of the socket", || record(&daemon, ended)).unwrap();
}
