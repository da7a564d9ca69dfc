//! What is printed for a reader who may have seen enough before its end.

use std::io::{self, ErrorKind, Write};

/// Takes and drops what is written after the reader has gone, as `open-registry setup --list | head -1` has it go:
/// that is no error, and the program's outcome stays what it is.
#[derive(Debug)]
pub struct UntilClosed<W>(pub W);

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_closed(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_closed(self.0.flush(), ())
    }
}

fn unless_closed<T>(outcome: io::Result<T>, instead: T) -> io::Result<T> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(instead),
        outcome => outcome,
    }
}
