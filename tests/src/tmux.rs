//! A real terminal: a tmux server of its own, read and typed into as a person would.

use crate::wait::eventually;
use anyhow::Context as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A terminal with a program in it; ended with its server.
#[derive(Debug)]
pub struct Tmux {
    server: String,
}

impl Tmux {
    /// Starts a program in a terminal of 80x24.
    ///
    /// # Errors
    /// When tmux is not installed (`make setup`) or does not start.
    pub fn start(program: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let tmux = Self { server: format!("gatehouse-{}-{number}", std::process::id()) };
        let mut command = vec!["new-session", "-d", "-x", "80", "-y", "24"];
        let program = program.to_str().context("the path is not text")?;
        command.push(program);
        command.extend(arguments);
        tmux.ask(&command)?;
        Ok(tmux)
    }

    fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.server, "-f", "/dev/null"]).args(arguments);
        let output = command.env("LC_ALL", "C.UTF-8").env_remove("TMUX").output();
        let output = output.context("tmux must be installed (make setup)")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(output.status.success(), "tmux {arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What is on the screen.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn screen(&self) -> anyhow::Result<String> {
        self.ask(&["capture-pane", "-p"])
    }

    /// Presses keys by their tmux names: `Enter`, `Escape`, `4`.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn press(&self, keys: &[&str]) -> anyhow::Result<()> {
        self.ask(&[&["send-keys"], keys].concat()).map(drop)
    }

    /// Types a text.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn write(&self, text: &str) -> anyhow::Result<()> {
        self.ask(&["send-keys", "-l", text]).map(drop)
    }

    /// Waits until the screen shows all of these; the screen.
    ///
    /// # Errors
    /// The screen as it was at the end of the wait.
    pub fn shows(&self, texts: &[&str]) -> anyhow::Result<String> {
        eventually(&format!("the screen to show {texts:?}"), || {
            let screen = self.screen().map_err(|error| error.to_string())?;
            if texts.iter().all(|text| screen.contains(text)) {
                Ok(screen)
            } else {
                Err(format!("\n{screen}"))
            }
        })
    }

    /// Process id of the program.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.ask(&["display-message", "-p", "#{pane_pid}"])?.trim().parse()?)
    }

    /// Takes the terminal away.
    pub fn end(&self) {
        // Already gone is as good.
        drop(self.ask(&["kill-server"]));
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.end();
    }
}
