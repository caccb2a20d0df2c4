//! A body, found in the bytes as they come, whatever the pieces. Content stays where it lies until it is taken, so that
//! it can be written from there.

use super::{Framing, Wrong};
use bytes::{Buf as _, BytesMut};

/// Most bytes of a body's chunk extensions together, and of its trailers.
const ASIDE_BYTES: u32 = 16_384;

/// What the bytes gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes at the front are content; [`Decoder::took`] says how many were used.
    Data(usize),
    /// More bytes are needed.
    More,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    /// In the digits of a chunk's size; whether there was one.
    Size(u64, bool),
    /// In blanks behind a size, which an extension may follow.
    SizeBlank(u64),
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, in its name, behind that, before its line feed, before the last one.
    Trailer,
    TrailerName,
    TrailerLine,
    TrailerLf,
    LastLf,
}

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    extensions: u32,
    trailers: u32,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(0, false),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, extensions: 0, trailers: 0 }
    }

    /// It was read to its end.
    pub(crate) fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at what the bytes hold. Trailers are dropped: clients of older systems do not expect them.
    pub(crate) fn next(&mut self, bytes: &mut BytesMut) -> Result<Step, Wrong> {
        loop {
            match self.state {
                State::Done => return Ok(Step::End),
                _ if bytes.is_empty() => return Ok(Step::More),
                State::UntilClose => return Ok(Step::Data(bytes.len())),
                State::Length(left) | State::Data(left) => {
                    return Ok(Step::Data(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())));
                }
                _ => {
                    let byte = bytes.get_u8();
                    self.state = self.aside(byte)?;
                }
            }
        }
    }

    /// Drops content that was used; never more than the last [`Step::Data`] said.
    pub(crate) fn took(&mut self, bytes: &mut BytesMut, count: usize) {
        bytes.advance(count);
        self.state = match self.state {
            State::Data(left) if left == count as u64 => State::DataCr,
            State::Data(left) => State::Data(left.saturating_sub(count as u64)),
            State::Length(left) if left == count as u64 => State::Done,
            State::Length(left) => State::Length(left.saturating_sub(count as u64)),
            other => other,
        };
    }

    /// A byte that is no content: of a size line, a chunk's end or a trailer.
    fn aside(&mut self, byte: u8) -> Result<State, Wrong> {
        Ok(match (self.state, byte) {
            (State::Size(size, begun), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if begun && size == 0 {
                    count(&mut self.extensions)?; // zeros without end are no content, which others bound
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let size = size.checked_mul(16).and_then(|size| size.checked_add(digit));
                State::Size(size.ok_or(Wrong("a chunk that is too large"))?, true)
            }
            (State::Size(size, true) | State::SizeBlank(size) | State::Extension(size), b'\r') => {
                State::SizeEnd(size)
            }
            (State::Size(size, true) | State::SizeBlank(size), b';') => State::Extension(size),
            (State::Size(size, true) | State::SizeBlank(size), b' ' | b'\t') => {
                count(&mut self.extensions)?;
                State::SizeBlank(size)
            }
            (State::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => {
                count(&mut self.extensions)?;
                State::Extension(size)
            }
            (State::SizeEnd(0), b'\n') | (State::TrailerLf, b'\n') => State::Trailer,
            (State::SizeEnd(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, false),
            (State::Trailer, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Done,
            (State::TrailerLine, b'\r') => State::TrailerLf,
            (State::Trailer | State::TrailerName, _) if is_token(byte) => {
                count(&mut self.trailers)?;
                State::TrailerName
            }
            (State::TrailerName, b':') => State::TrailerLine,
            (State::TrailerLine, b'\t' | b' '..=b'~' | 0x80..) => {
                count(&mut self.trailers)?;
                State::TrailerLine
            }
            _ => return Err(Wrong("broken chunks")),
        })
    }

    /// The other side closed: the end of a body that ends so, else one that was cut.
    pub(crate) fn closed(&mut self) -> Result<(), Wrong> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Wrong("cut off")),
        }
    }
}

