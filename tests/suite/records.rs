//! What is recorded of traffic: files, `/metrics`, reports; and what never is.

use crate::shop::shop;
use gatehouse_tests::daemon::{Daemon, PASSWORD, binary};
use gatehouse_tests::exposition::Exposition;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One raw exchange.
fn raw(daemon: &Daemon, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(daemon: &Daemon, path: &str, headers: &str) -> String {
    raw(daemon, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"))
}

/// A chunked or plain body of an answer.
fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn metrics(daemon: &Daemon) -> Exposition {
    let answer = get(daemon, "/metrics", "");
    assert!(answer.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{answer}");
    Exposition::parse(body(&answer), false).unwrap()
}

/// The files of access records, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.split('.').nth(2).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    });
    files
}

fn lines(folder: &Path) -> Vec<String> {
    let texts = files(folder).into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn no_secret_reaches_a_file_or_standard_error() {
    for format in ["json", "plain"] {
        let folder = tempfile::tempdir().unwrap();
        let stderr = folder.path().join("stderr");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$0\" 2>\"$1\""]).arg(binary()).arg(&stderr).env_clear();
        let settings = [
            ("GATEHOUSE_ACCESS_FORMAT", format),
            ("LOG_LEVEL", "trace"),
            ("GATEHOUSE_REDACT_FIELDS", "iban"),
            ("LOG_FORMAT", format),
        ];
        let daemon = Daemon::start_as(command, &folder.path().join("data"), &settings).unwrap();
        let secret = "s3cr3tS3CR3Ts3cr3t";
        let token = format!("eyJhbGciOiJIUzI1NiJ9.eyJ{secret}.{secret}");
        let path = |tail: &str| format!("/api/rest/none/v1/{tail}");
        // Where it stands in a request; § is the secret.
        let calls = [
            (path("query?token=§&x=§"), "Authorization: Bearer §\r\n"),
            (path("cookie"), "Cookie: access_token_cookie=§; a=§\r\nX-API-Key: §\r\nX-CSRF-Token: §\r\n"),
            (path("iban=§"), "iban: §\r\n"),
            (path("x/password%3D§"), ""),
            (path("a;token=§/x=§"), "User-Agent: mcp_0a1b2c3d_§\r\nReferer: /?secret=§\r\n"),
            (path(&format!("{token}/x")), "X-Request-ID: api_key=§\r\nAuthorization: Basic §\r\n"),
            ("/platform/user/me?token=§".to_owned(), "Authorization: Bearer §.§.§\r\n"),
            ("/platform/monitor/metrics?token=§".to_owned(), "Cookie: access_token_cookie=§\r\n"),
        ];
        for (path, headers) in &calls {
            get(&daemon, &path.replace('§', secret), &headers.replace('§', secret));
        }
        let login = json!({"email": "admin", "password": secret});
        assert_ne!(daemon.call("POST", "/platform/authorization", "", Some(login)).unwrap().0, 200);
        let logs = daemon.data.join("logs");
        let recorded = || if lines(&logs).len() >= 6 { Ok(()) } else { Err(lines(&logs)) };
        eventually("the records of six calls", recorded).unwrap();
        let ring: Vec<String> = daemon.stream("/v1/logs").unwrap().map(Result::unwrap).collect();
        let said = std::fs::read_to_string(&stderr).unwrap();
        let written = lines(&logs).join("\n");
        assert!(written.matches("•••").count() >= 5 && !said.is_empty() && ring.len() > 4, "{written}");
        assert!(written.contains("agent"), "what is not written cannot leak: {written}");
        for text in [&written, &said, &ring.join("\n")] {
            assert!(!text.contains(secret), "{format}: {text}");
        }
    }
}

/// So many calls on one connection.
fn calls(daemon: &Daemon, path: &str, headers: &str, count: usize) {
    let mut request = String::new();
    for number in 1..=count {
        let end = if number == count { "Connection: close\r\n" } else { "" };
        request.push_str(&format!("GET {path}{number} HTTP/1.1\r\nHost: x\r\n{headers}{end}\r\n"));
    }
    let mut stream = std::net::TcpStream::connect(daemon.url.trim_start_matches("http://")).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    sender.join().unwrap().unwrap();
}

#[test]
fn files_turn_over_by_size_and_their_number_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("GATEHOUSE_ACCESS_FILE_BYTES", "65536"), ("GATEHOUSE_ACCESS_FILES", "3")];
    let daemon = Daemon::start(folder.path(), &settings).unwrap();
    let logs = daemon.data.join("logs");
    calls(&daemon, "/api/rest/none/v1/", "", 1_000);
    let last = || lines(&logs).last().cloned().filter(|line| line.contains("/v1/1000\"")).ok_or(());
    eventually("the last record", last).unwrap();
    let sizes: Vec<u64> = files(&logs).iter().map(|path| path.metadata().unwrap().len()).collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size <= 65_536), "{sizes:?}");
    let numbers: Vec<u64> = lines(&logs)
        .iter()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["path"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap()
        })
        .collect();
    let first = numbers[0];
    assert!(first > 1, "the oldest went");
    assert_eq!(numbers, (first..=1_000).collect::<Vec<_>>(), "none is missing between the files");
}

