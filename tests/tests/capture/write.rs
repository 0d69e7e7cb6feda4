//! Captures, byte by byte, sound and broken ones (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).

/// A pcap file: little endian, microseconds.
pub(super) fn pcap(link: u32, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = pcap_header(0xa1b2_c3d4, link, 262_144);
    for (at_ns, bytes) in frames {
        file.extend(pcap_packet(*at_ns, bytes.len() as u32, bytes.len() as u32, bytes));
    }
    file
}

pub(super) fn pcap_header(magic: u32, link: u32, snaplen: u32) -> Vec<u8> {
    let mut file = magic.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(snaplen.to_le_bytes());
    file.extend(link.to_le_bytes());
    file
}

pub(super) fn pcap_packet(at_ns: u64, kept: u32, length: u32, bytes: &[u8]) -> Vec<u8> {
    let (seconds, micros) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000 / 1_000);
    let fields = [seconds as u32, micros as u32, kept, length];
    [&fields.map(u32::to_le_bytes).concat()[..], bytes].concat()
}

/// A pcap file as the other kind of machine writes it, with nanoseconds.
pub(super) fn pcap_big(link: u32, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = 0xa1b2_3c4d_u32.to_be_bytes().to_vec();
    file.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(65_535_u32.to_be_bytes());
    file.extend(link.to_be_bytes());
    for (at_ns, bytes) in frames {
        let fields = [at_ns / 1_000_000_000, at_ns % 1_000_000_000, bytes.len() as u64, bytes.len() as u64];
        file.extend(fields.iter().flat_map(|field| (*field as u32).to_be_bytes()));
        file.extend(bytes);
    }
    file
}

/// A pcapng file of one section and one interface. `resolution`: see `if_tsresol`.
pub(super) fn pcapng(link: u16, resolution: Option<u8>, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = section();
    file.extend(interface(link, resolution));
    let per_s = match resolution {
        None => 1_000_000,
        Some(power) if power & 0x80 == 0 => 10_u128.pow(power.into()),
        Some(power) => 1 << (power & 0x7f),
    };
    for (at_ns, bytes) in frames {
        let ticks = u128::from(*at_ns) * per_s / 1_000_000_000;
        file.extend(enhanced(0, ticks as u64, bytes.len() as u32, bytes));
    }
    file
}

pub(super) fn section() -> Vec<u8> {
    let body = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &u64::MAX.to_le_bytes()].concat();
    block(0x0a0d_0d0a, &body)
}

pub(super) fn interface(link: u16, resolution: Option<u8>) -> Vec<u8> {
    let mut body = [&link.to_le_bytes()[..], &[0, 0, 0, 0, 4, 0]].concat();
    if let Some(power) = resolution {
        body.extend([9, 0, 1, 0, power, 0, 0, 0, 0, 0, 0, 0]);
    }
    block(1, &body)
}

pub(super) fn enhanced(interface: u32, ticks: u64, kept: u32, bytes: &[u8]) -> Vec<u8> {
    let fields = [interface, (ticks >> 32) as u32, ticks as u32, kept, bytes.len() as u32];
    let mut body = [&fields.map(u32::to_le_bytes).concat()[..], bytes].concat();
    body.resize(body.len().next_multiple_of(4), 0);
    block(6, &body)
}

pub(super) fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}
