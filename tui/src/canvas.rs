//! The only way into the cells: everything written here is clean, cut and inside.

use crate::text;
use crate::theme::{Look, Role};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// A piece of a line.
pub(crate) type Span = (String, Role);

/// A buffer with the look of this terminal.
#[derive(Debug)]
pub(crate) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    pub(crate) look: Look,
    /// All values are old: everything is drawn dim.
    pub(crate) grey: bool,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(buffer: &'a mut Buffer, look: Look) -> Self {
        Self { buffer, look, grey: false }
    }

    fn style(&self, role: Role) -> Style {
        let keeps = matches!(role, Role::Selected | Role::Key);
        self.look.style(if self.grey && !keeps { Role::Dim } else { role })
    }

    /// Writes at most `cells` cells and gives the column after the text.
    pub(crate) fn text(&mut self, at: (u16, u16), cells: u16, text: &str, role: Role) -> u16 {
        let area = self.buffer.area;
        let (x, y) = at;
        if x < area.left() || x >= area.right() || y < area.top() || y >= area.bottom() {
            return x;
        }
        let cells = cells.min(area.right() - x);
        let mut fitted = text::fit(text, usize::from(cells), self.look.glyphs.cut());
        if self.look.glyphs.ascii {
            fitted = fitted.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        }
        let style = self.style(role);
        self.buffer.set_stringn(x, y, fitted, usize::from(cells), style).0
    }

    /// Writes a line of spans into a row of an area, `indent` cells from its left.
    pub(crate) fn spans(&mut self, area: Rect, row: u16, spans: &[Span]) -> u16 {
        let mut x = area.x;
        if row >= area.height {
            return x;
        }
        for (text, role) in spans {
            let room = area.right().saturating_sub(x);
            if room == 0 {
                break;
            }
            x = self.text((x, area.y + row), room, text, *role);
        }
        x
    }

    /// One text in a row of an area.
    pub(crate) fn row(&mut self, area: Rect, row: u16, text: &str, role: Role) {
        if row < area.height {
            self.text((area.x, area.y + row), area.width, text, role);
        }
    }

    /// Text that ends at the right edge.
    pub(crate) fn right(&mut self, area: Rect, row: u16, text: &str, role: Role) {
        let wide = u16::try_from(text::width(text)).unwrap_or(u16::MAX).min(area.width);
        if row < area.height {
            self.text((area.right() - wide, area.y + row), wide, text, role);
        }
    }

    /// Sets the style of a whole row, for the selection.
    pub(crate) fn paint(&mut self, area: Rect, row: u16, role: Role) {
        if row < area.height {
            let style = self.style(role);
            self.buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, style);
        }
    }

    /// A rule across an area's row.
    pub(crate) fn rule(&mut self, area: Rect, row: u16) {
        if row < area.height {
            let line = self.look.glyphs.lines().across.to_string().repeat(usize::from(area.width));
            self.own((area.x, area.y + row), &line, Role::Border);
        }
    }

    /// Writes signs of ours, which are clean by making.
    fn own(&mut self, at: (u16, u16), text: &str, role: Role) {
        let area = self.buffer.area;
        if at.0 < area.right() && at.1 < area.bottom() {
            let style = self.style(role);
            let room = usize::from(area.right() - at.0);
            self.buffer.set_stringn(at.0, at.1, text, room, style);
        }
    }

    /// Empties an area, for what lies above others.
    pub(crate) fn clear(&mut self, area: Rect) {
        let blank = " ".repeat(usize::from(area.width));
        for row in 0..area.height {
            self.own((area.x, area.y + row), &blank, Role::Text);
            let whole = Rect { y: area.y + row, height: 1, ..area }.intersection(self.buffer.area);
            self.buffer.set_style(whole, Style::reset());
        }
    }

    /// A box with a title left and one right; gives the area inside.
    pub(crate) fn framed(&mut self, area: Rect, title: &str, right: &str) -> Rect {
        if area.width < 4 || area.height < 2 {
            return Rect { width: 0, height: 0, ..area };
        }
        let lines = self.look.glyphs.lines();
        let across = lines.across.to_string().repeat(usize::from(area.width - 2));
        self.own((area.x, area.y), &format!("{}{across}{}", lines.top_left, lines.top_right), Role::Border);
        let bottom = format!("{}{across}{}", lines.bottom_left, lines.bottom_right);
        self.own((area.x, area.bottom() - 1), &bottom, Role::Border);
        for y in area.y + 1..area.bottom() - 1 {
            self.own((area.x, y), &lines.down.to_string(), Role::Border);
            self.own((area.right() - 1, y), &lines.down.to_string(), Role::Border);
        }
        let head = Rect { x: area.x + 2, y: area.y, width: area.width - 4, height: 1 };
        if !right.is_empty() {
            self.right(head, 0, &format!(" {right} "), Role::Dim);
        }
        if !title.is_empty() {
            let room = head.width.saturating_sub(u16::try_from(text::width(right)).unwrap_or(0));
            self.text((head.x, head.y), room, &format!(" {title} "), Role::Heading);
        }
        Rect { x: area.x + 2, y: area.y + 1, width: area.width - 4, height: area.height - 2 }
    }
}

/// An area without its first `rows` rows.
pub(crate) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// The first `rows` rows of an area.
pub(crate) fn top(area: Rect, rows: u16) -> Rect {
    Rect { height: rows.min(area.height), ..area }
}

/// An area cut in two side by side, the left one `cells` wide.
pub(crate) fn beside(area: Rect, cells: u16) -> (Rect, Rect) {
    let left = cells.min(area.width);
    (Rect { width: left, ..area }, Rect { x: area.x + left, width: area.width - left, ..area })
}

/// A count of rows or cells as the terminal counts.
pub(crate) fn cells(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glyphs::Glyphs;
    use crate::theme::Colours;

    fn look(ascii: bool) -> Look {
        Look { colours: Colours::None, glyphs: Glyphs { ascii }, frame_ms: 33, synchronised: false }
    }

    #[test]
    fn nothing_raw_reaches_a_cell() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 40, 2));
        let mut canvas = Canvas::new(&mut buffer, look(true));
        canvas.text((0, 0), 40, "a\x1b[2J\u{202e}b\u{9b}31m宽", Role::Text);
        canvas.text((39, 0), 9, "宽宽", Role::Text);
        canvas.text((90, 90), 9, "outside", Role::Text);
        let symbols: String = buffer.content().iter().map(|cell| cell.symbol()).collect();
        assert!(symbols.is_ascii() && !symbols.chars().any(char::is_control), "{symbols:?}");
    }
}
