//! The filter in front of the tries: it never hides a rule, and rarely asks for nothing.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use sensor_common::address::{Address, Prefix};
use sensor_common::filter::Trie;
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::{Executor as _, World};

const HOUR_NS: i64 = 3_600_000_000_000;
/// Rules of the large tables.
const RULES: usize = 100_000;
/// Unlisted sources that are tried.
const SOURCES: usize = 20_000;
/// Share of unlisted sources that may cost a look into a trie.
const FALSE_SHARE_MAX: f64 = 0.02;

fn config(cases: u32) -> Config {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/filter.txt");
    Config { cases, failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))), ..Config::default() }
}

/// The first bits of an address.
fn cut(address: u128, bits: u32) -> Prefix {
    let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
    Prefix { bits, address: Address { octets: (address & mask).to_be_bytes() } }
}

/// Addresses of every kind: IPv4 in its mapped form, global IPv6, and the lowest IPv6 ones, whose keys are special.
fn addresses() -> impl Strategy<Value = u128> {
    prop_oneof![
        4 => any::<u32>().prop_map(|v4| 0xffff_0000_0000 | u128::from(v4)),
        3 => any::<u128>().prop_map(|v6| v6 >> 3 | 1 << 125),
        1 => any::<u128>().prop_map(|low| low >> 94),
        1 => (any::<u128>(), 28u32..100).prop_map(|(low, shift)| low >> shift),
    ]
}

/// Lengths, those at which something changes more often.
fn lengths() -> impl Strategy<Value = u32> {
    let edges =
        vec![0, 1, 31, 32, 33, 43, 44, 47, 48, 49, 63, 64, 65, 80, 96, 104, 112, 115, 116, 119, 120, 121, 127, 128];
    prop_oneof![2 => prop::sample::select(edges), 1 => 0u32..=128]
}

/// A trie, a prefix in it, and addresses near the prefix.
fn entries() -> impl Strategy<Value = Vec<(usize, Prefix, Vec<u128>)>> {
    let near = vec((any::<u128>(), 0u32..=128), 1..6);
    vec((0usize..3, addresses(), lengths(), near), 1..12).prop_map(|entries| {
        let place = |(trie, address, bits, near): (usize, u128, u32, Vec<(u128, u32)>)| {
            let low = |random: u128, keep: u32| if keep == 128 { 0 } else { random >> keep };
            (trie, cut(address, bits), near.into_iter().map(|(random, keep)| address ^ low(random, keep)).collect())
        };
        entries.into_iter().map(place).collect()
    })
}

#[test]
fn no_rule_is_hidden() {
    const TRIES: [Trie; 3] = [Trie::Allow, Trie::Deny, Trie::Tier];
    proptest!(config(3_000), |(entries in entries(), others in vec(addresses(), 0..4), seed in any::<u64>())| {
        let mut world = World::default();
        world.settings.seed = seed;
        for (trie, prefix, _) in &entries {
            match TRIES[*trie] {
                Trie::Allow => world.allow.push(*prefix),
                Trie::Deny => world.deny.push((*prefix, HOUR_NS)),
                Trie::Tier => world.tiers.push((*prefix, 1)),
            }
        }
        let host = Host::within(&world);
        let tried = entries.iter().flat_map(|(_, _, near)| near).chain(&others);
        for address in tried.map(|address| Address { octets: address.to_be_bytes() }) {
            for (trie, prefix, _) in &entries {
                let trie = TRIES[*trie];
                prop_assert!(
                    !prefix.contains(&address) || host.may_be_in(trie, &address),
                    "{address} is in {prefix}, the filter of {trie:?} does not know"
                );
            }
        }
    });
}

/// A world that denies these, and the share of unlisted sources whose first frame asks a trie.
fn false_share(deny: &[Prefix], random: &mut fastrand::Rng) -> f64 {
    let world = World { deny: deny.iter().map(|prefix| (*prefix, HOUR_NS)).collect(), ..World::default() };
    let mut host = Host::within(&world);
    let listed: std::collections::BTreeSet<Prefix> = deny.iter().copied().collect();
    let (mut tried, mut asked) = (0, 0);
    while tried < SOURCES {
        let v4 = random.u32(0x0100_0000..0xdfff_ffff);
        let whole = u128::from_be_bytes(Address::v4(v4.to_be_bytes()).octets);
        if listed.contains(&cut(whole, 128)) || listed.contains(&cut(whole, 120)) {
            continue;
        }
        let before = host.asked();
        let syn = Conversation::new(std::net::Ipv4Addr::from(v4), 22).flags("S");
        assert!(!host.run(Duration::ZERO, &syn.steps[0].frame), "{v4:x} is not denied");
        asked += usize::from(host.asked() > before);
        tried += 1;
    }
    asked as f64 / tried as f64
}

#[test]
fn an_unlisted_source_rarely_asks_a_trie() {
    let mut random = fastrand::Rng::with_seed(7);
    for (name, bits) in [("exact addresses", 128), ("networks of /24", 120)] {
        let deny: Vec<Prefix> = (0..RULES)
            .map(|_| cut(u128::from_be_bytes(Address::v4(random.u32(..).to_be_bytes()).octets), bits))
            .collect();
        let share = false_share(&deny, &mut random);
        println!("{RULES} rules on {name}: {:.3} % of unlisted sources ask the trie", share * 100.0);
        assert!(share < FALSE_SHARE_MAX, "{RULES} rules on {name}: {share}");
    }
}

#[test]
fn without_rules_nobody_asks_a_trie() {
    let mut random = fastrand::Rng::with_seed(8);
    assert_eq!(false_share(&[], &mut random), 0.0);
}
