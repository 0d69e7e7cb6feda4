//! A capture through the packet path: the same function as in the kernel, the same evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use sensor_common::ABI_VERSION;
use sensor_common::connection::{Connection, ConnectionKey};
use sensor_common::counter::Counter;
use sensor_common::event::flag;
use sensor_common::path::judge;
use sensor_common::plain::Plain as _;
use sensor_common::settings::{Settings, Sizes};

use super::hello::Hellos;
use super::{Broken, Frame, Frames, open};
use crate::evidence::Evidence;
use crate::fingerprint::{ClassNames, ClientHello, Ja4, Transport};
use crate::host::{Bytes, Memory, Moment};
use crate::tunable::Tunables;

/// The kernel's monotonic clock at the first frame, nanoseconds: no time of a capture lies before its start.
const START_NS: u64 = 1_000_000_000_000;
/// Connections kept until the end; beyond it those not seen for longest are given out.
const CONNECTIONS_MAX: usize = 131_072;
/// Classes that are named.
const CLASSES: usize = 65_536;
/// Tables large enough for [`CONNECTIONS_MAX`] connections.
const SIZES: Sizes =
    Sizes { regions: 1, traffic: 8_192, half_open: 8_192, sources: 8_192, networks: 8_192, connections: 16_384 };

/// How a capture is replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Watched TCP ports; none: those that a SYN of the capture goes to.
    pub ports: Vec<u16>,
    /// Thresholds.
    pub tunables: Tunables,
    /// Sizes of the tables; `None`: large ones.
    pub sizes: Option<Sizes>,
}

/// Something that a capture holds.
#[derive(Clone, Debug)]
pub enum Found {
    /// A TCP connection to a watched port, as it stood at its end or at the capture's.
    Connection { key: ConnectionKey, state: Box<Connection>, ja4: Option<Ja4>, evidence: Box<Evidence> },
    /// A ClientHello outside of such connections: over UDP, or to a port that is not watched.
    Hello { key: ConnectionKey, ja4: Ja4, evidence: Box<Evidence> },
}

/// What became of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Frames of the file.
    pub frames: u64,
    /// Of these, those that a watched service sent: the packet path sees what comes in.
    pub outgoing: u64,
    /// Frames that the capture cut: what is missing was not looked at.
    pub cut: u64,
    /// Frames that claim to be older than one ahead of them.
    pub backwards: u64,
    pub services: Vec<u16>,
    pub connections: u64,
    /// Records that the kernel would have sent to the daemon.
    pub events: u64,
    /// Counters of the packet path that moved.
    pub counters: BTreeMap<Counter, u64>,
    /// Classes met, and how often a class or a JA4 met another counterpart.
    pub classes: usize,
    pub class_conflicts: u64,
    /// Why the file was not read to its end.
    pub broken: Option<Broken>,
}

/// Runs a capture through the packet path. What it holds is handed over as soon as it is complete.
///
/// # Errors
/// If the file cannot be read at all. One that breaks off later is in the summary, with what came before.
pub fn replay(path: &Path, options: &Options, found: &mut dyn FnMut(Found)) -> Result<Summary, Broken> {
    let ports = if options.ports.is_empty() { services(path)? } else { options.ports.clone() };
    Ok(replay_frames(&mut open(path)?, &Options { ports, ..options.clone() }, found))
}

/// As [`replay`], for frames that come from elsewhere. Only the ports of the options are watched.
pub fn replay_frames(frames: &mut Frames<'_>, options: &Options, found: &mut dyn FnMut(Found)) -> Summary {
    let mut run = Run::new(options);
    for frame in frames.by_ref() {
        match frame {
            Ok(frame) => run.frame(&frame, found),
            Err(broken) => run.summary.broken = Some(broken),
        }
    }
    run.summary.backwards = frames.backwards();
    run.end(found)
}

/// The ports that SYNs go to.
fn services(path: &Path) -> Result<Vec<u16>, Broken> {
    let frames = open(path)?;
    // What is broken is met again when the frames are judged.
    let ports: BTreeSet<u16> = frames.map_while(Result::ok).filter_map(|frame| syn_target(&frame.bytes)).collect();
    Ok(ports.into_iter().collect())
}

fn syn_target(frame: &[u8]) -> Option<u16> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    match (packet.net, packet.transport?) {
        (Some(NetSlice::Ipv4(_) | NetSlice::Ipv6(_)), TransportSlice::Tcp(tcp)) if tcp.syn() && !tcp.ack() => {
            Some(tcp.destination_port())
        }
        _ => None,
    }
}

/// A connection that is under way.
struct Live {
    state: Connection,
    ja4: Option<Ja4>,
}

struct Run {
    memory: Memory,
    services: BTreeSet<u16>,
    hellos: Hellos,
    names: ClassNames,
    live: BTreeMap<ConnectionKey, Live>,
    /// Wall time of the first frame, nanoseconds since 1970.
    first_ns: Option<u64>,
    now_ns: u64,
    summary: Summary,
}

impl Run {
    fn new(options: &Options) -> Self {
        let ports = &options.ports;
        let settings = settings(&options.tunables, options.sizes.unwrap_or(SIZES));
        Self {
            memory: Memory::new(settings, ports, &[]),
            services: ports.iter().copied().collect(),
            hellos: Hellos::default(),
            names: ClassNames::new(CLASSES),
            live: BTreeMap::new(),
            first_ns: None,
            now_ns: START_NS,
            summary: Summary { services: ports.clone(), ..Summary::default() },
        }
    }

