//! Paths into JSON: `$.a.b[0].c`, with or without `$.`; bounded in depth and index.

use std::fmt;

/// Steps of one path.
const STEPS: usize = 32;
/// An index is below this: what `set` fills up to it stays small.
const INDEX: usize = 1_000;

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A field of an object.
    Field(String),
    /// An item of an array.
    Item(usize),
}

/// A parsed path; no steps are the whole value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |expected: &str| format!("{text:?}: expected {expected}");
        let mut rest = match text.strip_prefix('$') {
            Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => rest,
            // A field's name may begin with a dollar.
            _ if text.is_empty() => return Err(wrong("a path like $.a.b[0].c")),
            _ => text,
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (digits, after) = after.split_once(']').ok_or_else(|| wrong("a closing ]"))?;
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let index = digits.parse().ok().filter(|index| plain && *index < INDEX);
                steps.push(Step::Item(index.ok_or_else(|| wrong("an index from 0 to 999"))?));
                rest = after;
            } else {
                let dotted = rest.strip_prefix('.');
                if dotted.is_none() && !steps.is_empty() {
                    return Err(wrong("a dot or [ behind ]"));
                }
                let name_on = dotted.unwrap_or(rest);
                let end = name_on.find(['.', '[']).unwrap_or(name_on.len());
                let (name, after) = name_on.split_at(end);
                if name.is_empty() {
                    return Err(wrong("a name behind each dot"));
                }
                steps.push(Step::Field(name.to_owned()));
                rest = after;
            }
            if steps.len() > STEPS {
                return Err(wrong("at most 32 steps"));
            }
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        for (text, printed) in [
            ("$", ""),
            ("$.a", "a"),
            ("a.b[0].c", "a.b[0].c"),
            ("$.a.b[0].c", "a.b[0].c"),
            ("$[3]", "[3]"),
            ("[3][4].x", "[3][4].x"),
            ("$ref.a", "$ref.a"),
            ("$.ключ", "ключ"),
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), printed, "{text}");
        }
        for (text, part) in [
            ("", "path"),
            ("$.", "name"),
            ("a..b", "name"),
            ("a[", "closing"),
            ("a[-1]", "index"),
            ("a[+1]", "index"),
            ("a[]", "index"),
            ("a[*]", "index"),
            ("a[1000]", "index"),
            ("a[0]b", "dot"),
        ] {
            let error = Path::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Path::parse("a.".repeat(32).trim_end_matches('.')).is_ok());
        assert!(Path::parse(&format!("a{}", ".a".repeat(32))).unwrap_err().contains("32 steps"));
    }

    proptest! {
        #[test]
        fn never_panics_and_prints_what_it_reads(text in r"\PC{0,20}|\$?[.a\[\]0-9]{0,12}") {
            if let Ok(path) = Path::parse(&text) {
                let printed = path.to_string();
                if !printed.is_empty() {
                    prop_assert_eq!(Path::parse(&format!("$.{printed}").replace("$.[", "$[")).unwrap(), path);
                }
            }
        }
    }
}
