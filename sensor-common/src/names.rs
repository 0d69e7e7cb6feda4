//! Names that the kernel object and the daemon use for the same thing.

/// The XDP program.
pub const PROGRAM: &str = "sensor";
/// [`crate::settings::Settings`], one element.
pub const SETTINGS: &str = "SETTINGS";
/// Bit set of watched TCP ports, 64 a word.
pub const SERVICES: &str = "SERVICES";
/// Per-CPU counters, indexed by [`crate::counter::Counter`].
pub const COUNTERS: &str = "COUNTERS";
/// [`crate::traffic::TrafficBucket`]s, region after region.
pub const TRAFFIC: &str = "TRAFFIC";
/// [`crate::half_open::HalfOpenBucket`]s, region after region.
pub const HALF_OPEN: &str = "HALF_OPEN";
/// [`crate::stats::SourceBucket`]s.
pub const SOURCES: &str = "SOURCES";
/// [`crate::stats::NetworkBucket`]s.
pub const NETWORKS: &str = "NETWORKS";
/// [`crate::connection::ConnectionBucket`]s.
pub const CONNECTIONS: &str = "CONNECTIONS";
/// Words of [`crate::filter`].
pub const FILTER: &str = "FILTER";
/// [`crate::rule::Rule`] by place.
pub const RULES: &str = "RULES";
/// Frames that each rule matched, in dry run too: `u64` by place, region after region.
pub const HITS: &str = "HITS";
/// Prefix to [`crate::rule::Reference`].
pub const ALLOW: &str = "ALLOW";
/// Prefix to [`crate::rule::Reference`].
pub const DENY: &str = "DENY";
/// [`crate::rule::ClassKey`] to [`crate::rule::ClassRule`].
pub const CLASSES: &str = "CLASSES";
/// Prefix to tier index.
pub const TIERED: &str = "TIERED";
/// Tier index to [`crate::rule::TierLimit`].
pub const LIMITS: &str = "LIMITS";
/// Ring of [`crate::event::ConnectionEvent`].
pub const EVENTS: &str = "EVENTS";

/// Every pinned map.
pub const MAPS: &[&str] = &[
    SETTINGS,
    SERVICES,
    COUNTERS,
    TRAFFIC,
    HALF_OPEN,
    SOURCES,
    NETWORKS,
    CONNECTIONS,
    FILTER,
    RULES,
    HITS,
    ALLOW,
    DENY,
    CLASSES,
    TIERED,
    LIMITS,
    EVENTS,
];
