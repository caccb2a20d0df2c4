//! Parameters of a runbook, asked one by one, completed from live data.

use crate::canvas::{Canvas, cells};
use crate::event::Key;
use crate::text;
use crate::theme::Role;
use crate::widgets::input::Line;
use gatehouse_common::runbook::{Param, ParamKind, RunbookSpec};
use ratatui::layout::Rect;
use std::collections::BTreeMap;

/// Proposals shown below the line.
const SHOWN: usize = 8;

/// What a key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open,
    Left,
    /// All are given.
    Complete,
}

/// What parameters are completed from.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    pub(crate) consumers: Vec<&'a str>,
    pub(crate) backups: Vec<&'a str>,
}

/// The questions under way.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) spec: RunbookSpec,
    pub(crate) given: BTreeMap<String, String>,
    skipped: Vec<String>,
    line: Line,
    chosen: Option<usize>,
    note: String,
}

impl Asking {
    /// Asks for what is not given yet.
    pub(crate) fn of(spec: RunbookSpec, given: BTreeMap<String, String>) -> Self {
        Self { spec, given, skipped: Vec::new(), line: Line::default(), chosen: None, note: String::new() }
    }

    /// The parameter being asked.
    pub(crate) fn current(&self) -> Option<&Param> {
        self.spec
            .params
            .iter()
            .find(|param| !self.given.contains_key(&param.name) && !self.skipped.contains(&param.name))
    }

    /// Live names that fit what is typed.
    fn proposals<'a>(&self, names: &Names<'a>) -> Vec<&'a str> {
        let known: &[&'a str] = match self.current().map(|param| &param.kind) {
            Some(ParamKind::Consumer) => &names.consumers,
            Some(ParamKind::Backup) => &names.backups,
            _ => &[],
        };
        let typed = self.line.text().trim();
        let mut fit: Vec<&str> = known.iter().copied().filter(|name| name.contains(typed)).collect();
        // Those that begin so first; each in the order in which the daemon told them.
        fit.sort_by_key(|name| !name.starts_with(typed));
        fit.truncate(SHOWN);
        fit
    }

    /// Takes a key.
    pub(crate) fn key(&mut self, key: Key, names: &Names<'_>) -> Outcome {
        self.note.clear();
        let proposals = self.proposals(names);
        match key {
            Key::Esc | Key::Ctrl('c') => return Outcome::Left,
            Key::Tab => {
                if let Some(first) = proposals.get(self.chosen.unwrap_or(0)) {
                    self.line = Line::of(first);
                }
            }
            Key::Down if !proposals.is_empty() => {
                self.chosen = Some(self.chosen.map_or(0, |at| (at + 1).min(proposals.len() - 1)));
            }
            Key::Up => self.chosen = self.chosen.and_then(|at| at.checked_sub(1)),
            Key::Enter => return self.enter(&proposals),
            key => {
                self.line.key(key);
                self.chosen = None;
            }
        }
        Outcome::Open
    }

    fn enter(&mut self, proposals: &[&str]) -> Outcome {
        let Some(param) = self.current().cloned() else { return Outcome::Complete };
        let chosen = self.chosen.and_then(|at| proposals.get(at)).map(|name| (*name).to_owned());
        let value = chosen.unwrap_or_else(|| self.line.text().trim().to_owned());
        if !value.is_empty() {
            self.given.insert(param.name, value);
        } else if param.required {
            self.note = format!("{} must be given", param.name);
            return Outcome::Open;
        } else {
            self.skipped.push(param.name);
        }
        self.line = Line::default();
        self.chosen = None;
        if self.current().is_some() { Outcome::Open } else { Outcome::Complete }
    }

    pub(crate) fn paste(&mut self, text: &str) {
        self.line.paste(text);
    }

    /// Draws the question.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, names: &Names<'_>) {
        let inner = canvas.framed(area, &self.spec.title, self.spec.tier.words());
        let about = text::wrap(&self.spec.about, usize::from(inner.width));
        let mut row = 1;
        for line in about.iter().take(6) {
            canvas.row(inner, row, line, Role::Text);
            row += 1;
        }
        row += 1;
        for (name, value) in &self.given {
            canvas.row(inner, row, &format!("{name}  {value}"), Role::Good);
            row += 1;
        }
        if let Some(param) = self.current() {
            let must = if param.required { "" } else { "  (Enter skips)" };
            canvas.row(inner, row, &format!("{}{must}", param.help), Role::Dim);
            canvas.spans(
                inner,
                row + 1,
                &[(format!("{}:  ", param.name), Role::Key), (self.line.shown(), Role::Heading)],
            );
            row += 2;
        }
        for (index, name) in self.proposals(names).into_iter().enumerate() {
            let (mark, role) = if self.chosen == Some(index) { ("> ", Role::Key) } else { ("  ", Role::Dim) };
            canvas.row(inner, row + cells(index), &format!("  {mark}{name}"), role);
        }
        canvas.row(inner, inner.height.saturating_sub(1), &self.note, Role::Warn);
    }
}
