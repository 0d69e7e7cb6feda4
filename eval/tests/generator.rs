//! The generator: the same seed gives the same traffic, parts do not disturb each other, labels add up, rates hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sensor_eval::assumption::Assumptions;
use sensor_eval::scenario::{Attack, Benign, Scenario};
use sensor_eval::traffic::{Class, Event, SLOT_S, Traffic, World};

const BRANCH_S: u64 = 3_600;

fn traffic(seed: u64, scenario: &Scenario) -> Traffic {
    Traffic::new(World::new(seed, Arc::new(Assumptions::default()), scenario.clone(), None, BRANCH_S))
}

fn slots(seed: u64, scenario: &Scenario, count: usize) -> Vec<Event> {
    let mut traffic = traffic(seed, scenario);
    (0..count).flat_map(|_| traffic.slot()).collect()
}

fn hydra() -> Scenario {
    let attack = Attack { after_s: 0, ..Attack::hydra(1.0) };
    Scenario::attack("hydra", "", attack)
}

fn calm() -> Scenario {
    Scenario::benign("calm", "", Benign::all())
}

#[test]
fn a_seed_is_a_recording() {
    for scenario in [calm(), hydra()] {
        let first = slots(11, &scenario, 24);
        assert_eq!(first, slots(11, &scenario, 24));
        assert_ne!(first, slots(12, &scenario, 24));
        assert!(first.is_sorted(), "events come in order");
    }
}

#[test]
fn a_campaign_changes_no_benign_connection() {
    let with: Vec<Event> = slots(11, &hydra(), 24).into_iter().filter(|event| !event.class.is_attack()).collect();
    assert_eq!(with, slots(11, &calm(), 24));
}

#[test]
fn a_branch_goes_on_from_the_same_past() {
    let mut past = traffic(11, &calm());
    for _ in 0..BRANCH_S / SLOT_S {
        past.slot();
    }
    let mut branched = past.branch(hydra());
    let mut whole = traffic(11, &hydra());
    for _ in 0..BRANCH_S / SLOT_S {
        whole.slot();
    }
    for _ in 0..12 {
        assert_eq!(branched.slot(), whole.slot());
    }
}

#[test]
fn rates_are_those_assumed() {
    let assumptions = Assumptions::default();
    // A whole day: rhythms cancel out.
    let events = slots(11, &calm(), 144);
    let mut counts: BTreeMap<Class, f64> = BTreeMap::new();
    for event in &events {
        *counts.entry(event.class).or_default() += 1.0 / 86_400.0;
    }
    let of = |classes: &[Class]| classes.iter().filter_map(|class| counts.get(class)).sum::<f64>();
    let people = [Class::Consumer, Class::Hobbyist, Class::Phone, Class::Vpn];
    for (what, found, wanted) in [
        ("tenants", of(&[Class::Tenant]), assumptions.tenant_per_s),
        ("people", of(&people), assumptions.consumer_per_s),
        ("corporate", of(&[Class::Corporate]), assumptions.corporate_per_s),
        ("phones among people", of(&[Class::Phone]) / of(&people), assumptions.cgnat),
    ] {
        assert!((found / wanted - 1.0).abs() < 0.3, "{what}: {found}, not {wanted}");
    }
    let direct = events.iter().filter(|event| event.class == Class::Consumer);
    let (late, all) = direct
        .filter_map(|event| event.gap_us)
        .fold((0.0, 0.0), |(late, all), gap| (late + f64::from(u8::from(gap >= 25_000)), all + 1.0));
    let share: f64 = late / all;
    assert!((share - assumptions.gap_false).abs() < 0.005, "{share} of direct connections show a gap");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_campaign_keeps_its_rate_whatever_its_shape(
        per_s in 0.05_f64..2.0,
        exits in 1_u64..50_000,
        sticky in prop::option::of(60_u64..3_600),
        seed in 0_u64..1_000_000,
    ) {
        let attack = Attack { exits, sticky_s: sticky, after_s: 0, ..Attack::hydra(per_s) };
        let count = 36;
        let events = slots(seed, &Scenario::attack("shape", "", attack), count);
        let found = events.iter().filter(|event| event.class.is_attack()).count() as f64;
        let wanted = per_s * (count as f64 - BRANCH_S as f64 / SLOT_S as f64) * SLOT_S as f64;
        // Identities come whole, the last of them are cut off by the end.
        let turns = sticky.map_or(1.0, |s| s as f64 / 60.0);
        let slack = 5.0 * (wanted * turns).sqrt() + 0.35 * wanted * (turns / 60.0).min(1.0) + turns;
        prop_assert!((found - wanted).abs() <= slack, "{} attack connections, not {}", found, wanted);
    }
}
