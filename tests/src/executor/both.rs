//! One script through both executors.

use std::cell::RefCell;

use sensor_common::settings::Sizes;

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
    run(world, ATTEMPTS, script, check);
}

/// As [`both`], for scripts to which time does not matter: long ones are held up now and then.
///
/// # Panics
/// If the program does not load.
pub fn both_untimed<R>(world: &World, script: impl Fn(&mut dyn Executor) -> R, check: impl Fn(&str, R)) {
    run(world, 0, script, check);
}

fn run<R>(world: &World, attempts: usize, script: impl Fn(&mut dyn Executor) -> R, check: impl Fn(&str, R)) {
    let mut host = Host::within(world);
    check("host", script(&mut host));
    if !require(Tier::Bpf) {
        return;
    }
    KERNEL.with_borrow_mut(|loaded| {
        let kernel = of_sizes(loaded, world.settings.sizes);
        for _ in 0..=attempts {
            kernel.install(world);
            let result = script(kernel);
            if kernel.on_time() || attempts == 0 {
                return check("kernel", result);
            }
        }
        panic!("the machine is too busy to keep virtual time");
    });
}

thread_local! {
    /// The program as this test loaded it last: that takes longer than most scripts.
    static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
}

fn of_sizes(loaded: &mut Option<Kernel>, sizes: Sizes) -> &mut Kernel {
    let kept = loaded.take().filter(|kernel| kernel.sizes() == sizes);
    loaded.insert(kept.unwrap_or_else(|| Kernel::with_sizes(sizes).expect("the program loads")))
}

/// CPUs that this process may run on.
#[must_use]
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