/// A small disk of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn a_full_disk_stops_no_call_and_the_records_come_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk(folder.path().join("disk"));
    std::fs::create_dir(&disk.0).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "small"]).arg(&disk.0).status();
    assert!(mount.unwrap().success(), "this test mounts a tmpfs and needs root");
    let logs = disk.0.join("logs");
    let settings = [("LOGS_DIR", logs.to_str().unwrap())];
    let daemon = Daemon::start(&folder.path().join("data"), &settings).unwrap();
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![0; 8 << 20]).ok();
    let unwritten = |page: &Exposition| page.value("gatehouse_access_records_unwritten_total", &[]).unwrap();
    let all =
        |page: &Exposition| page.value("doorman_http_requests_total", &[("code", "404")]).unwrap_or(0.0);
    calls(&daemon, "/api/rest/none/v1/", "", 2_000);
    let asked = std::cell::Cell::new(0.0);
    let page = || {
        asked.set(asked.get() + 1.0);
        metrics(&daemon)
    };
    assert_eq!(all(&page()), 2_000.0, "every call was answered");
    let counted = || Some(unwritten(&page())).filter(|count| *count > 0.0).ok_or(());
    eventually("what was lost to be counted", counted).unwrap();
    std::fs::remove_file(&filler).unwrap();
    get(&daemon, "/api/rest/none/v1/after", "");
    // Not the last one: records of several workers come in no order.
    let after = || lines(&logs).into_iter().find(|line| line.contains("/v1/after\"")).ok_or(());
    eventually("a record after the disk had room again", after).unwrap();
    let told = || {
        let lost = unwritten(&page());
        let whole = lines(&logs).iter().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
        let sum = whole as f64 + lost;
        // Whoever asks for the numbers leaves a record too; the last few of these may be on their way.
        let all = 2_001.0 + asked.get();
        if (all - 5.0..=all).contains(&sum) { Ok(()) } else { Err((whole, lost, all)) }
    };
    eventually("each record to be written or counted", told).unwrap();
}

#[test]
fn metrics_are_for_who_may_and_in_both_formats() {
    let token = [("PROMETHEUS_BEARER_TOKEN", "a-token-of-its-own-1")];
    let (_folder, daemon, _admin, ana) = shop(&token);
    for path in ["/echo", "/echo", "/none", "/broken"] {
        daemon.call("GET", &format!("/api/rest/shop/v1{path}"), &ana, None).unwrap();
    }
    // A call is counted behind the last byte of its answer.
    let counted = || {
        let page = metrics(&daemon);
        let codes =
            ["200", "204", "502"].map(|code| page.value("doorman_http_requests_total", &[("code", code)]));
        if codes == [Some(2.0), Some(1.0), Some(1.0)] { Ok(page) } else { Err(codes) }
    };
    let page = eventually("the four calls to be counted", counted).unwrap();
    let api = [("api", "shop/v1")];
    for (name, labels, wanted) in [
        ("doorman_http_request_duration_seconds_count", &[][..], 4.0),
        ("request_duration_count", &[], 4.0),
        ("request_count", &[], 4.0),
        ("error_count", &[], 1.0),
        ("credit_usage", &[], 0.0),
        ("doorman_upstream_timeouts_total", &[], 0.0),
        ("doorman_http_retries_total", &[], 0.0),
        ("gatehouse_api_requests_total", &api, 4.0),
        ("gatehouse_api_request_duration_seconds_count", &api, 4.0),
        ("gatehouse_apis", &[], 1.0),
    ] {
        assert_eq!(page.value(name, labels), Some(wanted), "{name}");
    }
    let least = |name: &str, least: f64| assert!(page.value(name, &[]) > Some(least), "{name}");
    least("process_resident_memory_bytes", 1e6);
    least("process_open_fds", 5.0);
    least("process_start_time_seconds", 1.7e9);
    let answer =
        get(&daemon, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert!(answer.to_lowercase().contains("content-type: application/openmetrics-text"), "{answer}");
    let open = Exposition::parse(body(&answer), true).unwrap();
    assert_eq!(open.types.get("doorman_http_requests").map(String::as_str), Some("counter"));
    assert_eq!(open.value("request_count", &[]), Some(4.0));
    for (headers, status) in [
        ("X-Forwarded-For: 127.0.0.1\r\n", "401"),
        ("X-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer a-token-of-its-own-2\r\n", "401"),
        ("X-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer a-token-of-its-own-1\r\n", "200"),
    ] {
        let answer = get(&daemon, "/metrics", headers);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer}");
    }
}

