//! A filter over rows: typed after `/`, kept until emptied.

use crate::event::Key;
use crate::widgets::input::Line;

/// The words, and the line while it is typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    line: Option<Line>,
    words: String,
}

impl Filter {
    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    pub(crate) fn set(&mut self, words: &str) {
        words.clone_into(&mut self.words);
        self.line = None;
    }

    /// Begins typing.
    pub(crate) fn open(&mut self) {
        self.line = Some(Line::of(&self.words));
    }

    /// Goes on typing what another filter was typing.
    pub(crate) fn reopen(&mut self, other: Self) {
        self.line = other.line;
    }

    pub(crate) const fn typing(&self) -> bool {
        self.line.is_some()
    }

    /// Takes a key while typing; `Some(true)` when the words are to be applied.
    pub(crate) fn key(&mut self, key: Key) -> Option<bool> {
        let line = self.line.as_mut()?;
        match key {
            Key::Esc | Key::Ctrl('c') => self.line = None,
            Key::Enter => {
                self.words = line.text().trim().to_owned();
                self.line = None;
                return Some(true);
            }
            key => {
                line.key(key);
            }
        }
        Some(false)
    }

    pub(crate) fn paste(&mut self, text: &str) {
        if let Some(line) = &mut self.line {
            line.paste(text);
        }
    }

    /// Whether a row passes: each word occurs in it.
    pub(crate) fn passes(&self, row: &str) -> bool {
        let row = row.to_lowercase();
        self.words.to_lowercase().split_whitespace().all(|word| row.contains(word))
    }

    /// The line as it is shown; empty when there is no filter.
    pub(crate) fn shown(&self) -> String {
        match &self.line {
            Some(line) => format!("/ {}", line.shown()),
            None if self.words.is_empty() => String::new(),
            None => format!("/ {}", self.words),
        }
    }
}
