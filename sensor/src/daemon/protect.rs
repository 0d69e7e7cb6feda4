//! Who must never be locked out: the peers of this host's SSH sessions and its default gateways; and what is this host
//! itself. Read from `/proc`; the parsing is apart from the reading.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use sensor_common::address::Address;

/// Where SSH listens unless told otherwise.
const SSH_PORT: u16 = 22;

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Who is to be protected, and why.
    pub peers: BTreeMap<Address, String>,
    /// This host's addresses, and on which interface.
    pub own: Vec<(Address, String)>,
}

/// One line of `/proc/net/tcp` or `tcp6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    local_port: u16,
    peer: Address,
    established: bool,
    inode: u64,
}

/// Looks at this network namespace as it is now. What cannot be read is left out.
#[must_use]
pub fn survey() -> Survey {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let session = std::env::var("SSH_CONNECTION").ok();
    let sockets: Vec<Socket> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|path| sockets(&read(path))).collect();
    let mut peers = BTreeMap::new();
    for address in ssh_peers(&sockets, session.as_deref(), &sshd_sockets()) {
        peers.insert(address, "the peer of an SSH session".to_owned());
    }
    for address in gateways_v4(&read("/proc/net/route")).into_iter().chain(gateways_v6(&read("/proc/net/ipv6_route"))) {
        peers.insert(address, "a default gateway".to_owned());
    }
    Survey { peers, own: own_addresses() }
}

/// The peers of established SSH sessions, and of the session that started this process.
fn ssh_peers(sockets: &[Socket], session: Option<&str>, sshd: &BTreeSet<u64>) -> BTreeSet<Address> {
    let (starter, port) = session.map_or((None, None), session_of);
    let is_ssh = |socket: &&Socket| {
        socket.local_port == SSH_PORT || Some(socket.local_port) == port || sshd.contains(&socket.inode)
    };
    let seen = sockets.iter().filter(|socket| socket.established).filter(is_ssh).map(|socket| socket.peer);
    seen.chain(starter).filter(|peer| !IpAddr::from(*peer).is_loopback()).collect()
}

/// The client's address and the server's port in `SSH_CONNECTION`.
fn session_of(text: &str) -> (Option<Address>, Option<u16>) {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [client, _, _, port] = fields.as_slice() else { return (None, None) };
    // A link-local address may carry its interface.
    let client = client.split('%').next().and_then(|ip| ip.parse::<IpAddr>().ok()).map(Address::from);
    (client, port.parse().ok())
}

/// The sockets in `/proc/net/tcp` or `tcp6`; lines that are none are left out.
fn sockets(text: &str) -> Vec<Socket> {
    text.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.split_once(':')?;
    let (peer, _) = fields.get(2)?.split_once(':')?;
    Some(Socket {
        local_port: u16::from_str_radix(local_port, 16).ok()?,
        peer: words_address(peer)?,
        established: *fields.get(3)? == "01",
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// An address printed as words of 32 bits in the host's byte order.
fn words_address(text: &str) -> Option<Address> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Address::v4(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (chunk, at) in octets.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical().into())
        }
        _ => None,
    }
}

/// Gateways of default routes in `/proc/net/route`.
fn gateways_v4(text: &str) -> BTreeSet<Address> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, _, _, _, _, "00000000", ..] = fields.as_slice() else { return None };
        words_address(gateway).filter(|address| IpAddr::from(*address) != IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    };
    text.lines().skip(1).filter_map(gateway).collect()
}

/// Gateways of default routes in `/proc/net/ipv6_route`.
fn gateways_v6(text: &str) -> BTreeSet<Address> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, "00", _, _, next, ..] = fields.as_slice() else { return None };
        let hop = u128::from_str_radix(next, 16).ok().filter(|hop| *hop != 0)?;
        destination.bytes().all(|digit| digit == b'0').then(|| Address::v6(hop.to_be_bytes()))
    };
    text.lines().filter_map(gateway).collect()
}

