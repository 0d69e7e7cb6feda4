//! ClientHellos in a capture: the beginnings of client streams over TCP, and of datagrams over UDP.
//!
//! Everything is bounded: so many clients at once, so many bytes of each. A stream is followed until its hello is
//! found, or until it is too long to hold one.

use std::collections::BTreeMap;

use etherparse::{SlicedPacket, TransportSlice};
use sensor_common::connection::ConnectionKey;

use crate::fingerprint::quic::{self, Initials};
use crate::fingerprint::{ClientHello, Handshake, Transport, Unread, find};

/// Clients followed at once.
const CLIENTS_MAX: usize = 65_536;
/// Bytes of a stream that are searched.
const STREAM_BYTES_MAX: usize = 24_576;
/// Segments of a stream that wait for an earlier one.
const EARLY_MAX: usize = 32;
/// Bytes of all streams together; beyond it further streams are not searched.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Clients whose hello was not found yet.
#[derive(Debug, Default)]
pub(super) struct Hellos {
    streams: BTreeMap<ConnectionKey, Stream>,
    datagrams: BTreeMap<ConnectionKey, Datagrams>,
    /// Bytes that streams hold.
    held: usize,
}

/// The beginning of a client's bytes over TCP.
#[derive(Debug, Default)]
struct Stream {
    /// Sequence number of the first byte; `None`: not known yet.
    first: Option<u32>,
    bytes: Vec<u8>,
    /// Offset and bytes of what came too early.
    early: Vec<(usize, Vec<u8>)>,
    is_over: bool,
}

#[derive(Debug)]
enum Datagrams {
    Quic(Box<Initials>),
    Dtls(Handshake),
    Over,
}

impl Hellos {
    /// Looks at a frame. The hello that it completes, if it does, and whose it is.
    pub(super) fn look(&mut self, frame: &[u8]) -> Option<(ConnectionKey, ClientHello)> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (source, destination) = addresses(&packet)?;
        let key = |client_port, server_port| ConnectionKey {
            client: source.into(),
            server: destination.into(),
            client_port,
            server_port,
        };
        match packet.transport.as_ref()? {
            TransportSlice::Tcp(tcp) => {
                let key = key(tcp.source_port(), tcp.destination_port());
                let segment = Segment { seq: tcp.sequence_number(), syn: tcp.syn(), bytes: tcp.payload() };
                self.segment(key, &segment).map(|hello| (key, hello))
            }
            TransportSlice::Udp(udp) => {
                let key = key(udp.source_port(), udp.destination_port());
                self.datagram(key, udp.payload()).map(|hello| (key, hello))
            }
            TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => None,
        }
    }

    fn segment(&mut self, key: ConnectionKey, segment: &Segment<'_>) -> Option<ClientHello> {
        if segment.syn {
            // A SYN begins a stream; a repeated one begins it anew, and nothing was lost by that.
            let former = self.streams.remove(&key);
            self.held = self.held.saturating_sub(former.map_or(0, |stream| stream.held()));
        } else if segment.bytes.is_empty() {
            return None;
        }
        if self.streams.len() >= CLIENTS_MAX && !self.streams.contains_key(&key) {
            return None;
        }
        let is_full = self.held >= HELD_BYTES_MAX;
        let stream = self.streams.entry(key).or_default();
        let before = stream.held();
        let found = if is_full { None } else { stream.take(segment) };
        self.held = self.held.saturating_sub(before).saturating_add(stream.held());
        found
    }

    fn datagram(&mut self, key: ConnectionKey, payload: &[u8]) -> Option<ClientHello> {
        let is_full = self.datagrams.len() >= CLIENTS_MAX;
        let state = match self.datagrams.get_mut(&key) {
            Some(state) => state,
            None if is_full => return None,
            None => {
                let begin = match payload {
                    [22, 254 | 1, ..] => Datagrams::Dtls(Handshake::default()),
                    _ if quic::is_known(payload) => Datagrams::Quic(Box::default()),
                    // TLS inside another protocol over UDP; what has no hello at once is not followed.
                    _ => return find(payload, Transport::Quic).ok(),
                };
                self.datagrams.entry(key).or_insert(begin)
            }
        };
        let outcome = match state {
            Datagrams::Quic(initials) => initials.put(payload),
            Datagrams::Dtls(handshake) => handshake.put(payload),
            Datagrams::Over => return None,
        };
        match outcome {
            Ok(hello) => {
                *state = Datagrams::Over;
                Some(hello)
            }
            Err(Unread::TooLong) => {
                *state = Datagrams::Over;
                None
            }
            Err(Unread::Cut | Unread::Malformed | Unread::Version | Unread::Sealed) => None,
        }
    }
}

struct Segment<'a> {
    seq: u32,
    syn: bool,
    bytes: &'a [u8],
}

impl Stream {
    fn held(&self) -> usize {
        self.bytes.len() + self.early.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    fn take(&mut self, segment: &Segment<'_>) -> Option<ClientHello> {
        if self.is_over {
            return None;
        }
        let at = if segment.syn { segment.seq.wrapping_add(1) } else { segment.seq };
        let first = *self.first.get_or_insert(at);
        // Distances beyond half the range are the past (RFC 9293 section 3.4).
        let distance = at.wrapping_sub(first) as i32;
        let behind = usize::try_from(distance.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let bytes = segment.bytes.get(behind..).unwrap_or_default();
        let offset = usize::try_from(distance.max(0)).unwrap_or(usize::MAX);
        self.put(offset, bytes);
        let found = find(&self.bytes, Transport::Tls);
        self.is_over = found.is_ok() || self.bytes.len() >= STREAM_BYTES_MAX;
        if self.is_over {
            (self.bytes, self.early) = (Vec::new(), Vec::new());
        }
        found.ok()
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() || offset > STREAM_BYTES_MAX {
            return;
        }
        if offset > self.bytes.len() {
            if self.early.len() < EARLY_MAX {
                self.early.push((offset, bytes.to_vec()));
            }
            return;
        }
        self.join(offset, bytes);
        while let Some(place) = self.early.iter().position(|(at, _)| *at <= self.bytes.len()) {
            let (at, bytes) = self.early.remove(place);
            self.join(at, &bytes);
        }
    }

    fn join(&mut self, offset: usize, bytes: &[u8]) {
        let known = self.bytes.len().saturating_sub(offset);
        self.bytes.extend_from_slice(bytes.get(known..).unwrap_or_default());
        self.bytes.truncate(STREAM_BYTES_MAX);
    }
}

fn addresses(packet: &SlicedPacket<'_>) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
    match packet.net.as_ref()? {
        etherparse::NetSlice::Ipv4(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        etherparse::NetSlice::Ipv6(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        etherparse::NetSlice::Arp(_) => None,
    }
}
