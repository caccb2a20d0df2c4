//! `--demo`: a small real upstream, and an API in front of it, registered over the management surface as
//! any administrator would.

use crate::assemble::House;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(10);

/// Starts the upstream and registers `demo/v1`.
pub(crate) async fn start(house: &House) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("binding the demo upstream")?;
    let upstream = listener.local_addr()?;
    let server = HttpServer::new(|| App::new().default_service(web::to(answer)))
        .workers(1)
        .disable_signals()
        .listen(listener)?
        .run();
    house.tasks.spawn(async move { drop(server.await) });
    let password = house.made_password.as_ref().or(house.settings.admin_password.as_ref()).cloned();
    let Some(password) = password else {
        tracing::warn!(target: "demo", "the administrator's password is not known to this start; demo API not registered");
        return Ok(());
    };
    let (address, user) = (house.address, house.settings.admin_username.clone());
    tokio::task::spawn_blocking(move || register(address, upstream, &user, password.expose())).await?
}

async fn answer(request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "hello": "from the demo upstream", "path": request.path() }))
}

fn register(gateway: SocketAddr, upstream: SocketAddr, user: &str, password: &str) -> anyhow::Result<()> {
    let login = call(
        gateway,
        "POST",
        "/platform/authorization",
        None,
        &json!({ "email": user, "password": password }),
    )?;
    let token =
        login.get("access_token").and_then(Value::as_str).context("the demo's login gave no token")?;
    let server = format!("http://{upstream}");
    let api = json!({
        "api_name": "demo", "api_version": "v1", "api_description": "The demo API of make run",
        "api_allowed_roles": [], "api_allowed_groups": ["ALL"], "api_servers": [server], "api_type": "REST",
    });
    call(gateway, "POST", "/platform/api", Some(token), &api)?;
    // The API may be there from an earlier start, with an upstream that is gone.
    call(gateway, "PUT", "/platform/api/demo/v1", Some(token), &json!({ "api_servers": [server] }))?;
    let endpoint = json!({
        "api_name": "demo", "api_version": "v1", "endpoint_method": "GET", "endpoint_uri": "/hello",
        "endpoint_description": "Says hello",
    });
    tolerated(call(gateway, "POST", "/platform/endpoint", Some(token), &endpoint), "END001")?;
    let limits = json!({ "rate_limit_duration": 1_000_000, "rate_limit_duration_type": "second" });
    call(gateway, "PUT", &format!("/platform/user/{user}"), Some(token), &limits)?;
    let subscription = json!({ "username": user, "api_name": "demo", "api_version": "v1" });
    tolerated(call(gateway, "POST", "/platform/subscription/subscribe", Some(token), &subscription), "SUB004")
}

/// A second start finds what the first one made.
fn tolerated(outcome: anyhow::Result<Value>, code: &str) -> anyhow::Result<()> {
    match outcome {
        Err(error) if !error.to_string().contains(code) => Err(error),
        _ => Ok(()),
    }
}

fn call(
    gateway: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> anyhow::Result<Value> {
    let body = body.to_string();
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect_timeout(&gateway, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {gateway}\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, answer) = text.split_once("\r\n\r\n").context("no answer from the gateway")?;
    let status: u16 = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if !(200..300).contains(&status) {
        bail!("{method} {path}: {status} {answer}");
    }
    Ok(serde_json::from_str(answer).unwrap_or(Value::Null))
}
