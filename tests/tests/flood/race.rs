//! Two CPUs at the same place at once: one source, one network, one connection never has two records.

use std::sync::Barrier;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use sensor_common::counter::Counter;
use sensor_common::settings::Sizes;
use sensor_tests::bench::traffic::{Kind, Range, Traffic};
use sensor_tests::executor::kernel::Kernel;
use sensor_tests::executor::{Executor as _, Observation, World};
use sensor_tests::flood::volley::Volley;
use sensor_tests::require::{Tier, require};

/// Room for every source without anybody giving way.
const SIZES: Sizes = Sizes {
    regions: 2,
    traffic: 1 << 15,
    half_open: 1 << 17,
    sources: 1 << 14,
    networks: 1 << 14,
    connections: 1 << 15,
};
/// Sources in all, and those whose handshakes two CPUs complete in one run.
const SOURCES: u64 = 1 << 13;
const AT_ONCE: u32 = 1 << 12;
const CPUS: [usize; 2] = [0, 1];
/// How often it is tried: what happens within a microsecond does not happen each time.
const WORLDS: usize = 8;

/// Completes a handshake of every source on each CPU, from these ports, both CPUs at once, in one world after the other.
fn race(worlds: usize, ports: [u16; 2]) -> Option<Vec<Observation>> {
    if !require(Tier::Bpf) {
        return None;
    }
    let mut kernel = Kernel::with_sizes(SIZES).expect("the program is loaded");
    let mut world = World::default();
    world.settings.sizes = SIZES;
    let program = kernel.program().and_then(|program| Ok(program.fd()?.try_clone()?)).expect("it is in the kernel");
    let run = |_| {
        kernel.install(&world);
        let start = Barrier::new(CPUS.len());
        std::thread::scope(|scope| {
            for (cpu, port) in CPUS.into_iter().zip(ports) {
                let traffic = Traffic::syn(SOURCES).from(Range::Free).connected(port);
                let load = |kind| Volley::aimed(&program, traffic.kind(kind), 1).expect("the generator is loaded");
                let (attempts, ends, start) = (load(Kind::Syn), load(Kind::Ack), &start);
                scope.spawn(move || {
                    let mut set = CpuSet::new();
                    set.set(cpu).expect("two CPUs");
                    sched_setaffinity(Pid::from_raw(0), &set).expect("this thread is ours");
                    for _ in 0..SOURCES / u64::from(AT_ONCE) {
                        attempts.run(AT_ONCE).expect("attempts are judged");
                        start.wait();
                        ends.run(AT_ONCE).expect("acknowledgements are judged");
                        start.wait();
                    }
                });
            }
        });
        // Fails by itself when two records have one key.
        kernel.observe()
    };
    Some((0..worlds).map(run).collect())
}

/// Fails if the records do not add up to what was counted; whoever met another CPU at its place went without, and that
/// is counted too.
#[track_caller]
fn expect_sum(seen: &Observation) {
    let completed = seen.count(Counter::Connections);
    assert_eq!(seen.connections.len() as u64, completed, "a record for each connection");
    let recorded: u64 = seen.sources.values().map(|source| source.record.connections).sum();
    assert_eq!(recorded + seen.count(Counter::LostRecords), completed);
}

#[test]
fn connections_of_one_source_completed_on_two_cpus_leave_one_record_of_it() {
    for seen in race(WORLDS, [7_000, 7_001]).unwrap_or_default() {
        expect_sum(&seen);
        let completed = seen.count(Counter::Connections);
        assert_eq!(completed + seen.count(Counter::LostConnections), 2 * SOURCES);
    }
}

#[test]
fn a_connection_completed_on_two_cpus_leaves_one_record() {
    for seen in race(WORLDS, [7_000, 7_000]).unwrap_or_default() {
        expect_sum(&seen);
        // Of two CPUs at one connection the later one goes without: counted, and no loss.
        let completed = seen.count(Counter::Connections);
        assert!(completed <= SOURCES, "{completed} connections of {SOURCES}");
        assert!(completed + seen.count(Counter::LostConnections) >= SOURCES);
    }
}
