//! Logs: filtered in the daemon, followed or held still; what was dropped is a line of its own.

use crate::canvas::{Canvas, Span, below, cells, top};
use crate::commands::{Cmd, Place};
use crate::event::{Ask, Effect, Key, Topic};
use crate::screens::{Act, Screen, ScreenId};
use crate::theme::Role;
use crate::widgets::cursor::Cursor;
use crate::widgets::filter::Filter;
use crate::widgets::table::{self, left};
use crate::world::World;
use crate::{clock, report, text};
use gatehouse_common::logquery::LogFilter;
use gatehouse_common::ops::logs::{Level, LogItem, LogLine};
use ratatui::layout::Rect;
use std::collections::VecDeque;

/// Lines kept here; the daemon keeps more.
const KEPT: usize = 10_000;
const COLUMNS: [table::Column; 5] =
    [left("TIME", 12), left("LEVEL", 5), left("WHERE", 9), left("ROUTE", 14), left("MESSAGE", 20)];
/// The levels of the `l` key, each with its term.
const LEVELS: [&str; 4] = ["", "level>=info", "level>=warn", "level>=error"];

/// A line of the screen.
#[derive(Debug, Clone)]
enum Shown {
    Line(Box<LogLine>),
    /// A gap, in words.
    Gap(String),
}

/// The screen's state.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    filter: Filter,
    lines: VecDeque<Shown>,
    /// Lines that went out at the front; positions count from the first ever.
    gone: usize,
    selected: usize,
    still: bool,
    /// While paused, lines from this position on wait.
    paused_at: Option<usize>,
    dropped: u64,
    last: Option<u64>,
    subscribed: bool,
    note: String,
}

impl Logs {
    /// What to follow, if the screen was ever opened; after a restart numbers begin anew.
    pub(crate) fn topic(&self) -> Option<Topic> {
        let query = self.filter.words().to_owned();
        self.subscribed.then_some(Topic::Logs { query, from: self.last })
    }

    /// Begins to follow when first shown.
    pub(crate) fn shown(&mut self) -> Vec<Act> {
        if self.subscribed { Vec::new() } else { self.begin() }
    }

    fn begin(&mut self) -> Vec<Act> {
        self.lines.clear();
        (self.gone, self.selected, self.last, self.dropped) = (0, 0, None, 0);
        (self.paused_at, self.still, self.subscribed) = (None, false, true);
        self.topic().into_iter().map(Act::Follow).collect()
    }

    /// Shows what passes this query.
    pub(crate) fn query(&mut self, words: &str) -> Vec<Act> {
        if let Err(problem) = LogFilter::parse(words) {
            self.note = problem.detail;
            return Vec::new();
        }
        self.note.clear();
        self.filter.set(words);
        self.begin()
    }

    /// A line came.
    pub(crate) fn push(&mut self, item: LogItem) {
        match item {
            LogItem::Line(line) => {
                self.last = Some(line.number);
                self.keep(Shown::Line(Box::new(line)));
            }
            LogItem::Gap { dropped } => {
                self.dropped = self.dropped.saturating_add(dropped);
                self.keep(Shown::Gap(format!("{} lines dropped (console too slow)", text::grouped(dropped))));
            }
        }
    }

    /// The daemon restarted: its numbers begin anew.
    pub(crate) fn restarted(&mut self) {
        if self.subscribed {
            self.last = None;
            self.keep(Shown::Gap("daemon restarted".to_owned()));
        }
    }

    fn keep(&mut self, shown: Shown) {
        if self.lines.len() >= KEPT {
            self.lines.pop_front();
            self.gone += 1;
        }
        self.lines.push_back(shown);
        if !self.still {
            self.selected = self.end().saturating_sub(1);
        }
    }

    /// The position after the last line shown.
    fn end(&self) -> usize {
        self.paused_at.unwrap_or(usize::MAX).clamp(self.gone, self.gone + self.lines.len())
    }

    fn at(&self, position: usize) -> Option<&Shown> {
        position.checked_sub(self.gone).and_then(|index| self.lines.get(index))
    }

