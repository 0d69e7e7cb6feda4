//! Rules as the kernel holds them. Every one but allow and limits expires, and the kernel checks it.

use crate::plain;

plain! {
    /// A prefix that nothing may refuse.
    pub struct AllowRule {
        /// Frames that passed because of it.
        pub hits: u64,
    }

    /// A prefix whose frames are refused.
    pub struct DenyRule {
        /// Monotonic time from which the rule no longer holds, nanoseconds.
        pub expires_ns: u64,
        /// Frames it matched, in dry run too.
        pub hits: u64,
        /// Monotonic time of the last match, nanoseconds; 0: none.
        pub last_hit_ns: u64,
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

impl ClassKey {
    /// The key of a cohort.
    #[must_use]
    #[inline(always)]
    pub const fn new(service: u16, fingerprint: u64) -> Self {
        Self { fingerprint, service, reserved: [0; 3] }
    }
}
