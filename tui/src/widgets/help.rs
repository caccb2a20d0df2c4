//! The keys of this place, from the table of commands.

use crate::canvas::{Canvas, cells};
use crate::commands::{COMMANDS, Command, Place, applies, key_name};
use crate::event::Key;
use crate::theme::Role;
use crate::widgets::input::Line;
use ratatui::layout::Rect;

/// The help, and the words it is searched for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Help {
    search: Option<Line>,
    first: usize,
}

impl Help {
    /// Takes a key; false when it is to be closed.
    pub(crate) fn key(&mut self, key: Key) -> bool {
        match (&mut self.search, key) {
            (_, Key::Esc | Key::Ctrl('c')) => return false,
            (None, Key::Char('?' | 'q')) => return false,
            (None, Key::Char('/')) => self.search = Some(Line::default()),
            (_, Key::Down) | (None, Key::Char('j')) => self.first = (self.first + 1).min(COMMANDS.len()),
            (_, Key::Up) | (None, Key::Char('k')) => self.first = self.first.saturating_sub(1),
            (Some(_), Key::Enter) => self.search = None,
            (Some(line), key) => {
                line.key(key);
                self.first = 0;
            }
            _ => {}
        }
        true
    }

    /// Draws it above everything.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, places: &[Place]) {
        canvas.clear(area);
        let inner = canvas.framed(area, "Keys here", "/ search   Esc close");
        let words = self.search.as_ref().map(Line::text).unwrap_or_default().to_lowercase();
        let fits = |command: &&Command| applies(command, places) && command.words.contains(&words);
        let found: Vec<&Command> = COMMANDS.iter().filter(fits).collect();
        let mut row = 0;
        if let Some(line) = &self.search {
            canvas.spans(inner, 0, &[("search: ".to_owned(), Role::Key), (line.shown(), Role::Text)]);
            row = 1;
        }
        for (index, command) in found.iter().skip(self.first.min(found.len().saturating_sub(1))).enumerate() {
            let keys: Vec<_> = command.keys.iter().map(|key| key_name(*key)).collect();
            canvas.spans(
                inner,
                row + cells(index),
                &[(format!("{:<14}", keys.join(" ")), Role::Key), (command.words.to_owned(), Role::Text)],
            );
        }
    }
}
