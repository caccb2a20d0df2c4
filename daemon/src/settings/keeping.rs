//! Settings of the configuration as a whole: how much of its history is kept, and the folder that declares it.

use super::checked::Reader;
use gatehouse_control::HistoryLimits;
use std::path::PathBuf;

/// What is kept of the configuration, and where it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keeping {
    pub(crate) history: HistoryLimits,
    /// `None` watches no folder.
    pub(crate) config_dir: Option<PathBuf>,
}

impl Reader<'_> {
    pub(super) fn keeping(&mut self) -> Keeping {
        let config_dir = self.optional("config_dir").map(PathBuf::from);
        if config_dir.as_ref().is_some_and(|folder| !folder.is_absolute()) {
            self.problem("config_dir", "expected an absolute path");
        }
        let history = HistoryLimits {
            revisions: self.number("history_revisions", 1, 1_000_000),
            bytes: self.number("history_bytes", 65_536, 1 << 40),
        };
        Keeping { history, config_dir }
    }
}
