//! The kernel's program makes of a capture what the host makes of it.

use std::cell::RefCell;
use std::time::Duration;

use sensor_common::event::UNKNOWN_US;
use sensor_tests::executor::both::both;
use sensor_tests::executor::{Observation, World};

use super::{capture, frames, given};

/// How far the two may lie apart, microseconds: the kernel's clock runs on between two frames.
const APART_US: u32 = 2_000;

/// The frames that come in, and the time before each.
fn incoming(number: &str) -> (u16, Vec<(Duration, Vec<u8>)>) {
    let (found, _) = given(&std::fs::read(capture(number)).expect("it can be read"), &Default::default());
    let service = found[0].service;
    let mut latest = None;
    let to_service = |frame: &Vec<u8>| {
        let header = 14 + usize::from(frame[14] & 0x0f) * 4;
        frame[header + 2..header + 4] == service.to_be_bytes()
    };
    let steps = frames(number).into_iter().filter(|(_, frame)| to_service(frame)).map(|(at, frame)| {
        let after = Duration::from_nanos(at - latest.unwrap_or(at));
        latest = Some(at);
        (after, frame)
    });
    (service, steps.collect())
}

/// Durations side by side; then both are made the same so that the rest can be compared.
fn level(host: &mut Observation, kernel: &mut Observation, number: &str) {
    let close = |a: &mut u32, b: &mut u32| {
        assert!((*a == UNKNOWN_US) == (*b == UNKNOWN_US) && a.abs_diff(*b) <= APART_US, "{number}: {a} and {b} us");
        *b = *a;
    };
    for (one, other) in host.connections.values_mut().zip(kernel.connections.values_mut()) {
        close(&mut one.rtt_us, &mut other.rtt_us);
        close(&mut one.hello_gap_us, &mut other.hello_gap_us);
        close(&mut one.flight_gap_us, &mut other.flight_gap_us);
    }
    for (one, other) in host.events.iter_mut().zip(&mut kernel.events) {
        close(&mut one.rtt_us, &mut other.rtt_us);
        close(&mut one.hello_gap_us, &mut other.hello_gap_us);
        close(&mut one.flight_gap_us, &mut other.flight_gap_us);
    }
}

#[test]
fn captures_give_the_same_records_in_the_kernel() {
    for number in ["0000", "0003", "0392", "0420", "0455", "0472", "0493", "0514"] {
        let (service, steps) = incoming(number);
        let host: RefCell<Option<Observation>> = RefCell::default();
        both(
            &World { services: vec![service], ..World::default() },
            |executor| {
                for (after, frame) in &steps {
                    executor.run(*after, frame);
                }
                executor.observe().timeless(1)
            },
            |_, mut seen| {
                assert_eq!((seen.connections.len(), seen.events.len()), (1, 1), "{number}");
                let mut host = host.borrow_mut();
                match host.as_mut() {
                    None => *host = Some(seen),
                    Some(host) => {
                        level(host, &mut seen, number);
                        assert_eq!(host.difference(&seen), None, "{number}");
                    }
                }
            },
        );
    }
}
