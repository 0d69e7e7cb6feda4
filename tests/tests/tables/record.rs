//! Records of what completed a handshake, and attempts that may: who gives way.

use std::collections::BTreeSet;
use std::time::Duration;

use sensor_common::address::Address;
use sensor_common::counter::Counter;
use sensor_common::event::flag;
use sensor_tests::executor::Observation;
use sensor_tests::executor::both::{both, both_untimed};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::lab::address::PLAIN_PORT;

use crate::{GET, WAYS, address, client, lost, open, recorded, sized, spoof};

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
