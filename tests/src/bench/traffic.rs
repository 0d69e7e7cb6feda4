//! The traffic of a measurement: a frame as it begins, and the pattern by which the generator varies it.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use bench_ebpf::{GAP_BIT, Pattern, fold, order, spread};
use ipnet::{IpNet, Ipv4Net};

use crate::frame::frame;
use crate::lab::address::PLAIN_PORT;

const ETHERNET: usize = 14;
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
/// Where the checksums stand in their headers.
const V4_CHECKSUM: usize = 10;
const TCP_CHECKSUM: usize = 16;

/// Initial sequence number of every connection.
const ISN: u32 = 1_000_000;
/// A port that no service has.
pub const UNWATCHED_PORT: u16 = 9;
/// Share of the frames, of 1024, that heavy sources send together: a tenth.
const HEAVY_SHARE: u64 = 102;

/// Where the sources of a pattern live. Ranges of 2^26 addresses that share no bit pattern with one another's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Under no rule; unlisted rules lie among them.
    Free,
    /// Each of the first 2^16 sources is denied by itself.
    Denied,
    /// One prefix over all of them is denied.
    Covered,
    /// One prefix over all of them is allowed.
    Allowed,
    /// Upper halves of IPv6 addresses, below 2001:db8::/32.
    V6,
}

impl Range {
    /// The address of its first source, as [`Pattern::base`].
    pub const fn base(self) -> u64 {
        match self {
            Self::Free => 40 << 24,
            Self::Denied => 80 << 24,
            Self::Covered => 120 << 24,
            Self::Allowed => 160 << 24,
            Self::V6 => 0x2001_0db8 << 32,
        }
    }

    /// The prefix over all of them.
    pub fn prefix(self) -> String {
        format!("{}/6", Ipv4Addr::from_bits(self.base() as u32))
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection attempt.
    Syn,
    /// The end of the handshake, and every further segment without payload.
    Ack,
    /// A request on a connection that is kept alive.
    Request,
    /// A ClientHello.
    Hello,
    /// The client closes.
    Fin,
    /// UDP, which is counted and nothing more.
    Udp,
}

/// Frames of one kind from a number of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// What each frame is.
    pub kind: Kind,
    /// How many sources, a power of two.
    pub sources: u64,
    /// Where they live.
    pub range: Range,
    /// Each source sends from this one port, in turn; 0: random ports and order.
    pub port: u16,
    /// To which port.
    pub to: u16,
    /// Heavy sources beside the random ones.
    pub heavy: u64,
}

/// A frame as it begins, and how it varies.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The bytes.
    pub frame: Vec<u8>,
    /// The pattern.
    pub pattern: Pattern,
}

impl Traffic {
    /// Attempts from random sources and ports.
    pub const fn syn(sources: u64) -> Self {
        Self { kind: Kind::Syn, sources, range: Range::Free, port: 0, to: PLAIN_PORT, heavy: 0 }
    }

    /// The same sources with frames of another kind.
    #[must_use]
    pub const fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same from elsewhere.
    #[must_use]
    pub const fn from(self, range: Range) -> Self {
        Self { range, ..self }
    }

    /// The same to another port.
    #[must_use]
    pub const fn to(self, to: u16) -> Self {
        Self { to, ..self }
    }

