//! Rows in columns, one of them selected; columns that do not fit are left out from the right.

use crate::canvas::{Canvas, Span, below};
use crate::text;
use crate::theme::Role;
use crate::widgets::cursor::Cursor;
use ratatui::layout::Rect;

/// A column; the last one that fits takes what is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) width: u16,
    pub(crate) right: bool,
}

/// A column with its text at the left.
pub(crate) const fn left(head: &'static str, width: u16) -> Column {
    Column { head, width, right: false }
}

/// A column with its numbers at the right.
pub(crate) const fn right(head: &'static str, width: u16) -> Column {
    Column { head, width, right: true }
}

fn cell(text: &str, column: Column, wide: u16, cut: &str) -> String {
    let fitted = text::fit(text, usize::from(wide), cut);
    let pad = " ".repeat(usize::from(wide).saturating_sub(text::width(&fitted)));
    if column.right { format!("{pad}{fitted}") } else { format!("{fitted}{pad}") }
}

/// Columns with the widths they get in so many cells.
fn widths(columns: &[Column], cells: u16) -> Vec<(Column, u16)> {
    let mut left = cells.saturating_sub(2);
    let mut fitted: Vec<(Column, u16)> = Vec::new();
    for column in columns {
        if left == 0 || (column.width > left && !fitted.is_empty() && left < 8) {
            break;
        }
        let wide = column.width.min(left);
        fitted.push((*column, wide));
        left = left.saturating_sub(wide + 2);
    }
    if let Some((column, wide)) = fitted.last_mut().filter(|(column, _)| !column.right) {
        *wide = (*wide + left).max(column.width.min(*wide));
    }
    fitted
}

/// What stands before a column; the mark of the selection takes the first one's place.
const GAP: &str = "  ";

/// Draws head and rows; each row is cells with their roles.
pub(crate) fn draw(
    canvas: &mut Canvas<'_>,
    area: Rect,
    columns: &[Column],
    rows: &[Vec<Span>],
    cursor: Option<Cursor>,
) {
    let fitted = widths(columns, area.width);
    let cut = canvas.look.glyphs.cut();
    let mut head: Vec<Span> = Vec::new();
    for (column, wide) in &fitted {
        head.push((GAP.to_owned(), Role::Dim));
        head.push((cell(column.head, *column, *wide, cut), Role::Dim));
    }
    canvas.spans(area, 0, &head);
    let body = below(area, 1);
    let height = usize::from(body.height);
    let first = cursor.map_or(0, |cursor| cursor.first_seen(rows.len(), height));
    for (index, row) in rows.iter().enumerate().skip(first).take(height) {
        let at = crate::canvas::cells(index - first);
        let selected = cursor.is_some_and(|cursor| cursor.index(rows.len()) == index);
        let mark = if selected { "> " } else { "  " };
        let mut spans: Vec<Span> = Vec::new();
        // A row of one cell is a remark and takes the whole width.
        if let [(text, role)] = row.as_slice() {
            spans.push((format!("{mark}{text}"), *role));
        }
        let columns = fitted.iter().filter(|_| row.len() > 1);
        for (index, ((column, wide), (text, role))) in columns.zip(row).enumerate() {
            let before = if index == 0 { mark } else { GAP };
            spans.push((before.to_owned(), Role::Key));
            spans.push((cell(text, *column, *wide, cut), *role));
        }
        canvas.spans(body, at, &spans);
        if selected {
            canvas.paint(body, at, Role::Selected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_leave_from_the_right() {
        let columns = [left("NAME", 10), right("REQ/s", 8), left("POLICIES", 30)];
        assert_eq!(widths(&columns, 80).len(), 3);
        assert_eq!(widths(&columns, 24).len(), 2);
        assert_eq!(widths(&columns, 3).len(), 1);
        assert!(widths(&columns, 0).is_empty());
    }
}
