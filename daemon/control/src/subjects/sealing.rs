//! Values encrypted at rest: AES-256-GCM under a key derived from the daemon's encryption key, bound to their place, so
//! that a sealed value moved elsewhere does not open.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroize as _;

/// How a sealed value begins; names key derivation and cipher.
const MARK: &str = "gh1:";
const NONCE_BYTES: usize = 12;

/// Seals and opens.
#[derive(Clone)]
pub(crate) struct Sealer {
    cipher: Aes256Gcm,
    /// Keys what is only to be recognised.
    naming: Hkdf<Sha256>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// # Errors
    /// [`Code::Internal`] if no key can be derived.
    pub(crate) fn new(key: &Secret<String>) -> Result<Self, Problem> {
        let mut derived = [0; 32];
        let hkdf = Hkdf::<Sha256>::new(None, key.expose().as_bytes());
        hkdf.expand(b"gatehouse values at rest, 1", &mut derived)
            .map_err(|error| Problem::new(Code::Internal, format!("deriving a key: {error}")))?;
        let cipher = Aes256Gcm::new(&derived.into());
        derived.zeroize();
        let mut naming = [0; 32];
        hkdf.expand(b"gatehouse fingerprints, 1", &mut naming)
            .map_err(|error| Problem::new(Code::Internal, format!("deriving a key: {error}")))?;
        let named = Hkdf::from_prk(&naming);
        naming.zeroize();
        let naming =
            named.map_err(|error| Problem::new(Code::Internal, format!("deriving a key: {error}")))?;
        Ok(Self { cipher, naming })
    }

    /// A short keyed hash of a text, by which it is recognised and from which it cannot be told.
    pub(crate) fn fingerprint(&self, place: &str, text: &str) -> String {
        let mut hash = [0; 8];
        // It fails for far longer ones alone.
        self.naming.expand_multi_info(&[place.as_bytes(), b"\0", text.as_bytes()], &mut hash).ok();
        hex::encode(hash)
    }

    /// # Errors
    /// [`Code::Internal`] if the cipher refuses, which it does for texts beyond its bounds alone.
    pub(crate) fn seal(&self, place: &str, text: &str) -> Result<String, Problem> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: text.as_bytes(), aad: place.as_bytes() };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Problem::new(Code::Internal, format!("{place}: not encrypted")))?;
        Ok(format!("{MARK}{}", STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    /// The value, unless it was sealed by another key or for another place.
    pub(crate) fn open(&self, place: &str, sealed: &str) -> Option<Secret<String>> {
        let bytes = STANDARD_NO_PAD.decode(sealed.strip_prefix(MARK)?).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let open = self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(open).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(key: &str) -> Sealer {
        Sealer::new(&Secret::new(key.to_owned())).unwrap()
    }

    proptest! {
        #[test]
        fn opens_with_its_key_at_its_place_alone(text in ".{0,40}", place in "[a-z/]{1,12}", at in 4usize..60) {
            let sealer = with("one key of thirty-two characters");
            let sealed = sealer.seal(&place, &text).unwrap();
            prop_assert!(text.len() < 4 || !sealed.contains(&text));
            let open = sealer.open(&place, &sealed).unwrap();
            prop_assert_eq!(open.expose(), &text);
            prop_assert!(sealer.open("elsewhere/", &sealed).is_none());
            prop_assert!(with("another one of thirty-two chars.").open(&place, &sealed).is_none());
            let mut touched = sealed.into_bytes();
            let at = at % touched.len();
            touched[at] = if touched[at] == b'A' { b'B' } else { b'A' };
            prop_assert!(sealer.open(&place, &String::from_utf8(touched).unwrap()).is_none());
        }

        #[test]
        fn a_fingerprint_is_of_its_key_its_place_and_its_text(text in ".{0,40}") {
            let sealer = with("one key of thirty-two characters");
            let print = sealer.fingerprint("login", &text);
            prop_assert_eq!(&print, &sealer.fingerprint("login", &text));
            prop_assert_ne!(&print, &sealer.fingerprint("other", &text));
            prop_assert_ne!(&print, &sealer.fingerprint("login", &format!("{text}x")));
            prop_assert_ne!(&print, &with("another one of thirty-two chars.").fingerprint("login", &text));
        }

        #[test]
        fn never_panics_on_what_was_not_sealed(text in ".{0,60}") {
            let text = format!("gh1:{text}");
            prop_assert!(with("one key of thirty-two characters").open("p", &text).is_none());
        }
    }
}
