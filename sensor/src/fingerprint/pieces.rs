//! A message that arrives in pieces, in any order, some of them twice: CRYPTO frames of QUIC, fragments of DTLS.

use super::{HELLO_BYTES, Unread};

/// Pieces that wait for what lies between them.
const PIECES_MAX: usize = 64;

/// What has arrived. Where pieces overlap, the one that came first counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    /// Bytes from the beginning without a hole.
    whole: Vec<u8>,
    /// What came too early, by offset.
    early: Vec<(usize, Vec<u8>)>,
}

impl Pieces {
    /// Takes a piece.
    ///
    /// # Errors
    /// If it lies beyond what is kept, or if there are too many holes.
    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Unread> {
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= HELLO_BYTES).ok_or(Unread::TooLong)?;
        if end <= self.whole.len() || self.early.iter().any(|(at, known)| *at == offset && known.len() >= bytes.len()) {
            return Ok(());
        }
        if offset > self.whole.len() {
            if self.early.len() >= PIECES_MAX {
                return Err(Unread::TooLong);
            }
            self.early.push((offset, bytes.to_vec()));
            return Ok(());
        }
        self.join(offset, bytes);
        // Each turn takes one that fits now.
        while let Some(place) = self.early.iter().position(|(at, _)| *at <= self.whole.len()) {
            let (at, bytes) = self.early.remove(place);
            self.join(at, &bytes);
        }
        Ok(())
    }

    fn join(&mut self, offset: usize, bytes: &[u8]) {
        let known = self.whole.len().saturating_sub(offset);
        self.whole.extend_from_slice(bytes.get(known..).unwrap_or_default());
    }

    /// Bytes from the beginning without a hole.
    pub(super) fn whole(&self) -> &[u8] {
        &self.whole
    }
}
