//! Runs a program: bounded in time and in what it may say, ended with all that it started.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// What a program said, at most this many bytes of each stream.
pub(crate) const OUTPUT_BYTES: usize = 1024 * 1024;

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its code; minus the signal's number if one ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Whether one of them was cut.
    pub(crate) truncated: bool,
}

/// Why there is no end to tell of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0} could not be started: {1}")]
    Start(String, std::io::Error),
    #[error("Command timed out after {0} seconds")]
    Late(u64),
    #[error("{0}")]
    Broken(#[from] std::io::Error),
}

/// Ends a whole process group when dropped: also when whoever waits for the program goes away.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody may be left in it.
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
    }
}

/// Runs a program to its end. Its input is empty; its group is killed when it ends, when time is up, and when this
/// future is dropped.
///
/// # Errors
/// When it cannot be started, or takes longer.
pub(crate) async fn run(mut command: Command, bound: Duration) -> Result<Ended, Fault> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| Fault::Start(name, error))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    let group = Group(pid);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        // The program has ended when its first process has: what it left behind may hold the pipes open.
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = {
            let reading = async { tokio::join!(take(out, &mut stdout), take(err, &mut stderr)) };
            tokio::pin!(reading);
            tokio::select! {
                status = child.wait() => {
                    drop(group);
                    // The group is gone, so this comes to its end; one who left the group is not waited for.
                    drop(tokio::time::timeout(Duration::from_secs(1), &mut reading).await);
                    status?
                }
                _ = &mut reading => child.wait().await?,
            }
        };
        Ok(ended(status, stdout, stderr))
    };
    tokio::time::timeout(bound, work).await.unwrap_or(Err(Fault::Late(bound.as_secs())))
}

fn ended(status: ExitStatus, mut stdout: Vec<u8>, mut stderr: Vec<u8>) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;
    let truncated = stdout.len() > OUTPUT_BYTES || stderr.len() > OUTPUT_BYTES;
    stdout.truncate(OUTPUT_BYTES);
    stderr.truncate(OUTPUT_BYTES);
    let code = status.code().or_else(|| status.signal().map(|signal| -signal)).unwrap_or(-1);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code, stdout: text(stdout), stderr: text(stderr), truncated }
}

/// Reads to the end and keeps the beginning, one byte more than may be told. A stream that breaks has ended.
async fn take(stream: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = (OUTPUT_BYTES + 1).saturating_sub(into.len());
        into.extend(buffer.iter().take(count.min(room)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn ends_and_words_are_told() {
        let long = Duration::from_secs(20);
        let ended = run(shell("echo out; echo err >&2; exit 3"), long).await.unwrap();
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (3, "out\n", "err\n"));
        assert_eq!(run(shell("kill -9 $$"), long).await.unwrap().code, -9);
        let absent = run(Command::new("/nowhere/at/all"), long).await.unwrap_err();
        assert!(absent.to_string().contains("could not be started"), "{absent}");
    }

    #[tokio::test]
    async fn output_is_bounded() {
        let ended = run(shell("head -c 3000000 /dev/zero"), Duration::from_secs(20)).await.unwrap();
        assert_eq!((ended.stdout.len(), ended.truncated, ended.code), (OUTPUT_BYTES, true, 0));
    }

    /// Whether a process of that id is at work; one that has ended and is not yet reaped is not.
    fn alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
    }

    #[tokio::test]
    async fn what_it_started_ends_with_it() {
        for script in ["sleep 60 & echo $! >PID; sleep 60", "sleep 60 & echo $! >PID; exit 0"] {
            let folder = tempfile::tempdir().unwrap();
            let pid = folder.path().join("pid");
            let begun = Instant::now();
            let result =
                run(shell(&script.replace("PID", pid.to_str().unwrap())), Duration::from_millis(600)).await;
            assert_eq!(result.is_ok(), script.ends_with("exit 0"), "{result:?}");
            assert!(begun.elapsed() < Duration::from_secs(10));
            let pid = std::fs::read_to_string(&pid).unwrap();
            let gone = async {
                while alive(&pid) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            assert!(
                tokio::time::timeout(Duration::from_secs(5), gone).await.is_ok(),
                "{script}: {pid} lives on"
            );
        }
    }
}
