//! Counts that fade: each unit weighs exp(-age / memory).
//!
//! Forward decay (Cormode, Shkapenyuk, Srivastava and Xu, ICDE 2009) with one exponential, so that a count is one
//! number and its time. Fixed point: 24 fractional bits, so up to a million million units.

use serde::{Deserialize, Serialize};

use super::fixed::{WHOLE_PPM, scale};
use super::time::{Span, Time};

/// Fractional bits of a count.
const FRACTION: u32 = 24;

/// One unit.
pub const UNIT: u64 = 1 << FRACTION;

/// log2 e with 32 fractional bits.
const LOG2_E: u128 = 6_196_328_019;

/// A count fades in steps of at least this part of its memory: smaller steps would vanish in rounding.
const STEPS: u64 = 512;

/// No count grows beyond this, so that sums of a few never overflow.
const MOST: u64 = u64::MAX / 4;

/// 2^(-1/2), 2^(-1/4), ... with 32 fractional bits.
const ROOTS: [u64; 16] = roots();

const fn roots() -> [u64; 16] {
    let mut table = [0; 16];
    let mut root: u64 = 1 << 31;
    let mut i = 0;
    while i < table.len() {
        root = (root << 32).isqrt();
        table[i] = root;
        i += 1;
    }
    table
}

/// exp(-age / memory) with 32 fractional bits.
fn factor(age: Span, memory: Span) -> u64 {
    let exponent = (u128::from(age.0) * LOG2_E).checked_div(u128::from(memory.0)).unwrap_or(u128::MAX);
    let whole = exponent >> 32;
    if whole >= 32 {
        return 0;
    }
    let mut result: u64 = 1 << 32;
    for (bit, root) in ROOTS.iter().enumerate() {
        if exponent >> (31 - bit) & 1 == 1 {
            result = (result * root) >> 32;
        }
    }
    result >> whole
}

/// Two fading counts that share a clock: relayed and direct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fading {
    relayed: u64,
    direct: u64,
    at: Time,
}

impl Fading {
    /// The counts at `now`, in [`UNIT`]s: relayed, direct.
    #[must_use]
    pub fn at(&self, now: Time, memory: Span) -> (u64, u64) {
        let age = now.since(self.at);
        if age.0 < memory.0 / STEPS {
            return (self.relayed, self.direct);
        }
        let factor = u128::from(factor(age, memory));
        // The product is below 2^96, its upper part fits again.
        let fade = |count: u64| u64::try_from((u128::from(count) * factor + (1 << 31)) >> 32).unwrap_or(u64::MAX);
        (fade(self.relayed), fade(self.direct))
    }

    /// The share of the first count in both at `now`, parts per million, beside a prior share that is worth so many.
    #[must_use]
    pub fn share_ppm(&self, (prior_ppm, weight): (u64, u64), now: Time, memory: Span) -> u64 {
        let (first, second) = self.at(now, memory);
        let prior = scale(weight * UNIT, prior_ppm, WHOLE_PPM);
        let whole = first.saturating_add(second).saturating_add(weight * UNIT);
        scale(first.saturating_add(prior), WHOLE_PPM, whole)
    }

    /// Stored counts, held to what is possible: none from the future.
    #[must_use]
    pub(super) fn sane(self, now: Time) -> Self {
        Self { relayed: self.relayed.min(MOST), direct: self.direct.min(MOST), at: self.at.min(now) }
    }

    /// Adds whole counts at `now`. Earlier moments than the latest one count as that one.
    pub fn add(&mut self, relayed: u32, direct: u32, now: Time, memory: Span) {
        if now.since(self.at).0 >= memory.0 / STEPS {
            (self.relayed, self.direct) = self.at(now, memory);
            self.at = self.at.max(now);
        }
        self.relayed = self.relayed.saturating_add(u64::from(relayed) << FRACTION).min(MOST);
        self.direct = self.direct.saturating_add(u64::from(direct) << FRACTION).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::{Fading, UNIT, factor};
    use crate::engine::time::{Span, Time};

    #[test]
    fn the_factor_is_the_exponential() {
        let memory = Span::seconds(1_000);
        for seconds in [0, 1, 10, 500, 1_000, 2_500, 10_000] {
            let got = factor(Span::seconds(seconds), memory) as f64 / f64::from(2).powi(32);
            let want = (-(seconds as f64) / 1_000.0).exp();
            assert!((got - want).abs() < 1e-4, "exp(-{seconds}/1000): {got} not {want}");
        }
        assert_eq!(factor(Span(u64::MAX), Span(1)), 0);
        assert_eq!(factor(Span(1), Span(0)), 0);
    }

    #[test]
    fn many_small_steps_fade_like_one_large_step() {
        let memory = Span::seconds(3_600);
        let mut counts = Fading::default();
        let start = Time(1_000_000_000_000);
        counts.add(1_000, 0, start, memory);
        for second in 1..=3_600 {
            counts.add(0, 0, start + Span::seconds(second), memory);
        }
        let (relayed, _) = counts.at(start + memory, memory);
        let want = 1_000.0 / std::f64::consts::E;
        assert!((relayed as f64 / UNIT as f64 - want).abs() < want / 100.0, "{relayed}");
    }

    #[test]
    fn time_that_goes_back_changes_nothing() {
        let mut counts = Fading::default();
        counts.add(4, 2, Time(u64::MAX), Span::seconds(60));
        counts.add(1, 0, Time(0), Span::seconds(60));
        assert_eq!(counts.at(Time(0), Span::seconds(60)), (5 * UNIT, 2 * UNIT));
    }
}
