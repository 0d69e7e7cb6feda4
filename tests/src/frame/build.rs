//! From parts to bytes, with correct lengths and checksums unless the text pokes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Header, IpAuthHeader, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, SingleVlanHeader, TcpHeader, UdpHeader, VlanId, VlanPcp,
};

use super::FrameError;
use super::spec::{Extension, IpSpec, Spec, TcpSpec, Transport, Trim};
use crate::lab::address::{GATEWAY_V4, SERVER_V4};

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

pub(super) fn build(spec: &Spec) -> Result<Vec<u8>, FrameError> {
    match spec {
        Spec::Raw(bytes) => Ok(bytes.clone()),
        Spec::Arp => Ok(arp()),
        Spec::Ip(spec) => ip(spec),
    }
}

/// RFC 826: who has the server's address?
fn arp() -> Vec<u8> {
    let mut frame = link(&[], EtherType::ARP, [0xff; 6]).unwrap_or_default();
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT_MAC);
    frame.extend(GATEWAY_V4.octets());
    frame.extend([0; 6]);
    frame.extend(SERVER_V4.octets());
    frame
}

fn ip(spec: &IpSpec) -> Result<Vec<u8>, FrameError> {
    let (protocol, segment) = transport(spec)?;
    let (ethertype, packet) = match (spec.source.0, spec.destination.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            (EtherType::IPV4, ipv4(spec, source, destination, protocol, &segment)?)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            (EtherType::IPV6, ipv6(spec, source, destination, protocol, &segment)?)
        }
        (source, destination) => {
            return Err(FrameError::new(format!("{source} and {destination} are of different IP versions")));
        }
    };
    let mut frame = link(&spec.tags, ethertype, SERVER_MAC)?;
    frame.extend(packet);
    let whole = frame.len();
    for (offset, bytes) in &spec.pokes {
        let place = frame
            .get_mut(*offset..offset.saturating_add(bytes.len()))
            .ok_or_else(|| FrameError::new(format!("`poke {offset}` goes beyond the frame of {whole} bytes")))?;
        place.copy_from_slice(bytes);
    }
    for trim in &spec.trims {
        let length = match *trim {
            Trim::Cut(count) => frame.len().checked_sub(count),
            Trim::Keep(count) => Some(count).filter(|count| *count <= frame.len()),
            Trim::Pad(count) => Some(frame.len() + count),
        };
        let length = length.ok_or_else(|| FrameError::new(format!("{trim:?} of a frame of {} bytes", frame.len())))?;
        frame.resize(length, 0);
    }
    Ok(frame)
}

fn link(tags: &[(u16, u16)], ethertype: EtherType, destination: [u8; 6]) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    let types: Vec<EtherType> = tags.iter().map(|(tag, _)| EtherType(*tag)).chain([ethertype]).collect();
    let header = Ethernet2Header { source: CLIENT_MAC, destination, ether_type: types[0] };
    bytes.extend(header.to_bytes());
    for ((_, id), next) in tags.iter().zip(&types[1..]) {
        let vlan_id = VlanId::try_new(*id).map_err(|error| FrameError::new(format!("vlan {id}: {error}")))?;
        let header =
            SingleVlanHeader { pcp: VlanPcp::ZERO, drop_eligible_indicator: false, vlan_id, ether_type: *next };
        bytes.extend(header.to_bytes());
    }
    Ok(bytes)
}

fn transport(spec: &IpSpec) -> Result<(IpNumber, Vec<u8>), FrameError> {
    match &spec.transport {
        Transport::Tcp(parts) => Ok((IpNumber::TCP, tcp(spec, parts)?)),
        Transport::Udp => {
            let length = u16::try_from(8 + spec.payload.len()).map_err(|_| FrameError::new("payload is too long"))?;
            let mut header =
                UdpHeader { source_port: spec.source.1, destination_port: spec.destination.1, length, checksum: 0 };
            header.checksum = match (spec.source.0, spec.destination.0) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    header.calc_checksum_ipv4_raw(from.octets(), to.octets(), &spec.payload)
                }
                (from, to) => header.calc_checksum_ipv6_raw(octets(from), octets(to), &spec.payload),
            }
            .map_err(|error| FrameError::new(format!("udp: {error}")))?;
            Ok((IpNumber::UDP, [&header.to_bytes()[..], &spec.payload].concat()))
        }
        Transport::Other(number) => Ok((IpNumber(*number), spec.payload.clone())),
    }
}

