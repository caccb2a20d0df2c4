//! The terminal's clipboard by OSC 52: works over SSH, asks nothing of the box.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most that terminals take.
const MOST_BYTES: usize = 74_994;

/// The bytes that put a text into the clipboard; `None` if it is too long for terminals.
pub(crate) fn osc52(text: &str, multiplexer: bool) -> Option<String> {
    let encoded = STANDARD.encode(text);
    if encoded.len() > MOST_BYTES {
        return None;
    }
    let plain = format!("\x1b]52;c;{encoded}\x07");
    // A multiplexer passes on what is wrapped for it.
    Some(if multiplexer { format!("\x1bPtmux;{}\x1b\\", plain.replace('\x1b', "\x1b\x1b")) } else { plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_caps() {
        assert_eq!(osc52("hi", false).unwrap(), "\x1b]52;c;aGk=\x07");
        assert_eq!(osc52("hi", true).unwrap(), "\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\");
        assert!(osc52(&"x".repeat(60_000), false).is_none());
    }
}
