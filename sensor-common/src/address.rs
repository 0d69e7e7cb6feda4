//! Addresses, sources and prefixes: one 16-byte form for both IP versions.
//!
//! An IPv4 address is held as its IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), so that every table and every
//! comparison has one code path.

use crate::plain;

/// Bits in front of the IPv4 part of a mapped address.
pub const MAPPED_BITS: u32 = 96;

/// The lower half of the mapped form of 0.0.0.0.
pub const MAPPED: u64 = 0xffff << 32;

/// Where the keys of IPv4 sources begin, see [`Address::key`].
const V4_KEYS: u64 = 1 << 32;
/// The key of `::/31`. Keys 0 and 1 mark free places in tables.
const RESERVED_KEY: u64 = 2;

/// The key of the source of an address given as two halves; see [`Address::key`].
#[must_use]
#[inline(always)]
pub const fn source_key(high: u64, low: u64) -> u64 {
    if high >> 33 != 0 {
        return high;
    }
    if high == 0 && low >> 32 == 0xffff { V4_KEYS | low & 0xffff_ffff } else { RESERVED_KEY }
}

/// The key of the network (/24 of IPv4, /48 of IPv6) that a source lies in; see [`Address::key`].
#[must_use]
#[inline(always)]
pub const fn network_key(source: u64) -> u64 {
    let host = if source >> 32 == V4_KEYS >> 32 { 0xff } else { 0xffff };
    // The reserved source is its own network: its key is smaller than any mask.
    if source == RESERVED_KEY { source } else { source & !host }
}

plain! {
    /// An IPv6 address, or an IPv4 address in its mapped form, in network byte order.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct Address {
        pub octets: [u8; 16],
    }

    /// Key of a longest-prefix-match table: the kernel wants the length first, in host byte order.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct Prefix {
        /// Significant bits of `address`, 0 to 128; an IPv4 prefix counts its 96 mapped bits.
        pub bits: u32,
        pub address: Address,
    }
}

impl Address {
    /// The mapped form of an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self { octets: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] }
    }

    /// An IPv6 address as it is.
    #[must_use]
    #[inline(always)]
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self { octets }
    }

    /// Whether this is the mapped form of an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        let (high, low) = self.words();
        high == 0 && (low >> 32) == 0xffff
    }

    /// The two halves as integers, most significant first.
    #[must_use]
    #[inline(always)]
    pub fn words(&self) -> (u64, u64) {
        let o = &self.octets;
        (
            u64::from_be_bytes([o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]]),
            u64::from_be_bytes([o[8], o[9], o[10], o[11], o[12], o[13], o[14], o[15]]),
        )
    }

    /// The address made of two halves, most significant first.
    #[must_use]
    #[inline(always)]
    pub fn from_words(high: u64, low: u64) -> Self {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&high.to_be_bytes());
        octets[8..].copy_from_slice(&low.to_be_bytes());
        Self { octets }
    }

    /// The source this address belongs to: an IPv4 address itself, of an IPv6 address its /64.
    ///
    /// One IPv6 client owns at least a /64 and may use every address in it (RFC 8981).
    #[must_use]
    #[inline(always)]
    pub fn source(&self) -> Self {
        Self::from_key(self.key())
    }

    /// The source as one integer, the key of every table of sources and networks: the upper half of an IPv6 address;
    /// an IPv4 address below `0:1::/32`, which is reserved (RFC 4291) and taken from nobody. IPv6 addresses of `::/31`
    /// are one source, `::/64`: they are never routed, and must not speak for an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub fn key(&self) -> u64 {
        let (high, low) = self.words();
        source_key(high, low)
    }

    /// The source of a key.
    #[must_use]
    #[inline(always)]
    pub fn from_key(key: u64) -> Self {
        if key == RESERVED_KEY {
            return Self::from_words(0, 0);
        }
        if key >> 32 == V4_KEYS >> 32 {
            return Self::from_words(0, 0xffff << 32 | key & 0xffff_ffff);
        }
        Self::from_words(key, 0)
    }

    /// The prefix that counts as one network: /24 of IPv4, /48 of IPv6. The unit of novelty.
    #[must_use]
    #[inline(always)]
    pub fn network(&self) -> Self {
        Self::from_key(network_key(self.key()))
    }

    /// This address with all of its bits significant.
    #[must_use]
    #[inline(always)]
    pub fn host_prefix(&self) -> Prefix {
        Prefix { bits: 128, address: *self }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod host {
    use core::fmt;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::{Address, MAPPED_BITS, Prefix};

    impl From<IpAddr> for Address {
        fn from(ip: IpAddr) -> Self {
            match ip {
                IpAddr::V4(v4) => Self::v4(v4.octets()),
                IpAddr::V6(v6) => Self::v6(v6.octets()),
            }
        }
    }

    impl From<Address> for IpAddr {
        fn from(address: Address) -> Self {
            let o = address.octets;
            if address.is_v4() {
                return Self::V4(Ipv4Addr::new(o[12], o[13], o[14], o[15]));
            }
            Self::V6(Ipv6Addr::from(o))
        }
    }

    impl fmt::Display for Address {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            IpAddr::from(*self).fmt(f)
        }
    }

    impl Prefix {
        /// The prefix of the first `length` bits of `ip`, as people write it (`length` up to 32 for IPv4, 128 for
        /// IPv6); host bits are cleared. `None` if the length is out of range.
        #[must_use]
        pub fn new(ip: IpAddr, length: u8) -> Option<Self> {
            let (most, before) = if ip.is_ipv4() { (32, MAPPED_BITS) } else { (128, 0) };
            if length > most {
                return None;
            }
            let bits = before + u32::from(length);
            let whole = u128::from_be_bytes(Address::from(ip).octets);
            let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
            Some(Self { bits, address: Address { octets: (whole & mask).to_be_bytes() } })
        }

        /// The prefix as people write it: its address and its length in that IP version.
        #[must_use]
        pub fn parts(&self) -> (IpAddr, u8) {
            let ip = IpAddr::from(self.address);
            let before = if ip.is_ipv4() && self.bits >= MAPPED_BITS { MAPPED_BITS } else { 0 };
            (ip, u8::try_from(self.bits.saturating_sub(before)).unwrap_or(128))
        }

        /// Whether `address` lies in this prefix.
        #[must_use]
        pub fn contains(&self, address: &Address) -> bool {
            let mask = if self.bits == 0 { 0 } else { u128::MAX << (128 - self.bits.min(128)) };
            (u128::from_be_bytes(self.address.octets) ^ u128::from_be_bytes(address.octets)) & mask == 0
        }
    }

    impl fmt::Display for Prefix {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (ip, length) = self.parts();
            write!(f, "{ip}/{length}")
        }
    }
}