fn tcp(spec: &IpSpec, parts: &TcpSpec) -> Result<Vec<u8>, FrameError> {
    let TcpSpec { flags, sequence, acknowledgment, window, options } = parts;
    let mut header = TcpHeader::new(spec.source.1, spec.destination.1, *sequence, *window);
    for letter in flags.chars() {
        match letter {
            'F' => header.fin = true,
            'S' => header.syn = true,
            'R' => header.rst = true,
            'P' => header.psh = true,
            'A' => header.ack = true,
            'U' => header.urg = true,
            'E' => header.ece = true,
            'C' => header.cwr = true,
            other => return Err(FrameError::new(format!("`{other}` is no TCP flag"))),
        }
    }
    header.acknowledgment_number = acknowledgment.unwrap_or(u32::from(header.ack));
    header.set_options_raw(options).map_err(|error| FrameError::new(format!("TCP options: {error}")))?;
    header.checksum = match (spec.source.0, spec.destination.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => header.calc_checksum_ipv4_raw(from.octets(), to.octets(), &spec.payload),
        (from, to) => header.calc_checksum_ipv6_raw(octets(from), octets(to), &spec.payload),
    }
    .map_err(|error| FrameError::new(format!("tcp: {error}")))?;
    Ok([&header.to_bytes()[..], &spec.payload].concat())
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn ipv4(
    spec: &IpSpec,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: IpNumber,
    segment: &[u8],
) -> Result<Vec<u8>, FrameError> {
    if !spec.extensions.is_empty() {
        return Err(FrameError::new("IPv4 has no extension headers"));
    }
    let length = u16::try_from(segment.len()).map_err(|_| FrameError::new("packet is too long"))?;
    let mut header = Ipv4Header::new(length, spec.ttl, protocol, source.octets(), destination.octets())
        .map_err(|error| FrameError::new(format!("ipv4: {error}")))?;
    header.dont_fragment = spec.dont_fragment;
    if let Some((offset, more)) = spec.fragment {
        header.fragment_offset = fragment_offset(offset)?;
        header.more_fragments = more;
        header.dont_fragment = false;
    }
    header.options = Ipv4Options::try_from(spec.ipv4_options.as_slice())
        .map_err(|error| FrameError::new(format!("IPv4 options: {error}")))?;
    header.set_payload_len(segment.len()).map_err(|error| FrameError::new(format!("ipv4: {error}")))?;
    header.header_checksum = header.calc_header_checksum();
    Ok([&header.to_bytes()[..], segment].concat())
}

fn ipv6(
    spec: &IpSpec,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: IpNumber,
    segment: &[u8],
) -> Result<Vec<u8>, FrameError> {
    if !spec.ipv4_options.is_empty() {
        return Err(FrameError::new("IPv6 has no header options"));
    }
    let mut next = protocol;
    let mut rest = segment.to_vec();
    if let Some((offset, more)) = spec.fragment {
        let header = Ipv6FragmentHeader::new(next, fragment_offset(offset)?, more, 1);
        rest = [&header.to_bytes()[..], &rest].concat();
        next = IpNumber::IPV6_FRAGMENTATION_HEADER;
    }
    // From the innermost outwards, so that each knows what follows.
    for extension in spec.extensions.iter().rev() {
        let (number, header) = match extension {
            Extension::Hop => (IpNumber::IPV6_HEADER_HOP_BY_HOP, padding_header(next)?),
            Extension::Destination => (IpNumber::IPV6_DESTINATION_OPTIONS, padding_header(next)?),
            Extension::Routing => (IpNumber::IPV6_ROUTE_HEADER, padding_header(next)?),
            Extension::Mobility => (IpNumber::MOBILITY_HEADER, padding_header(next)?),
            Extension::Authentication => {
                let header = IpAuthHeader::new(next, 1, 1, &[0; 12])
                    .map_err(|error| FrameError::new(format!("auth: {error:?}")))?;
                (IpNumber::AUTHENTICATION_HEADER, header.to_bytes().to_vec())
            }
        };
        rest = [header, rest].concat();
        next = number;
    }
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: u16::try_from(rest.len()).map_err(|_| FrameError::new("packet is too long"))?,
        next_header: next,
        hop_limit: spec.ttl,
        source: source.octets(),
        destination: destination.octets(),
    };
    Ok([&header.to_bytes()[..], &rest].concat())
}

/// Eight bytes: next header, length 0, and a PadN option (RFC 8200 section 4.2).
fn padding_header(next: IpNumber) -> Result<Vec<u8>, FrameError> {
    let header = Ipv6RawExtHeader::new_raw(next, &[1, 4, 0, 0, 0, 0])
        .map_err(|error| FrameError::new(format!("extension header: {error:?}")))?;
    Ok(header.to_bytes().to_vec())
}

fn fragment_offset(offset: u16) -> Result<IpFragOffset, FrameError> {
    IpFragOffset::try_new(offset).map_err(|error| FrameError::new(format!("frag {offset}: {error}")))
}
