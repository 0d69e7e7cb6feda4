//! The seeded hash of every table: where a key stands must not be known to those who choose the keys.

/// Odd constants with well spread bits (from SplitMix64, Steele, Lea and Flood 2014).
const FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND: u64 = 0x94d0_49bb_1331_11eb;

/// A permutation of 64 bits chosen by the seed: two rounds of SplitMix64's finalizer, keyed before each. Not a
/// cryptographic function: it keeps a sender who cannot see the seed from aiming at one bucket.
#[must_use]
#[inline(always)]
pub const fn mix(key: u64, seed: u64) -> u64 {
    let mut x = key ^ seed;
    x = (x ^ (x >> 32)).wrapping_mul(FIRST);
    x = (x ^ (x >> 29) ^ seed.rotate_left(32)).wrapping_mul(SECOND);
    x ^ (x >> 32)
}
