//! Frames of every source: who keeps a place in a flood, and what CPUs count together.

use std::time::Duration;

use sensor_common::counter::Counter;
use sensor_common::settings::Sizes;
use sensor_common::traffic::PROTECTED_TICKS;
use sensor_tests::executor::both::{both, both_untimed, cpus};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::kernel::Kernel;
use sensor_tests::executor::{Executor as _, SIZES, given};
use sensor_tests::lab::address::PLAIN_PORT;
use sensor_tests::require::{Tier, require};

use crate::{GET, address, client, lost, open, recorded, send, sized, spoof};

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
fn two_cpus_at_once_lose_no_frame() {
    const TIMES: u32 = 100_000;
    if !require(Tier::Bpf) || cpus() < 2 {
        println!("SKIP bpf: one CPU");
        return;
    }
    let world = sized(|sizes| *sizes = Sizes { regions: 2, ..SIZES });
    let mut kernel = Kernel::with_sizes(world.settings.sizes).expect("the program loads");
    kernel.install(&world);
    // A connection stays on its CPU; a source does not.
    let frames = [0, 1].map(|cpu: u32| {
        let mut attempt = Conversation::new(client(1), PLAIN_PORT);
        attempt.client.1 += u16::from(cpu == 1);
        (cpu, attempt.flags("S").steps[0].frame.clone())
    });
    kernel.run_at_once(&frames, TIMES).expect("both CPUs run theirs");
    let seen = kernel.observe();
    let source = &seen.sources[&address(client(1))];
    let all = 2 * u64::from(TIMES);
    assert_eq!((source.packets, source.syns, source.places), (all, all, 2));
    assert_eq!([Counter::Frames, Counter::Syns].map(|counter| seen.count(counter)), [all, all]);
}
