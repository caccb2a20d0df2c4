//! Opaque credentials, `KIND<id>_<secret><crc>`: recognised by secret scanners and by our own redaction, and told from a
//! typing error without a look at the store. Whoever keeps one keeps only a digest of the secret.

use crate::secret::Secret;

/// How a personal access token begins.
pub const PERSONAL: &str = "gh_pat_";
/// How a single-use token begins.
pub const ONCE: &str = "gh_once_";
/// Every beginning.
pub const KINDS: [&str; 2] = [PERSONAL, ONCE];

/// Hex digits of an id: 8 bytes.
const ID: usize = 16;
/// Hex digits of a secret: 32 bytes.
const SECRET: usize = 64;
/// Hex digits of a CRC-32.
const SUM: usize = 8;

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opaque<'t> {
    /// Names its row; no secret.
    pub id: &'t str,
    /// 64 hex digits.
    pub secret: &'t str,
}

fn digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A token of 8 and 32 random bytes; its id and its secret.
#[must_use]
pub fn print(kind: &str, id: &str, secret: &str) -> Secret<String> {
    let body = format!("{kind}{id}_{secret}");
    let sum = crc32fast::hash(body.as_bytes());
    Secret::new(format!("{body}{sum:08x}"))
}

/// The parts of a token of this kind; `None` if it is none, or was copied wrongly.
#[must_use]
pub fn parse<'t>(kind: &str, text: &'t str) -> Option<Opaque<'t>> {
    let (body, sum) = text.split_at_checked(text.len().checked_sub(SUM)?)?;
    let (id, secret) = body.strip_prefix(kind)?.split_once('_')?;
    let well = digits(id, ID) && digits(secret, SECRET) && digits(sum, SUM);
    let same = well && u32::from_str_radix(sum, 16) == Ok(crc32fast::hash(body.as_bytes()));
    same.then_some(Opaque { id, secret })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_printed_is_read_and_nothing_else() {
        let (id, secret) = ("0123456789abcdef", "ab".repeat(32));
        let printed = print(PERSONAL, id, &secret);
        let text = printed.expose().as_str();
        assert_eq!(parse(PERSONAL, text), Some(Opaque { id, secret: &secret }));
        assert_eq!(parse(ONCE, text), None);
        for (at, byte) in text.bytes().enumerate() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if byte == b'0' { b'1' } else { b'0' };
            assert_eq!(parse(PERSONAL, std::str::from_utf8(&other).unwrap()), None, "{at}");
        }
        for bad in ["", "gh_pat_", &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(parse(PERSONAL, bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(gh_pat_)?[0-9a-f_é]{0,100}") {
            prop_assert!(parse(PERSONAL, &text).is_none());
        }
    }
}
