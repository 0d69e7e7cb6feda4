//! The filter in front of the tries, as the daemon keeps it: how many rules need each bit.
//!
//! A bit is set before the first rule that needs it is entered, and cleared after the last one is gone, so the packet
//! path never misses a rule. A bit that more than 65,534 rules needed at once stays set. Costs 16 bits for each bit of
//! the filter that was ever set, 19 MB at most, taken from the host by the page.

use std::sync::atomic::{AtomicU64, Ordering};

use sensor_common::address::Prefix;
use sensor_common::filter::{Trie, WORDS, marks};

use super::shared::Mapped;

/// See the module.
pub(super) struct Filter {
    words: Mapped<AtomicU64>,
    /// Rules that need each bit.
    counts: Vec<u16>,
    seed: u64,
}

impl Filter {
    /// Keeps the filter's words, whose bits are chosen by the seed of the tables.
    pub(super) fn new(words: Mapped<AtomicU64>, seed: u64) -> Self {
        Self { words, counts: vec![0; WORDS as usize * 64], seed }
    }

    /// Sets what a rule on this prefix needs. To be called before the rule is entered.
    pub(super) fn enter(&mut self, trie: Trie, prefix: &Prefix) {
        marks(trie, prefix, self.seed, |word, mask| {
            self.words[word as usize].fetch_or(mask, Ordering::Release);
            for count in counts(&mut self.counts, word, mask) {
                *count = count.saturating_add(1);
            }
        });
    }

    /// Clears what nobody else needs. To be called once the rule is gone.
    pub(super) fn leave(&mut self, trie: Trie, prefix: &Prefix) {
        marks(trie, prefix, self.seed, |word, mask| {
            let mut over = 0;
            for (count, bit) in counts(&mut self.counts, word, mask).zip(bits(mask)) {
                if *count != u16::MAX {
                    *count = count.saturating_sub(1);
                }
                if *count == 0 {
                    over |= 1 << bit;
                }
            }
            self.words[word as usize].fetch_and(!over, Ordering::Release);
        });
    }

    /// Sets again what a rule needs; whether some of it was gone.
    pub(super) fn repair(&self, trie: Trie, prefix: &Prefix) -> bool {
        let mut broken = false;
        marks(trie, prefix, self.seed, |word, mask| {
            broken |= self.words[word as usize].fetch_or(mask, Ordering::Release) & mask != mask;
        });
        broken
    }

    /// Makes the words what the entered rules need: nothing else of an earlier run stays.
    pub(super) fn settle(&self) {
        for (word, counts) in self.words.iter().zip(self.counts.chunks_exact(64)) {
            // What is needed was set when it was entered.
            let over = bits(word.load(Ordering::Relaxed)).filter(|bit| counts[*bit as usize] == 0);
            let over = over.fold(0, |mask, bit| mask | 1_u64 << bit);
            if over != 0 {
                word.fetch_and(!over, Ordering::Release);
            }
        }
    }

    /// Chooses bits by another seed. Nothing may have been entered.
    pub(super) const fn reseed(&mut self, seed: u64) {
        self.seed = seed;
    }

    #[cfg(test)]
    pub(super) fn words(&self) -> Vec<u64> {
        self.words.iter().map(|word| word.load(Ordering::Relaxed)).collect()
    }

    /// The same words in the hands of a daemon that starts anew.
    #[cfg(test)]
    pub(super) fn again(self, seed: u64) -> Self {
        Self::new(self.words, seed)
    }

    /// What somebody else might do.
    #[cfg(test)]
    pub(super) fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

/// The numbers of the bits of a mask.
fn bits(mask: u64) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(mask), |rest| Some(rest & rest.wrapping_sub(1)))
        .take_while(|rest| *rest != 0)
        .map(|rest| rest.trailing_zeros())
}

/// The counts of the bits of a mask, in the same order.
fn counts(counts: &mut [u16], word: u32, mask: u64) -> impl Iterator<Item = &mut u16> {
    let first = word as usize * 64;
    let of_word = counts[first..first + 64].iter_mut().enumerate();
    of_word.filter(move |(bit, _)| mask >> bit & 1 != 0).map(|(_, count)| count)
}

#[cfg(test)]
mod tests {
    use sensor_common::filter::{Trie, WORDS};

    use super::Filter;
    use crate::control::subject::prefix;
    use crate::kernel::shared::Mapped;

    #[test]
    fn a_bit_stays_as_long_as_somebody_needs_it() {
        let mut filter = Filter::new(Mapped::anonymous(WORDS as usize), 7);
        let [wide, part] = ["10.0.0.0/8", "10.1.0.0/16"].map(|text| prefix(text).expect("a prefix"));
        let empty = filter.words();
        filter.enter(Trie::Deny, &part);
        let one = filter.words();
        assert_ne!(one, empty);
        filter.enter(Trie::Deny, &wide);
        filter.leave(Trie::Deny, &wide);
        assert_eq!(filter.words(), one);
        assert!(!filter.repair(Trie::Deny, &part));
        filter.clear();
        assert!(filter.repair(Trie::Deny, &part), "somebody cleared it");
        assert_eq!(filter.words(), one);
        filter.leave(Trie::Deny, &part);
        assert_eq!(filter.words(), empty);
    }

    #[test]
    fn what_an_earlier_run_left_goes() {
        let mut filter = Filter::new(Mapped::anonymous(WORDS as usize), 7);
        filter.words.iter().for_each(|word| word.store(u64::MAX, std::sync::atomic::Ordering::Relaxed));
        let kept = prefix("2001:db8::/48").expect("a prefix");
        filter.enter(Trie::Allow, &kept);
        filter.settle();
        let mut fresh = Filter::new(Mapped::anonymous(WORDS as usize), 7);
        fresh.enter(Trie::Allow, &kept);
        assert_eq!(filter.words(), fresh.words());
    }
}
