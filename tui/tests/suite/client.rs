//! The client: one object, a stream, a problem, nobody there.

use crate::samples;
use crate::stub::{Stub, serve};
use gatehouse_common::ops::Item;
use gatehouse_common::ops::hello::{Door, Hello};
use gatehouse_common::ops::metrics::Window;
use gatehouse_common::ops::runs::{RunSummary, StartRequest};
use gatehouse_common::runbook::RunEvent;
use gatehouse_tui::client::{Client, ClientError, Socket};
use std::sync::Arc;

async fn client(door: Door) -> (Client, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = serve(Arc::new(Stub::new(door)), folder.path()).await;
    (Client::new(Socket::At(path)), folder)
}

#[tokio::test]
async fn reads_objects_and_streams() {
    let (client, _folder) = client(Door::Operate).await;
    let hello: Hello = client.get("/v1/hello").await.unwrap();
    assert_eq!(hello, samples::hello(Door::Operate));
    let mut windows = client.stream("/v1/metrics?every=1s&follow=0").await.unwrap();
    let window = windows.next::<Item<Window>>().await.unwrap().unwrap();
    assert_eq!((window.seq, &window.body), (0, &samples::window(0)));
    assert!(windows.next::<Item<Window>>().await.unwrap().is_none());
    let mut run = client.stream("/v1/runs/r2?follow=1").await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = run.next::<RunEvent>().await.unwrap() {
        events.push(event);
    }
    assert_eq!(events, samples::run_events("r2"));
}

#[tokio::test]
async fn tells_problems_apart() {
    let (client, folder) = client(Door::View).await;
    let refused = client.post::<_, RunSummary>("/v1/runs", &StartRequest::default()).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "GH-NOT-PERMITTED");
    let nobody = Client::new(Socket::At(folder.path().join("none.sock")));
    let error = nobody.get::<Hello>("/v1/hello").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}
