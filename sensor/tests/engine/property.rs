//! Whatever comes in: no panic, no rule without end, no allowed prefix denied, the same plans for the same input.

use proptest::prelude::*;
use sensor::engine::Engine;
use sensor::engine::plan::{Action, Origin, Rule, Rules, Subject};
use sensor::engine::record::{ConnectionRecord, Snapshot, SourceTotals};
use sensor::engine::tier::{Tier, Tiers};
use sensor::engine::time::{Span, Time};
use sensor::tunable::Tunables;
use sensor_common::address::{Address, Prefix};

#[derive(Clone, Debug)]
enum Input {
    Record(ConnectionRecord),
    Totals(SourceTotals),
    Step(Time),
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        (0_u8..8, any::<u8>()).prop_map(|(a, b)| Address::v4([10, a, b, 1])),
        any::<[u8; 16]>().prop_map(Address::v6),
    ]
}

/// Mostly the near past and future, now and then anything.
fn time() -> impl Strategy<Value = Time> {
    prop_oneof![8 => (0_u64..4_000).prop_map(|s| Time(0) + Span::seconds(1_000_000 + s)), 1 => any::<u64>().prop_map(Time)]
}

fn record() -> impl Strategy<Value = Input> {
    let gap = prop::option::of(any::<u32>());
    (time(), address(), 1_u16..3, any::<u8>(), 0_u64..3, gap.clone(), gap, any::<u32>()).prop_map(
        |(at, client, service, protocol, fingerprint, hello_gap_us, flight_gap_us, flags)| {
            let rtt_us = flags.rotate_left(7);
            let flags = flags | 1;
            let protocol = protocol % 5;
            Input::Record(ConnectionRecord {
                at,
                client,
                service,
                protocol,
                fingerprint,
                rtt_us,
                hello_gap_us,
                flight_gap_us,
                flags,
            })
        },
    )
}

fn totals() -> impl Strategy<Value = Input> {
    (address(), any::<u64>(), any::<u64>(), time(), time()).prop_map(
        |(source, connections, requests, first_seen, last_seen)| {
            Input::Totals(SourceTotals {
                source,
                connections,
                requests,
                answer_bytes: requests.rotate_left(9),
                first_seen,
                last_seen,
            })
        },
    )
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    prop::collection::vec(prop_oneof![20 => record(), 2 => totals(), 3 => time().prop_map(Input::Step)], 0..400)
}

fn tunables() -> Tunables {
    Tunables {
        learn_s: 1,
        rotation_alarm: 3,
        rotation_networks_min: 1,
        class_attack_percent: 50,
        collateral_budget_ppm: 1_000_000,
        sources_max: 20,
        networks_max: 30,
        cohorts_max: 3,
        rotation_quiet_s: 60,
        ..Tunables::default()
    }
}

fn engine() -> Engine {
    let limits = Tier { name: "default".into(), connections_1m: 1, requests_1d: 5, ..Tier::default() };
    Engine::new(&tunables(), Tiers::new(vec![limits]).expect("valid"))
}

fn run(engine: &mut Engine, inputs: &[Input], standing: &Rules, allowed: &Prefix) -> Result<String, TestCaseError> {
    let mut snapshot = Snapshot::default();
    let mut journal = String::new();
    let mut latest = Time(0);
    for input in inputs {
        match input {
            Input::Record(record) => engine.observe(record),
            Input::Totals(totals) => {
                snapshot.sources.push(*totals);
                snapshot.connections = totals.connections;
            }
            Input::Step(now) => {
                latest = latest.max(*now).min(Time(u64::MAX / 2));
                let plan = engine.step(*now, &snapshot, standing);
                journal.push_str(&format!("{plan:?}\n"));
                for action in &plan.actions {
                    let Action::Install(subject, rule) = action else { continue };
                    prop_assert!(rule.expires.is_some(), "a rule without end");
                    prop_assert_eq!(rule.origin, Origin::Detector);
                    if let Subject::Deny(prefix) = subject {
                        prop_assert!(!allowed.contains(&prefix.address), "{} is allowed", prefix);
                    }
                }
                for rule in engine.rules().values() {
                    prop_assert!(rule.expires.is_some_and(|e| e > latest), "outlived");
                }
                let again = engine.step(*now, &snapshot, standing);
                prop_assert!(again.actions.is_empty(), "the same tick twice: {:?}", again.actions);
                let counts = engine.counts();
                prop_assert!(counts.sources <= 20 && counts.networks <= 30);
                snapshot.sources.clear();
            }
        }
    }
    for octet in 0..8 {
        let client = Address::v4([10, octet, 1, 1]);
        prop_assert!(!engine.explain(&client).lines.is_empty());
        prop_assert!(!engine.source(&client).source.is_empty());
    }
    for answer in engine.campaign_answers(true) {
        prop_assert!((0.0..=1.0).contains(&answer.attack_share) && !answer.why.is_empty());
    }
    Ok(journal)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn anything_may_come_in(inputs in inputs()) {
        let allowed = Prefix::new("10.3.0.0".parse().expect("an address"), 16).expect("a prefix");
        let allow = Rule { origin: Origin::Operator, expires: None, newer_than: None, reason: String::new(), campaign: None };
        let standing = Rules::from([(Subject::Allow(allowed), allow)]);
        let (mut one, mut two) = (engine(), engine());
        let first = run(&mut one, &inputs, &standing, &allowed)?;
        let second = run(&mut two, &inputs, &standing, &allowed)?;
        prop_assert_eq!(first, second);
        // What is left survives a restart at any moment.
        for now in [Time(0), Time(0) + Span::seconds(1_002_000), Time(u64::MAX)] {
            let mut three = engine();
            three.restore(one.save(), now);
            run(&mut three, &inputs, &standing, &allowed)?;
        }
    }
}
