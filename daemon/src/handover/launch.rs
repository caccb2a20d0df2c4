//! The process between the old daemon and the new one: parent of the new one until it serves, so that its end is seen
//! and told; then it is ended, and the new one is the service manager's child as every service is.

use super::{inherited, with_descriptors};
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The hidden verb.
pub(crate) const VERB: &str = "launch";
/// In front of the process id in the first line of the report.
pub(super) const PID: &str = "pid ";
/// What the old daemon says to have the new one ended.
pub(super) const KILL: u8 = b'k';

/// Starts the binary with our descriptors, reports its process id, then its end, to the socket at standard input.
///
/// # Errors
/// When nobody listens to the report.
pub(crate) fn run(binary: &Path, arguments: &[OsString]) -> anyhow::Result<()> {
    let mut report = UnixStream::from(rustix::io::dup(rustix::stdio::stdin())?);
    match start(binary, arguments) {
        Ok(mut child) => {
            writeln!(report, "{PID}{}", child.id())?;
            let status = outlived(&mut child, &mut report)?;
            writeln!(report, "{status}")?;
        }
        Err(error) => writeln!(report, "{error:#}")?,
    }
    Ok(())
}

/// Waits for the end of the new process and ends it if the old one asks for that. Its number is its own until it is
/// waited for here, and nobody else does.
fn outlived(child: &mut Child, report: &mut UnixStream) -> anyhow::Result<ExitStatus> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut asked = true;
    loop {
        let mut watched = vec![PollFd::new(&process, PollFlags::IN)];
        if asked {
            watched.push(PollFd::new(&*report, PollFlags::IN));
        }
        retry_on_intr(|| poll(&mut watched, None))?;
        let seen: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        if seen.first() == Some(&true) {
            return Ok(child.wait()?);
        }
        if seen.get(1) == Some(&true) {
            let mut word = [0];
            match report.read(&mut word)? {
                // The old process is gone, and what it started goes on.
                0 => asked = false,
                _ if word == [KILL] => child.kill()?,
                _ => {}
            }
        }
    }
}

fn start(binary: &Path, arguments: &[OsString]) -> anyhow::Result<Child> {
    let given = inherited()?;
    let listener = OwnedFd::from(given.listener.context("no listener was inherited")?);
    let wire = given.wire.context("no handover socket was inherited")?;
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null());
    // Our own copies close with the command, so that the end of the new process shows at the other end.
    with_descriptors(command, listener, wire)?.spawn().context("cannot be started")
}
