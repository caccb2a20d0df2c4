//! One line being typed.

use crate::event::Key;

/// Longest line, bytes: the longest reason that is kept.
const MOST: usize = gatehouse_common::limits::REASON_BYTES;

/// The line and where the cursor stands, in characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    text: String,
    at: usize,
}

impl Line {
    /// A line that begins with a text.
    pub(crate) fn of(text: &str) -> Self {
        Self { text: text.to_owned(), at: text.chars().count() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn byte(&self, at: usize) -> usize {
        self.text.char_indices().nth(at).map_or(self.text.len(), |(byte, _)| byte)
    }

    fn insert(&mut self, c: char) {
        if self.text.len() + c.len_utf8() <= MOST && !c.is_control() {
            self.text.insert(self.byte(self.at), c);
            self.at += 1;
        }
    }

    fn remove(&mut self, at: usize) {
        if at < self.text.chars().count() {
            self.text.remove(self.byte(at));
        }
    }

    /// Takes a key; false if it is none of the line's.
    pub(crate) fn key(&mut self, key: Key) -> bool {
        match key {
            Key::Char(c) => self.insert(c),
            Key::Backspace if self.at > 0 => {
                self.at -= 1;
                self.remove(self.at);
            }
            Key::Delete => self.remove(self.at),
            Key::Left => self.at = self.at.saturating_sub(1),
            Key::Right => self.at = (self.at + 1).min(self.text.chars().count()),
            Key::Home | Key::Ctrl('a') => self.at = 0,
            Key::End | Key::Ctrl('e') => self.at = self.text.chars().count(),
            Key::Ctrl('u') => *self = Self::default(),
            Key::Ctrl('w') => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |byte| byte + 1);
                *self = Self::of(self.text.get(..kept).unwrap_or_default());
            }
            Key::Backspace => {}
            _ => return false,
        }
        true
    }

    /// Takes pasted text, line ends as blanks.
    pub(crate) fn paste(&mut self, text: &str) {
        text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).for_each(|c| self.insert(c));
    }

    /// The line with a mark where the cursor stands.
    pub(crate) fn shown(&self) -> String {
        let byte = self.byte(self.at);
        let (before, after) = self.text.split_at_checked(byte).unwrap_or((&self.text, ""));
        format!("{before}_{after}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits() {
        let mut line = Line::of("ab");
        for key in [Key::Left, Key::Char('é'), Key::Right, Key::Char('c'), Key::Home, Key::Delete] {
            assert!(line.key(key));
        }
        assert_eq!(line.shown(), "_ébc");
        line.paste(" x\ny");
        assert!(!line.key(Key::Enter));
        assert!(line.key(Key::End) && line.key(Key::Ctrl('w')));
        assert_eq!(line.text(), " x ");
    }
}
