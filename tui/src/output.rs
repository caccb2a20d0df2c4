//! Standard output and error of the command line; everything printed goes through here.

use serde::Serialize;
use std::io::{self, Write};

/// Where a verb writes.
pub struct Output<'a> {
    out: &'a mut (dyn Write + Send),
    err: &'a mut (dyn Write + Send),
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

impl<'a> Output<'a> {
    /// Writes results to `out` and complaints to `err`.
    pub fn new(out: &'a mut (dyn Write + Send), err: &'a mut (dyn Write + Send)) -> Self {
        Self { out, err }
    }

    /// One line, sent at once so that a pipe sees it.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Several lines.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn lines(&mut self, lines: &[String]) -> io::Result<()> {
        lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?;
        self.out.flush()
    }

    /// One object on one line.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn object<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.line(&text)
    }

    /// A prompt without end of line.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn prompt(&mut self, text: &str) -> io::Result<()> {
        write!(self.out, "{text}")?;
        self.out.flush()
    }

    /// A complaint; lost if nobody listens.
    pub fn complain(&mut self, text: &str) {
        drop(writeln!(self.err, "gatehouse: {text}"));
    }
}
