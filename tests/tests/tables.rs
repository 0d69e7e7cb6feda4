//! Who keeps a place when a table is full, and that what does not fit is counted. Every table has one bucket here.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sensor_common::address::Address;
use sensor_common::counter::Counter;
use sensor_common::event::flag;
use sensor_common::settings::Sizes;
use sensor_common::traffic::PROTECTED_TICKS;
use sensor_tests::executor::both::{both, both_untimed, cpus};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::{Executor, Observation, SIZES, World, given};
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

#[test]
fn a_source_that_completed_a_handshake_survives_a_flood_in_its_bucket() {
    const FLOOD: usize = 10_000;
    both_untimed(
        &sized(|sizes| sizes.traffic = 1),
        |executor| {
            let live = open(client(1), 40_000);
            live.run(executor);
            spoof(executor, FLOOD, &mut fastrand::Rng::with_seed(1));
            send(executor, 0, client(1));
            executor.observe()
        },
        |name, seen| {
            let live = &seen.sources[&address(client(1))];
            assert_eq!((live.packets, live.syns, live.protected), (3, 1, 1), "{name}: its counts go on");
            assert_eq!(seen.sources.len(), 4, "{name}: places of a bucket");
            let evicted = u64::try_from(FLOOD).expect("small") - 3;
            let counters = [Counter::EvictedSources, Counter::LostSources];
            assert_eq!(lost(&seen, counters), [evicted, 0], "{name}: three free places, then one for one");
            assert_eq!(recorded(&seen), [address(client(1))].into(), "{name}: nobody spoofed gets a record");
            assert_eq!(seen.connections.len(), 1, "{name}");
            assert_eq!(seen.networks.len(), 1, "{name}");
        },
    );
}

/// CPUs that share a part need not agree on the time: their clocks are up to a timer tick behind.
#[test]
fn a_clock_that_is_behind_makes_no_source_old() {
    let mut host = Host::within(&sized(|sizes| sizes.traffic = 1));
    open(client(1), 40_000).run(&mut host);
    let mut random = fastrand::Rng::with_seed(3);
    for step in 0..200 {
        host.set_clock_lag(Duration::ZERO);
        send(&mut host, 1, client(1));
        host.set_clock_lag(Duration::from_millis(10));
        spoof(&mut host, 5, &mut random);
        let seen = host.observe();
        assert_eq!(seen.sources[&address(client(1))].packets, 3 + step, "after {step} ms");
    }
}

#[test]
fn the_one_that_sent_least_goes() {
    both(
        &sized(|sizes| sizes.traffic = 1),
        |executor| {
            for (number, frames) in [(1, 9), (2, 2), (3, 5), (4, 7)] {
                (0..frames).for_each(|_| send(executor, 0, client(number)));
            }
            send(executor, 0, client(5));
            executor.observe()
        },
        |name, seen| {
            let kept: Vec<_> = [1, 3, 4, 5].map(|number| address(client(number))).into();
            assert_eq!(seen.sources.keys().copied().collect::<Vec<_>>(), kept, "{name}");
            assert_eq!(seen.sources[&address(client(5))].packets, 1, "{name}: a newcomer inherits nothing");
            assert_eq!(seen.count(Counter::EvictedSources), 1, "{name}");
        },
    );
}

#[test]
fn what_was_sent_long_ago_counts_little() {
    both(
        &sized(|sizes| sizes.traffic = 1),
        |executor| {
            (0..200).for_each(|_| send(executor, 0, client(1)));
            send(executor, 20_000, client(2));
            for number in [2, 3, 3, 4, 4] {
                send(executor, 0, client(number));
            }
            send(executor, 0, client(5));
            executor.observe()
        },
        |name, seen| {
            assert!(!seen.sources.contains_key(&address(client(1))), "{name}: 200 frames, twenty seconds ago");
            assert_eq!(seen.sources.len(), 4, "{name}");
        },
    );
}

#[test]
fn of_equals_the_one_that_is_silent_longest_goes() {
    both(
        &sized(|sizes| sizes.traffic = 1),
        |executor| {
            // A bit more than two ticks of the table's clock apart.
            for number in [4, 3, 2, 1, 5, 6] {
                send(executor, 150, client(number));
            }
            executor.observe()
        },
        |name, seen| {
            let kept: Vec<_> = [1, 2, 5, 6].map(|number| address(client(number))).into();
            assert_eq!(seen.sources.keys().copied().collect::<Vec<_>>(), kept, "{name}: the fourth and the third go");
        },
    );
}