/// Inodes of the sockets that SSH servers hold, whatever port they listen on.
fn sshd_sockets() -> BTreeSet<u64> {
    let Ok(processes) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let is_process = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
    let is_sshd = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("sshd"));
    let paths = processes.flatten().map(|entry| entry.path()).filter(|path| is_process(path) && is_sshd(path));
    let descriptors = paths.filter_map(|path| fs::read_dir(path.join("fd")).ok()).flatten().flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

fn own_addresses() -> Vec<(Address, String)> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let own = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        Some((Address::from(ip), format!("this host's own address on {}", interface.interface_name)))
    });
    own.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sensor_common::address::Address;

    use super::{gateways_v4, gateways_v6, session_of, sockets, ssh_peers};

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0 100 0 0 10 0
   1: 0A00000A:0016 097100CB:D431 01 00000000:00000000 02:000A7B1E 00000000     0        0 101 4 0 20 4 31 10 -1
   2: 0A00000A:01BB 076433C6:D431 01 00000000:00000000 02:000A7B1E 00000000     0        0 102 4 0 20 4 31 10 -1
   3: 0A00000A:08AE 086433C6:0801 01 00000000:00000000 02:000A7B1E 00000000     0        0 103 4 0 20 4 31 10 -1
   4: 0100007F:0016 0100007F:0801 01 00000000:00000000 02:000A7B1E 00000000     0        0 104 4 0 20 4 31 10 -1
   5: garbage
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:C350 01 00000000:00000000 02:000A 00000000     0        0 201 2 0 20 4 1 10 -1
   1: 0000000000000000FFFF00000A00000A:0016 0000000000000000FFFF0000056433C6:C350 01 00000000:00000000 02:000A 00000000     0        0 202 2 0 20 4 1 10 -1
";

    fn names(addresses: &BTreeSet<Address>) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_peers_of_ssh_sessions_are_found() {
        let both: Vec<_> = sockets(TCP).into_iter().chain(sockets(TCP6)).collect();
        let none = BTreeSet::new();
        let by_port = ["198.51.100.5", "203.0.113.9", "2001:db8::2"];
        assert_eq!(names(&ssh_peers(&both, None, &none)), by_port, "port 22, mapped addresses too, no loopback");
        let other_port = ssh_peers(&both, Some("192.0.2.77 4711 10.0.0.10 2222"), &none);
        let expected = ["192.0.2.77", "198.51.100.5", "198.51.100.8", "203.0.113.9", "2001:db8::2"];
        assert_eq!(names(&other_port), expected, "the session's own peer, and its port");
        let held = ssh_peers(&both, None, &BTreeSet::from([102]));
        assert!(names(&held).contains(&"198.51.100.7".to_owned()), "a socket that sshd holds, on any port");
    }

    #[test]
    fn sessions_are_read() {
        for (text, client, port) in [
            ("192.0.2.1 4711 192.0.2.2 22", Some("192.0.2.1"), Some(22)),
            ("fe80::1%eth0 4711 fe80::2%eth0 2222", Some("fe80::1"), Some(2222)),
            ("nonsense", None, None),
            ("", None, None),
        ] {
            let (found, found_port) = session_of(text);
            assert_eq!((found.map(|a| a.to_string()).as_deref(), found_port), (client, port), "{text:?}");
        }
    }

    #[test]
    fn default_gateways_are_found() {
        let routes = "\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100000A	0003	0	0	100	00000000	0	0	0
eth0	0000000A	00000000	0001	0	0	100	00FFFFFF	0	0	0
tun0	00000000	00000000	0001	0	0	50	00000000	0	0	0
tun1	00000000	0200000A	0003	0	0	50	00000080	0	0	0
";
        assert_eq!(names(&gateways_v4(routes)), ["10.0.0.1"]);
        let routes6 = "\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";
        assert_eq!(names(&gateways_v6(routes6)), ["fe80::1"]);
        assert!(gateways_v4("").is_empty() && gateways_v6("").is_empty());
    }
}