/// Of a field's name (RFC 9110 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn count(aside: &mut u32) -> Result<(), Wrong> {
    *aside += 1;
    if *aside > ASIDE_BYTES { Err(Wrong("chunk extensions or trailers that are too long")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Content, whether it ended well, and what is left over.
    fn read<'p>(
        framing: Framing,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> (Vec<u8>, Result<bool, Wrong>, Vec<u8>) {
        let (mut decoder, mut bytes, mut content) = (Decoder::new(framing), BytesMut::new(), Vec::new());
        for piece in pieces {
            bytes.extend_from_slice(piece);
            loop {
                match decoder.next(&mut bytes) {
                    Ok(Step::Data(count)) => {
                        content.extend_from_slice(&bytes[..count]);
                        decoder.took(&mut bytes, count);
                    }
                    Ok(Step::More | Step::End) => break,
                    Err(wrong) => return (content, Err(wrong), Vec::new()),
                }
            }
        }
        let done = decoder.done();
        (content, decoder.closed().map(|()| done), bytes.to_vec())
    }

    #[test]
    fn bodies_end_where_they_say() {
        for (framing, bytes, content, rest) in [
            (Framing::None, "x", "", "x"),
            (Framing::Length(0), "x", "", "x"),
            (Framing::Length(2), "abc", "ab", "c"),
            (Framing::UntilClose, "abc", "abc", ""),
            (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nx", "abc", "x"),
            (
                Framing::Chunked,
                "03;a=\"b\"\r\nabc\r\nA \r\n0123456789\r\n000\r\nT: 1\r\n\r\n",
                "abc0123456789",
                "",
            ),
        ] {
            let (got, end, left) = read(framing, [bytes.as_bytes()].into_iter());
            assert_eq!((&*got, &*left), (content.as_bytes(), rest.as_bytes()), "{bytes:?}");
            assert!(end.is_ok(), "{bytes:?}");
        }
    }

    #[test]
    fn a_broken_or_cut_body_is_no_whole_one() {
        let long = format!("1;{}\r\n", "x".repeat(20_000));
        let blank = format!("1{}\r\n", " ".repeat(20_000));
        let zeros = format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(20_000));
        let trailers = format!("0\r\n{}", "T: 1\r\n".repeat(5_000));
        for bytes in [
            "",
            "3",
            "3\r\nab",
            "3\r\nabc\r\n",
            "3\r\nabc\r\n0\r\n",
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "3\nabc\r\n",
            "3\r\nabcd",
            "3\r\nabc\n0\r\n\r\n",
            "3;a\nb\r\n",
            "0\r\n\n",
            "0\r\nT: 1\n\r\n",
            "10000000000000000\r\n",
            " 3\r\nabc\r\n",
            "3 a\r\nabc\r\n0\r\n\r\n",
            "0\r\nT\r\n\r\n",
            "0\r\nT : 1\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\nT: 1\r\n 2\r\n\r\n",
            &blank,
            &zeros,
            &long,
            &trailers,
        ] {
            assert!(read(Framing::Chunked, [bytes.as_bytes()].into_iter()).1.is_err(), "{bytes:?}");
        }
        assert!(read(Framing::Length(3), [b"ab".as_slice()].into_iter()).1.is_err());
    }

    fn framings() -> impl Strategy<Value = Framing> {
        prop_oneof![
            Just(Framing::None),
            (0u64..50).prop_map(Framing::Length),
            Just(Framing::Chunked),
            Just(Framing::UntilClose)
        ]
    }

    proptest! {
        /// Any bytes in any pieces: no panic, and the same as in one.
        #[test]
        fn never_panics_and_pieces_do_not_matter(
            framing in framings(),
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..120),
                "([0-3](;a)?\r\n[a-c]{0,3}\r\n){0,5}(0\r\n(T: 1\r\n)?\r\n)?x?".prop_map(String::into_bytes),
            ],
            size in 1usize..9,
        ) {
            let whole = read(framing, std::iter::once(&*bytes));
            prop_assert_eq!(&read(framing, bytes.chunks(size)), &whole);
        }

        #[test]
        fn never_panics_and_what_was_chunked_comes_back(pieces in proptest::collection::vec("[ -~]{1,20}", 0..8), size in 1usize..30) {
            let mut text: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
            text.push_str("0\r\n\r\n");
            let (content, end, rest) = read(Framing::Chunked, text.as_bytes().chunks(size));
            prop_assert_eq!(content, pieces.concat().into_bytes());
            prop_assert_eq!(end, Ok(true));
            prop_assert!(rest.is_empty());
        }
    }
}
