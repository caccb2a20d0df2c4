//! Short texts of an access record. A worker makes them and the records' writer ends them, and memory that one thread
//! takes and another gives back is malloc's slow way; so what fits lies in the text itself.

use arrayvec::ArrayString;
use std::fmt;
use std::ops::Deref;

/// Longest text without memory of its own, bytes: an id, an address, most names.
const INLINE_BYTES: usize = 36;

/// A text that is written once.
#[derive(Clone)]
pub struct Text(Place);

#[derive(Clone)]
enum Place {
    Here(ArrayString<INLINE_BYTES>),
    There(Box<str>),
}

impl Default for Text {
    fn default() -> Self {
        Self(Place::Here(ArrayString::new()))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(ArrayString::from(text).map_or_else(|_| Place::There(text.into()), Place::Here))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Place::Here(text) => text,
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
