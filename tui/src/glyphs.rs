//! Signs: blocks and lines where the terminal has them, ASCII elsewhere.

/// The set in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glyphs {
    pub(crate) ascii: bool,
}

/// The pieces of a box.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) across: char,
    pub(crate) down: char,
    pub(crate) top_left: char,
    pub(crate) top_right: char,
    pub(crate) bottom_left: char,
    pub(crate) bottom_right: char,
}

impl Glyphs {
    /// Steps of a chart, lowest first; the first is nothing at all.
    pub(crate) const fn bars(self) -> &'static [char] {
        if self.ascii {
            &[' ', '.', ':', '-', '=', '+', '*', '#', '%']
        } else {
            &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        }
    }

    /// Steps of a heat map.
    pub(crate) const fn shades(self) -> &'static [char] {
        if self.ascii { &[' ', '.', ':', '#'] } else { &[' ', '░', '▒', '▓'] }
    }

    /// The lines of boxes and rules.
    pub(crate) const fn lines(self) -> Lines {
        if self.ascii {
            Lines {
                across: '-',
                down: '|',
                top_left: '+',
                top_right: '+',
                bottom_left: '+',
                bottom_right: '+',
            }
        } else {
            Lines {
                across: '─',
                down: '│',
                top_left: '┌',
                top_right: '┐',
                bottom_left: '└',
                bottom_right: '┘',
            }
        }
    }

    /// Marks text that was cut.
    pub(crate) const fn cut(self) -> &'static str {
        if self.ascii { "~" } else { "…" }
    }

    /// The empty part of a meter.
    pub(crate) const fn empty(self) -> char {
        if self.ascii { '.' } else { '·' }
    }

    /// The full part of a meter.
    pub(crate) const fn full(self) -> char {
        if self.ascii { '#' } else { '█' }
    }
}
