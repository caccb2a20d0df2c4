//! Against a listener that answers what it is told to.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn ask<'a>(url: &'a str, named: &'a [String]) -> Ask<'a> {
    Ask { url, accept: "*/*", post: None, authorization: None, most: 1_000, named }
}

/// Answers each connection with the next text; what it was asked.
async fn serve(listener: &TcpListener, answers: &[String]) -> Vec<String> {
    let mut asked = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 2_048];
        let read = stream.read(&mut head).await.unwrap();
        asked.push(String::from_utf8_lossy(&head[..read]).into_owned());
        // Whoever heard enough hangs up.
        drop(stream.write_all(answer.as_bytes()).await);
    }
    asked
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_answer_is_taken_whole_or_not_at_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = [listener.local_addr().unwrap().to_string()];
    let url = format!("http://{}/a?b=c", named[0]);
    let egress = Egress::new();
    let moved = |to: &str| answer("302 Found", &format!("Location: {to}\r\n"), "");
    let metadata = "http://169.254.169.254/latest/meta-data/";
    for (answers, wanted) in [
        (vec![answer("200 OK", "", "yes")], "yes"),
        (vec!["HTTP/1.0 200 OK\r\n\r\nto the end".to_owned()], "to the end"),
        (vec![moved("/b"), moved("c"), moved(&url), answer("200 OK", "", "there")], "there"),
        (vec![moved("/b"); 4], "redirects"),
        (vec![moved(metadata)], "egress_allow"),
        (vec![moved("http://127.0.0.1:1/")], "egress_allow"),
        (vec![moved("http://[::ffff:7f00:1]/")], "egress_allow"),
        (vec![moved("http://0x7f000001/")], "egress_allow"),
        (vec![moved("file:///etc/passwd")], "expected a URL of http or https"),
        (vec![moved("ftp://192.0.2.1/")], "expected a URL of http or https"),
        (vec![answer("404 Not Found", "", "")], "it answered 404"),
        (vec![answer("304 Not Modified", "", "")], "it answered 304"),
        (vec![answer("200 OK", "Content-Encoding: gzip\r\n", "x")], "Content-Encoding"),
        (vec![answer("200 OK", "", &"x".repeat(1_001))], "larger than 1000 bytes"),
        (vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_owned()], "could not be read"),
        (vec!["what".to_owned()], "could not be read"),
    ] {
        let allow = EgressAllow::default();
        let (found, asked) = tokio::join!(egress.ask(&allow, ask(&url, &named)), serve(&listener, &answers));
        let told = match found {
            Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(wanted), "{answers:?}: {told}");
        assert!(asked[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(asked[0].contains(&format!("host: {}\r\n", named[0])), "{}", asked[0]);
    }
}

#[tokio::test]
async fn who_may_not_be_asked_hears_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let egress = Egress::new();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0",
        "169.254.169.254",
        "u:p@127.0.0.1",
    ] {
        let url = format!("http://{host}:{port}/");
        let error = egress.ask(&EgressAllow::default(), ask(&url, &[])).await.unwrap_err();
        assert!(matches!(error, EgressError::Blocked(_) | EgressError::Url), "{host}: {error}");
    }
    let silent = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(silent.is_err(), "nobody connected");
    // Listed by network, it is asked; listed by name, only if the name is what the URL says.
    let url = format!("http://localhost:{port}/");
    for (listed, good) in [("127.0.0.0/8,::1", true), ("localhost", true), ("*.localhost", false)] {
        let allow: EgressAllow = listed.parse().unwrap();
        let reply = [answer("200 OK", "", "ok")];
        let found = if good {
            tokio::join!(egress.ask(&allow, ask(&url, &[])), serve(&listener, &reply)).0
        } else {
            egress.ask(&allow, ask(&url, &[])).await
        };
        assert_eq!(found.is_ok(), good, "{listed}: {found:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = [listener.local_addr().unwrap().to_string()];
    let url = format!("https://{}/", named[0]);
    let egress = Egress::new();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 64];
        stream.read_exact(&mut hello).await.unwrap();
        hello
    };
    let allow = EgressAllow::default();
    let (found, hello) = tokio::join!(egress.ask(&allow, ask(&url, &named)), serve);
    // A TLS handshake record, not a request in clear.
    assert_eq!(hello[0], 22);
    assert!(matches!(found, Err(EgressError::Connect(..))), "{found:?}");
}

#[tokio::test]
async fn who_says_nothing_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = [listener.local_addr().unwrap().to_string()];
    let url = format!("http://{}/", named[0]);
    let egress = Egress { time: Duration::from_millis(50), ..Egress::new() };
    let found = egress.ask(&EgressAllow::default(), ask(&url, &named)).await;
    assert!(matches!(found, Err(EgressError::Time)), "{found:?}");
}
