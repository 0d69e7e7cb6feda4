//! A set of prefixes that answers what in it has an address in common with another prefix.
//!
//! The cost of a question is a look-up for each length of prefix in the set, and what is found.

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::{Address, Prefix};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    /// First address and length, so that what lies inside a prefix stands together.
    prefixes: BTreeSet<(u128, u32)>,
    /// How many have each length.
    lengths: BTreeMap<u32, usize>,
}

impl Cover {
    /// Enters a prefix.
    pub fn insert(&mut self, prefix: &Prefix) {
        let (first, bits) = key(prefix);
        if self.prefixes.insert((first, bits)) {
            *self.lengths.entry(bits).or_default() += 1;
        }
    }

    /// Takes a prefix out.
    pub fn remove(&mut self, prefix: &Prefix) {
        let (first, bits) = key(prefix);
        if self.prefixes.remove(&(first, bits))
            && let Some(count) = self.lengths.get_mut(&bits)
        {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&bits);
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The prefixes that cover another or lie in it: widest first, then by address.
    pub fn touching(&self, prefix: &Prefix) -> impl Iterator<Item = Prefix> {
        let (first, bits) = key(prefix);
        let wider = self.lengths.range(..bits).map(move |(length, _)| (first & mask(*length), *length));
        let covering = wider.filter(|known| self.prefixes.contains(known));
        let inside = self.prefixes.range((first, 0)..=(first | !mask(bits), 128)).copied();
        covering
            .chain(inside.filter(move |(_, length)| *length >= bits))
            .map(|(first, bits)| Prefix { bits, address: Address { octets: first.to_be_bytes() } })
    }

    /// Whether any prefix covers another or lies in it.
    #[must_use]
    pub fn touches(&self, prefix: &Prefix) -> bool {
        self.touching(prefix).next().is_some()
    }
}

fn key(prefix: &Prefix) -> (u128, u32) {
    let bits = prefix.bits.min(128);
    (u128::from_be_bytes(prefix.address.octets) & mask(bits), bits)
}

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_common::address::{Address, Prefix};

    use super::{Cover, mask};

    fn prefix() -> impl Strategy<Value = Prefix> {
        (any::<[u8; 2]>(), 0_u32..=16).prop_map(|(ends, bits)| {
            // Sixteen bits that matter, in front: enough to meet each other.
            let address = u128::from(u16::from_be_bytes(ends)) << 112 & mask(bits);
            Prefix { bits, address: Address { octets: address.to_be_bytes() } }
        })
    }

    fn overlap(a: &Prefix, b: &Prefix) -> bool {
        if a.bits <= b.bits { a.contains(&b.address) } else { b.contains(&a.address) }
    }

    proptest! {
        #[test]
        fn what_touches_is_what_overlaps(
            steps in prop::collection::vec((any::<bool>(), prefix()), 0..60),
            asked in prefix(),
        ) {
            let mut cover = Cover::default();
            let mut list: Vec<Prefix> = Vec::new();
            for (enter, prefix) in steps {
                list.retain(|known| *known != prefix);
                if enter {
                    list.push(prefix);
                    cover.insert(&prefix);
                } else {
                    cover.remove(&prefix);
                }
            }
            list.retain(|known| overlap(known, &asked));
            let mut found: Vec<Prefix> = cover.touching(&asked).collect();
            found.sort_unstable();
            list.sort_unstable();
            prop_assert_eq!(cover.touches(&asked), !list.is_empty());
            prop_assert_eq!(found, list);
        }
    }
}
