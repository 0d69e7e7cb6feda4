//! What tables know of time.

use sensor_tests::executor::World;
use sensor_tests::executor::both::both;
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::lab::address::PLAIN_PORT;

use crate::{address, client, open, send};

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
