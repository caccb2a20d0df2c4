//! Long bodies pass in both directions, and the daemon holds no more of them than of short ones.

use crate::raw::{Wire, mischief, nobody_is_connected, odd, request};
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the daemon may grow by while a body passes: buffers of two connections, and what an allocator keeps.
const GROWTH_KIB: u64 = 8_192;

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs something, and looks all the time at the most that a process holds.
fn most_while(pid: u32, run: impl FnOnce()) -> u64 {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = rss_kib(pid).max(most);
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
            most
        });
        run();
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

fn download(wire: &mut Wire, path: &str, bytes: u64) {
    wire.send(request("GET", path, "Connection: close\r\n", ""));
    let (mut room, mut come) = (vec![0; 1 << 20], 0u64);
    loop {
        match wire.stream.read(&mut room).unwrap() {
            0 => break,
            count => come += count as u64,
        }
    }
    // Beside the content there are heads and chunk lines.
    assert!((bytes..bytes + bytes / 100 + 1_000).contains(&come), "{path}: {come}");
}

fn upload(wire: &mut Wire, chunked: bool, bytes: u64) {
    let piece = vec![b'x'; 1 << 20];
    let framing = if chunked {
        "Transfer-Encoding: chunked\r\n".to_owned()
    } else {
        format!("Content-Length: {bytes}\r\n")
    };
    wire.send(request("POST", &odd("count"), &framing, ""));
    for _ in 0..bytes >> 20 {
        if chunked {
            wire.stream.write_all(b"100000\r\n").unwrap();
        }
        wire.stream.write_all(&piece).unwrap();
        if chunked {
            wire.stream.write_all(b"\r\n").unwrap();
        }
    }
    if chunked {
        wire.stream.write_all(b"0\r\n\r\n").unwrap();
    }
    assert_eq!(wire.answer().body, bytes.to_string());
}

fn both_ways(mib: u64) {
    let bytes = mib << 20;
    let (_folder, daemon, _upstream) = mischief(&[("MAX_BODY_SIZE_BYTES", &(bytes + 1).to_string())]);
    let pid = daemon.pid();
    // What is allocated once is there before.
    download(&mut Wire::open(&daemon), &odd("flood?4"), 4 << 20);
    upload(&mut Wire::open(&daemon), true, 4 << 20);
    let before = rss_kib(pid);
    for name in ["flood", "flood-chunks"] {
        let path = odd(&format!("{name}?{mib}"));
        let most = most_while(pid, || download(&mut Wire::open(&daemon), &path, bytes));
        assert!(
            most <= before + GROWTH_KIB,
            "{name}: {before} KiB before, {most} KiB while {mib} MiB passed"
        );
    }
    for chunked in [false, true] {
        let most = most_while(pid, || upload(&mut Wire::open(&daemon), chunked, bytes));
        assert!(
            most <= before + GROWTH_KIB,
            "upload, chunked: {chunked}: {before} KiB before, {most} KiB while {mib} MiB passed"
        );
    }
    nobody_is_connected(&daemon);
}

#[test]
fn a_quarter_of_a_gibibyte_passes_with_flat_memory() {
    both_ways(256);
}

#[test]
#[ignore = "longer than a suite should be; `make bench` runs it"]
fn a_gibibyte_passes_with_flat_memory() {
    both_ways(1_024);
}