    /// One connection of each source, the sources in turn.
    #[must_use]
    pub const fn connected(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The frame and the pattern; `seed` decides random sources and ports.
    ///
    /// # Errors
    /// When the frame is not built.
    pub fn feed(&self, seed: u64) -> Result<Feed> {
        let v6 = self.range == Range::V6;
        let frame = frame(&self.notation()).map_err(|error| anyhow::anyhow!("{error}")).context("build a frame")?;
        let tcp = self.kind != Kind::Udp;
        let payload = if tcp { frame.len() - transport(v6) - tcp_header(&frame, v6) } else { 0 };
        let pattern = Pattern {
            seed,
            base: self.range.base(),
            sources: self.sources,
            heavy_sources: self.heavy,
            heavy_base: 200 << 24,
            heavy_share: if self.heavy == 0 { 0 } else { HEAVY_SHARE },
            family: if v6 { 6 } else { 4 },
            order: if self.port == 0 { order::RANDOM } else { order::TURN },
            port: u32::from(self.port),
            tcp: u32::from(tcp),
            sequence: if self.kind == Kind::Syn { ISN } else { ISN + 1 },
            step: u32::try_from(payload).context("a frame is short")?,
            ip_sum: if v6 { 0 } else { ip_sum(&frame) },
            tcp_sum: if tcp { tcp_sum(&frame, v6) } else { 0 },
        };
        Ok(Feed { frame, pattern })
    }

    fn notation(&self) -> String {
        let port = self.to;
        let way = if self.range == Range::V6 {
            let client = Ipv6Addr::from_bits(u128::from(self.range.base()) << 64 | 7);
            format!("v6 [{client}]:40000 > :{port}")
        } else {
            format!("v4 {}:40000 > :{port}", Ipv4Addr::from_bits(self.range.base() as u32))
        };
        let what = match self.kind {
            Kind::Syn => "S mss 1460 sackok ts 1000,0 nop ws 7",
            Kind::Ack => "A ack 7000001 nop nop ts 1000,2000",
            Kind::Fin => "FA ack 7000001 nop nop ts 1000,2000",
            Kind::Request => {
                "PA ack 7000001 nop nop ts 1000,2000 payload \"GET /v1/models HTTP/1.1\\r\\nhost: model.lab\\r\\n\
                 user-agent: bench/1\\r\\naccept: */*\\r\\n\\r\\n\""
            }
            Kind::Hello => "PA ack 7000001 nop nop ts 1000,2000 hello 1.3",
            Kind::Udp => "udp payload \"twenty bytes or so..\"",
        };
        format!("{way} {what}")
    }
}

/// Rules that lie among the sources of [`Range::Free`] and match none of them: addresses, or whole /24s.
pub fn unlisted(count: u64, length: u8) -> Vec<IpNet> {
    let gap = 1 << GAP_BIT;
    (0..count)
        .map(|number| {
            let address = Range::Free.base() + if length == 32 { spread(number) } else { spread(number << 8) & !0xff };
            let net = Ipv4Net::new(Ipv4Addr::from_bits((address | gap) as u32), length).expect("a length up to 32");
            IpNet::V4(net.trunc())
        })
        .collect()
}

/// The address of a source of an IPv4 range.
pub fn source(range: Range, number: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits((range.base() + spread(number)) as u32)
}

/// The addresses of a range's first sources.
pub fn sources(range: Range, count: u64) -> Vec<IpNet> {
    (0..count).map(|number| IpNet::V4(Ipv4Net::from(source(range, number)))).collect()
}

fn transport(v6: bool) -> usize {
    ETHERNET + if v6 { V6_HEADER } else { V4_HEADER }
}

fn tcp_header(frame: &[u8], v6: bool) -> usize {
    usize::from(frame[transport(v6) + 12] >> 4) * 4
}

/// Sum of 16-bit words, but for those at some offsets.
fn sum(bytes: &[u8], skipped: &[usize]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    let words = bytes.chunks(2).enumerate().filter(|(index, _)| !skipped.contains(&(index * 2)));
    words.map(|(_, pair)| word(pair)).sum()
}

fn ip_sum(frame: &[u8]) -> u32 {
    fold(sum(&frame[ETHERNET..ETHERNET + V4_HEADER], &[V4_CHECKSUM, 12, 14]))
}

/// The generator writes the address's first eight (IPv6) or four bytes; the rest of it is summed here.
fn tcp_sum(frame: &[u8], v6: bool) -> u32 {
    let segment = &frame[transport(v6)..];
    let addresses = if v6 { &frame[ETHERNET + 16..ETHERNET + 40] } else { &frame[ETHERNET + 16..ETHERNET + 20] };
    fold(sum(segment, &[0, 4, 6, TCP_CHECKSUM]) + sum(addresses, &[]) + 6 + segment.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksum over the whole of what TCP covers is zero when it is right.
    fn is_right(frame: &[u8], v6: bool) -> bool {
        let segment = &frame[transport(v6)..];
        let addresses = &frame[if v6 { ETHERNET + 8 } else { ETHERNET + 12 }..transport(v6)];
        fold(sum(segment, &[]) + sum(addresses, &[]) + 6 + segment.len() as u64) == 0xffff
    }

    #[test]
    fn partial_sums_complete_to_right_checksums() {
        for range in [Range::Free, Range::V6] {
            for kind in [Kind::Syn, Kind::Ack, Kind::Request, Kind::Hello, Kind::Fin] {
                let v6 = range == Range::V6;
                let feed = Traffic::syn(1 << 20).from(range).kind(kind).feed(7).expect("it is built");
                let mut frame = feed.frame.clone();
                assert!(is_right(&frame, v6), "{range:?} {kind:?}: as built");
                let draw = feed.pattern.draw(12345);
                let at = transport(v6);
                if v6 {
                    frame[ETHERNET + 8..ETHERNET + 16].copy_from_slice(&draw.address.to_be_bytes());
                } else {
                    frame[ETHERNET + 12..ETHERNET + 16].copy_from_slice(&(draw.address as u32).to_be_bytes());
                }
                frame[at..at + 2].copy_from_slice(&draw.port.to_be_bytes());
                frame[at + 4..at + 8].copy_from_slice(&draw.sequence.to_be_bytes());
                let words = |value: u64| sum(&value.to_be_bytes(), &[]);
                let changed = words(draw.address) + u64::from(draw.port) + words(u64::from(draw.sequence));
                let sum = !fold(u64::from(feed.pattern.tcp_sum) + changed) as u16;
                frame[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
                assert!(is_right(&frame, v6), "{range:?} {kind:?}: as varied");
            }
        }
    }

    #[test]
    fn unlisted_rules_match_no_source() {
        let free: Vec<IpNet> = sources(Range::Free, 50_000);
        let addresses: std::collections::BTreeSet<_> = free.iter().map(IpNet::addr).collect();
        assert_eq!(addresses.len(), free.len(), "two sources share an address");
        for length in [32, 24] {
            let rules: std::collections::BTreeSet<_> = unlisted(100_000, length).into_iter().collect();
            assert_eq!(rules.len(), 100_000, "two rules of length {length} are the same");
            assert!(rules.iter().take(500).all(|rule| free.iter().all(|source| !rule.contains(source))));
        }
    }
}
