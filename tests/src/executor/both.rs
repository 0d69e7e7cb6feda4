//! One script through both executors.

use super::host::Host;
use super::kernel::Kernel;
use super::{Executor, World};
use crate::require::{Tier, require};

/// How often a script is run again because the machine was too busy to keep virtual time.
const ATTEMPTS: usize = 50;

/// Runs the script in a fresh world on the host, and in the kernel where that can be; what it returns must pass the
/// check. The check gets the executor's name.
///
/// # Panics
/// If the program does not load, or virtual time cannot be kept.
pub fn both<R>(world: &World, script: impl Fn(&mut dyn Executor) -> R, check: impl Fn(&str, R)) {
    let mut host = Host::within(world);
    check("host", script(&mut host));
    if !require(Tier::Bpf) {
        return;
    }
    let mut kernel = Kernel::with_sizes(world.settings.sizes).expect("the program loads");
    for _ in 0..ATTEMPTS {
        kernel.install(world);
        let result = script(&mut kernel);
        if kernel.on_time() {
            return check("kernel", result);
        }
    }
    panic!("the machine is too busy to keep virtual time");
}

/// CPUs that this process may run on.
#[must_use]
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
