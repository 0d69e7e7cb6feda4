//! Chunked transfer coding (RFC 9112 section 7.1): sizes are read, chunks are passed over.

use super::super::Step;
use super::{CHUNK, CHUNK_END, CHUNK_EXTENSION, CHUNK_SIZE, Http, SEEN_DIGIT, TRAILER};

/// Reads one byte of a chunk's size, extension or end.
#[inline(always)]
pub(super) fn step(http: &mut Http, value: u8) -> Step {
    if http.phase == CHUNK_END {
        return match value {
            b'\r' => Step::More,
            b'\n' => {
                http.left = 0;
                http.seen &= !SEEN_DIGIT;
                http.begin_line(CHUNK_SIZE);
                Step::More
            }
            _ => Step::Malformed,
        };
    }
    let digit = match value {
        b'\r' => return Step::More,
        b'\n' => {
            let next = if http.left == 0 { TRAILER } else { CHUNK };
            let good = http.seen & SEEN_DIGIT != 0;
            http.head = 0;
            http.begin_line(next);
            return if good { Step::More } else { Step::Malformed };
        }
        _ if http.phase == CHUNK_EXTENSION => 16,
        b'0'..=b'9' => value - b'0',
        b'a'..=b'f' => value - b'a' + 10,
        b'A'..=b'F' => value - b'A' + 10,
        b';' | b' ' | b'\t' => 16,
        _ => return Step::Malformed,
    };
    if digit == 16 {
        http.phase = CHUNK_EXTENSION;
        return Step::More;
    }
    http.seen |= SEEN_DIGIT;
    if http.left > u32::MAX >> 4 {
        return Step::Malformed;
    }
    http.left = http.left << 4 | u32::from(digit);
    Step::More
}
