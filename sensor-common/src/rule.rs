//! Rules as the kernel holds them. Every one but allow and limits expires, and the kernel checks it.
//!
//! A prefix rule has three parts: its terms in the rule table ([`Rule`]), its prefix in a trie whose value is a
//! [`Reference`] to them, and its bits in the filter in front of the trie ([`crate::filter`]). What a source was found
//! under is kept beside its counters ([`Reference::pack`]), so that only its first frame walks the trie.

use crate::address::Prefix;
use crate::plain;

plain! {
    /// Terms of one prefix rule.
    pub struct Rule {
        /// Monotonic time from which the rule no longer holds, nanoseconds; `u64::MAX`: it does not expire.
        pub expires_ns: u64,
        /// Counts up whenever the place is given to another rule: references to the former one are void.
        pub generation: u32,
        /// See [`kind`].
        pub kind: u32,
    }

    /// Which rule a trie means.
    pub struct Reference {
        /// Place in the rule table; 0 is never used.
        pub index: u32,
        /// The rule's generation.
        pub generation: u32,
    }

    /// Which connections a class rule is about.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct ClassKey {
        /// Fingerprint of the client software.
        pub fingerprint: u64,
        /// Server port.
        pub service: u16,
        pub reserved: [u16; 3],
    }

    /// New connections of a cohort under alarm: refused before their first request when they come over a relay from
    /// a network not seen before the campaign.
    pub struct ClassRule {
        /// Monotonic time from which the rule no longer holds, nanoseconds.
        pub expires_ns: u64,
        /// Networks first seen before this monotonic time are never refused by this rule, nanoseconds.
        pub newer_than_ns: u64,
        /// Connections it matched, in dry run too.
        pub hits: u64,
        /// Connections of the cohort that it looked at and let through.
        pub passed: u64,
    }

    /// Per-source limits of one tier; 0 means no limit.
    pub struct TierLimit {
        /// New connections per second.
        pub connections_per_s: u32,
        /// Requests per minute.
        pub requests_per_min: u32,
    }
}

/// How far the clock that frames are judged by may be behind, nanoseconds. A prefix rule ends that much early, so that
/// it never holds beyond its time.
pub const EARLY_NS: u64 = 10_000_000;

/// What a prefix rule does.
pub mod kind {
    /// The place is free: nothing that refers to it holds.
    pub const NONE: u32 = 0;
    /// Nothing may refuse the prefix.
    pub const ALLOW: u32 = 1;
    /// The prefix's frames are refused.
    pub const DENY: u32 = 2;
    /// Added where the prefix is longer than a source, /65 and longer of IPv6: it holds for the frame at hand only.
    pub const NARROW: u32 = 4;
}

/// Bits of a packed reference that hold the place.
const INDEX_BITS: u32 = 18;

/// As many generations of a place are told apart by packed references: after so many uses of it one looks like a former
/// one.
pub const KEPT_GENERATIONS: u32 = 1 << (32 - INDEX_BITS);

impl Reference {
    /// Place and the low 14 bits of the generation in one word; never 0.
    #[must_use]
    #[inline(always)]
    pub const fn pack(self) -> u32 {
        self.generation << INDEX_BITS | self.index & ((1 << INDEX_BITS) - 1)
    }

    /// The place of a packed reference.
    #[must_use]
    #[inline(always)]
    pub const fn place(packed: u32) -> u32 {
        packed & ((1 << INDEX_BITS) - 1)
    }
}

impl Rule {
    /// Whether the rule is of this kind (without [`kind::NARROW`]).
    #[must_use]
    #[inline(always)]
    pub const fn does(&self, kind: u32) -> bool {
        self.kind & !kind::NARROW == kind
    }

    /// Whether what it says of one address of a source holds for all of them.
    #[must_use]
    #[inline(always)]
    pub const fn holds_for_source(&self) -> bool {
        self.kind & kind::NARROW == 0
    }

    /// The kind of a rule on this prefix, given what it does.
    #[must_use]
    pub fn kind_on(prefix: &Prefix, kind: u32) -> u32 {
        let narrow = prefix.bits > 64 && !prefix.address.is_v4();
        if narrow { kind | kind::NARROW } else { kind }
    }

    /// Whether a packed reference means this rule.
    #[must_use]
    #[inline(always)]
    pub const fn is(&self, packed: u32) -> bool {
        self.generation & (KEPT_GENERATIONS - 1) == packed >> INDEX_BITS
    }
}

impl ClassKey {
    /// The key of a cohort.
    #[must_use]
    #[inline(always)]
    pub const fn new(service: u16, fingerprint: u64) -> Self {
        Self { fingerprint, service, reserved: [0; 3] }
    }
}
