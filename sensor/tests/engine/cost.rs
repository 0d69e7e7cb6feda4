//! Bounds: what is declared as a cap holds, whatever comes in.

use sensor::engine::record::{Snapshot, SourceTotals};
use sensor::engine::time::Span;
use sensor::tunable::Tunables;
use sensor_common::address::Address;

use crate::scenario::{World, home, quick};

/// Two million networks in release builds, a tenth of that in debug builds.
const NETWORKS: u64 = if cfg!(debug_assertions) { 200_000 } else { 2_000_000 };

#[test]
fn tables_keep_their_caps() {
    let caps = Tunables { networks_max: 50_000, sources_max: 20_000, cohorts_max: 1_000, ..quick(15) };
    let mut world = World::new(&caps);
    for n in 0..NETWORKS {
        let client = home(1 + (n >> 24) as u8, n);
        let fingerprint = world.below(1 << 40);
        world.connect_as(client, fingerprint, Some(2));
        if n % 20_000 == 0 {
            world.tick();
            world.totals.clear();
            let counts = world.engine.counts();
            assert!(counts.networks <= 50_000 && counts.cohorts <= 1_000 && counts.sources <= 20_000, "{counts:?}");
        }
    }
    let counts = world.engine.counts();
    assert_eq!(counts.networks_evicted, NETWORKS - 50_000);
    assert!(counts.cohorts_evicted > 0 && counts.sources_evicted > 0);
    assert!(world.installed.is_empty());
}

/// Seven days, each with so many addresses never seen before and so many exits; a tenth of both in debug builds.
const ADDRESSES: u64 = if cfg!(debug_assertions) { 64_000 } else { 640_000 };
const EXITS: u64 = if cfg!(debug_assertions) { 2_500 } else { 25_000 };

#[test]
fn a_week_of_new_addresses_and_a_pool_of_exits_fits() {
    let tunables = Tunables::default();
    assert!(sensor::engine::bytes_at_most(&tunables) < 256 << 20, "{}", sensor::engine::bytes_at_most(&tunables));
    let mut world = World::new(&Tunables { learn_s: 600, ..tunables });
    let attack_from = 3;
    for day in 0..7 {
        for n in 0..ADDRESSES {
            // Homes and phones of 600,000 networks, each of which is met again and again.
            let network = world.below(600_000);
            let gap = if world.below(1_000) < 15 { 60 } else { 2 };
            let [.., a, b, c] = network.to_be_bytes();
            world.connect_as(Address::v4([30 + a, b, c, (day * 36 + n % 36) as u8]), 1 + n % 40, Some(gap));
            if day >= attack_from && n % (ADDRESSES / EXITS) == 0 {
                let exit = day * EXITS + n / (ADDRESSES / EXITS);
                world.connect_as(home(150, exit), 7, Some(80));
            }
            if n % (ADDRESSES / 240) == 0 {
                world.now = world.now + Span::seconds(359);
                world.tick();
                world.totals.clear();
            }
        }
    }
    let counts = world.engine.counts();
    assert_eq!(counts.networks_evicted, 0, "{counts:?}");
    assert!(counts.sources <= 200_000 && counts.networks <= 800_000 && counts.ranges <= 65_536, "{counts:?}");
    let raised: Vec<_> =
        world.engine.campaigns().values().map(|c| (c.cohort.fingerprint, c.detector.clone())).collect();
    assert_eq!(raised.first(), Some(&(7, "rotation".to_owned())), "{raised:?}");
}

#[test]
fn a_tick_looks_only_at_what_was_active() {
    let mut world = World::new(&quick(15));
    let idle: Vec<SourceTotals> = (0..20_000)
        .map(|n| SourceTotals {
            source: home(20, n),
            connections: 5,
            requests: 9,
            answer_bytes: 0,
            first_seen: world.now,
            last_seen: world.now,
        })
        .collect();
    let mut snapshot = Snapshot { sources: idle, connections: 0 };
    world.engine.step(world.now, &snapshot, &world.standing);
    let mut now = world.now + Span::seconds(10);
    world.engine.step(now, &snapshot, &world.standing);
    // Sources that did nothing since are not even compared: a total that changed without a sign of life stays unread.
    snapshot.sources[7].connections = 50;
    now = now + Span::seconds(10);
    world.engine.step(now, &snapshot, &world.standing);
    assert_eq!(world.engine.source(&home(20, 7)).connections_1d, 0);
    snapshot.sources[7].last_seen = now;
    now = now + Span::seconds(1);
    world.engine.step(now, &snapshot, &world.standing);
    assert_eq!(world.engine.source(&home(20, 7)).connections_1d, 45);
}
