//! Counters of the packet path. One row declares number, name and meaning; metrics, `status` and docs read it.

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident = $text:literal in $group:ident,)*) => {
        /// One per-CPU counter of the packet path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Counter { $($(#[doc = $help])+ $name,)* }

        impl Counter {
            /// Every counter, in index order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name inside its group: the `reason` label, or the whole name in [`Group::Total`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The quantity it belongs to.
            #[must_use]
            pub const fn group(self) -> Group {
                match self { $(Self::$name => Group::$group,)* }
            }

            /// What it counts.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($help),+),)* }
            }
        }
    };
}

/// The quantity a counter is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Stands alone.
    Total,
    /// Frames that were passed because they were not understood, by reason.
    Reject,
    /// Frames dropped, by reason.
    Drop,
    /// Frames a rule matched while in dry run: they passed, by reason.
    WouldDrop,
    /// Evidence given up, by reason.
    Unknown,
    /// Records and entries lost, by kind.
    Lost,
}

counters! {
    /// Frames seen.
    Frames = "frames" in Total,
    /// Bytes of the frames seen, Ethernet header included.
    Bytes = "bytes" in Total,
    /// Frames passed because their source or destination is allowed.
    Allowed = "allowed" in Total,
    /// TCP connection attempts to watched services.
    Syns = "syns" in Total,
    /// Handshakes completed with watched services.
    Connections = "connections" in Total,
    /// Requests counted exactly (plaintext HTTP/1 and HTTP/2).
    RequestsExact = "requests_exact" in Total,
    /// Requests estimated from TLS record starts and server progress.
    RequestsEstimated = "requests_estimated" in Total,
    /// Connections with a valid relay-gap sample.
    GapSamples = "gap_samples" in Total,
    /// Connections whose relay gap says relay.
    GapFlagged = "gap_flagged" in Total,
    /// Connection records written to the event ring.
    Events = "events" in Total,
    /// Segments to watched services that belong to no tracked connection.
    Untracked = "untracked" in Total,

    /// Frame ends inside a header.
    RejectTruncated = "truncated" in Reject,
    /// Not IP (ARP, LLDP, ...).
    RejectEthertype = "ethertype" in Reject,
    /// More than two VLAN tags.
    RejectVlan = "vlan_depth" in Reject,
    /// A length or version field contradicts itself.
    RejectHeader = "bad_header" in Reject,
    /// IPv4 or IPv6 fragment.
    RejectFragment = "fragment" in Reject,
    /// More IPv6 extension headers than are followed.
    RejectExtension = "ipv6_extension" in Reject,
    /// IP, but neither TCP nor UDP.
    RejectProtocol = "ip_protocol" in Reject,

    /// Denied prefix.
    DropDeny = "deny" in Drop,
    /// Class rule: cohort under alarm, relayed, from a new network.
    DropClass = "class" in Drop,
    /// Source over its tier's connections per second.
    DropConnectionLimit = "connection_limit" in Drop,
    /// Source over its tier's requests per minute.
    DropRequestLimit = "request_limit" in Drop,

    /// Denied prefix.
    WouldDropDeny = "deny" in WouldDrop,
    /// Class rule: cohort under alarm, relayed, from a new network.
    WouldDropClass = "class" in WouldDrop,
    /// Source over its tier's connections per second.
    WouldDropConnectionLimit = "connection_limit" in WouldDrop,
    /// Source over its tier's requests per minute.
    WouldDropRequestLimit = "request_limit" in WouldDrop,

    /// No pure acknowledgement came before the flight that is timed.
    UnknownNoAck = "no_pure_ack" in Unknown,
    /// Sender timestamps contradict arrival times.
    UnknownTimestamps = "timestamps_disagree" in Unknown,
    /// A segment of the stream was missed or came out of order.
    UnknownGap = "stream_gap" in Unknown,
    /// The client's first bytes are neither TLS nor HTTP/1.
    UnknownProtocol = "protocol" in Unknown,
    /// A length in the ClientHello or request head lies, or is beyond the limits.
    UnknownMalformed = "malformed" in Unknown,

    /// Connection records for which the event ring had no room.
    LostEvents = "events" in Lost,
    /// Connection records left out because more came in a second than the daemon is to be sent.
    ShedEvents = "events_shed" in Lost,
    /// Frames whose source found no place in the traffic table: all of its bucket is protected.
    LostSources = "sources" in Lost,
    /// Sources that lost their place in the traffic table to another.
    EvictedSources = "sources_evicted" in Lost,
    /// Completed handshakes whose source could not be entered in the table.
    LostRecords = "source_records" in Lost,
    /// Sources with completed handshakes that lost their record to another.
    EvictedRecords = "source_records_evicted" in Lost,
    /// Connections that could not be entered in the table.
    LostConnections = "connections" in Lost,
    /// Connections that lost their place to another while they were open.
    EvictedConnections = "connections_evicted" in Lost,
    /// Networks that could not be entered in the table.
    LostNetworks = "networks" in Lost,
    /// Networks that lost their place to another.
    EvictedNetworks = "networks_evicted" in Lost,
}

impl Counter {
    /// How many counters there are.
    pub const COUNT: u32 = Self::EvictedNetworks as u32 + 1;

    /// Its index in the counter map.
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self as u32
    }
}
