//! The lines of a file, the last one first, in bounded memory.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes read at once.
const BLOCK_BYTES: u64 = 65_536;
/// Longer lines are passed over.
const LINE_BYTES: usize = 1_048_576;

/// Lines of a source from its end.
pub(crate) struct Backwards<R> {
    source: R,
    /// Where in the source what is held begins.
    at: u64,
    held: Vec<u8>,
    /// Whether what is held is the rest of a line that is too long.
    long: bool,
}

impl<R: Read + Seek> Backwards<R> {
    /// # Errors
    /// A source whose end cannot be found.
    pub(crate) fn new(mut source: R) -> io::Result<Self> {
        let at = source.seek(SeekFrom::End(0))?;
        Ok(Self { source, at, held: Vec::new(), long: false })
    }

    /// Puts the block before what is held in front of it.
    fn before(&mut self) -> io::Result<()> {
        let length = BLOCK_BYTES.min(self.at);
        self.at -= length;
        self.source.seek(SeekFrom::Start(self.at))?;
        let mut block = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + self.held.len());
        // A source cut meanwhile gives less; what follows is then no line, and nobody takes it for one.
        self.source.by_ref().take(length).read_to_end(&mut block)?;
        block.append(&mut self.held);
        self.held = block;
        Ok(())
    }
}

impl<R: Read + Seek> Iterator for Backwards<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = self.held.iter().rposition(|byte| *byte == b'\n');
            let line = match end {
                Some(end) => {
                    let line = self.held.split_off(end + 1);
                    self.held.pop();
                    line
                }
                None if self.at == 0 => {
                    if self.held.is_empty() {
                        return None;
                    }
                    std::mem::take(&mut self.held)
                }
                None => {
                    if self.held.len() > LINE_BYTES {
                        self.long = true;
                        self.held.clear();
                    }
                    if let Err(error) = self.before() {
                        self.at = 0;
                        self.held.clear();
                        return Some(Err(error));
                    }
                    continue;
                }
            };
            let long = std::mem::take(&mut self.long) || line.len() > LINE_BYTES;
            if !long && !line.is_empty() {
                return Some(Ok(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        Backwards::new(Cursor::new(text)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = "x".repeat(LINE_BYTES * 2 + 7);
        let text = format!("first\n{long}\nlast\n{long}");
        assert_eq!(lines(text.as_bytes()), [b"last".to_vec(), b"first".to_vec()]);
        assert_eq!(lines(long.as_bytes()), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn blocks_end_anywhere() {
        let text: String = (0..30_000).map(|number| format!("{number}\n")).collect();
        let found = lines(text.as_bytes());
        assert!(
            found.len() == 30_000
                && found.iter().rev().enumerate().all(|(n, line)| *line == n.to_string().as_bytes())
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_finds_the_lines(text in "[a\n]{0,200}") {
            let wanted: Vec<Vec<u8>> =
                text.split('\n').rev().filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(lines(text.as_bytes()), wanted);
        }
    }
}
