//! HTTP/1.1 (RFC 9112), the grammar both sides share: bodies, heads' parts, field names. Pure: bytes in any pieces.

#[cfg(test)]
mod against_hyper;
pub(crate) mod body;
pub(crate) mod fields;

/// Bytes that break the grammar or the bounds. What it was is for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Wrong(pub(crate) &'static str);

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none, whatever the fields say.
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// A field of a head: where its name and its value begin and end.
pub(crate) type Span = [u32; 4];

/// The span of a name and a value that lie in these bytes. A head is bounded far below `u32::MAX`.
pub(crate) fn span(bytes: &[u8], name: &[u8], value: &[u8]) -> Span {
    let place = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    let (at, end) = (place(name), place(name) + name.len());
    // An empty value may point anywhere.
    let (from, to) = if value.is_empty() { (0, 0) } else { (place(value), place(value) + value.len()) };
    [at, end, from, to].map(|place| u32::try_from(place).unwrap_or(u32::MAX))
}

/// Whether an empty line is among these bytes.
pub(crate) fn ends(bytes: &[u8]) -> bool {
    let empty = |at| matches!(bytes.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..]));
    memchr::memchr_iter(b'\n', bytes).any(empty)
}

/// Digits and nothing else: no sign, no space, no list.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in text {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (!text.is_empty()).then_some(number)
}
