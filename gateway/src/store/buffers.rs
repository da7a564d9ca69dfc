//! Buffers for what is read of files, used again and again: fresh memory costs more than the copy into it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The size of one buffer: what one read takes of a file.
pub(super) const BUFFER: usize = 128 * 1024;
/// Buffers that are kept when nobody uses them, 4 MiB: each connection that sends a large body holds one or two.
const KEPT: usize = 32;

/// Buffers that wait to be used.
#[derive(Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer on loan, the first part of which has been filled; it goes home when the last reader of it is done.
struct Loan {
    buffer: Box<[u8]>,
    filled: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// Up to [`BUFFER`] bytes from `read`, which is given `length` bytes of room (fewer, if that is more than a buffer
    /// has) and says how many it has filled.
    pub(super) fn fill(
        self: &Arc<Self>,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Bytes> {
        let mut loan = Loan { buffer: self.take(), filled: 0, home: Arc::clone(self) };
        let room = length.min(BUFFER);
        loan.filled = read(&mut loan.buffer[..room])?.min(room);
        Ok(Bytes::from_owner(loan))
    }

    fn take(&self) -> Box<[u8]> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())
    }

    fn give_back(&self, buffer: Box<[u8]>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(buffer);
        }
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(buffers: &Arc<Buffers>, byte: u8, length: usize) -> Bytes {
        let fill = |room: &mut [u8]| {
            room.fill(byte);
            Ok(room.len())
        };
        buffers.fill(length, fill).unwrap()
    }

    #[test]
    fn a_buffer_is_not_used_again_while_somebody_reads_it() {
        let buffers = Arc::new(Buffers::default());
        let first = filled(&buffers, 1, 10);
        let part = first.slice(3..5);
        drop(first);
        let second = filled(&buffers, 2, BUFFER + 1);
        assert_eq!((&part[..], second.len()), (&[1, 1][..], BUFFER));
        let address = part.as_ptr();
        drop(part);
        // It came home, and holds nothing of what was in it before beyond what was filled.
        let third = filled(&buffers, 3, 4);
        assert_eq!((&third[..], third.as_ptr().wrapping_add(3)), (&[3, 3, 3, 3][..], address));
        assert_eq!(&second[..2], &[2, 2]);
    }

    #[test]
    fn no_more_than_some_are_kept() {
        let buffers = Arc::new(Buffers::default());
        drop((0..2 * KEPT).map(|_| filled(&buffers, 0, 1)).collect::<Vec<_>>());
        assert_eq!(buffers.free.lock().unwrap().len(), KEPT);
        assert!(buffers.fill(1, |_| Err(io::ErrorKind::WouldBlock.into())).is_err());
        assert_eq!(buffers.free.lock().unwrap().len(), KEPT);
    }
}