#[test]
fn a_bucket_of_protected_sources_takes_no_other_and_says_so() {
    let mut world = sized(|sizes| sizes.traffic = 1);
    world.deny.push((given::prefix("198.18.9.1").expect("a prefix"), 3_600_000_000_000));
    both(
        &world,
        |executor| {
            (1..=4).for_each(|number| drop(open(client(number), 40_000).run(executor)));
            let open = open(client(5), 40_000).run(executor);
            let denied = executor.run(Duration::ZERO, &Conversation::new(client(9), 22).flags("A").steps[0].frame);
            let full = executor.observe();
            // Ten minutes of silence end the protection.
            let tick_ms = (1 << 26) / 1_000_000;
            send(executor, u64::from(PROTECTED_TICKS + 2) * (tick_ms + 1), client(6));
            (open, denied, full, executor.observe())
        },
        |name, (open, denied, full, after)| {
            assert_eq!(open, [false, false], "{name}: it is served all the same");
            assert!(denied, "{name}: rules hold without a place");
            let counters = [Counter::LostSources, Counter::EvictedSources];
            assert_eq!(lost(&full, counters), [3, 0], "{name}: every frame that was not counted");
            assert_eq!(full.sources[&address(client(5))].record.connections, 1, "{name}: its record is elsewhere");
            assert_eq!(full.sources[&address(client(5))].places, 0, "{name}");
            assert_eq!(lost(&after, counters), [3, 1], "{name}: a place is free for the next");
            assert_eq!(after.sources[&address(client(6))].packets, 1, "{name}");
        },
    );
}

#[test]
fn two_cpus_that_count_one_source_lose_nothing() {
    if cpus() < 2 {
        println!("SKIP bpf: one CPU");
        return;
    }
    both(
        &sized(|sizes| *sizes = Sizes { regions: 2, ..SIZES }),
        |executor| {
            executor.set_cpu(0);
            open(client(1), 40_000).send(GET).run(executor);
            executor.set_cpu(1);
            open(client(1), 40_001).send(GET).flags("FA").run(executor);
            executor.set_cpu(0);
            open(client(1), 40_002).run(executor);
            executor.observe()
        },
        |name, seen| {
            let source = &seen.sources[&address(client(1))];
            assert_eq!((source.places, source.protected), (2, 2), "{name}: one place for each CPU");
            assert_eq!((source.packets, source.syns), (9, 3), "{name}");
            assert_eq!((source.record.connections, source.record.requests), (3, 2), "{name}: one record");
            assert_eq!((seen.connections.len(), seen.networks.len()), (3, 1), "{name}");
            assert_eq!(seen.count(Counter::Frames), 9, "{name}");
        },
    );
}

#[test]
fn the_source_not_heard_of_for_longest_loses_its_record() {
    both(
        &sized(|sizes| sizes.sources = 1),
        |executor| {
            let first = open(client(1), 40_000).send(GET);
            first.run(executor);
            for number in 2..=WAYS {
                open(client(number), 40_000).wait(1_000).run(executor);
            }
            let full = executor.observe();
            // A request is a sign of life.
            let at = first.steps.len();
            let more = first.wait(1_000).send(GET);
            more.steps[at..].iter().for_each(|step| assert!(!executor.run(step.after, &step.frame)));
            open(client(20), 40_000).wait(1_000).run(executor);
            (full, executor.observe())
        },
        |name, (full, after)| {
            assert_eq!(recorded(&full).len(), usize::from(WAYS), "{name}");
            let expected = recorded(&full).into_iter().filter(|source| *source != address(client(2)));
            assert_eq!(recorded(&after), expected.chain([address(client(20))]).collect(), "{name}: the second went");
            let counters = [Counter::EvictedRecords, Counter::LostRecords];
            assert_eq!((lost(&full, counters), lost(&after, counters)), ([0, 0], [1, 0]), "{name}");
            let newcomer = &after.sources[&address(client(20))].record;
            assert_eq!((newcomer.connections, newcomer.requests), (1, 0), "{name}: it inherits nothing");
        },
    );
}

#[test]
fn the_network_not_heard_of_for_longest_goes() {
    both(
        &sized(|sizes| sizes.networks = 1),
        |executor| {
            for number in 1..=WAYS {
                open(client(number), 40_000).wait(1_000).run(executor);
            }
            let again = open(client(1), 40_001);
            again.run(executor);
            open(client(20), 40_000).wait(1_000).run(executor);
            executor.observe()
        },
        |name, seen| {
            let kept: BTreeSet<Address> = seen.networks.keys().copied().collect();
            let expected = [1, 3, 4, 5, 6, 7, 8, 20].map(|number| address(client(number)).network());
            assert_eq!(kept, expected.into(), "{name}: the second went");
            assert_eq!(lost(&seen, [Counter::EvictedNetworks, Counter::LostNetworks]), [1, 0], "{name}");
        },
    );
}

