//! What the kernel keeps about one connection to a watched service.

use crate::address::Address;
use crate::plain;
use crate::stream::{Hello, Http, Records};

plain! {
    /// One connection, by its client's side.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct ConnectionKey {
        pub client: Address,
        pub server: Address,
        pub client_port: u16,
        pub server_port: u16,
    }

    /// A [`ConnectionKey`] in five words, as tables hold and compare it.
    pub struct Tuple {
        /// The client's address, most significant half first.
        pub client: [u64; 2],
        pub server: [u64; 2],
        /// Client's port, then the server's, 16 bits each.
        pub ports: u64,
    }

    /// Eight connections.
    pub struct ConnectionBucket {
        /// [`crate::half_open::tag`]; two connections of one tag are told apart by their keys.
        pub tags: [u64; 8],
        pub keys: [Tuple; 8],
        pub records: [Connection; 8],
    }

    /// State of one connection. Only ingress segments are seen; the server's side is inferred from acknowledgements.
    /// Times are monotonic nanoseconds.
    ///
    /// What every segment reads or writes comes first and fills one cache line.
    pub struct Connection {
        /// When the latest segment came.
        pub last_seen_ns: u64,
        /// The connection's payload is refused until then; 0: it is not.
        pub refused_until_ns: u64,
        /// New payload bytes from the client.
        pub bytes: u64,
        /// Next sequence number expected from the client.
        pub next_seq: u32,
        /// Highest acknowledgement number of the client: the server's bytes that arrived.
        pub ack: u32,
        /// See [`crate::event::flag`].
        pub flags: u32,
        /// Acknowledgement number when the last request was counted.
        pub counted_ack: u32,
        /// Requests counted.
        pub requests: u32,
        /// Acknowledgement number of the first payload; what goes beyond it acknowledges the server's flight.
        pub hello_ack: u32,
        /// Client's initial sequence number.
        pub isn: u32,
        /// Requests found in the segment at hand.
        pub found: u32,
        /// Which side of the handshake: see [`stage`].
        pub stage: u8,
        /// See [`crate::event::protocol`].
        pub protocol: u8,
        /// Why payload is refused: the index of a drop counter.
        pub refused_by: u8,
        pub reserved: [u8; 5],
        /// When the SYN came.
        pub started_ns: u64,
        /// When the handshake was completed; 0: not yet.
        pub established_ns: u64,
        /// When the first pure acknowledgement of the server's flight came; 0: not yet.
        pub flight_ack_ns: u64,
        /// Shape of the client software; 0: unknown.
        pub fingerprint: u64,
        /// Secret that seeds the fingerprint, as it was when the connection began.
        pub seed: u64,
        /// Sender timestamp of the handshake's acknowledgement.
        pub established_tsval: u32,
        /// Sender timestamp of the first pure acknowledgement of the server's flight.
        pub flight_ack_tsval: u32,
        pub rtt_us: u32,
        /// See [`crate::event::ConnectionEvent::hello_gap_us`].
        pub hello_gap_us: u32,
        /// See [`crate::event::ConnectionEvent::flight_gap_us`].
        pub flight_gap_us: u32,
        /// Position of the parser in the segment at hand, and that segment's end.
        pub position: u32,
        pub end: u32,
        pub padding: u32,
        pub hello: Hello,
        pub records: Records,
        pub http: Http,
    }
}

impl Tuple {
    #[must_use]
    #[inline(always)]
    pub const fn client_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    #[must_use]
    #[inline(always)]
    pub const fn server_port(&self) -> u16 {
        self.ports as u16
    }

    #[must_use]
    #[inline(always)]
    pub fn client(&self) -> Address {
        Address::from_words(self.client[0], self.client[1])
    }

    #[must_use]
    #[inline(always)]
    pub fn server(&self) -> Address {
        Address::from_words(self.server[0], self.server[1])
    }

    /// The key in these words.
    #[must_use]
    #[inline(always)]
    pub fn key(&self) -> ConnectionKey {
        ConnectionKey {
            client: self.client(),
            server: self.server(),
            client_port: self.client_port(),
            server_port: self.server_port(),
        }
    }

    /// Whether both are the same, in few branches.
    #[must_use]
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let client = self.client[0] ^ other.client[0] | self.client[1] ^ other.client[1];
        let server = self.server[0] ^ other.server[0] | self.server[1] ^ other.server[1];
        client | server | self.ports ^ other.ports == 0
    }
}

impl From<&ConnectionKey> for Tuple {
    #[inline(always)]
    fn from(key: &ConnectionKey) -> Self {
        let (client, server) = (key.client.words(), key.server.words());
        let ports = u64::from(key.client_port) << 16 | u64::from(key.server_port);
        Self { client: [client.0, client.1], server: [server.0, server.1], ports }
    }
}

/// How far the evidence on a connection has come.
pub mod stage {
    /// SYN seen.
    pub const SYN: u8 = 0;
    /// Handshake completed, no payload yet.
    pub const ESTABLISHED: u8 = 1;
    /// First payload seen; waiting for the first pure acknowledgement of the server's flight.
    pub const HELLO: u8 = 2;
    /// That acknowledgement seen; waiting for the client's next flight.
    pub const FLIGHT_ACKED: u8 = 3;
    /// Evidence complete, or given up.
    pub const DONE: u8 = 4;
}

/// A connection of which nothing is known.
pub static EMPTY: Connection = Connection {
    last_seen_ns: 0,
    refused_until_ns: 0,
    bytes: 0,
    next_seq: 0,
    ack: 0,
    flags: 0,
    counted_ack: 0,
    requests: 0,
    hello_ack: 0,
    isn: 0,
    found: 0,
    stage: stage::SYN,
    protocol: crate::event::protocol::NONE,
    refused_by: 0,
    reserved: [0; 5],
    started_ns: 0,
    established_ns: 0,
    flight_ack_ns: 0,
    fingerprint: 0,
    seed: 0,
    established_tsval: 0,
    flight_ack_tsval: 0,
    rtt_us: 0,
    hello_gap_us: crate::event::UNKNOWN_US,
    flight_gap_us: crate::event::UNKNOWN_US,
    position: 0,
    end: 0,
    padding: 0,
    hello: Hello::NEW,
    records: Records::NEW,
    http: Http::NEW,
};

const _: () = assert!(size_of::<Connection>().is_multiple_of(64), "a record begins at a cache line");
