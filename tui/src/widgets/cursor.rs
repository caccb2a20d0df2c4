//! Which row is selected, and which rows are seen.

use crate::commands::Cmd;

/// Rows a page key moves.
const PAGE: usize = 10;

/// A selection in rows that may come and go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    index: usize,
}

impl Cursor {
    /// At this row.
    pub(crate) const fn at(index: usize) -> Self {
        Self { index }
    }

    /// The selected row of so many.
    pub(crate) fn index(self, rows: usize) -> usize {
        self.index.min(rows.saturating_sub(1))
    }

    /// Moves; false if the command is none of moving.
    pub(crate) fn moved(&mut self, cmd: Cmd, rows: usize) -> bool {
        let index = self.index(rows);
        self.index = match cmd {
            Cmd::Up => index.saturating_sub(1),
            Cmd::Down => index + 1,
            Cmd::PageUp => index.saturating_sub(PAGE),
            Cmd::PageDown => index + PAGE,
            Cmd::First => 0,
            Cmd::Last => rows,
            _ => return false,
        }
        .min(rows.saturating_sub(1));
        true
    }

    /// The first row seen when so many fit.
    pub(crate) fn first_seen(self, rows: usize, height: usize) -> usize {
        let index = self.index(rows);
        if height == 0 || index < height { 0 } else { (index + 1 - height).min(rows.saturating_sub(height)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside() {
        let mut cursor = Cursor::default();
        assert!(cursor.moved(Cmd::Up, 0) && cursor.moved(Cmd::Last, 3));
        assert_eq!((cursor.index(3), cursor.index(0)), (2, 0));
        assert_eq!(Cursor::at(9).first_seen(20, 5), 5);
        assert!(!cursor.moved(Cmd::Open, 3));
    }
}
