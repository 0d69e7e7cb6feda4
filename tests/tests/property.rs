//! What holds for any bytes, any rules and any order of frames.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use sensor_common::counter::Counter;
use sensor_common::path::{DropReason, Verdict};
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::given::prefix;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::kernel::Kernel;
use sensor_tests::executor::{Executor, KERNEL_FRAME_MIN, World};
use sensor_tests::hello::recorded;
use sensor_tests::require::{Tier, require};

const SECOND_NS: i64 = 1_000_000_000;
/// Durations in comparisons are rounded to this; the sequences here take no virtual time.
const GRAIN_US: u32 = 100_000;

/// Cases, and where failures are written to be run first from then on.
fn config(cases: u32) -> Config {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/property.txt");
    Config { cases, failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))), ..Config::default() }
}

/// Frames of everyday traffic, in order, of a few clients.
fn sequences() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec((0u8..3, 0usize..6, 0u32..3), 1..4).prop_map(|parts| {
        let hellos = recorded();
        parts
            .into_iter()
            .flat_map(|(client, kind, gap)| {
                let client = std::net::Ipv4Addr::new(10, 64, client, 1);
                let plain = || Conversation::plain(client);
                let conversation = match kind {
                    0 => plain().send(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n").flags("FA"),
                    1 => plain()
                        .send(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
                        .send(b"cdGET / HTTP/1.1\r\n\r\n"),
                    2 => plain()
                        .send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
                        .flags("R"),
                    3 => Conversation::new(client, 22).shake(0).send(b"hello"),
                    _ => {
                        let stream = &hellos[(kind * 7 + gap as usize) % hellos.len()].1;
                        let half = stream.len() / 2;
                        let flight = [20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 50];
                        let start = Conversation::tls(client).send_cut(stream, &[half]).receive(900).ack();
                        start.send(&[&flight[..], &[1; 50], &[23, 3, 3, 0, 90], &[1; 90]].concat()).flags("FA")
                    }
                };
                conversation.steps.into_iter().map(|step| step.frame)
            })
            .collect()
    })
}

/// A change to a sequence of frames.
#[derive(Clone, Debug)]
enum Change {
    Byte(prop::sample::Index, prop::sample::Index, u8),
    Cut(prop::sample::Index, prop::sample::Index),
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    use prop::sample::Index;
    prop_oneof![
        6 => (any::<Index>(), any::<Index>(), any::<u8>()).prop_map(|(frame, at, byte)| Change::Byte(frame, at, byte)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(frame, at)| Change::Cut(frame, at)),
        1 => any::<Index>().prop_map(Change::Remove),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::Swap(one, other)),
        1 => any::<Index>().prop_map(Change::Repeat),
    ]
}

fn apply(frames: &mut Vec<Vec<u8>>, changes: &[Change]) {
    for change in changes {
        if frames.is_empty() {
            return;
        }
        match change {
            Change::Byte(frame, at, byte) => {
                let count = frames.len();
                let frame = &mut frames[frame.index(count)];
                // Most bytes of a frame are payload; headers are where damage tells.
                let at = at.index(frame.len().min(120));
                frame[at] = *byte;
            }
            Change::Cut(frame, at) => {
                let count = frames.len();
                let frame = &mut frames[frame.index(count)];
                let keep = KERNEL_FRAME_MIN + at.index((frame.len() - KERNEL_FRAME_MIN).max(1));
                frame.truncate(keep);
            }
            Change::Remove(frame) => {
                let at = frame.index(frames.len());
                frames.remove(at);
            }
            Change::Swap(one, other) => {
                let count = frames.len();
                frames.swap(one.index(count), other.index(count));
            }
            Change::Repeat(frame) => {
                let at = frame.index(frames.len());
                frames.insert(at, frames[at].clone());
            }
        }
    }
}

/// Rules over the clients of [`sequences`].
fn worlds() -> impl Strategy<Value = World> {
    let networks = ["10.64.0.0/24", "10.64.1.1", "10.64.0.0/15", "0.0.0.0/0", "10.64.2.0/24", "2001:db8::/32"];
    let prefix_of = move |index: usize| prefix(networks[index]).expect("a prefix");
    let end = prop_oneof![Just(-SECOND_NS), Just(3_600 * SECOND_NS)];
    (vec(0usize..6, 0..2), vec((0usize..6, end), 0..3), 0u32..3, 0u32..3, any::<bool>()).prop_map(
        move |(allow, deny, connections_per_s, requests_per_min, enforce)| {
            let mut world = World::default();
            world.settings.enforce = u32::from(enforce);
            world.allow = allow.into_iter().map(prefix_of).collect();
            world.deny = deny.into_iter().map(|(index, end)| (prefix_of(index), end)).collect();
            world.limits.push((0, sensor_common::rule::TierLimit { connections_per_s, requests_per_min }));
            world
        },
    )
}

fn feed(executor: &mut dyn Executor, frames: &[Vec<u8>]) -> Vec<bool> {
    frames.iter().map(|frame| executor.run(Duration::ZERO, frame)).collect()
}

