//! Frame tables through both executors: each must meet the row's expectation, and both must agree on everything else.

use std::path::Path;

use sensor_tests::executor::expect::{Case, GRAIN_US};
use sensor_tests::executor::host::Host;
use sensor_tests::executor::kernel::Kernel;
use sensor_tests::executor::{Executor, KERNEL_FRAME_MIN, Observation};
use sensor_tests::frame::table::{Row, read};
use sensor_tests::require::{Tier, require};

/// How often a row is run again because the machine was too busy to keep virtual time.
const ATTEMPTS: usize = 50;

fn run(executor: &mut dyn Executor, row: &Row, case: &Case) -> (Vec<bool>, Observation) {
    for _ in 0..ATTEMPTS {
        executor.install(&case.world);
        let dropped = row.steps.iter().map(|step| executor.run(step.after, &step.frame)).collect();
        let seen = executor.observe();
        if executor.on_time() {
            return (dropped, seen);
        }
    }
    panic!("line {}, `{}`: the machine is too busy to keep virtual time", row.line, row.name);
}

fn table(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("frames").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows = read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut host = Host::new();
    let mut kernel = require(Tier::Bpf).then(|| Kernel::load().expect("the program loads"));
    let (mut faults, mut host_only) = (Vec::new(), 0);
    for row in &rows {
        let case = Case::read(row).unwrap_or_else(|error| panic!("{name} line {}, `{}`: {error}", row.line, row.name));
        let mut fault = |text: String| faults.push(format!("{name} line {}, `{}`: {text}", row.line, row.name));
        let (dropped, on_host) = run(&mut host, row, &case);
        case.faults(&dropped, &on_host).into_iter().for_each(|text| fault(format!("host: {text}")));
        // The kernel's test run takes no shorter frame; no network card hands one up.
        if row.steps.iter().any(|step| step.frame.len() < KERNEL_FRAME_MIN) {
            host_only += 1;
            continue;
        }
        let Some(kernel) = &mut kernel else { continue };
        let (dropped, in_kernel) = run(kernel, row, &case);
        case.faults(&dropped, &in_kernel).into_iter().for_each(|text| fault(format!("kernel: {text}")));
        if let Some(difference) = on_host.timeless(GRAIN_US).difference(&in_kernel.timeless(GRAIN_US)) {
            fault(format!("host <> kernel: {difference}"));
        }
    }
    assert!(faults.is_empty(), "{} faults in {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
    println!("{name}: {} rows, {host_only} on the host alone", rows.len());
}

#[test]
fn headers() {
    table("header.txt");
}

#[test]
fn rules() {
    table("rule.txt");
}

#[test]
fn handshakes() {
    table("handshake.txt");
}

#[test]
fn relay_gaps() {
    table("gap.txt");
}
