//! The console in a real terminal, against the real daemon: the whole way from a request to its revocation.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD, console};
use gatehouse_tests::tmux::Tmux;
use gatehouse_tests::wait::eventually;
use std::time::{Duration, Instant};

fn attach(daemon: &Daemon, socket: &str) -> Tmux {
    let path = daemon.socket(socket);
    let terminal = Tmux::start(&console(), &["--socket", path.to_str().unwrap()]).unwrap();
    terminal.shows(&["live"]).unwrap();
    terminal
}

#[test]
fn from_a_request_to_its_revocation_and_who_did_it() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let call = || daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0;
    let terminal = attach(&daemon, "operate.sock");
    let begun = Instant::now();
    assert_eq!(call(), 200);
    terminal.shows(&["shop/v1", "peak"]).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(2_500), "in the charts after {:?}", begun.elapsed());
    terminal.press(&["3"]).unwrap();
    terminal.shows(&["[3 Logs]", "shop/v1", "GET /api/rest/shop/v1/"]).unwrap();

    terminal.press(&[":"]).unwrap();
    terminal.write("revoke_tokens").unwrap();
    terminal.press(&["Enter"]).unwrap();
    terminal.shows(&["user:"]).unwrap();
    terminal.write("ana").unwrap();
    terminal.press(&["Enter"]).unwrap();
    terminal.shows(&["Revoke all tokens of ana", "sessions 1 ended", "the gateway refuses it at"]).unwrap();
    terminal.press(&["x"]).unwrap();
    terminal.shows(&["Type ana to run this plan"]).unwrap();
    terminal.write("leaked token").unwrap();
    terminal.press(&["Enter"]).unwrap();
    terminal.write("anna").unwrap();
    terminal.press(&["Enter"]).unwrap();
    terminal.shows(&["Type ana to run this plan"]).unwrap();
    assert_eq!(call(), 200, "a wrong word starts nothing");
    terminal.write("ana").unwrap();
    terminal.shows(&["ana_"]).unwrap();
    terminal.press(&["Enter"]).unwrap();
    terminal.shows(&["verdict", "done"]).unwrap();
    assert_eq!(call(), 401);

    terminal.press(&["Escape"]).unwrap();
    terminal.shows(&["backup_now"]).unwrap();
    terminal.press(&["6"]).unwrap();
    terminal.shows(&["[6 Audit]", "chain verified", "run.revoke_tokens", "user/ana"]).unwrap();
    terminal.press(&["Enter"]).unwrap();
    terminal.shows(&["uid ", "leaked token"]).unwrap();
}

#[test]
fn a_restart_loses_no_typed_text_and_the_console_goes_with_its_terminal() {
    let (_folder, daemon, _admin, _ana) = shop(&[]);
    let terminal = attach(&daemon, "operate.sock");
    terminal.press(&["3", "/"]).unwrap();
    terminal.write("route:shop").unwrap();
    terminal.shows(&["route:shop"]).unwrap();
    let boot = || daemon.ops("GET", "/v1/hello", None).map(|(_, hello)| hello["boot"].clone());
    let before = boot().unwrap();
    daemon.start_plan(&daemon.plan("restart_service", serde_json::json!({})).unwrap()).unwrap();
    let again = || boot().ok().filter(|now| *now != before).ok_or("still the old one, or none");
    eventually("the next boot", again).unwrap();
    terminal.shows(&["live", "route:shop"]).unwrap();
    let process = format!("/proc/{}", terminal.pid().unwrap());
    terminal.end();
    let gone = || if std::path::Path::new(&process).exists() { Err("it is there") } else { Ok(()) };
    eventually("the console to end with its terminal", gone).unwrap();
}

#[test]
fn a_viewer_plans_and_cannot_run() {
    let (_folder, daemon, _admin, ana) = shop(&[]);
    let terminal = attach(&daemon, "view.sock");
    terminal.shows(&["view"]).unwrap();
    terminal.press(&[":"]).unwrap();
    terminal.write("revoke_tokens").unwrap();
    let screen = terminal.shows(&["revoke_tokens"]).unwrap();
    assert!(screen.contains("operate"), "the reason is told:\n{screen}");
    terminal.press(&["Enter"]).unwrap();
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 200);
    assert_eq!(daemon.ops("GET", "/v1/runs", None).unwrap().1, serde_json::json!([]));
}

#[test]
fn what_was_confirmed_is_there_after_kill_9_and_the_console_comes_back() {
    let (folder, daemon, _admin, ana) = shop(&[]);
    let terminal = attach(&daemon, "operate.sock");
    daemon.run("revoke_tokens", serde_json::json!({"user": "ana"})).unwrap();
    daemon.kill().unwrap();
    terminal.shows(&["LOST", "data as of"]).unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    terminal.shows(&["live"]).unwrap();
    terminal.press(&["6"]).unwrap();
    terminal.shows(&["chain verified", "run.revoke_tokens"]).unwrap();
    assert_eq!(daemon.call("GET", "/api/rest/shop/v1/echo", &ana, None).unwrap().0, 401);
    daemon.login("ana", PASSWORD).unwrap();
}
