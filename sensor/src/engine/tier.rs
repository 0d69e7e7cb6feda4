//! Tiers: named groups of prefixes, each with its own limits per source.
//!
//! Built from the configuration and checked there. The tier called `default` holds for everyone who is in no other.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use prefix_trie::PrefixMap;
use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;
use serde::{Deserialize, Serialize};

use super::window::Length;

/// Name of the tier of everyone else.
pub const DEFAULT: &str = "default";

/// One tier. A limit of 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tier {
    pub name: String,
    /// Who belongs to it; none for `default`.
    pub prefixes: Vec<IpNet>,
    /// Connection attempts per second that the kernel lets through.
    pub connections_per_s: u32,
    /// Requests per minute that the kernel lets through.
    pub requests_per_min: u32,
    /// Connections within a minute, ten minutes, a day.
    pub connections_1m: u64,
    pub connections_10m: u64,
    pub connections_1d: u64,
    /// Requests within a minute, ten minutes, a day.
    pub requests_1m: u64,
    pub requests_10m: u64,
    pub requests_1d: u64,
}

impl Tier {
    /// Limits on connections over each length of window; 0: none.
    #[must_use]
    pub const fn connection_limits(&self) -> [u64; 3] {
        [self.connections_1m, self.connections_10m, self.connections_1d]
    }

    /// Limits on requests over each length of window; 0: none.
    #[must_use]
    pub const fn request_limits(&self) -> [u64; 3] {
        [self.requests_1m, self.requests_10m, self.requests_1d]
    }

    /// Every window limit that is set: what it limits, over what, and how many.
    pub fn window_limits(&self) -> impl Iterator<Item = (&'static str, Length, u64)> {
        let connections = Length::ALL.into_iter().zip(self.connection_limits()).map(|(l, n)| ("connections", l, n));
        let requests = Length::ALL.into_iter().zip(self.request_limits()).map(|(l, n)| ("requests", l, n));
        connections.chain(requests).filter(|(_, _, n)| *n > 0)
    }
}

/// Why tiers were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierError {
    Unnamed,
    Name(String),
    Twice(String),
    DefaultPrefixes,
    NoPrefixes(String),
    Shared { prefix: String, first: String, second: String },
    TooMany { tiers: usize },
    TooManyPrefixes { prefixes: usize },
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed => write!(f, "a tier has no name: give it `name = \"...\"`"),
            Self::Name(name) => {
                write!(f, "tier name `{name}` is not usable: take 1 to 32 lower-case letters, digits, `-` or `_`")
            }
            Self::Twice(name) => write!(f, "two tiers are called `{name}`: rename or merge them"),
            Self::DefaultPrefixes => {
                write!(f, "the tier `{DEFAULT}` holds for everyone in no other tier: take its `prefixes` away")
            }
            Self::NoPrefixes(name) => write!(f, "tier `{name}` has no prefixes, so nobody is in it: add `prefixes`"),
            Self::Shared { prefix, first, second } => {
                write!(f, "{prefix} is in tier `{first}` and in tier `{second}`: take it out of one")
            }
            Self::TooMany { tiers } => {
                write!(f, "{tiers} tiers with `{DEFAULT}` are more than the {} that fit: merge some", capacity::TIERS)
            }
            Self::TooManyPrefixes { prefixes } => write!(
                f,
                "{prefixes} prefixes in tiers are more than the {} that fit: merge neighbours",
                capacity::TIERED
            ),
        }
    }
}

impl std::error::Error for TierError {}

/// All tiers, `default` first.
#[derive(Clone, Debug)]
pub struct Tiers {
    tiers: Vec<Tier>,
    by_prefix: PrefixMap<(u128, u8), usize>,
}

impl Default for Tiers {
    /// Only the default tier, without limits.
    fn default() -> Self {
        let default = Tier { name: DEFAULT.to_owned(), ..Tier::default() };
        Self { tiers: vec![default], by_prefix: PrefixMap::new() }
    }
}

impl Tiers {
    /// Checks tiers and puts `default` first, adding it if it is missing.
    ///
    /// # Errors
    /// If a name is missing, unusable or taken twice, a prefix is in two tiers, or the kernel's tables are too small.
    pub fn new(given: Vec<Tier>) -> Result<Self, TierError> {
        let mut names = BTreeSet::new();
        for tier in &given {
            check(tier)?;
            if !names.insert(tier.name.clone()) {
                return Err(TierError::Twice(tier.name.clone()));
            }
        }
        let (default, others): (Vec<_>, Vec<_>) = given.into_iter().partition(|tier| tier.name == DEFAULT);
        let mut tiers = if default.is_empty() { Self::default().tiers } else { default };
        tiers.extend(others);
        if tiers.len() > capacity::TIERS as usize {
            return Err(TierError::TooMany { tiers: tiers.len() });
        }
        let mut by_prefix = PrefixMap::new();
        for (index, tier) in tiers.iter().enumerate() {
            for net in &tier.prefixes {
                if let Some(first) = by_prefix.insert(key(&mapped(net)), index)
                    && first != index
                {
                    let name = |i: usize| tiers.get(i).map(|t: &Tier| t.name.clone()).unwrap_or_default();
                    let prefix = net.trunc().to_string();
                    return Err(TierError::Shared { prefix, first: name(first), second: name(index) });
                }
            }
        }
        let prefixes = by_prefix.len();
        if prefixes > capacity::TIERED as usize {
            return Err(TierError::TooManyPrefixes { prefixes });
        }
        Ok(Self { tiers, by_prefix })
    }

    /// The number of the tier that an address belongs to; 0 is `default`.
    #[must_use]
    pub fn index_of(&self, address: &Address) -> usize {
        if self.by_prefix.is_empty() {
            return 0;
        }
        self.by_prefix.get_lpm(&key(&address.host_prefix())).map_or(0, |(_, index)| *index)
    }

    /// The tier that an address belongs to.
    #[must_use]
    pub fn of(&self, address: &Address) -> &Tier {
        &self.tiers[self.index_of(address)]
    }

    /// The tiers by number, as the kernel's table holds them.
    #[must_use]
    pub fn all(&self) -> &[Tier] {
        &self.tiers
    }

    /// How many prefixes they have.
    #[must_use]
    pub fn prefix_count(&self) -> usize {
        self.by_prefix.len()
    }

    /// Every prefix with the number of its tier, as the kernel's table holds them.
    #[must_use]
    pub fn prefixes(&self) -> Vec<(Prefix, usize)> {
        let of_tier =
            |(index, tier): (usize, &Tier)| tier.prefixes.iter().map(|n| (mapped(n), index)).collect::<Vec<_>>();
        let mut all: Vec<_> = self.tiers.iter().enumerate().flat_map(of_tier).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn check(tier: &Tier) -> Result<(), TierError> {
    let name = &tier.name;
    if name.is_empty() {
        return Err(TierError::Unnamed);
    }
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.len() > 32 || !name.chars().all(usable) {
        return Err(TierError::Name(name.clone()));
    }
    match (name == DEFAULT, tier.prefixes.is_empty()) {
        (true, false) => Err(TierError::DefaultPrefixes),
        (false, true) => Err(TierError::NoPrefixes(name.clone())),
        _ => Ok(()),
    }
}

fn mapped(net: &IpNet) -> Prefix {
    Prefix::new(net.addr(), net.prefix_len()).expect("an `IpNet` has a length that its version allows")
}

/// A prefix as the trie holds it.
fn key(prefix: &Prefix) -> (u128, u8) {
    (u128::from_be_bytes(prefix.address.octets), u8::try_from(prefix.bits.min(128)).unwrap_or(128))
}
