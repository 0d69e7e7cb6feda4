//! What the generator writes into its frames, as a function of their number: the kernel computes it, user space
//! replays it for the truth.
#![no_std]

use sensor_common::plain;

/// Name of the pattern in the object's read-only data.
pub const PATTERN: &str = "PATTERN";
/// Name of the per-CPU map with the number of the next frame.
pub const NEXT: &str = "NEXT";
/// Name of the program array whose first element [`Pattern`]s are fed to.
pub const JUMP: &str = "JUMP";

/// Frames of one CPU are numbered from its number times this on.
pub const FRAMES_PER_CPU: u64 = 1 << 40;
/// Up to so many sources an address leaves bit [`GAP_BIT`] clear: rules that match no source can lie among them.
pub const SPREAD_BITS: u32 = 25;
/// The bit of an address that no source of a spread pattern has set: the lowest of an IPv4 address's third octet.
pub const GAP_BIT: u32 = 8;

const ODD: u64 = 0x9e37_79b9;

plain! {
    /// What varies from frame to frame, and how. All zero leaves every frame as it is.
    pub struct Pattern {
        /// Seed of random sources and ports.
        pub seed: u64,
        /// Address of the first source: an IPv4 address in the low half, or the upper half of an IPv6 address.
        pub base: u64,
        /// Number of sources, a power of two; 0: the address is left alone.
        pub sources: u64,
        /// Sources that send more than others, beside the random ones; 0: none.
        pub heavy_sources: u64,
        /// Address of the first of these; each is [`HEAVY_STEP`] after the one before.
        pub heavy_base: u64,
        /// Share of all frames that they send together, of 1024.
        pub heavy_share: u64,
        /// 4 or 6.
        pub family: u32,
        /// See [`order`].
        pub order: u32,
        /// Client port of every frame; 0: random above 1023.
        pub port: u32,
        /// Whether the frame is TCP: sequence number and checksum are written.
        pub tcp: u32,
        /// Sequence number of the first round.
        pub sequence: u32,
        /// How far the sequence number moves on each time all sources have sent.
        pub step: u32,
        /// Folded sum of the IPv4 header's words, source address and checksum left out.
        pub ip_sum: u32,
        /// Folded sum of what TCP's checksum covers, source address, source port, sequence number and checksum left out.
        pub tcp_sum: u32,
    }
}

/// Distance of two heavy sources.
pub const HEAVY_STEP: u64 = 257;

/// In which order sources send.
pub mod order {
    /// At random, each frame for itself.
    pub const RANDOM: u32 = 0;
    /// In turn.
    pub const TURN: u32 = 1;
}

/// What one frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Source address, as [`Pattern::base`].
    pub address: u64,
    pub port: u16,
    pub sequence: u32,
}

/// A permutation of 64 bits (SplitMix64's finalizer; Steele, Lea and Flood 2014).
#[must_use]
#[inline(always)]
pub const fn scramble(x: u64) -> u64 {
    let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Where the source with this number lies behind the first one's address: up to 2^25 numbers lie scattered over 2^26
/// addresses, [`GAP_BIT`] clear.
#[must_use]
#[inline(always)]
pub const fn spread(number: u64) -> u64 {
    let place = number.wrapping_mul(ODD) & ((1 << SPREAD_BITS) - 1);
    (place >> GAP_BIT) << (GAP_BIT + 1) | place & ((1 << GAP_BIT) - 1)
}

impl Pattern {
    /// Source address of a number, below [`Pattern::sources`].
    #[must_use]
    #[inline(always)]
    pub const fn address(&self, number: u64) -> u64 {
        if self.sources <= 1 << SPREAD_BITS { self.base + spread(number) } else { self.base + number }
    }

    /// What frame number `n` carries.
    #[must_use]
    #[inline(always)]
    pub const fn draw(&self, n: u64) -> Draw {
        let random = scramble(n ^ self.seed);
        let mask = self.sources.wrapping_sub(1);
        let port = if self.port != 0 { self.port as u16 } else { (random >> 48) as u16 | 0x400 };
        let mut sequence = self.sequence;
        let address = if self.order == order::TURN {
            // The number of the CPU is above all bits that matter.
            let n = n & (FRAMES_PER_CPU - 1);
            let round = n >> mask.count_ones();
            sequence = sequence.wrapping_add((round as u32).wrapping_mul(self.step));
            self.address(n & mask)
        } else if self.heavy_sources != 0 && (random >> 37) & 1023 < self.heavy_share {
            let heavy = ((random & 0xffff_ffff) * self.heavy_sources) >> 32;
            self.heavy_base + heavy * HEAVY_STEP
        } else {
            self.address(random & mask)
        };
        Draw { address, port, sequence }
    }
}

/// A checksum's sum, folded into 16 bits (RFC 1071).
#[must_use]
#[inline(always)]
pub const fn fold(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u32
}
