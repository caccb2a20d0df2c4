//! What is revoked ends at once, also what has long begun: a socket, a stream of events.

use crate::shop::shop;
use crate::websocket::{dial, echo, record};
use gatehouse_tests::daemon::Daemon;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tungstenite::Message;
use tungstenite::protocol::WebSocket;

/// Sends one event and then nothing, for as long as it is listened to.
fn events() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = [0; 4_096];
                if stream.read(&mut head).is_ok() {
                    let begin = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    stream.write_all(format!("{begin}9\r\ndata: 1\n\n\r\n").as_bytes()).ok();
                    while stream.read(&mut head).is_ok_and(|count| count > 0) {}
                }
            });
        }
    });
    address
}

fn change(daemon: &Daemon, admin: &str, (method, path): (&str, &str), body: Value) -> Value {
    let (status, answer) = daemon.call(method, path, admin, Some(body)).unwrap();
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

fn says(socket: &mut WebSocket<TcpStream>, text: &str) -> bool {
    let message = Message::text(text);
    socket.send(message.clone()).is_ok() && socket.read().is_ok_and(|back| back == message)
}

/// Whether it ends within a second; at once if it has ended before.
fn ends(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (begun, mut room) = (Instant::now(), [0; 1_024]);
    while stream.read(&mut room).is_ok_and(|count| count > 0) {}
    begun.elapsed() < Duration::from_secs(1)
}

#[test]
fn a_socket_ends_with_what_opened_it() {
    let (_folder, daemon, admin, ana) = shop(&[("WEBSOCKETS_ENABLED", "true")]);
    let api = json!({"api_servers": [format!("http://{}", echo())]});
    change(&daemon, &admin, ("PUT", "/platform/api/shop/v1"), api);
    let made = change(&daemon, &ana, ("POST", "/api/v1/api-keys"), json!({"name": "socket"}));
    let (key, id) = (made["data"]["token"].as_str().unwrap(), made["data"]["id"].clone());
    let path = "/api/rest/shop/v1/echo";
    let (mut by_token, mut by_key) = (dial(&daemon, path, &ana).unwrap(), dial(&daemon, path, key).unwrap());
    let other = json!({"username": "eva", "email": "eva@x.org", "password": "Correct-Horse-9-Battery",
                       "role": "user", "groups": ["ALL"]});
    change(&daemon, &admin, ("POST", "/platform/user"), other);
    assert!(says(&mut by_token, "still") && says(&mut by_key, "here"), "that was about somebody else");
    change(&daemon, &ana, ("DELETE", &format!("/api/v1/api-keys/{id}")), json!({}));
    assert!(ends(by_key.get_mut()), "the key was revoked");
    assert!(says(&mut by_token, "the token was not"));
    change(&daemon, &admin, ("PUT", "/platform/user/ana"), json!({"active": false}));
    assert!(ends(by_token.get_mut()), "the user was deactivated");
    let ended = |record: &Value| record["protocol"] == "websocket" && record["status"] == 401;
    eventually("the record of a socket that was cut", || record(&daemon, ended)).unwrap();
}

#[test]
fn a_stream_of_events_ends_with_its_session() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    let api = json!({"api_servers": [format!("http://{}", events())]});
    change(&daemon, &admin, ("PUT", "/platform/api/shop/v1"), api);
    let listen = || {
        let mut stream = TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
        let head =
            format!("GET /api/rest/shop/v1/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ana}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let (mut come, mut room) = (String::new(), [0; 4_096]);
        while !come.contains("data: 1") {
            let count = stream.read(&mut room).unwrap();
            assert!(count > 0, "{come}");
            come.push_str(&String::from_utf8_lossy(&room[..count]));
        }
        stream
    };
    let mut stream = listen();
    change(&daemon, &admin, ("PUT", "/platform/api/shop/v1"), json!({"api_description": "changed"}));
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let waited = stream.read(&mut [0; 64]).map_err(|error| error.kind());
    assert_eq!(waited, Err(std::io::ErrorKind::WouldBlock), "that changed nothing of who may listen");
    change(&daemon, &ana, ("POST", "/platform/authorization/invalidate"), json!({}));
    assert!(ends(&mut stream), "the session was ended");
}
