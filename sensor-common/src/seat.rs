//! Entering and finding in the tables that all CPUs share: sources, networks, connections.
//!
//! Eight places to a bucket, their keys in one cache line. Only completed handshakes enter anything here, so no flood
//! of spoofed frames gets near. A place is claimed by one atomic exchange of its key.
//!
//! No key ever has two places, whatever other CPUs do: whoever has claimed a place looks at the bucket once more. An
//! exchange is a full barrier, so of two that claim at once at least one sees the other, and gives its place back. The
//! frame at hand goes without then, is counted, and the next one tries again.

use crate::lane;
use crate::tables::Tables;

/// Places in a bucket.
pub const WAYS: usize = 8;
/// A key that stands for nothing: the place is free.
pub const FREE: u64 = 0;
/// A key that stands for nothing: the place is being given to somebody.
pub const CLAIMED: u64 = 1;

/// What became of a search for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This place was free and is the caller's: it writes the record, then calls [`settle`].
    Free(usize),
    /// As above, and one of this worth lost it.
    Evicted(usize, u64),
    /// Another CPU has entered the key meanwhile.
    Found(usize),
    /// All that is there is worth too much, or another CPU is at it.
    Lost,
}

/// The place of a key.
#[inline(always)]
pub(crate) fn find(keys: &[u64; WAYS], key: u64) -> Option<usize> {
    let place = lane::place(keys, key);
    if place == 0 { None } else { Some((place - 1) & (WAYS - 1)) }
}

/// The place where a key stands if it was free: whoever looks for the key can begin to fetch what is there before it
/// has seen the keys.
#[inline(always)]
pub(crate) const fn likely(key: u64) -> usize {
    (key >> 2) as usize & (WAYS - 1)
}

/// Claims the place whose worth is least and below `most` for a key that was not found, of equals the [`likely`] one;
/// `worth` is below 2^60 and asked of used places.
#[inline(always)]
pub(crate) fn claim<T: Tables>(
    tables: &T,
    keys: &mut [u64; WAYS],
    key: u64,
    most: u64,
    worth: impl Fn(usize) -> u64,
) -> Claim {
    let likely = likely(key);
    // Who stands at the least is known from the same look that found it: somebody else may stand there by now.
    let (mut least, mut former) = (u64::MAX >> 1, CLAIMED);
    for (way, other) in keys.iter().enumerate() {
        let other = *other;
        let used = !lane::same(other, FREE);
        let value = ((worth(way) + 1) & used) << 3 | (way ^ likely) as u64;
        former ^= (former ^ other) & lane::less(value, least);
        least = lane::least(least, value);
    }
    let way = (least as usize ^ likely) & (WAYS - 1);
    let worth = (least >> 3).saturating_sub(1);
    if former == key {
        return Claim::Found(way);
    }
    if former == CLAIMED || worth >= most || !tables.replace(&mut keys[way], former, CLAIMED) {
        return Claim::Lost;
    }
    let (found, claimed) = look(keys, key);
    if found != 0 || claimed != 1 << way {
        // Whoever stood there has lost nothing.
        settle(keys, way, former);
        return if found == 0 { Claim::Lost } else { Claim::Found((found as usize - 1) & (WAYS - 1)) };
    }
    if former == FREE { Claim::Free(way) } else { Claim::Evicted(way, worth) }
}

/// Where a key stands, counted from 1 (0: nowhere), and a bit for each place that is claimed. As it is now: other CPUs
/// change it.
#[inline(always)]
fn look(keys: &[u64; WAYS], key: u64) -> (u64, u64) {
    let (mut found, mut claimed) = (0, 0);
    for (way, cell) in keys.iter().enumerate() {
        // SAFETY: a live, aligned u64; volatile, so that it is read after the exchange.
        let other = unsafe { core::ptr::from_ref(cell).read_volatile() };
        found |= lane::is(other, key) * (way as u64 + 1);
        claimed |= lane::is(other, CLAIMED) << way;
    }
    (found, claimed)
}

/// Claims the place of a key that stands there; fails if another CPU was faster.
#[inline(always)]
pub(crate) fn reclaim<T: Tables>(tables: &T, keys: &mut [u64; WAYS], way: usize, key: u64) -> bool {
    tables.replace(&mut keys[way & (WAYS - 1)], key, CLAIMED)
}

/// Gives a claimed place its key: from here on it is found.
#[inline(always)]
pub(crate) fn settle(keys: &mut [u64; WAYS], way: usize, key: u64) {
    let cell = core::ptr::from_mut(&mut keys[way & (WAYS - 1)]);
    // SAFETY: a live, aligned u64 behind a unique reference; volatile, so that it comes after the record's stores.
    unsafe { cell.write_volatile(key) };
}

#[cfg(test)]
mod tests {
    use super::{CLAIMED, FREE, WAYS, look};

    #[test]
    fn a_look_finds_the_key_and_whoever_is_entering_one() {
        const KEY: u64 = 77;
        // What is told, the bucket's keys by place, where the key stands, and which places are claimed.
        type Row = (&'static str, &'static [(usize, u64)], u64, u64);
        const ROWS: [Row; 5] = [
            ("nothing there", &[], 0, 0),
            ("others", &[(0, 76), (7, 78)], 0, 0),
            ("the first place", &[(0, KEY), (7, CLAIMED)], 1, 0x80),
            ("the last place", &[(7, KEY), (1, CLAIMED), (2, CLAIMED)], 8, 0b110),
            ("claimed and not found", &[(0, CLAIMED), (1, 9)], 0, 1),
        ];
        for (description, taken, found, claimed) in ROWS {
            let mut keys = [FREE; WAYS];
            taken.iter().for_each(|(way, key)| keys[*way] = *key);
            assert_eq!(look(&keys, KEY), (found, claimed), "{description}");
        }
    }
}
