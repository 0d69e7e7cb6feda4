//! Connection records: so many a second and no more, a fair share of them, and every one accounted for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sensor_common::counter::Counter;
use sensor_common::settings::Sizes;
use sensor_tests::executor::both::both;
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::{Executor, Observation, SIZES, World};
use sensor_tests::lab::address::PLAIN_PORT;

/// Records a second.
const BUDGET: u64 = 40;
/// Connections that are ready in a busy second.
const READY: u16 = 200;

fn world() -> World {
    let mut world = World::default();
    world.settings.events_per_s = u32::try_from(BUDGET).expect("small");
    world.settings.sizes = Sizes { connections: 256, ..SIZES };
    world
}

/// So many connections that open and end.
fn connections(executor: &mut dyn Executor, count: u16, round: u8) {
    for number in 0..count {
        let [high, low] = number.to_be_bytes();
        let mut conversation = Conversation::new(Ipv4Addr::new(198, 18 + high, low, round), PLAIN_PORT);
        conversation.client.1 = 20_000 + number;
        conversation.shake(0).flags("FA").run(executor);
    }
}

/// What one second moved: ready, written, and left out.
fn moved(now: &Observation, before: &Observation) -> [u64; 3] {
    [Counter::Connections, Counter::Events, Counter::ShedEvents]
        .map(|counter| now.count(counter) - before.count(counter))
}

fn pass(executor: &mut dyn Executor, seconds: u64) {
    executor.run(Duration::from_secs(seconds), &Conversation::new(Ipv4Addr::LOCALHOST, 22).flags("A").steps[0].frame);
}

#[test]
fn each_second_has_its_budget_and_the_rest_is_counted() {
    both(
        &world(),
        |executor| {
            executor.set_cpu(0);
            let mut rounds = vec![executor.observe()];
            for (round, (pause, count)) in
                [(0, READY), (1, READY), (1, READY), (1, 10), (1, 10), (1, READY)].into_iter().enumerate()
            {
                pass(executor, pause);
                connections(executor, count, u8::try_from(round).expect("few"));
                rounds.push(executor.observe());
            }
            rounds
        },
        |name, rounds| {
            let seconds: Vec<_> = rounds.windows(2).map(|pair| (moved(&pair[1], &pair[0]), &pair[1].events)).collect();
            for ([ready, written, shed], events) in &seconds {
                assert_eq!(written + shed, *ready, "{name}: every record is written or counted");
                assert!(*written <= BUDGET, "{name}: {written} records in a second");
                assert_eq!(events.len() as u64, *written, "{name}: what is written comes");
            }
            let ready = u64::from(READY);
            assert_eq!(seconds[0].0, [ready, BUDGET, ready - BUDGET], "{name}: nothing is known of the second before");
            for (sampled, _) in &seconds[1..3] {
                assert!(sampled[1] >= BUDGET / 4, "{name}: a share is written: {sampled:?}");
            }
            assert_eq!(seconds[4].0, [10, 10, 0], "{name}: a calm second behind a calm one loses nothing");
        },
    );
}

#[test]
fn the_share_is_fair_to_those_who_come_late() {
    let mut late = 0;
    let mut written = 0;
    for seed in 0..20 {
        let mut world = world();
        world.settings.seed = seed;
        let mut host = Host::within(&world);
        connections(&mut host, READY, 0);
        host.observe();
        pass(&mut host, 1);
        connections(&mut host, READY, 1);
        let seen = host.observe();
        let half: BTreeSet<u16> = (20_000 + READY / 2..20_000 + READY).collect();
        late += seen.events.iter().filter(|event| half.contains(&event.client_port)).count();
        written += seen.events.len();
    }
    // Expected is a half, less what the budget cuts at the end; of 20 times 40 records a third is far from that.
    assert!(late * 3 > written, "{late} of {written} records are of the later half");
}

#[test]
fn a_full_ring_is_counted_apart() {
    let mut host = Host::within(&world());
    host.set_event_room(7);
    connections(&mut host, 50, 0);
    let seen = host.observe();
    let counts = [Counter::Events, Counter::LostEvents, Counter::ShedEvents].map(|counter| seen.count(counter));
    assert_eq!(counts, [7, BUDGET - 7, 50 - BUDGET]);
    assert_eq!(seen.events.len(), 7);
    assert!(seen.events.iter().all(|event| IpAddr::from(event.client).is_ipv4()));
}
