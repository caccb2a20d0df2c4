//! What the process was started with: the one place that reads the environment.

use std::path::PathBuf;

/// Variables the console heeds, read once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `GATEHOUSE_SOCKET`
    pub socket: Option<PathBuf>,
    /// `SSH_CONNECTION`, told to the daemon as a claim.
    pub ssh_connection: Option<String>,
    /// `SSH_ORIGINAL_COMMAND`, read with `--captive` only.
    pub ssh_command: Option<String>,
    /// `TERM`
    pub term: String,
    /// Whether the locale names UTF-8.
    pub utf8: bool,
    /// `NO_COLOR` is set.
    pub no_color: bool,
    /// `COLORTERM` promises all colours.
    pub true_color: bool,
    /// `GATEHOUSE_PLAIN`
    pub plain: bool,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// Inside tmux or screen: escape codes for the outer terminal are wrapped.
    pub multiplexer: bool,
}

fn text(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

impl Environment {
    /// Reads the process's variables.
    #[must_use]
    pub fn of_process() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text).unwrap_or_default();
        let locale = locale.to_lowercase().replace('-', "");
        let depth = text("COLORTERM").unwrap_or_default();
        Self {
            socket: text("GATEHOUSE_SOCKET").map(PathBuf::from),
            ssh_connection: text("SSH_CONNECTION"),
            ssh_command: text("SSH_ORIGINAL_COMMAND"),
            term: text("TERM").unwrap_or_else(|| "dumb".to_owned()),
            utf8: locale.contains("utf8"),
            no_color: text("NO_COLOR").is_some(),
            true_color: depth == "truecolor" || depth == "24bit",
            plain: text("GATEHOUSE_PLAIN").is_some_and(|value| value != "0"),
            home: text("HOME").map(PathBuf::from),
            multiplexer: text("TMUX").is_some(),
        }
    }
}
