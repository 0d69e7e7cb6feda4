//! Relay gaps as the kernel would measure them.
//!
//! Direct clients: log-normal with a median of 2 ms whose tail beyond the default threshold is the assumed false rate;
//! with 2 % this gives 5 % beyond 15 ms and 0.4 % beyond 50 ms, where 4.1 and 0.4 % were measured.

use rand::RngExt;

use crate::assumption::Assumptions;
use crate::random::{Stream, log_normal, normal_tail};

/// Threshold that the assumed rates are about, milliseconds: the shipped default.
const THRESHOLD_MS: f64 = 25.0;

/// Median gap of direct clients, milliseconds (measured: 1 to 3).
const DIRECT_MS: f64 = 2.0;

/// A visible relay's gap is at least this, milliseconds.
const VISIBLE_MS: f64 = 30.0;

/// Laws of the gap.
#[derive(Clone, Debug)]
pub struct Gaps {
    direct_sigma: f64,
    phone_sigma: f64,
    unknown: f64,
    strong: f64,
    strong_false: f64,
    leg_ms: f64,
}

/// How a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Direct,
    /// Over a mobile network or a satellite: slow, but not relayed.
    Jittery,
    /// Over a relay whose leg is long enough to show.
    Relayed,
}

impl Gaps {
    /// `gap_false`: of every direct connection, instead of what is assumed.
    #[must_use]
    pub fn new(assumptions: &Assumptions, gap_false: Option<f64>) -> Self {
        let sigma = |rate: f64| (THRESHOLD_MS / DIRECT_MS).ln() / normal_tail(rate.clamp(1e-9, 0.499));
        Self {
            direct_sigma: sigma(gap_false.unwrap_or(assumptions.gap_false)),
            phone_sigma: sigma(gap_false.unwrap_or(0.0).max(assumptions.gap_false_mobile)),
            unknown: assumptions.gap_unknown,
            strong: assumptions.gap_strong,
            strong_false: assumptions.gap_false_strong,
            leg_ms: assumptions.leg_median_ms,
        }
    }

    /// The gap of one connection, microseconds, and whether its first flight was late too.
    pub fn draw(&self, path: Path, random: &mut Stream) -> (Option<u32>, bool) {
        if random.random::<f64>() < self.unknown {
            return (None, false);
        }
        let gap_ms = match path {
            Path::Direct => log_normal(random, DIRECT_MS, self.direct_sigma),
            Path::Jittery => log_normal(random, DIRECT_MS, self.phone_sigma),
            Path::Relayed => log_normal(random, self.leg_ms, 0.6).max(VISIBLE_MS),
        };
        let strong = if path == Path::Relayed { self.strong } else { self.strong_false };
        let is_late = gap_ms > THRESHOLD_MS && random.random::<f64>() < strong;
        (Some((gap_ms.min(60_000.0) * 1e3) as u32), is_late)
    }
}

#[cfg(test)]
mod tests {
    use super::{Gaps, Path};
    use crate::assumption::Assumptions;
    use crate::random::{Domain, stream};

    #[test]
    fn the_assumed_shares_come_out() {
        let assumptions = Assumptions::default();
        let gaps = Gaps::new(&assumptions, None);
        let mut random = stream(3, Domain::User, 0);
        let mut share = |path, beyond_ms: u32| {
            let draws = (0..100_000).filter_map(|_| gaps.draw(path, &mut random).0);
            let (mut late, mut all) = (0_u32, 0_u32);
            for gap in draws {
                all += 1;
                late += u32::from(gap > beyond_ms * 1_000);
            }
            f64::from(late) / f64::from(all)
        };
        for (path, beyond_ms, wanted, slack) in [
            (Path::Direct, 25, 0.02, 0.002),
            (Path::Direct, 15, 0.05, 0.01),
            (Path::Direct, 50, 0.004, 0.002),
            (Path::Jittery, 25, 0.06, 0.004),
            (Path::Relayed, 25, 1.0, 0.0),
        ] {
            let found = share(path, beyond_ms);
            assert!((found - wanted).abs() <= slack, "{path:?} beyond {beyond_ms} ms: {found}");
        }
    }
}
