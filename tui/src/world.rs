//! What the daemon told: the last values of everything, bounded, and how old they are.

use crate::event::{Ask, Rows};
use crate::link::{Link, State};
use crate::traffic::LOOK_BACK;
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::limits::WINDOWS_KEPT;
use gatehouse_common::ops::audit::AuditPage;
use gatehouse_common::ops::entities::{Backup, Consumer, Page, Route, Session, Token};
use gatehouse_common::ops::hello::{Door, Hello};
use gatehouse_common::ops::metrics::Window;
use gatehouse_common::ops::runs::RunSummary;
use gatehouse_common::runbook::RunbookSpec;
use std::collections::{BTreeMap, VecDeque};

/// Everything known.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now_ms: i64,
    /// The operator's own catch: looks, but starts nothing.
    pub(crate) safety: bool,
    pub(crate) link: Link,
    pub(crate) hello: Option<Hello>,
    /// Oldest first; `None` is a hole in the record.
    pub(crate) windows: VecDeque<Option<Window>>,
    pub(crate) health: Vec<HealthItem>,
    pub(crate) routes: Option<Page<Route>>,
    pub(crate) consumers: Option<Page<Consumer>>,
    pub(crate) backups: Option<Page<Backup>>,
    pub(crate) tokens: Option<Page<Token>>,
    pub(crate) sessions: Option<Page<Session>>,
    pub(crate) runs: Vec<RunSummary>,
    pub(crate) audit: Option<AuditPage>,
    /// Why a table could not be read, by table.
    pub(crate) troubles: BTreeMap<Ask, String>,
}

impl World {
    pub(crate) const fn new() -> Self {
        Self {
            now_ms: 0,
            safety: false,
            link: Link::new(),
            hello: None,
            windows: VecDeque::new(),
            health: Vec::new(),
            routes: None,
            consumers: None,
            backups: None,
            tokens: None,
            sessions: None,
            runs: Vec::new(),
            audit: None,
            troubles: BTreeMap::new(),
        }
    }

    /// The newest window.
    pub(crate) fn window(&self) -> Option<&Window> {
        self.windows.iter().rev().flatten().next()
    }

    /// Keeps a window, or marks a hole.
    pub(crate) fn push_window(&mut self, window: Option<Window>) {
        if window.is_none() && self.windows.back().is_none_or(Option::is_none) {
            return;
        }
        // A stream that is made again begins with seconds that are here already.
        let last = self.windows.iter().rev().flatten().next().map(|window| window.at_unix_ms);
        if window.as_ref().is_some_and(|new| last.is_some_and(|last| new.at_unix_ms <= last)) {
            return;
        }
        if self.windows.len() >= WINDOWS_KEPT {
            self.windows.pop_front();
        }
        self.windows.push_back(window);
        // Tables look back a minute; charts need no routes, and there may be thousands.
        let old = self.windows.len().checked_sub(LOOK_BACK + 1);
        if let Some(Some(old)) = old.and_then(|index| self.windows.get_mut(index)) {
            old.routes = Vec::new();
        }
    }

    /// Keeps the rows of a table.
    pub(crate) fn keep(&mut self, ask: &Ask, rows: Rows) {
        self.troubles.remove(ask);
        match rows {
            Rows::Health(items) => {
                self.health = items;
                self.health
                    .sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since_unix_ms.cmp(&b.since_unix_ms)));
            }
            Rows::Routes(page) => self.routes = Some(page),
            Rows::Consumers(page) => self.consumers = Some(page),
            Rows::Backups(page) => self.backups = Some(page),
            Rows::Tokens(page) => self.tokens = Some(page),
            Rows::Sessions(page) => self.sessions = Some(page),
            Rows::Runs(mut runs) => {
                runs.sort_by_key(|run| std::cmp::Reverse(run.started_unix_ms));
                self.runs = runs;
            }
            Rows::Audit(page) => self.audit = Some(page),
        }
    }

    /// All runbooks.
    pub(crate) fn runbooks(&self) -> &[RunbookSpec] {
        self.hello.as_ref().map(|hello| hello.runbooks.as_slice()).unwrap_or_default()
    }

    /// A runbook by id.
    pub(crate) fn runbook(&self, id: &str) -> Option<&RunbookSpec> {
        self.runbooks().iter().find(|spec| spec.id == id)
    }

    /// Items that need attention, worst first.
    pub(crate) fn notices(&self) -> impl Iterator<Item = &HealthItem> {
        self.health.iter().filter(|item| item.severity >= Severity::Warning)
    }

    /// Whether anything may be started from here.
    ///
    /// # Errors
    /// The reason why not.
    pub(crate) fn may_operate(&self) -> Result<(), String> {
        if self.safety {
            return Err("safety catch is on (w takes it off)".to_owned());
        }
        match (&self.link.state, &self.hello) {
            (State::Live | State::Stale, Some(hello)) if hello.door == Door::Operate => Ok(()),
            (State::Live | State::Stale, Some(_)) => Err("needs the operate socket".to_owned()),
            (State::Incompatible(_), _) => Err("daemon and console speak different protocols".to_owned()),
            _ => Err("no link to the daemon".to_owned()),
        }
    }
}
