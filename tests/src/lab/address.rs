//! The address plan: who lives where and how far away. Everybody has a prefix of his own (a /24, or a /48), because
//! novelty is counted in prefixes. Distances follow from the seed and the address alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Address of the model server.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Address of the model server.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
/// The router's end of the server's link: the server's default gateway.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The router's end of the server's link: the server's default gateway.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1);
/// Where the harvester sits. The server never sees it.
pub const HARVESTER: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);
/// The server's name in its certificate and in the clients' server name indication.
pub const SERVER_NAME: &str = "model.lab";
/// TLS port of the model server.
pub const TLS_PORT: u16 = 8443;
/// Plaintext port of the model server.
pub const PLAIN_PORT: u16 = 8000;
/// Port on which every relay listens for its customer.
pub const RELAY_PORT: u16 = 1080;

/// Networks per second octet: keeps every third octet below 201.
const PER_OCTET: usize = 200;
/// How many addresses one population can have: sixteen second octets.
pub const POPULATION_MAX: usize = 16 * PER_OCTET;

/// The n-th direct user, 10.16.0.0/12.
pub fn user(n: usize) -> Ipv4Addr {
    spread(16, n)
}

/// The n-th relay exit, 10.64.0.0/12.
pub fn exit(n: usize) -> Ipv4Addr {
    spread(64, n)
}

/// The n-th member of the flash crowd, 10.96.0.0/12.
pub fn crowd(n: usize) -> Ipv4Addr {
    spread(96, n)
}

/// The n-th direct IPv6 user, each in a /48 of its own below 2001:db8:1000::/36.
pub fn user_v6(n: usize) -> Ipv6Addr {
    let site = u16::try_from(n % POPULATION_MAX).expect("below 3200");
    Ipv6Addr::new(0x2001, 0xdb8, 0x1000 + site, 0, 0, 0, 0, 7)
}

fn spread(second: usize, n: usize) -> Ipv4Addr {
    assert!(n < POPULATION_MAX, "a population has at most {POPULATION_MAX} addresses");
    let second = u8::try_from(second + n / PER_OCTET).expect("at most 16 above a small base");
    let third = u8::try_from(n % PER_OCTET + 1).expect("at most 200");
    Ipv4Addr::new(10, second, third, 7)
}

/// A round trip for each address, in milliseconds.
pub type Distances = BTreeMap<IpAddr, f64>;

/// Draws a round trip for each address from `range` (milliseconds), the same for the same seed and address.
pub fn distances(seed: u64, addresses: impl Iterator<Item = IpAddr>, range: &RangeInclusive<f64>) -> Distances {
    addresses
        .map(|address| {
            let number = match address {
                IpAddr::V4(v4) => u128::from(v4.to_bits()),
                IpAddr::V6(v6) => v6.to_bits(),
            };
            let folded = u64::try_from((number ^ (number >> 64)) & u128::from(u64::MAX)).expect("masked to 64 bits");
            let mut draw = fastrand::Rng::with_seed(seed ^ folded.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            (address, range.start() + (range.end() - range.start()) * draw.f64())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_has_a_prefix_of_his_own() {
        let populations: [fn(usize) -> Ipv4Addr; 3] = [user, exit, crowd];
        let mut prefixes = BTreeSet::new();
        for population in populations {
            for n in 0..POPULATION_MAX {
                let [a, b, c, _] = population(n).octets();
                assert!(prefixes.insert([a, b, c]), "{} is in a prefix already used", population(n));
            }
        }
        let sites: BTreeSet<_> = (0..POPULATION_MAX).map(|n| user_v6(n).segments()[2]).collect();
        assert_eq!(sites.len(), POPULATION_MAX);
    }

    #[test]
    fn distances_depend_on_seed_and_address_only() {
        let all: Vec<IpAddr> = (0..50).map(|n| user(n).into()).collect();
        let whole = distances(7, all.iter().copied(), &(5.0..=80.0));
        let part = distances(7, all.iter().copied().skip(25), &(5.0..=80.0));
        assert!(part.iter().all(|(address, rtt)| whole[address] == *rtt));
        assert!(whole.values().all(|rtt| (5.0..=80.0).contains(rtt)));
        assert_ne!(whole, distances(8, all.into_iter(), &(5.0..=80.0)));
    }
}
