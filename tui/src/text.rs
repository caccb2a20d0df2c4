//! Text from outside: nothing in it may move the cursor, turn the line or hide.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Marks that reorder or join without being seen; a name must not look like another.
const fn hides(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

fn push_clean(out: &mut String, c: char) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    let _written = match c {
        c if c.is_control() => write!(out, "\\x{:02x}", u32::from(c)),
        c if hides(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        // Combining marks alone have no cell of their own and stack without end.
        c if c.width() == Some(0) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        c => {
            out.push(c);
            Ok(())
        }
    };
}

/// The text with control characters, direction and zero-width marks spelt out.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_clean(&mut out, c));
    out
}

/// Cells the text takes once it is clean.
#[must_use]
pub fn width(text: &str) -> usize {
    clean(text).width()
}

/// At most `cells` wide; what was cut is marked with `mark`.
#[must_use]
pub fn fit(text: &str, cells: usize, mark: &str) -> String {
    let text = clean(text);
    if text.width() <= cells {
        return text;
    }
    let room = cells.saturating_sub(mark.width());
    let mut used = 0;
    let mut out = String::new();
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > room {
            break;
        }
        used += wide;
        out.push(c);
    }
    if mark.width() <= cells {
        out.push_str(mark);
    }
    out
}

/// Lines of at most `cells`, broken at blanks where there are any.
#[must_use]
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut begun = false;
    for word in clean(text).split(' ') {
        let mut rest = word.to_owned();
        if begun && line.width() + 1 + rest.width() > cells {
            lines.push(std::mem::take(&mut line));
            begun = false;
        }
        while rest.width() > cells {
            let head = fit(&rest, cells, "");
            if head.is_empty() {
                break;
            }
            rest = rest.get(head.len()..).unwrap_or_default().to_owned();
            lines.push(head);
        }
        if begun {
            line.push(' ');
        }
        line.push_str(&rest);
        begun = true;
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// `9841` as `9 841`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, c) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// The words of a list, nearest to what was typed.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|name| (strsim::jaro_winkler(typed, name), name));
    scored.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spells_out_what_hides() {
        assert_eq!(clean("a\x1b[31mb\n"), "a\\x1b[31mb\\x0a");
        assert_eq!(clean("user\u{202e}nimda\u{200b}"), "user\\u{202e}nimda\\u{200b}");
        assert_eq!(clean("e\u{301}\u{301}"), "e\\u{301}\\u{301}");
        assert_eq!(clean("宽 ok"), "宽 ok");
    }

    #[test]
    fn fits_and_wraps() {
        assert_eq!(fit("orders-rest", 7, "~"), "orders~");
        assert_eq!(fit("宽宽宽", 5, "~"), "宽宽~");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  ab  cd", 8), ["  ab  cd"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(nearest("tokns", ["tokens", "routes"].into_iter()), Some("tokens"));
    }

    proptest! {
        #[test]
        fn keeps_within_its_cells(text in ".{0,40}", cells in 0usize..30) {
            prop_assert!(fit(&text, cells, "…").width() <= cells);
            prop_assert!(wrap(&text, cells.max(10)).iter().all(|line| line.width() <= cells.max(10)));
            prop_assert!(!clean(&text).chars().any(char::is_control));
        }
    }
}
