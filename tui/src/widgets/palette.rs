//! The palette: any screen or runbook by any part of its words. What may not be used stays, with the reason.

use crate::canvas::{Canvas, below, cells};
use crate::event::Key;
use crate::screens::ScreenId;
use crate::theme::Role;
use crate::widgets::cursor::Cursor;
use crate::widgets::input::Line;
use ratatui::layout::Rect;
use std::collections::BTreeMap;

/// Where an entry leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Screen(ScreenId),
    Runbook(String, BTreeMap<String, String>),
    Logs(String),
}

/// One entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) words: String,
    pub(crate) about: String,
    pub(crate) target: Target,
    /// Why it cannot be used now.
    pub(crate) reason: Option<String>,
}

/// What a key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open,
    Closed,
    Chosen(Target),
}

/// The palette under way.
#[derive(Debug, Clone)]
pub(crate) struct Palette {
    title: String,
    entries: Vec<Entry>,
    line: Line,
    cursor: Cursor,
}

impl Palette {
    pub(crate) fn of(title: &str, entries: Vec<Entry>) -> Self {
        Self { title: title.to_owned(), entries, line: Line::default(), cursor: Cursor::default() }
    }

    /// Every typed word must occur in order of its letters; whole parts first.
    fn found(&self) -> Vec<&Entry> {
        let typed = self.line.text().to_lowercase();
        let mut scored: Vec<(usize, &Entry)> = Vec::new();
        for entry in &self.entries {
            let words = format!("{} {}", entry.words, entry.about).to_lowercase();
            let whole = typed.split_whitespace().all(|part| words.contains(part));
            let mut letters = entry.words.chars().flat_map(char::to_lowercase);
            let fuzzy = typed.chars().filter(|c| !c.is_whitespace()).all(|c| letters.any(|other| other == c));
            if whole || fuzzy {
                let place = entry.words.to_lowercase().find(typed.trim()).unwrap_or(100);
                scored.push((place + usize::from(!whole) * 100, entry));
            }
        }
        scored.sort_by_key(|(score, _)| *score);
        scored.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Takes a key.
    pub(crate) fn key(&mut self, key: Key) -> Outcome {
        let rows = self.found().len();
        match key {
            Key::Esc | Key::Ctrl('c') => return Outcome::Closed,
            Key::Up => {
                self.cursor.moved(crate::commands::Cmd::Up, rows);
            }
            Key::Down | Key::Tab => {
                self.cursor.moved(crate::commands::Cmd::Down, rows);
            }
            Key::Enter => {
                let chosen = self.found().get(self.cursor.index(rows)).copied().cloned();
                return match chosen {
                    Some(entry) if entry.reason.is_none() => Outcome::Chosen(entry.target),
                    _ => Outcome::Open,
                };
            }
            key => {
                self.line.key(key);
                self.cursor = Cursor::default();
            }
        }
        Outcome::Open
    }

    pub(crate) fn paste(&mut self, text: &str) {
        self.line.paste(text);
    }

    /// Draws it above everything.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        canvas.clear(area);
        let inner = canvas.framed(area, &self.title, "Enter go   Esc close");
        canvas.spans(inner, 0, &[(": ".to_owned(), Role::Key), (self.line.shown(), Role::Heading)]);
        let body = below(inner, 1);
        let found = self.found();
        let height = usize::from(body.height);
        let first = self.cursor.first_seen(found.len(), height);
        for (index, entry) in found.iter().enumerate().skip(first).take(height) {
            let selected = self.cursor.index(found.len()) == index;
            let role = if entry.reason.is_some() { Role::Dim } else { Role::Text };
            let about = entry.reason.as_deref().unwrap_or(&entry.about);
            let row = cells(index - first);
            canvas.spans(
                body,
                row,
                &[
                    (if selected { "> " } else { "  " }.to_owned(), Role::Key),
                    (format!("{:<24} ", entry.words), role),
                    (about.to_owned(), Role::Dim),
                ],
            );
            if selected {
                canvas.paint(body, row, Role::Selected);
            }
        }
    }
}
