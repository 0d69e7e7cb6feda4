//! Rules that come and go while their sources send: what was found once is kept with the source, and must not outlive
//! the rule.

use std::time::Duration;

use sensor_common::address::Prefix;
use sensor_common::counter::Counter;
use sensor_common::rule::EARLY_NS;
use sensor_tests::executor::both::both;
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::{Executor, List, World, given};

const SECOND_NS: i64 = 1_000_000_000;
/// How late the kernel's frame may run in virtual time, beyond the grain of its clock.
const LATE_NS: i64 = 5_000_000;

fn prefix(text: &str) -> Prefix {
    given::prefix(text).expect("a prefix")
}

/// A frame of this client to an unwatched port, and whether it is dropped.
fn send(executor: &mut dyn Executor, client: &str) -> bool {
    send_after(executor, Duration::ZERO, client)
}

fn send_after(executor: &mut dyn Executor, after: Duration, client: &str) -> bool {
    let client: std::net::IpAddr = client.parse().expect("an address");
    executor.run(after, &Conversation::new(client, 22).flags("A").steps[0].frame)
}

#[test]
fn allow_wins_over_a_kept_deny_at_once() {
    let wide = ["203.0.113.0/24", "203.0.0.0/16", "203.0.113.9", "0.0.0.0/0"];
    for (deny, allow) in wide.iter().flat_map(|deny| wide.iter().map(move |allow| (deny, allow))) {
        both(
            &World::default(),
            |executor| {
                let mut dropped = vec![send(executor, "203.0.113.9")];
                executor.add_rule(List::Deny, &prefix(deny), 1, Some(60 * SECOND_NS));
                dropped.extend([send(executor, "203.0.113.9"), send(executor, "203.0.113.9")]);
                executor.add_rule(List::Allow, &prefix(allow), 2, None);
                dropped.extend([send(executor, "203.0.113.9"), send(executor, "203.0.113.9")]);
                executor.remove_rule(List::Allow, &prefix(allow));
                dropped.push(send(executor, "203.0.113.9"));
                executor.remove_rule(List::Deny, &prefix(deny));
                dropped.push(send(executor, "203.0.113.9"));
                (dropped, executor.observe())
            },
            |name, (dropped, seen)| {
                assert_eq!(dropped, [false, true, true, false, false, true, false], "{name}: {allow} over {deny}");
                assert_eq!((seen.count(Counter::DropDeny), seen.count(Counter::Allowed)), (3, 2), "{name}");
            },
        );
    }
}

#[test]
fn a_removed_rule_ends_though_another_gets_its_place() {
    let lists = [List::Deny, List::Allow];
    for (former, latter) in lists.iter().flat_map(|former| lists.iter().map(move |latter| (*former, *latter))) {
        both(
            &World::default(),
            |executor| {
                executor.add_rule(former, &prefix("203.0.113.9"), 5, Some(60 * SECOND_NS));
                let before = send(executor, "203.0.113.9");
                executor.remove_rule(former, &prefix("203.0.113.9"));
                executor.add_rule(latter, &prefix("198.51.100.7"), 5, Some(60 * SECOND_NS));
                let after = [send(executor, "203.0.113.9"), send(executor, "198.51.100.7")];
                (before, after, executor.observe())
            },
            |name, (before, after, seen)| {
                assert_eq!(before, former == List::Deny, "{name}: {former:?}");
                assert_eq!(after, [false, latter == List::Deny], "{name}: {former:?}, then {latter:?}");
                let allowed = [former, latter].iter().filter(|list| **list == List::Allow).count() as u64;
                assert_eq!(seen.count(Counter::Allowed), allowed, "{name}: {former:?}, then {latter:?}");
            },
        );
    }
}

#[test]
fn a_rule_of_a_few_addresses_is_not_kept_for_their_source() {
    let world = World { deny: vec![(prefix("2001:db8:9::/64"), 60 * SECOND_NS)], ..World::default() };
    let all = ["2001:db8:9::8", "2001:db8:9::9", "2001:db8:9::8", "2001:db8:9::9"];
    both(
        &world,
        |executor| {
            executor.add_rule(List::Allow, &prefix("2001:db8:9::9"), 9, None);
            all.map(|client| send(executor, client))
        },
        |name, dropped| assert_eq!(dropped, [true, false, true, false], "{name}: one address is allowed"),
    );
    both(
        &World::default(),
        |executor| {
            executor.add_rule(List::Deny, &prefix("2001:db8:9::9"), 9, Some(60 * SECOND_NS));
            all.map(|client| send(executor, client))
        },
        |name, dropped| assert_eq!(dropped, [false, true, false, true], "{name}: one address is denied"),
    );
}

#[test]
fn no_rule_holds_beyond_its_time_nor_ends_earlier_than_its_clock_asks() {
    let early = i64::try_from(EARLY_NS).expect("small");
    for ends in [SECOND_NS, 7 * SECOND_NS + 13_000_000, 600 * SECOND_NS] {
        // The kernel's clock is behind by as much as rules end early; then the one makes up for the other.
        for (before, holds) in [(early + LATE_NS, true), (0, false), (-SECOND_NS, false)] {
            both(
                &World { deny: vec![(prefix("203.0.113.9"), ends)], ..World::default() },
                |executor| {
                    let kept = send(executor, "203.0.113.9");
                    let after = Duration::from_nanos((ends - before).unsigned_abs());
                    (kept, send_after(executor, after, "203.0.113.9"))
                },
                |name, (kept, dropped)| {
                    assert!(kept, "{name}: denied at first");
                    assert_eq!(dropped, holds, "{name}: {before} ns before the end of {ends} ns");
                },
            );
        }
    }
}

#[test]
fn renewed_rules_hold_on() {
    both(
        &World { deny: vec![(prefix("203.0.113.9"), SECOND_NS)], ..World::default() },
        |executor| {
            let mut dropped = vec![send(executor, "203.0.113.9")];
            executor.remove_rule(List::Deny, &prefix("203.0.113.9"));
            executor.add_rule(List::Deny, &prefix("203.0.113.9"), 1, Some(60 * SECOND_NS));
            dropped.push(send(executor, "203.0.113.9"));
            dropped.push(send_after(executor, Duration::from_secs(50), "203.0.113.9"));
            dropped.push(send_after(executor, Duration::from_secs(10), "203.0.113.9"));
            dropped
        },
        |name, dropped| assert_eq!(dropped, [true, true, true, false], "{name}"),
    );
}
