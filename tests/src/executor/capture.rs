//! Captures of one connection, as frames for an executor: the client's side only, with the times of the capture.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;

use crate::frame::Step;

/// The client's frames, and the port it connected to.
#[derive(Debug)]
pub struct Capture {
    pub service: u16,
    pub steps: Vec<Step>,
}

/// Reads a capture of raw IP or Ethernet frames. The server is whom the first SYN goes to.
///
/// # Errors
/// If the file cannot be read, or holds no SYN.
pub fn read(path: &Path) -> Result<Capture> {
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut reader = PcapReader::new(file)?;
    let link = reader.header().datalink;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        packets.push((packet.timestamp, ethernet(link, &packet.data)?));
    }
    let (server, service) = packets
        .iter()
        .find_map(|(_, frame)| syn_target(frame))
        .ok_or_else(|| anyhow!("{} holds no SYN", path.display()))?;
    let mut steps = Vec::new();
    let mut latest = None;
    for (time, frame) in packets {
        if destination(&frame) != Some((server.clone(), service)) {
            continue;
        }
        let after = latest.map_or(std::time::Duration::ZERO, |latest| time.saturating_sub(latest));
        latest = Some(time);
        steps.push(Step { after, frame });
    }
    Ok(Capture { service, steps })
}

fn ethernet(link: DataLink, bytes: &[u8]) -> Result<Vec<u8>> {
    if link == DataLink::ETHERNET {
        return Ok(bytes.to_vec());
    }
    if link != DataLink::RAW {
        bail!("frames of {link:?} are not read");
    }
    let ethertype: [u8; 2] = if bytes.first().is_some_and(|byte| byte >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    Ok([&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &ethertype, bytes].concat())
}

fn destination(frame: &[u8]) -> Option<(Vec<u8>, u16)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
    let address = match packet.net? {
        NetSlice::Ipv4(ip) => ip.header().destination().to_vec(),
        NetSlice::Ipv6(ip) => ip.header().destination().to_vec(),
        NetSlice::Arp(_) => return None,
    };
    Some((address, tcp.destination_port()))
}

fn syn_target(frame: &[u8]) -> Option<(Vec<u8>, u16)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
    if tcp.syn() && !tcp.ack() { destination(frame) } else { None }
}
