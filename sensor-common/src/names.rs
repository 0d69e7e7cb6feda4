//! Names that the kernel object and the daemon use for the same thing.

/// The XDP program.
pub const PROGRAM: &str = "sensor";
/// [`crate::settings::Settings`], one element.
pub const SETTINGS: &str = "SETTINGS";
/// Bit set of watched TCP ports, 64 a word.
pub const SERVICES: &str = "SERVICES";
/// Per-CPU counters, indexed by [`crate::counter::Counter`].
pub const COUNTERS: &str = "COUNTERS";
/// Source to [`crate::stats::SourceStats`].
pub const SOURCES: &str = "SOURCES";
/// [`crate::connection::ConnectionKey`] to [`crate::connection::Connection`].
pub const CONNECTIONS: &str = "CONNECTIONS";
/// Network to [`crate::stats::NetworkStats`].
pub const NETWORKS: &str = "NETWORKS";
/// Prefix to [`crate::rule::AllowRule`].
pub const ALLOW: &str = "ALLOW";
/// Prefix to [`crate::rule::DenyRule`].
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
pub const MAPS: &[&str] =
    &[SETTINGS, SERVICES, COUNTERS, SOURCES, CONNECTIONS, NETWORKS, ALLOW, DENY, CLASSES, TIERED, LIMITS, EVENTS];
