//! Hosts that share what they saw: what none of them sees alone, and that the order of telling changes nothing.

use proptest::prelude::*;
use sensor::engine::Engine;
use sensor::engine::evidence::Evidence;
use sensor::engine::plan::Rules;
use sensor::engine::record::{ConnectionRecord, Snapshot};
use sensor::engine::tier::Tiers;
use sensor::engine::time::{Span, Time};
use sensor_common::address::Address;
use sensor_common::event::{flag, protocol};

use crate::scenario::{CLIENT, SERVICE, START, home, quick};

fn record(client: Address, at: Time, relayed: bool) -> ConnectionRecord {
    ConnectionRecord {
        at,
        client,
        service: SERVICE,
        protocol: protocol::TLS,
        fingerprint: CLIENT,
        rtt_us: 20_000,
        hello_gap_us: Some(1_000),
        flight_gap_us: Some(if relayed { 80_000 } else { 2_000 }),
        flags: flag::ESTABLISHED | flag::GAP_SAMPLE | if relayed { flag::GAP_FLAGGED } else { 0 },
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Hosts of one operator, and the engine that hears them all.
struct Fleet {
    hosts: Vec<Engine>,
    whole: Engine,
    now: Time,
    random: Random,
    newcomer: u64,
}

impl Fleet {
    fn new(hosts: usize) -> Self {
        let engine = || Engine::new(&quick(600), Tiers::default());
        let mut fleet = Self {
            hosts: (0..hosts).map(|_| engine()).collect(),
            whole: engine(),
            now: START,
            random: Random(7),
            newcomer: 0,
        };
        for host in &mut fleet.hosts {
            assert!(host.take_evidence().is_empty());
        }
        fleet
    }

    /// Ten seconds: each host meets a newcomer, of whom two in a hundred look relayed, and all of them together so many
    /// attempts of a hydra with 25,000 exits, 85 in a hundred of which show the gap.
    fn pass(&mut self, attempts: u64) {
        for host in 0..self.hosts.len() {
            self.newcomer += 1;
            let (client, relayed) = (home(30, self.newcomer), self.random.below(100) < 2);
            self.observe(host, client, relayed);
        }
        for _ in 0..attempts {
            let host = self.random.below(self.hosts.len() as u64) as usize;
            let (exit, relayed) = (home(120, self.random.below(25_000)), self.random.below(100) < 85);
            self.observe(host, exit, relayed);
        }
        self.now = self.now + Span::seconds(10);
        let mut told = Evidence::default();
        for host in &mut self.hosts {
            host.step(self.now, &Snapshot::default(), &Rules::new());
            told.merge(&host.take_evidence());
        }
        self.whole.absorb(&told);
        self.whole.step(self.now, &Snapshot::default(), &Rules::new());
    }

    fn observe(&mut self, host: usize, client: Address, relayed: bool) {
        let at = self.now + Span(self.random.below(9_000_000_000));
        self.hosts[host].observe(&record(client, at, relayed));
    }
}

#[test]
fn a_hydra_over_a_hundred_hosts_is_seen_by_all_of_them_together_within_two_minutes() {
    let mut fleet = Fleet::new(100);
    (0..180).for_each(|_| fleet.pass(0));
    assert!(fleet.whole.learning().complete && fleet.whole.campaigns().is_empty());
    // 7.4 requests a second over the whole fleet.
    let began = fleet.now;
    for _ in 0..12 {
        fleet.pass(74);
    }
    let alarm = fleet.whole.campaigns().values().next().expect("the fleet sees nothing");
    assert!(alarm.opened.since(began) <= Span::seconds(120), "after {:?}", alarm.opened.since(began));
    assert_eq!(alarm.detector, "rotation");
    let alone = fleet.hosts.iter().filter(|host| !host.campaigns().is_empty()).count();
    assert_eq!(alone, 0, "hosts that saw it alone");
    // What the fleet counts are networks, once each, whoever met them.
    assert!(alarm.relayed <= 900, "{}", alarm.relayed);
}

#[test]
fn an_ordinary_day_of_a_fleet_raises_nothing() {
    let mut fleet = Fleet::new(20);
    (0..4_000).for_each(|_| fleet.pass(0));
    assert!(fleet.whole.campaigns().is_empty(), "{:?}", fleet.whole.campaigns());
}

fn told(records: &[(u8, u16, bool)], host: u8) -> Evidence {
    let mut engine = Engine::new(&quick(15), Tiers::default());
    engine.take_evidence();
    for (_, n, relayed) in records.iter().filter(|(at, ..)| *at == host) {
        let at = START + Span::seconds(u64::from(*n) * 3);
        engine.observe(&record(home(10, u64::from(n % 700)), at, *relayed));
    }
    engine.take_evidence()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn evidence_merges_in_any_order_and_grouping(
        records in prop::collection::vec((0_u8..3, 0_u16..2_000, any::<bool>()), 0..1_500),
    ) {
        let parts = [0, 1, 2].map(|host| told(&records, host));
        let merged = |order: [usize; 4]| {
            let mut whole = Evidence::default();
            order.iter().for_each(|part| whole.merge(&parts[*part]));
            whole
        };
        let one = merged([0, 1, 2, 2]);
        prop_assert_eq!(&one, &merged([2, 0, 1, 0]));
        let mut right = parts[1].clone();
        right.merge(&parts[2]);
        let mut left = parts[0].clone();
        left.merge(&right);
        prop_assert_eq!(&one, &left);
        let text = serde_json::to_string(&one).expect("plain data");
        prop_assert_eq!(&one, &serde_json::from_str::<Evidence>(&text).expect("what was written can be read"));
        // An engine that hears it in one piece, twice, or in parts sees the same.
        let hear = |pieces: &[&Evidence]| {
            let mut engine = Engine::new(&quick(15), Tiers::default());
            pieces.iter().for_each(|piece| engine.absorb(piece));
            let plan = engine.step(START + Span::seconds(7_000), &Snapshot::default(), &Rules::new());
            (plan, engine.save().networks)
        };
        prop_assert_eq!(hear(&[&one]), hear(&[&one, &one]));
    }
}