/// Host and kernel see the same in the same frames.
fn agree(kernel: &mut Kernel, world: &World, frames: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let mut host = Host::new();
    host.install(world);
    let on_host = feed(&mut host, frames);
    for _ in 0..50 {
        kernel.install(world);
        let in_kernel = feed(kernel, frames);
        let seen = kernel.observe();
        if !kernel.on_time() {
            continue;
        }
        prop_assert_eq!(&on_host, &in_kernel, "verdicts of host and kernel");
        let difference = host.observe().timeless(GRAIN_US).difference(&seen.timeless(GRAIN_US));
        prop_assert_eq!(difference, None, "host <> kernel");
        return Ok(());
    }
    Err(TestCaseError::reject("the machine is too busy to keep virtual time"))
}

#[test]
fn host_and_kernel_agree_on_damaged_traffic() {
    if !require(Tier::Bpf) {
        return;
    }
    let kernel = std::cell::RefCell::new(Kernel::load().expect("the program loads"));
    proptest!(config(400), |(mut frames in sequences(), changes in vec(change(), 0..6), world in worlds())| {
        apply(&mut frames, &changes);
        agree(&mut kernel.borrow_mut(), &world, &frames)?;
    });
}

#[test]
fn host_and_kernel_agree_on_any_bytes() {
    if !require(Tier::Bpf) {
        return;
    }
    let kernel = std::cell::RefCell::new(Kernel::load().expect("the program loads"));
    proptest!(config(300), |(frames in vec(any_frame(), 1..6), world in worlds())| {
        agree(&mut kernel.borrow_mut(), &world, &frames)?;
    });
}

/// Any bytes behind an Ethernet header that is likely to be understood.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let types = prop_oneof![Just([8u8, 0]), Just([0x86, 0xdd]), Just([0x81, 0]), any::<[u8; 2]>()];
    (types, prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()], vec(any::<u8>(), 0..200)).prop_map(
        |(ethertype, version, mut rest)| {
            if let Some(first) = rest.first_mut() {
                *first = version;
            }
            [&[2; 12][..], &ethertype, &rest].concat()
        },
    )
}

#[test]
fn no_bytes_make_the_packet_path_panic() {
    proptest!(config(2_000), |(frames in vec(prop_oneof![any_frame(), vec(any::<u8>(), 0..120)], 1..8), world in worlds())| {
        let mut host = Host::new();
        host.install(&world);
        feed(&mut host, &frames);
        prop_assert_eq!(host.observe().count(Counter::Frames), frames.len() as u64);
    });
}

#[test]
fn allow_always_wins() {
    proptest!(config(600), |(mut frames in sequences(), changes in vec(change(), 0..4), mut world in worlds(), which in 0usize..2)| {
        apply(&mut frames, &changes);
        world.allow.push(prefix(["0.0.0.0/0", "10.64.0.0/15"][which]).expect("a prefix"));
        let mut host = Host::new();
        host.install(&world);
        for frame in &frames {
            host.run(Duration::ZERO, frame);
            let client: Option<[u8; 2]> = frame.get(26..28).and_then(|bytes| bytes.try_into().ok());
            let covered = which == 0 || client.is_some_and(|client| client == [10, 64]);
            let refused = matches!(host.verdict, Verdict::Drop(_) | Verdict::WouldDrop(_));
            // Damage may make another IP version or address of it.
            prop_assert!(!refused || !covered || frame.get(12..14) != Some(&[8, 0]), "{:?} on {:02x?}", host.verdict, frame);
        }
    });
}

#[test]
fn a_rule_never_outlives_its_time() {
    proptest!(config(600), |(frames in sequences(), mut world in worlds(), seconds in 1i64..100, early in any::<bool>())| {
        world.allow.clear();
        world.limits.clear();
        world.deny = vec![(prefix("0.0.0.0/0").expect("a prefix"), seconds * SECOND_NS)];
        let mut host = Host::new();
        host.install(&world);
        let wait = if early { seconds - 1 } else { seconds };
        host.run(Duration::from_secs(wait.unsigned_abs()), &frames[0]);
        let matched = matches!(host.verdict, Verdict::Drop(DropReason::Deny) | Verdict::WouldDrop(DropReason::Deny));
        prop_assert_eq!(matched, early);
    });
}

#[test]
fn no_cut_changes_what_a_stream_holds() {
    let hellos = recorded();
    proptest!(config(300), |(bodies in vec((0usize..300, any::<bool>()), 1..4), which in 0usize..100, cuts in vec(any::<prop::sample::Index>(), 0..12))| {
        let http: Vec<u8> = bodies
            .iter()
            .flat_map(|(length, chunked)| {
                let body = "G".repeat(*length);
                if *chunked {
                    let chunk = if body.is_empty() { String::new() } else { format!("{length:x}\r\n{body}\r\n") };
                    format!("POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n")
                } else {
                    format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")
                }
                .into_bytes()
            })
            .collect();
        let tls = &hellos[which % hellos.len()].1;
        let client = std::net::Ipv4Addr::new(10, 64, 0, 1);
        for (stream, start) in [(&http, Conversation::plain(client)), (tls, Conversation::tls(client))] {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            at.sort_unstable();
            let read = |cuts: &[usize]| {
                let mut host = Host::new();
                start.clone().send_cut(stream, cuts).run(&mut host);
                let seen = host.observe();
                let connection = seen.connection().expect("one connection");
                (connection.requests, connection.fingerprint, connection.flags)
            };
            prop_assert_eq!(read(&at), read(&[]));
            if start.service != sensor_tests::lab::address::TLS_PORT {
                prop_assert_eq!(read(&at).0 as usize, bodies.len());
            }
        }
    });
}
