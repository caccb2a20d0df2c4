//! What can happen, and what may be done about it. Everything the console does goes through these two.

use crate::client::ClientError;
use gatehouse_common::health::HealthItem;
use gatehouse_common::ids::RunId;
use gatehouse_common::ops::Item;
use gatehouse_common::ops::audit::AuditPage;
use gatehouse_common::ops::entities::{Backup, Consumer, Page, Route, Session, Token};
use gatehouse_common::ops::hello::Hello;
use gatehouse_common::ops::logs::LogItem;
use gatehouse_common::ops::metrics::Window;
use gatehouse_common::ops::runs::{PlanRequest, RunSummary, StartRequest};
use gatehouse_common::runbook::{Plan, RunEvent};

/// A key, as far as the console tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Char(char),
    Ctrl(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// An answer, or why there is none.
pub(crate) type Answer<T> = Result<T, ClientError>;

/// Everything that can happen.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Key(Key),
    Paste(String),
    Resize,
    /// Time went on.
    Tick,
    /// The frame of this number is on the screen.
    Drawn(u64),
    Hello(Answer<Box<Hello>>),
    Fetched(Ask, Answer<Rows>),
    Window(u64, Box<Item<Window>>),
    Log(u64, Box<Item<LogItem>>),
    Run(u64, Box<RunEvent>),
    /// A stream ended, and why if it broke.
    Ended(Stream, u64),
    Planned(Answer<Box<Plan>>),
    Started(Answer<RunSummary>),
    /// A stop was asked for.
    StopAsked(Answer<RunSummary>),
    /// Something to tell the operator.
    Said(String),
    /// The terminal is gone, or a signal asks to end.
    Hangup,
}

/// A table to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    Health,
    Routes,
    Consumers,
    Backups,
    Tokens,
    Sessions,
    Runs,
    Audit(String),
}

/// Rows of a table.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    Health(Vec<HealthItem>),
    Routes(Page<Route>),
    Consumers(Page<Consumer>),
    Backups(Page<Backup>),
    Tokens(Page<Token>),
    Sessions(Page<Session>),
    Runs(Vec<RunSummary>),
    Audit(AuditPage),
}

/// A kind of stream; one of each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Metrics,
    Logs,
    Run,
}

/// What a stream is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    Metrics,
    Logs { query: String, from: Option<u64> },
    Run(RunId),
}

impl Topic {
    /// Its kind.
    pub(crate) const fn stream(&self) -> Stream {
        match self {
            Self::Metrics => Stream::Metrics,
            Self::Logs { .. } => Stream::Logs,
            Self::Run(_) => Stream::Run,
        }
    }
}

/// What the update wants done; it does nothing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Connect,
    Fetch(Ask),
    /// Begins a stream and ends the one of its kind before; the number marks its events.
    Follow(Topic, u64),
    Unfollow(Stream),
    Plan(PlanRequest),
    UndoPlan(RunId),
    Start(Box<StartRequest>),
    Stop(RunId),
    /// Into the clipboard of the terminal.
    Copy(String),
    /// Into a file in the operator's home.
    Export(String),
    Suspend,
    Quit,
}