#[test]
fn the_oldest_attempt_goes() {
    both(
        &sized(|sizes| sizes.half_open = 1),
        |executor| {
            let attempts: Vec<_> = (1..=5).map(|number| Conversation::new(client(number), PLAIN_PORT)).collect();
            for attempt in &attempts {
                attempt.clone().wait(10).flags("S").run(executor);
            }
            let attempted = executor.observe();
            for attempt in attempts {
                let handshake = attempt.shake(0);
                executor.run(Duration::ZERO, &handshake.steps[1].frame);
            }
            (attempted, executor.observe())
        },
        |name, (attempted, completed)| {
            assert_eq!(attempted.attempts.len(), 4, "{name}");
            assert_eq!((completed.attempts.len(), completed.connections.len()), (0, 4), "{name}");
            assert_eq!(completed.count(Counter::Untracked), 1, "{name}");
            assert!(!recorded(&completed).contains(&address(client(1))), "{name}: the first had to go");
        },
    );
}

#[test]
fn attempts_take_no_place_of_an_open_connection() {
    const FLOOD: usize = 2_000;
    both_untimed(
        &sized(|sizes| (sizes.connections, sizes.half_open) = (1, 1)),
        |executor| {
            let live: Vec<_> = (1..=WAYS).map(|number| open(client(number), 40_000)).collect();
            live.iter().for_each(|live| drop(live.run(executor)));
            let mut random = fastrand::Rng::with_seed(2);
            spoof(executor, FLOOD, &mut random);
            // Attempts that bring data ask for a record at once.
            for number in 0..50 {
                let mut fast = Conversation::new(client(100 + number), PLAIN_PORT);
                fast.isn = random.u32(..);
                executor.run(Duration::ZERO, &fast.segment("S", u32::MAX, GET).steps[0].frame);
            }
            for live in live {
                let at = live.steps.len();
                let more = live.send(GET);
                more.steps[at..].iter().for_each(|step| assert!(!executor.run(step.after, &step.frame)));
            }
            executor.observe()
        },
        |name, seen| {
            assert_eq!(seen.count(Counter::Connections), u64::from(WAYS), "{name}");
            assert_eq!(seen.count(Counter::RequestsExact), u64::from(WAYS), "{name}: all are followed to the end");
            assert_eq!(seen.connections.len(), usize::from(WAYS), "{name}");
            let counters = [Counter::LostConnections, Counter::EvictedConnections];
            assert_eq!(lost(&seen, counters), [50, 0], "{name}: attempts with data that got no record");
        },
    );
}

#[test]
fn what_ended_gives_its_place_and_an_open_connection_only_to_an_open_one() {
    both(
        &sized(|sizes| sizes.connections = 1),
        |executor| {
            for number in 1..=WAYS {
                let conversation = open(client(number), 40_000).wait(10);
                let conversation = if number == 5 { conversation.flags("FA") } else { conversation.ack() };
                conversation.run(executor);
            }
            open(client(20), 40_000).run(executor);
            let ended = executor.observe();
            open(client(21), 40_000).run(executor);
            (ended, executor.observe())
        },
        |name, (ended, open)| {
            let has =
                |seen: &Observation, number| seen.connections.keys().any(|key| key.client == address(client(number)));
            assert!(!has(&ended, 5) && has(&ended, 20), "{name}: the one that ended went");
            assert_eq!(ended.count(Counter::EvictedConnections), 0, "{name}: that is no loss");
            assert!(!has(&open, 1) && has(&open, 21), "{name}: the one silent for longest went");
            assert_eq!(open.count(Counter::EvictedConnections), 1, "{name}: that is one");
            assert!(open.connections.values().all(|connection| connection.flags & flag::ESTABLISHED != 0), "{name}");
        },
    );
}

#[test]
fn tables_tell_time_to_their_grain() {
    const TICK_NS: i64 = 1 << 26;
    let pauses_ms: [u64; 4] = [500, 3_000, 40, 61_000];
    both(
        &World::default(),
        |executor| {
            send(executor, 0, client(1));
            for (number, pause) in (2..).zip(pauses_ms) {
                send(executor, pause, client(number));
            }
            open(client(9), 40_000).run(executor);
            Conversation::new(client(10), PLAIN_PORT).shake(300).run(executor);
            executor.observe()
        },
        |name, seen| {
            let tick = |number| i64::from(seen.sources[&address(client(number))].last_tick);
            let mut passed = 0;
            for (number, pause) in (2..).zip(pauses_ms) {
                passed += i64::try_from(pause).expect("small") * 1_000_000;
                // A tick of the table, and what the kernel's own clock may be behind: less than one more at each end.
                let (ticks, error) = (tick(number) - tick(1), passed.rem_euclid(TICK_NS));
                let exact = passed / TICK_NS;
                assert!((exact - 1..=exact + 1).contains(&ticks), "{name}: {ticks} for {exact} + {error} ns");
            }
            let timed = seen.connections.iter().find(|(key, _)| key.client == address(client(10))).expect("it is open");
            assert!((300_000..305_000).contains(&timed.1.rtt_us), "{name}: round trip of {} us", timed.1.rtt_us);
        },
    );
}
