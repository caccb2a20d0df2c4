//! The service manager as a daemon sees it: a datagram socket that is told who the service is.

use anyhow::Context as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for a word.
const WAIT: Duration = Duration::from_secs(20);

/// The listening end. Ends the last process that was named, which is no child of ours.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    main: Option<u32>,
}

impl Manager {
    /// Listens at a socket in a folder.
    ///
    /// # Errors
    /// When it cannot.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(WAIT))?;
        Ok(Self { socket, path, main: None })
    }

    /// Value of `NOTIFY_SOCKET`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.to_str().unwrap_or_default()
    }

    /// Waits for the next word that begins so; what follows it.
    ///
    /// # Errors
    /// When it does not come.
    pub fn hear(&mut self, word: &str) -> anyhow::Result<String> {
        let mut bytes = [0; 4096];
        loop {
            let count = self.socket.recv(&mut bytes).with_context(|| format!("waiting for {word}"))?;
            let said = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned();
            if let Some(rest) = said.lines().find_map(|line| line.strip_prefix(word)) {
                return Ok(rest.to_owned());
            }
        }
    }

    /// Waits until another process is the service and says that it is ready; its id.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn next_main(&mut self) -> anyhow::Result<u32> {
        let pid = self.hear("MAINPID=")?.parse()?;
        self.main = Some(pid);
        self.hear("READY=1")?;
        Ok(pid)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(pid) = self.main {
            // Already ended is as good.
            crate::daemon::signal(pid, "-KILL").ok();
        }
    }
}