fn monitor(daemon: &Daemon, token: &str, query: &str) -> Value {
    let (status, answer) =
        daemon.call("GET", &format!("/platform/monitor/metrics{query}"), token, None).unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn reports_tell_of_the_traffic_to_who_may_ask() {
    let (_folder, daemon, admin, ana) = shop(&[]);
    for path in ["/echo", "/echo", "/broken"] {
        daemon.call("GET", &format!("/api/rest/shop/v1{path}"), &ana, None).unwrap();
    }
    let counted = || {
        let seen = monitor(&daemon, &admin, "?range=1h");
        if seen["total_requests"] == 3 { Ok(seen) } else { Err(seen) }
    };
    let seen = eventually("three calls", counted).unwrap();
    assert_eq!(seen["status_counts"], json!({"200": 2, "502": 1}));
    assert_eq!((&seen["top_users"], &seen["top_apis"]), (&json!([["ana", 3]]), &json!([["rest:shop", 3]])));
    assert_eq!(
        (&seen["unique_users"], &seen["total_errors"], &seen["period"]),
        (&json!(1), &json!(1), &json!("1h"))
    );
    for query in ["", "?range=24h&group=day", "?range=7d&sort=desc", "?range=30d&group=minute"] {
        let seen = monitor(&daemon, &admin, query);
        assert_eq!(
            (&seen["total_requests"], &seen["series"][0]["error_count"]),
            (&json!(3), &json!(1)),
            "{query}"
        );
    }
    let today = seen["series"][0]["timestamp"].as_i64().unwrap();
    for (path, token, status, code) in [
        ("/platform/monitor/metrics", &*ana, 403, "MON001"),
        ("/platform/monitor/metrics", "", 401, ""),
        ("/platform/monitor/metrics?range=1y", &admin, 400, "MON003"),
        ("/platform/monitor/metrics?group=week", &admin, 400, "MON003"),
        ("/platform/monitor/report?start=2025-01-01&end=2025-01-02", &ana, 403, "MON002"),
        ("/platform/monitor/report?start=2025-01-02&end=2025-01-01", &admin, 400, "MON003"),
        ("/platform/monitor/report?start=2025-13-02&end=2025-01-01", &admin, 400, "MON003"),
        ("/platform/monitor/report", &admin, 400, "MON003"),
    ] {
        let (got, answer) = daemon.call("GET", path, token, None).unwrap();
        let got_code = answer.get("error_code").and_then(Value::as_str).unwrap_or_default();
        assert_eq!((got, got_code), (status, code), "{path}: {answer}");
    }
    // A day on either side: the test may run over midnight.
    let date = |secs: i64| {
        let output = Command::new("date").args(["-u", "-d", &format!("@{secs}"), "+%F"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (start, end) = (date(today - 86_400), date(today + 86_400));
    let path = format!("/platform/monitor/report?start={start}&end={end}");
    let answer = get(&daemon, &path, &format!("Authorization: Bearer {admin}\r\n"));
    let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
    assert!(
        head.contains("content-type: text/csv") && head.contains("attachment; filename=\"report_"),
        "{head}"
    );
    for line in ["Total requests,3", "502,1", "rest:shop/v1,3", "Bandwidth per day"] {
        assert!(answer.split("\r\n").any(|seen| seen == line), "{line}: {answer}");
    }
}

#[test]
fn reports_outlive_a_restart_whole_and_a_crash_but_for_the_last_minute() {
    let (folder, daemon, _admin, _ana) = shop(&[]);
    calls(&daemon, "/api/rest/shop/v1/", "", 20);
    assert!(Command::new("kill").arg(daemon.pid().to_string()).status().unwrap().success());
    assert_eq!(daemon.ended().unwrap(), 0);
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let admin = daemon.login("admin", PASSWORD).unwrap();
    let total = |daemon: &Daemon| monitor(daemon, &admin, "?range=1h")["total_requests"].as_u64().unwrap();
    assert_eq!(total(&daemon), 20, "nothing is lost by an end");
    calls(&daemon, "/api/rest/shop/v1/", "", 5);
    let counted = || if total(&daemon) == 25 { Ok(()) } else { Err(total(&daemon)) };
    eventually("five more", counted).unwrap();
    daemon.kill().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    let left = total(&daemon);
    assert!((20..=25).contains(&left), "{left}: only the open minute is lost");
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name == "monitor.jsonl"), "{names:?}");
}
