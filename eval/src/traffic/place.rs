//! Where clients are: addresses by what they belong to. Planes of the address space keep populations apart.

use sensor_common::address::Address;

use super::World;
use crate::random::{Domain, below, hash, unit};
use crate::scenario::{Attack, Place};

/// First networks (/24, by their upper 24 bits) of each population.
pub(super) mod plane {
    pub(in crate::traffic) const HOMES: u64 = 0x14_0000;
    pub(in crate::traffic) const CLOUD: u64 = 0x40_0000;
    pub(in crate::traffic) const PHONES: u64 = 0x60_0000;
    pub(in crate::traffic) const VPN: u64 = 0x68_0000;
    pub(in crate::traffic) const OFFICES: u64 = 0x6e_0000;
    pub(in crate::traffic) const SASE: u64 = 0x70_0000;
    pub(in crate::traffic) const BATCH: u64 = 0x72_0000;
    pub(in crate::traffic) const CROWD: u64 = 0x80_0000;
    pub(in crate::traffic) const NEW_TENANT: u64 = 0x92_0000;
    pub(in crate::traffic) const EXITS: u64 = 0xa0_0000;
    pub(in crate::traffic) const RENTED: u64 = 0xc8_0000;
}

/// An address by number of its network within a plane, and of the host in it.
pub(super) fn v4(plane: u64, network: u64, host: u64) -> Address {
    let [.., a, b, c] = (plane + network).to_be_bytes();
    // Hosts 1 to 254.
    let host = u8::try_from(1 + host % 254).unwrap_or(1);
    Address::v4([a, b, c, host])
}

/// An address of the documentation's own IPv6 space (RFC 9637), by /48 and /64 number.
fn v6(prefix: u64, subnet: u64) -> Address {
    Address::from_words(0x3fff_0000_0000_0000 | (prefix & 0xffff_ffff) << 16 | subnet & 0xffff, 1)
}

impl World {
    /// The home of a consumer in one of the consumer's lives.
    pub(super) fn home(&self, user: u64, life: u64, slot: u64) -> Address {
        let moves = u64::from(self.scenario.benign.readdress && slot * super::SLOT_S >= self.readdress_s());
        let place = hash(self.seed, Domain::User, &[user, life, moves, 1]);
        v4(plane::HOMES, below(place, self.assumptions.home_networks as u64), place & 0xff)
    }

    /// The night in which homes get new addresses: three in the morning after the scenario began.
    pub(super) const fn readdress_s(&self) -> u64 {
        (self.branch_s / 86_400 + 1) * 86_400 + 3 * 3_600
    }
}

/// The address of exit number `n` of a campaign.
#[must_use]
pub fn exit_address(world: &World, attack: &Attack, n: u64) -> Address {
    let property = hash(world.seed, Domain::Exit, &[n, 1]);
    match attack.place {
        Place::Homes if unit(property) < world.assumptions.exits_in_homes => {
            let user = below(hash(world.seed, Domain::Exit, &[n, 2]), world.assumptions.consumers as u64);
            let slot = world.branch_s / super::SLOT_S;
            let Address { octets } = world.home(user, world.life_of(user, slot), slot);
            let host = u8::try_from(1 + property % 254).unwrap_or(1);
            Address::v4([octets[12], octets[13], octets[14], host])
        }
        Place::Homes => {
            let network = (n as f64 / world.assumptions.exits_per_network.max(1.0)) as u64;
            v4(plane::EXITS, network, n)
        }
        Place::Rented => v4(plane::RENTED, n / 64, n % 64),
        Place::OneV6 => v6(0x0000_7000, n),
        Place::ManyV6 => v6(0x0100_0000 + n, 1),
    }
}
