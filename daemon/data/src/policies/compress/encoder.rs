//! One compressed body, made as its pieces come.

use super::Coding;
use std::io::{self, Write};

/// Window of a body, as power of two: what is kept per stream in flight.
const WINDOW: u32 = 17;
const BROTLI_BUFFER: usize = 4_096;

/// A body being compressed; what comes out is appended.
pub(crate) struct Encoder(Inner);

enum Inner {
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Gzip(_) => "Encoder(gzip)",
            Inner::Brotli(_) => "Encoder(br)",
            Inner::Zstd(_) => "Encoder(zstd)",
        })
    }
}

impl Encoder {
    /// `level` is 1 to 9.
    ///
    /// # Errors
    /// No memory for it.
    pub(crate) fn new(coding: Coding, level: u32) -> io::Result<Self> {
        let level = level.clamp(1, 9);
        Ok(Self(match coding {
            Coding::Gzip => Inner::Gzip(Box::new(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(level),
            ))),
            // Quality 5 costs what gzip's 9 does.
            Coding::Brotli => {
                let quality = 1 + level / 2;
                Inner::Brotli(Box::new(brotli::CompressorWriter::new(
                    Vec::new(),
                    BROTLI_BUFFER,
                    quality,
                    WINDOW,
                )))
            }
            Coding::Zstd => {
                let level = i32::try_from(level).unwrap_or(1);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(WINDOW)?;
                Inner::Zstd(Box::new(encoder))
            }
        }))
    }

    /// Takes a piece; it may stay inside until [`Encoder::flush`].
    ///
    /// # Errors
    /// The encoder's own.
    pub(crate) fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.write(|writer| writer.write_all(piece), out)
    }

    /// Lets out all that was taken, so that a client sees what the upstream has said so far.
    ///
    /// # Errors
    /// The encoder's own.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.write(|writer| writer.flush(), out)
    }

    /// Lets out the rest and the end.
    ///
    /// # Errors
    /// The encoder's own.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = match self.0 {
            Inner::Gzip(encoder) => encoder.finish()?,
            Inner::Brotli(encoder) => encoder.into_inner(),
            Inner::Zstd(encoder) => encoder.finish()?,
        };
        out.append(&mut rest);
        Ok(())
    }

    fn write(
        &mut self,
        work: impl FnOnce(&mut dyn Write) -> io::Result<()>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let made = match &mut self.0 {
            Inner::Gzip(encoder) => {
                work(encoder)?;
                encoder.get_mut()
            }
            Inner::Brotli(encoder) => {
                work(encoder)?;
                encoder.get_mut()
            }
            Inner::Zstd(encoder) => {
                work(encoder)?;
                encoder.get_mut()
            }
        };
        out.append(made);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// What a client makes of it, as far as it came.
    fn decoded(coding: Coding, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut plain = Vec::new();
        let whole = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).is_ok(),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4_096).read_to_end(&mut plain).is_ok(),
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut plain).is_ok(),
        };
        (plain, whole)
    }

    fn encoded(coding: Coding, level: u32, pieces: &[Vec<u8>], flush: bool) -> Vec<u8> {
        let mut encoder = Encoder::new(coding, level).unwrap();
        let mut out = Vec::new();
        for piece in pieces {
            encoder.feed(piece, &mut out).unwrap();
            if flush {
                encoder.flush(&mut out).unwrap();
            }
        }
        encoder.finish(&mut out).unwrap();
        out
    }

    #[test]
    fn text_gets_smaller() {
        let text = br#"{"id":1,"name":"a name","tags":["x","y"]},"#.repeat(200);
        for coding in CODINGS {
            for level in [0, 1, 6, 9, 99] {
                let bytes = encoded(coding, level, std::slice::from_ref(&text), false);
                assert!(bytes.len() * 10 < text.len(), "{coding:?} {level}: {}", bytes.len());
                assert_eq!(decoded(coding, &bytes), (text.clone(), true));
            }
        }
    }

    #[test]
    fn a_flush_shows_all_so_far() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding, 1).unwrap();
            assert!(!format!("{encoder:?}").is_empty());
            let mut out = Vec::new();
            for (count, piece) in [b"first ".as_slice(), b"second ", b"third"].into_iter().enumerate() {
                encoder.feed(piece, &mut out).unwrap();
                encoder.flush(&mut out).unwrap();
                let (plain, whole) = decoded(coding, &out);
                let expected = b"first second third".get(..[6, 13, 18][count]).unwrap();
                assert_eq!(plain, expected, "{coding:?}");
                assert!(!whole, "{coding:?}: no end yet");
            }
            encoder.finish(&mut out).unwrap();
            assert_eq!(decoded(coding, &out), (b"first second third".to_vec(), true));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn round_trips(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
            flush in any::<bool>(), level in 1u32..10,
        ) {
            for coding in CODINGS {
                let bytes = encoded(coding, level, &pieces, flush);
                prop_assert_eq!(decoded(coding, &bytes), (pieces.concat(), true));
            }
        }
    }
}
