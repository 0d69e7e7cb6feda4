//! Who keeps a place when a table is full, and that what does not fit is counted. Every table has one bucket here.

mod record;
mod time;
mod traffic;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sensor_common::address::Address;
use sensor_common::counter::Counter;
use sensor_common::settings::Sizes;
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::{Executor, Observation, World};
use sensor_tests::lab::address::PLAIN_PORT;

const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
/// Places in a bucket of sources that completed a handshake, of networks, and of connections.
const WAYS: u8 = 8;

/// The default world with these sizes.
fn sized(change: impl FnOnce(&mut Sizes)) -> World {
    let mut world = World::default();
    change(&mut world.settings.sizes);
    world
}

/// A client of a network of its own.
fn client(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, number, 1)
}

fn address(client: Ipv4Addr) -> Address {
    Address::from(IpAddr::from(client))
}

/// A frame to an unwatched port.
fn send(executor: &mut dyn Executor, after_ms: u64, from: Ipv4Addr) {
    executor.run(Duration::from_millis(after_ms), &Conversation::new(from, 22).flags("A").steps[0].frame);
}

/// SYNs to a watched service from as many random addresses, each with a port of its own.
fn spoof(executor: &mut dyn Executor, count: usize, random: &mut fastrand::Rng) {
    for _ in 0..count {
        let mut spoofed = Conversation::new(Ipv4Addr::from(random.u32(0x1000_0000..0x7000_0000)), PLAIN_PORT);
        spoofed.client.1 = random.u16(1_024..);
        spoofed.isn = random.u32(..);
        executor.run(Duration::ZERO, &spoofed.flags("S").steps[0].frame);
    }
}

/// An open connection of this client, from this port.
fn open(from: Ipv4Addr, port: u16) -> Conversation {
    let mut conversation = Conversation::new(from, PLAIN_PORT);
    conversation.client.1 = port;
    conversation.shake(0)
}

fn recorded(seen: &Observation) -> BTreeSet<Address> {
    seen.sources.iter().filter(|(_, source)| source.recorded).map(|(address, _)| *address).collect()
}

fn lost(seen: &Observation, counters: [Counter; 2]) -> [u64; 2] {
    counters.map(|counter| seen.count(counter))
}