    fn line(&self) -> Option<&LogLine> {
        match self.at(self.selected.clamp(self.gone, self.end().saturating_sub(1).max(self.gone)))? {
            Shown::Line(line) => Some(line),
            Shown::Gap(_) => None,
        }
    }

    fn find(&mut self, forward: bool) {
        let bad = |at: &usize| matches!(self.at(*at), Some(Shown::Line(line)) if line.level >= Level::Warn);
        let found = if forward {
            (self.selected + 1..self.end()).find(bad)
        } else {
            (self.gone..self.selected).rev().find(bad)
        };
        match found {
            Some(at) => (self.selected, self.still) = (at, true),
            None => "no further warning or error".clone_into(&mut self.note),
        }
    }

    fn level(&mut self) -> Vec<Act> {
        let words = self.filter.words().to_owned();
        let now = LEVELS
            .iter()
            .position(|term| !term.is_empty() && words.split(' ').any(|word| word == *term))
            .unwrap_or(0);
        let next = LEVELS.get((now + 1) % LEVELS.len()).copied().unwrap_or_default();
        let kept = words.split(' ').filter(|word| !word.starts_with("level>="));
        let words: Vec<_> = kept.chain(std::iter::once(next)).filter(|word| !word.is_empty()).collect();
        self.query(&words.join(" "))
    }

    fn story(&mut self, cmd: Cmd) -> Vec<Act> {
        let Some(line) = self.line() else { return Vec::new() };
        let field = |name: &str| line.fields.get(name).map(|value| format!("{name}:{value}"));
        let query = match cmd {
            Cmd::SameRequest => field("request"),
            Cmd::SameRoute => field("route"),
            _ => Some(format!("\"{}\"", line.message.replace('"', " ").trim())),
        };
        match query {
            Some(query) => self.query(&query),
            None => vec![Act::Say("this line has no such field".to_owned())],
        }
    }

    fn detail(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(line) = self.line() else { return };
        canvas.rule(area, 0);
        let head = format!(
            "selected  {} {} {}",
            clock::time_with_millis(line.at_unix_ms),
            report::level(line.level),
            line.target
        );
        canvas.row(area, 1, &head, Role::Heading);
        if let Some(request) = line.fields.get("request") {
            canvas.right(area, 1, &format!("request {request}"), Role::Dim);
        }
        let fields: Vec<_> = line.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let wide = usize::from(area.width);
        let texts = text::wrap(&line.message, wide).into_iter().map(|line| (line, Role::Text));
        let fields = text::wrap(&fields.join(" "), wide).into_iter().map(|line| (line, Role::Dim));
        for (index, (line, role)) in texts.chain(fields).enumerate() {
            canvas.row(area, cells(index) + 2, &line, role);
        }
    }

    fn state_line(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let state = match self.paused_at {
            Some(at) => format!(
                "Paused, {} wait",
                text::grouped((self.gone + self.lines.len()).saturating_sub(at) as u64)
            ),
            None if self.still => "Still (F follows)".to_owned(),
            None => "Following".to_owned(),
        };
        let words = if self.filter.typing() { self.filter.shown() } else { self.filter.words().to_owned() };
        let words = if words.is_empty() { "everything".to_owned() } else { words };
        canvas.spans(
            area,
            0,
            &[
                (format!("{state}  "), Role::Good),
                (words, if self.filter.typing() { Role::Key } else { Role::Text }),
            ],
        );
        let counts = format!(
            "{} lines, dropped {}",
            text::grouped(self.lines.len() as u64),
            text::grouped(self.dropped)
        );
        canvas.right(area, 0, &counts, if self.dropped > 0 { Role::Warn } else { Role::Dim });
        canvas.row(area, 1, &self.note, Role::Bad);
    }
}

const fn role(level: Level) -> Role {
    match level {
        Level::Trace | Level::Debug => Role::Dim,
        Level::Info => Role::Text,
        Level::Warn => Role::Warn,
        Level::Error => Role::Bad,
    }
}

