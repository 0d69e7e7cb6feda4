//! D1, rotation: the share of relayed ones among a cohort's first-seen networks has risen.
//!
//! One-sided sequential test (Page 1954) between the cohort's normal share `p0` and `p1`, whose odds are `f` times as
//! high. A tick with `k` relayed of `n` first-seen networks adds
//! `(k ln(p1/p0) + (n-k) ln((1-p1)/(1-p0))) / 2 = (k ln f - n ln(1 + (f-1) p0)) / 2` to the evidence, which never falls
//! below 0. The half pays for samples that are not quite independent. The test is of composition, not volume: a crowd
//! of new direct users lowers the evidence, a network counts once however often it connects, and a connection whose gap
//! is unknown counts on neither side. Alone, chance reaches evidence `S` about once in e^S ticks.

use super::Detector;
use crate::engine::cohort::{Excursion, Tick};
use crate::engine::fixed::{NAT, WHOLE_PPM, ln, share_ppm};
use crate::engine::words;
use crate::tunable::Tunables;

/// Settings of the detector.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    odds_factor: u64,
    /// Evidence that raises a campaign, millionths of a nat.
    alarm: i64,
    networks_min: u64,
}

/// The relayed share has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Risen {
    /// Millionths of a nat.
    pub score: i64,
}

impl Rotation {
    #[must_use]
    pub fn new(tunables: &Tunables) -> Self {
        Self {
            odds_factor: tunables.rotation_odds_factor.max(2),
            alarm: i64::try_from(tunables.rotation_alarm).unwrap_or(100).saturating_mul(NAT),
            networks_min: tunables.rotation_networks_min,
        }
    }

    /// Evidence that one tick adds, millionths of a nat.
    fn evidence(&self, tick: &Tick, normal_ppm: u64) -> i64 {
        let per_relayed = i128::from(ln(self.odds_factor, 1));
        let per_network = i128::from(ln(WHOLE_PPM + (self.odds_factor - 1) * normal_ppm, WHOLE_PPM));
        let networks = i128::from(tick.relayed) + i128::from(tick.direct);
        let sum = (i128::from(tick.relayed) * per_relayed - networks * per_network) / 2;
        i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN })
    }

    /// The claim in words.
    #[must_use]
    pub fn finding(&self, excursion: &Excursion, normal_ppm: u64) -> String {
        let networks = excursion.relayed.saturating_add(excursion.direct);
        let share = words::percent(share_ppm(excursion.relayed, networks));
        format!(
            "{} of its first-seen networks came over a relay ({share}); normal is {}",
            excursion.relayed,
            words::percent(normal_ppm)
        )
    }

    /// Evidence from which on a cohort is not calm any more: a third of the alarm. Before enough has been learned it is
    /// two thirds: the prior is a guess, and a client that is normally far from it must be learned too.
    #[must_use]
    pub const fn unrest(&self, has_learned: bool) -> i64 {
        if has_learned { self.alarm / 3 } else { self.alarm / 3 * 2 }
    }
}

impl Detector for Rotation {
    const NAME: &'static str = "rotation";
    type State = Excursion;
    /// The tick, and the cohort's normal share in parts per million.
    type Sample<'a> = (&'a Tick, u64);
    type Finding = Risen;

    fn judge(&self, excursion: &mut Excursion, (tick, normal_ppm): (&Tick, u64)) -> Option<Risen> {
        let score = excursion.score.saturating_add(self.evidence(tick, normal_ppm));
        if score <= 0 {
            *excursion = Excursion::default();
            return None;
        }
        excursion.extend(tick);
        // Kept low enough to fall again soon after the attack has ended.
        excursion.score = score.min(self.alarm.saturating_add(self.alarm / 2));
        let enough = excursion.relayed >= self.networks_min;
        (score > self.alarm && enough).then_some(Risen { score })
    }
}

#[cfg(test)]
mod tests {
    use super::{Detector, Rotation};
    use crate::engine::cohort::{Excursion, Tick};
    use crate::tunable::Tunables;

    fn tick(relayed: u32, direct: u32) -> Tick {
        Tick { relayed, direct, ..Tick::default() }
    }

    #[test]
    fn evidence_is_half_the_likelihood_ratio() {
        let rotation = Rotation::new(&Tunables::default());
        // p0 = 0.02 and four times the odds: p1 = 0.08 / 1.06.
        let (p0, p1) = (0.02_f64, 0.08_f64 / 1.06);
        let want = 0.5 * (3.0 * (p1 / p0).ln() + 7.0 * ((1.0 - p1) / (1.0 - p0)).ln());
        let got = rotation.evidence(&tick(3, 7), 20_000) as f64 / 1e6;
        assert!((got - want).abs() < 1e-4, "{got} not {want}");
    }

    #[test]
    fn relayed_networks_raise_the_alarm_and_direct_ones_lower_it() {
        let rotation = Rotation::new(&Tunables::default());
        let mut excursion = Excursion::default();
        let raised = (1..100).find(|_| rotation.judge(&mut excursion, (&tick(1, 0), 20_000)).is_some());
        assert_eq!(raised, Some(22));
        for _ in 0..800 {
            assert!(rotation.judge(&mut excursion, (&tick(0, 1), 20_000)).is_none() || excursion.score > 0);
        }
        assert_eq!(excursion, Excursion::default());
    }

    #[test]
    fn few_networks_are_not_enough_however_strange() {
        let tunables = Tunables { rotation_networks_min: 50, ..Tunables::default() };
        let rotation = Rotation::new(&tunables);
        let mut excursion = Excursion::default();
        let raised = (1..100).find(|_| rotation.judge(&mut excursion, (&tick(1, 0), 10_000)).is_some());
        assert_eq!(raised, Some(50));
    }
}