    fn frame(&mut self, frame: &Frame, found: &mut dyn FnMut(Found)) {
        self.summary.frames += 1;
        self.summary.cut += u64::from(frame.length > frame.bytes.len());
        let first_ns = *self.first_ns.get_or_insert(frame.at_ns);
        // No two frames come at the same time.
        let at_ns = START_NS.saturating_add(frame.at_ns.saturating_sub(first_ns));
        self.now_ns = at_ns.max(self.now_ns.saturating_add(1));
        if is_outgoing(&frame.bytes, &self.services) {
            self.summary.outgoing += 1;
            return;
        }
        let bytes = Bytes::cut(&frame.bytes, frame.length);
        let _ = judge(&bytes, &self.memory, &Moment { now_ns: self.now_ns, lag_ns: 0 });
        self.summary.events += self.memory.events.get_mut().len() as u64;
        self.memory.events.get_mut().clear();
        match self.memory.latest() {
            Some((key, Some(state))) => self.follow(key, state, found),
            // A reset takes the record away: the last state that was seen counts, and that it ended.
            Some((key, None)) => {
                if let Some(live) = self.live.get_mut(&key) {
                    live.state.flags |= flag::CLOSED;
                }
            }
            None => {}
        }
        if let Some((key, hello)) = self.hellos.look(&frame.bytes) {
            self.hello(key, &hello, found);
        }
    }

    fn follow(&mut self, key: ConnectionKey, state: Connection, found: &mut dyn FnMut(Found)) {
        match self.live.get_mut(&key) {
            Some(live) if live.state.isn == state.isn && live.state.started_ns == state.started_ns => {
                live.state = state;
            }
            _ => {
                let former = self.live.insert(key, Live { state, ja4: None });
                if let Some(former) = former {
                    self.give(key, former, found);
                }
            }
        }
        if self.live.len() > CONNECTIONS_MAX {
            self.give_half(found);
        }
    }

    fn hello(&mut self, key: ConnectionKey, hello: &ClientHello, found: &mut dyn FnMut(Found)) {
        let ja4 = Ja4::of(hello);
        if let Some(live) = self.live.get_mut(&key) {
            if live.state.fingerprint != 0 {
                self.names.sample(live.state.fingerprint, &ja4);
            }
            live.ja4 = Some(ja4);
            return;
        }
        let protocol = match hello.transport {
            Transport::Tls => "tls",
            Transport::Quic => "quic",
            Transport::Dtls => "dtls",
        };
        let evidence = Evidence {
            protocol: protocol.to_owned(),
            started_unix_us: self.wall_us(self.now_ns),
            ja4: Some(ja4.to_string()),
            ..Evidence::between(&key)
        };
        found(Found::Hello { key, ja4, evidence: Box::new(evidence) });
    }

    /// Gives out one that is over.
    fn give(&mut self, key: ConnectionKey, live: Live, found: &mut dyn FnMut(Found)) {
        let Live { state, ja4 } = live;
        self.summary.connections += 1;
        let evidence = Evidence {
            ja4: ja4.as_ref().map(ToString::to_string),
            ..Evidence::of_connection(&key, &state, |ns| self.wall_us(ns))
        };
        found(Found::Connection { key, state: Box::new(state), ja4, evidence: Box::new(evidence) });
    }

    /// Gives out the half of the connections that was not seen for longest.
    fn give_half(&mut self, found: &mut dyn FnMut(Found)) {
        let mut order: Vec<(u64, ConnectionKey)> =
            self.live.iter().map(|(key, live)| (live.state.last_seen_ns, *key)).collect();
        order.sort_unstable();
        for (_, key) in order.iter().take(CONNECTIONS_MAX / 2) {
            if let Some(live) = self.live.remove(key) {
                self.give(*key, live, found);
            }
        }
    }

    /// Microseconds since 1970 for a time of the packet path.
    fn wall_us(&self, ns: u64) -> u64 {
        self.first_ns.unwrap_or_default().saturating_add(ns.saturating_sub(START_NS)) / 1_000
    }

    fn end(mut self, found: &mut dyn FnMut(Found)) -> Summary {
        let mut rest: Vec<(ConnectionKey, Live)> = std::mem::take(&mut self.live).into_iter().collect();
        rest.sort_by_key(|(key, live)| (live.state.started_ns, *key));
        for (key, live) in rest {
            self.give(key, live, found);
        }
        self.summary.counters = self.memory.counters.get_mut().clone();
        self.summary.classes = self.names.len();
        self.summary.class_conflicts = self.names.conflicts();
        self.summary
    }
}

/// Whether a watched service sent the frame.
fn is_outgoing(frame: &[u8], services: &BTreeSet<u16>) -> bool {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return false };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return false };
    services.contains(&tcp.source_port()) && !services.contains(&tcp.destination_port())
}

/// Nothing is refused, every record is written; thresholds as in the kernel.
fn settings(tunables: &Tunables, sizes: Sizes) -> Settings {
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Settings {
        // Any will do: classes of a replay are compared with those of the same one.
        seed: 0x5eed,
        abi_version: ABI_VERSION,
        relay_gap_us: small(tunables.relay_gap_ms.saturating_mul(1_000)),
        relay_gap_rtt_percent: small(tunables.relay_gap_rtt_percent),
        events_per_s: u32::MAX,
        sizes,
        ..Settings::zeroed()
    }
}