fn row(shown: &Shown, cut: &str) -> Vec<Span> {
    match shown {
        Shown::Gap(words) => {
            vec![(format!("{cut} {words} {cut}"), Role::Warn)]
        }
        Shown::Line(line) => {
            let route =
                line.fields.get("route").or_else(|| line.fields.get("consumer")).cloned().unwrap_or_default();
            vec![
                (clock::time_with_millis(line.at_unix_ms), Role::Dim),
                (report::level(line.level).to_owned(), role(line.level)),
                (line.target.clone(), Role::Dim),
                (route, Role::Accent),
                (line.message.clone(), Role::Text),
            ]
        }
    }
}

impl Screen for Logs {
    fn places(&self) -> Vec<Place> {
        vec![Place::On(ScreenId::Logs), Place::Rows]
    }

    fn asks(&self) -> Vec<Ask> {
        Vec::new()
    }

    fn typed(&mut self, _world: &World, key: Key) -> Option<Vec<Act>> {
        let before = self.filter.words().to_owned();
        let applied = self.filter.key(key)?;
        if !applied {
            return Some(Vec::new());
        }
        let words = self.filter.words().to_owned();
        let acts = self.query(&words);
        if !self.note.is_empty() {
            // Not understood: what ran goes on, and the line is open again with what was typed.
            self.filter.open();
            let typed = std::mem::take(&mut self.filter);
            self.filter.set(&before);
            self.filter.reopen(typed);
        }
        Some(acts)
    }

    fn paste(&mut self, text: &str) {
        self.filter.paste(text);
    }

    fn same_as(&self) -> String {
        super::line("logs -f", self.filter.words())
    }

    fn act(&mut self, _world: &World, cmd: Cmd) -> Vec<Act> {
        self.note.clear();
        let count = self.end() - self.gone;
        let mut cursor = Cursor::at(self.selected.saturating_sub(self.gone));
        if cursor.moved(cmd, count) {
            self.selected = self.gone + cursor.index(count);
            self.still = cmd != Cmd::Last;
            return Vec::new();
        }
        match cmd {
            Cmd::Filter => self.filter.open(),
            Cmd::Pause if self.paused_at.is_some() => self.paused_at = None,
            Cmd::Pause => self.paused_at = Some(self.end()),
            Cmd::Follow => {
                (self.paused_at, self.still) = (None, false);
                self.selected = self.end().saturating_sub(1);
            }
            Cmd::Level => return self.level(),
            Cmd::NextMatch => self.find(true),
            Cmd::PreviousMatch => self.find(false),
            Cmd::SameRequest | Cmd::SameError | Cmd::SameRoute => return self.story(cmd),
            Cmd::Back if !self.filter.words().is_empty() => return self.query(""),
            Cmd::Copy => {
                let line = self.line().map(|line| report::log_item(&LogItem::Line(line.clone())));
                return line.into_iter().map(|line| Act::Do(Effect::Copy(line))).collect();
            }
            Cmd::Export => {
                let lines = self.lines.iter().map(|shown| match shown {
                    Shown::Line(line) => report::log_item(&LogItem::Line((**line).clone())),
                    Shown::Gap(words) => format!("... {words} ..."),
                });
                return vec![Act::Do(Effect::Export(lines.collect::<Vec<_>>().join("\n")))];
            }
            _ => {}
        }
        Vec::new()
    }

    fn draw(&self, _world: &World, canvas: &mut Canvas<'_>, area: Rect) {
        let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        self.state_line(canvas, area);
        let detail = if area.height >= 14 { 5 } else { 0 };
        let list = top(below(area, 2), area.height.saturating_sub(2 + detail));
        let height = usize::from(list.height.saturating_sub(1));
        // Only the lines around the selection are made into rows.
        let count = self.end() - self.gone;
        let cursor = Cursor::at(self.selected.saturating_sub(self.gone));
        let first = cursor.first_seen(count, height);
        let cut = canvas.look.glyphs.cut();
        let rows: Vec<_> =
            self.lines.iter().take(count).skip(first).take(height).map(|shown| row(shown, cut)).collect();
        let here = Cursor::at(cursor.index(count).saturating_sub(first));
        table::draw(canvas, list, &COLUMNS, &rows, Some(here));
        if detail > 0 {
            self.detail(canvas, below(area, area.height - detail));
        }
    }
}
