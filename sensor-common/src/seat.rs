//! Entering and finding in the tables that all CPUs share: sources, networks, connections.
//!
//! Eight places to a bucket, their keys in one cache line. Only completed handshakes enter anything here, so no flood
//! of spoofed frames gets near. A place is claimed by one atomic exchange of its key; where that fails the frame at
//! hand goes without, is counted, and the next one tries again.

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
    /// All that is there is worth too much, or another CPU was faster.
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

/// Claims the place whose worth is least and below `most`, of equals the one that is [`likely`]; `worth` is below 2^60
/// and asked of used places.
#[inline(always)]
pub(crate) fn claim<T: Tables>(
    tables: &T,
    keys: &mut [u64; WAYS],
    likely: usize,
    most: u64,
    worth: impl Fn(usize) -> u64,
) -> Claim {
    let mut least = u64::MAX >> 1;
    for (way, key) in keys.iter().enumerate() {
        let used = !lane::same(*key, FREE);
        least = lane::least(least, ((worth(way) + 1) & used) << 3 | (way ^ likely) as u64);
    }
    let way = (least as usize ^ likely) & (WAYS - 1);
    let former = keys[way];
    let worth = (least >> 3).saturating_sub(1);
    if former == CLAIMED || worth >= most || !tables.replace(&mut keys[way], former, CLAIMED) {
        return Claim::Lost;
    }
    if former == FREE { Claim::Free(way) } else { Claim::Evicted(way, worth) }
}

/// Gives a claimed place its key: from here on it is found.
#[inline(always)]
pub(crate) fn settle(keys: &mut [u64; WAYS], way: usize, key: u64) {
    let cell = core::ptr::from_mut(&mut keys[way & (WAYS - 1)]);
    // SAFETY: a live, aligned u64 behind a unique reference; volatile, so that it comes after the record's stores.
    unsafe { cell.write_volatile(key) };
}
