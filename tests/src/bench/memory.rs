//! How long this machine's memory takes to answer: what bounds every table larger than a cache.

use std::hint::black_box;
use std::time::Instant;

/// Megabytes over which loads are spread: what a core keeps to itself, what cores share, and memory.
pub(super) const MEGABYTES: [usize; 4] = [1, 4, 16, 64];
/// Loads that are timed.
const LOADS: u32 = 1_000_000;
/// Bytes from one place to the next: two cache lines, since neighbours are fetched together.
const STRIDE: usize = 128;

/// Nanoseconds of a load whose address the load before it told, spread at random over so many megabytes of ordinary
/// pages.
pub(super) fn latency_ns(megabytes: usize) -> f64 {
    let words = STRIDE / size_of::<usize>();
    let places = (megabytes << 20) / STRIDE;
    // Sattolo's shuffle: one cycle through all places.
    let mut order: Vec<usize> = (0..places).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for last in (1..places).rev() {
        order.swap(last, random.usize(..last));
    }
    let mut memory = vec![0_usize; places * words];
    for (place, next) in order.iter().enumerate() {
        memory[place * words] = next * words;
    }
    let mut at = (0..places).fold(0, |at, _| memory[at]);
    let started = Instant::now();
    for _ in 0..LOADS {
        at = memory[at];
    }
    let elapsed = started.elapsed();
    black_box(at);
    elapsed.as_nanos() as f64 / f64::from(LOADS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_load_takes_time() {
        assert!(super::latency_ns(1) > 0.0);
    }
}
