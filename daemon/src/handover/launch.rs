//! The process between the old daemon and the new one: parent of the new one until it serves, so that its end is seen
//! and told; then it is ended, and the new one is the service manager's child as every service is.

use super::{inherited, with_descriptors};
use anyhow::Context as _;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// The hidden verb.
pub(crate) const VERB: &str = "launch";
/// In front of the process id in the first line of the report.
pub(super) const PID: &str = "pid ";

/// Starts the binary with our descriptors, reports its process id, then its end, to the socket at standard input.
///
/// # Errors
/// When nobody listens to the report.
pub(crate) fn run(binary: &Path, arguments: &[OsString]) -> anyhow::Result<()> {
    let mut report = UnixStream::from(rustix::io::dup(rustix::stdio::stdin())?);
    match start(binary, arguments) {
        Ok(mut child) => {
            writeln!(report, "{PID}{}", child.id())?;
            let status = child.wait()?;
            writeln!(report, "{status}")?;
        }
        Err(error) => writeln!(report, "{error:#}")?,
    }
    Ok(())
}

fn start(binary: &Path, arguments: &[OsString]) -> anyhow::Result<std::process::Child> {
    let given = inherited();
    let listener = OwnedFd::from(given.listener.context("no listener was inherited")?);
    let wire = given.wire.context("no handover socket was inherited")?;
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null());
    // Our own copies close with the command, so that the end of the new process shows at the other end.
    with_descriptors(command, listener, wire)?.spawn().context("cannot be started")
}
