//! Short texts of an access record. A worker makes them and the records' writer ends them, and memory that one thread
//! takes and another gives back is malloc's slow way; so what fits lies in the text itself.

use std::fmt;
use std::ops::Deref;

/// Longest text without memory of its own: an id, an address, most names.
const INLINE_BYTES: usize = 38;

/// A text that is written once.
#[derive(Clone)]
pub struct Text(Place);

#[derive(Clone)]
enum Place {
    Here(u8, [u8; INLINE_BYTES]),
    There(Box<str>),
}

impl Default for Text {
    fn default() -> Self {
        Self(Place::Here(0, [0; INLINE_BYTES]))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(text.as_bytes());
                Self(Place::Here(length, bytes))
            }
            _ => Self(Place::There(text.into())),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            // It was made from a text.
            Place::Here(length, bytes) => bytes
                .get(..usize::from(*length))
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or(""),
            Place::There(text) => text,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panics_and_comes_back(text in ".{0,60}") {
            let made = Text::from(&*text);
            prop_assert_eq!(&*made, &*text);
            prop_assert_eq!(made.to_string(), text);
        }
    }

    #[test]
    fn empty_by_default() {
        assert!(Text::default().is_empty());
    }
}
