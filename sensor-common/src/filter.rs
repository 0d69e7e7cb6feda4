//! What stands in front of the tries: a source under no rule is told so by four loads, however many rules there are.
//!
//! A rule on one source (an IPv4 address, or /64 and longer of IPv6) and one on a network (/24, /48, and what lies
//! between) each set three bits of one 64-bit word, which the network's hash chooses (a blocked Bloom filter: Putze,
//! Sanders and Singler 2007). A rule a little wider is entered for each of its networks, at most sixteen; one wider
//! than that sets the bits of its /16s or, by hash, of its /32s in a small bitmap. A source whose bits are set may be
//! under a rule, and the trie tells.

use crate::address::network_key;
use crate::capacity::{FILTER_ALLOW_WORDS, FILTER_DENY_WORDS, FILTER_TIER_WORDS, FILTER_WIDE_WORDS};
use crate::hash::mix;
use crate::lane::same;
use crate::tables::Tables;

/// Which trie the filter stands in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trie {
    Deny,
    Allow,
    Tier,
}

impl Trie {
    /// Where its words begin, and how many hold sources and networks; behind these come the wide ones.
    #[inline(always)]
    const fn words(self) -> (u32, u32) {
        let deny = FILTER_DENY_WORDS + FILTER_WIDE_WORDS;
        match self {
            Self::Deny => (0, FILTER_DENY_WORDS),
            Self::Allow => (deny, FILTER_ALLOW_WORDS),
            Self::Tier => (deny + FILTER_ALLOW_WORDS + FILTER_WIDE_WORDS, FILTER_TIER_WORDS),
        }
    }
}

/// Words of the whole filter.
pub const WORDS: u32 = FILTER_DENY_WORDS + FILTER_ALLOW_WORDS + FILTER_TIER_WORDS + 3 * FILTER_WIDE_WORDS;

/// Bits of the word-choosing hash that are not used for choosing.
const MASK_SHIFT: u32 = 40;

/// Where a source is looked for, in every trie's filter.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    network_hash: u64,
    source_mask: u64,
    wide: u32,
}

/// Three bits out of 64.
#[inline(always)]
const fn three_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

/// The bit of the wide bitmap: IPv4 by its first 16 bits, IPv6 by hash of its first 32, each in its half.
#[inline(always)]
fn wide(source: u64, seed: u64) -> u32 {
    if source >> 33 == 0 {
        return (source >> 16) as u32 & 0xffff;
    }
    0x1_0000 | mix(source >> 32, seed) as u32 & 0xffff
}

impl Probe {
    /// The probe for a source key.
    #[must_use]
    #[inline(always)]
    pub fn new(source: u64, seed: u64) -> Self {
        Self {
            network_hash: mix(network_key(source), seed),
            source_mask: three_bits(mix(source, seed) >> MASK_SHIFT),
            wide: wide(source, seed),
        }
    }

    /// Whether the source may be under a rule of this trie. A word that cannot be read says it may.
    #[inline(always)]
    pub fn may_be_in<T: Tables>(&self, trie: Trie, tables: &T) -> bool {
        let (start, words) = trie.words();
        let network_mask = three_bits(self.network_hash >> MASK_SHIFT);
        let word = tables.filter(start + (self.network_hash as u32 & (words - 1)));
        let wide = tables.filter(start + words + (self.wide >> 6));
        let network = same(word & network_mask, network_mask);
        let source = same(word & self.source_mask, self.source_mask);
        (network | source | wide >> (self.wide & 63)) & 1 != 0
    }
}

#[cfg(not(target_arch = "bpf"))]
mod host {
    use super::{MASK_SHIFT, Probe, Trie, three_bits, wide};
    use crate::address::{Address, MAPPED_BITS, Prefix, network_key};
    use crate::capacity::FILTER_WIDE_WORDS;
    use crate::hash::mix;

    /// Bits in front of which a rule is wide, in the mapped form; `::/96` and shorter hold all of IPv4.
    const V4_WIDE: u32 = MAPPED_BITS + 20;
    const V4_NETWORK: u32 = MAPPED_BITS + 24;
    const V6_WIDE: u32 = 44;
    const V6_NETWORK: u32 = 48;

    /// Every word of the filter that a rule on `prefix` needs, and the bits to set there.
    pub fn marks(trie: Trie, prefix: &Prefix, seed: u64, mut mark: impl FnMut(u32, u64)) {
        let (start, words) = trie.words();
        let is_v4 = prefix.address.is_v4() && prefix.bits >= MAPPED_BITS;
        let key = prefix.address.key();
        let (wide_bits, network_bits) = if is_v4 { (V4_WIDE, V4_NETWORK) } else { (V6_WIDE, V6_NETWORK) };
        let first_source_bits = if is_v4 { 128 } else { 64 };
        if !is_v4 && prefix.contains(&Address::v4([0; 4])) {
            // Wide enough to hold all of IPv4 in its mapped form.
            (0..FILTER_WIDE_WORDS / 2).for_each(|word| mark(start + words + word, u64::MAX));
        }
        if prefix.bits >= first_source_bits {
            let probe = Probe::new(key, seed);
            mark(start + (probe.network_hash as u32 & (words - 1)), probe.source_mask);
        } else if prefix.bits >= wide_bits {
            let networks = 1_u64 << network_bits.saturating_sub(prefix.bits);
            let step = if is_v4 { 0x100 } else { 0x1_0000 };
            for number in 0..networks {
                let hash = mix(network_key(network_key(key) + number * step), seed);
                mark(start + (hash as u32 & (words - 1)), three_bits(hash >> MASK_SHIFT));
            }
        } else {
            mark_wide(prefix, is_v4, seed, |bit| mark(start + words + (bit >> 6), 1 << (bit & 63)));
        }
    }

    fn mark_wide(prefix: &Prefix, is_v4: bool, seed: u64, mut mark: impl FnMut(u32)) {
        if is_v4 {
            let first = wide(prefix.address.key(), seed);
            let bits = 1_u32 << (MAPPED_BITS + 16).saturating_sub(prefix.bits);
            (first..first + bits).for_each(mark);
        } else if prefix.bits >= 32 {
            mark(wide(prefix.address.key(), seed));
        } else {
            // So wide that hashing its parts would fill the half anyway.
            (FILTER_WIDE_WORDS * 32..FILTER_WIDE_WORDS * 64).for_each(mark);
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
pub use host::marks;
