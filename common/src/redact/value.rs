//! Where the value of a field ends, in text of whatever kind: a header line, a query, JSON, a debug print.

/// What is known about a field before its value is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// A header whose value has blanks and separators: it ends with its line.
    pub(super) line: bool,
    /// The quote that name and value stand in together: `"token=abc"`.
    pub(super) within: Option<u8>,
}

/// The end of a value that begins at `start`, which is not a blank. Always at an ASCII byte or the end of the text.
pub(super) fn end(text: &[u8], start: usize, shape: Shape) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let length = match quote(rest) {
        Some((slashes, mark)) => quoted(rest, slashes, mark),
        None => match opening(rest) {
            Some(at) => {
                let close = brackets(rest, at);
                // What goes on behind the bracket belongs to it: a secret may begin with one.
                let behind = rest.get(close..).unwrap_or_default();
                if is_over(behind) { close } else { close + plain(behind, shape) }
            }
            None => plain(rest, shape),
        },
    };
    start + length
}

/// A value without its quotes, so that what was JSON stays it; with them if they do not close.
pub(super) fn inside(text: &[u8], start: usize, end: usize) -> (usize, usize) {
    let whole = text.get(start..end).unwrap_or_default();
    let Some((slashes, _)) = quote(whole) else { return (start, end) };
    let open = whole.get(..=slashes).unwrap_or_default();
    let closes = whole.len() >= 2 * open.len() && whole.ends_with(open);
    if closes { (start + open.len(), end - open.len()) } else { (start, end) }
}

/// Whether a structure's end is one: further closing brackets, and then nothing that could go on.
fn is_over(behind: &[u8]) -> bool {
    let closing = behind.iter().take_while(|byte| b")]}".contains(byte)).count();
    let next = |offset: usize| behind.get(closing + offset).copied();
    let blank =
        |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"'\\".contains(&byte));
    match next(0) {
        Some(b',' | b';') => blank(next(1)) || matches!(next(1), Some(b'{' | b'[' | b'(')),
        other => blank(other),
    }
}

/// A quote, with the backslashes before it.
pub(super) fn quote(text: &[u8]) -> Option<(usize, u8)> {
    let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
    let mark = *text.get(slashes)?;
    b"\"'`".contains(&mark).then_some((slashes, mark))
}

/// Length with both quotes. The closing one has as many backslashes as the opening one.
fn quoted(text: &[u8], slashes: usize, mark: u8) -> usize {
    let mut seen = 0;
    for (at, byte) in text.iter().enumerate().skip(slashes + 1) {
        match byte {
            b'\\' => seen += 1,
            byte if *byte == mark && seen == slashes => return at + 1,
            // An even number of backslashes escapes nothing but itself.
            byte if *byte == mark && slashes == 0 && seen % 2 == 0 => return at + 1,
            _ => seen = 0,
        }
    }
    text.len()
}

/// Where the first bracket of a structure is: `[`, `{`, `(`, or one behind a word as in `Some(`.
fn opening(text: &[u8]) -> Option<usize> {
    let is_word = text.first().is_some_and(u8::is_ascii_uppercase);
    let word = if is_word { text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count() } else { 0 };
    let bracket = text.get(word)?;
    let opens = if word == 0 { b"[{(".contains(bracket) } else { *bracket == b'(' };
    opens.then_some(word)
}

/// Length up to the bracket that closes the one at `at`.
fn brackets(text: &[u8], at: usize) -> usize {
    let (mut depth, mut index) = (0usize, at);
    while let Some(byte) = text.get(index) {
        let rest = text.get(index..).unwrap_or_default();
        if let Some((slashes, mark)) = quote(rest).filter(|(slashes, mark)| *mark == b'"' || *slashes > 0) {
            index += quoted(rest, slashes, mark);
            continue;
        }
        match byte {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // A run of backslashes without a quote behind it is looked at once.
        index += text.iter().skip(index).take_while(|byte| **byte == b'\\').count().max(1);
        if depth == 0 {
            return index;
        }
    }
    text.len()
}

/// Length of a value without quotes.
fn plain(text: &[u8], shape: Shape) -> usize {
    let ends = |at: usize, byte: u8| {
        let next = text.get(at + 1).copied();
        let closes = next.is_none_or(|next| next.is_ascii_whitespace() || b",:;)]}>\\\"'".contains(&next));
        match byte {
            b'\n' | b'\r' => true,
            byte if shape.within == Some(byte) => true,
            b'\\' => shape.within.is_none() && !shape.line && next == Some(b'"'),
            _ if shape.line => false,
            b'"' => closes,
            byte => byte == b'&' || byte.is_ascii_whitespace(),
        }
    };
    text.iter().enumerate().find(|(at, byte)| ends(*at, **byte)).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_end() {
        let line = Shape { line: true, within: None };
        let word = Shape { line: false, within: None };
        let inside = Shape { line: false, within: Some(b'"') };
        for (text, shape, value) in [
            ("abc def", word, "abc"),
            ("abc&x=1", word, "abc"),
            ("abc\",\"x\":1}", word, "abc"),
            ("ab\"cd e", word, "ab\"cd"),
            ("abc\\\",\\\"x", word, "abc"),
            ("a,b;c)d e", word, "a,b;c)d"),
            ("\"a b\\\"c\" d", word, "\"a b\\\"c\""),
            ("\"a\\\\\" d", word, "\"a\\\\\""),
            ("'a b' c", word, "'a b'"),
            ("\\\"a b\\\" c", word, "\\\"a b\\\""),
            ("\"open", word, "\"open"),
            ("[\"a b\", \"c]\"] d", word, "[\"a b\", \"c]\"]"),
            ("Some(\"a b\") c", word, "Some(\"a b\")"),
            ("{\"a\":{\"b\":1}},\"x\"", word, "{\"a\":{\"b\":1}}"),
            ("(ab)cd e", word, "(ab)cd"),
            ("();ab)]c e", word, "();ab)]c"),
            ("[open a", word, "[open a"),
            ("Bearer abc, x\nnext", line, "Bearer abc, x"),
            ("a=\"x\"; b=y", line, "a=\"x\"; b=y"),
            ("abc\" other", inside, "abc"),
            ("", word, ""),
        ] {
            assert_eq!(&text[..end(text.as_bytes(), 0, shape)], value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"[\\"'\[\](){}a &é\n]{0,40}"#, line in any::<bool>()) {
            let end = end(text.as_bytes(), 0, Shape { line, within: None });
            prop_assert!(text.is_char_boundary(end));
        }
    }
}
