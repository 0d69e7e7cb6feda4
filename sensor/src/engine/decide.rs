//! Guards between an alarm and a rule.
//!
//! Fingerprint alone refuses nobody. A class rule needs two independent families of evidence (each refused connection
//! came over a relay; its cohort is under alarm and its network is new), an estimate of what share of the refused is
//! attack, and a budget of innocents. The estimate (after Herley and Schechter, NDSS 2019): direct newcomers of the
//! cohort bring `q/(1-q)` relayed ones with them, `q` the normal share, so of `f` relayed and `u` direct first-seen
//! networks lately the attack's part is `1 - q/(1-q) (u + 1/2) / f`. By the same odds the direct connections of the
//! campaign's own networks tell how many innocents the rule would refuse.

use serde::{Deserialize, Serialize};

use super::decay::UNIT;
use super::fixed::{WHOLE_PPM, scale, share_ppm};

/// Fewer accepted connections than this count as this many: a share of next to nothing says nothing.
pub(super) const ACCEPTED_MIN: u64 = 100;

/// A rule in force is withdrawn only when the attack share is this far below what a new rule needs.
const SLACK_PPM: u64 = 50_000;

/// Why no class rule is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Too little calm traffic has been learned.
    Learning,
    /// The connections do not say which client they come from.
    Unnamed,
    /// Too much of what the rule would refuse is normal.
    Mixed,
    /// More innocents than the budget allows.
    Budget,
    /// An operator's rule holds the subject, or the table is full.
    Taken,
}

/// What a class rule would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Share of attack in what the rule would refuse, parts per million.
    pub attack_share_ppm: u64,
    /// Innocent connections that it would refuse in ten minutes, millionths.
    pub innocents_millionths: u64,
    /// The same per million accepted connections.
    pub innocent_ppm: u64,
}

impl Weight {
    /// Weighs a rule. `recent`: relayed and direct first-seen networks lately, in [`UNIT`]s; `own_direct`: direct
    /// connections of the campaign's own networks within ten minutes; `accepted`: all accepted ones of that time.
    #[must_use]
    pub fn new(normal_ppm: u64, recent: (u64, u64), own_direct: u64, accepted: u64) -> Self {
        let (relayed, direct) = recent;
        let odds = |count: u64| scale(count, normal_ppm, WHOLE_PPM.saturating_sub(normal_ppm));
        let innocent = share_ppm(odds(direct.saturating_add(UNIT / 2)), relayed.max(1));
        let innocents_millionths = odds(own_direct.saturating_mul(WHOLE_PPM).saturating_add(WHOLE_PPM / 2));
        Self {
            attack_share_ppm: WHOLE_PPM.saturating_sub(innocent),
            innocents_millionths,
            innocent_ppm: innocents_millionths / accepted.max(ACCEPTED_MIN),
        }
    }
}

/// What the guards are set to.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    pub learned: bool,
    /// Parts per million.
    pub attack_share_min_ppm: u64,
    /// Innocents per million accepted connections that rules made so far leave over.
    pub budget_ppm: u64,
}

impl Guard {
    /// Why no rule may be made; `None` if one may.
    #[must_use]
    pub fn hold(&self, weight: &Weight) -> Option<Hold> {
        if !self.learned {
            return Some(Hold::Learning);
        }
        if weight.attack_share_ppm < self.attack_share_min_ppm {
            return Some(Hold::Mixed);
        }
        (weight.innocent_ppm > self.budget_ppm).then_some(Hold::Budget)
    }

    /// Whether a rule in force does too much harm to run out by itself.
    #[must_use]
    pub fn must_withdraw(&self, weight: &Weight) -> bool {
        weight.attack_share_ppm.saturating_add(SLACK_PPM) < self.attack_share_min_ppm
            || weight.innocent_ppm > self.budget_ppm.saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, Hold, UNIT, Weight};

    const GUARD: Guard = Guard { learned: true, attack_share_min_ppm: 950_000, budget_ppm: 10_000 };

    #[test]
    fn a_crowd_at_the_normal_share_is_no_attack() {
        let weight = Weight::new(20_000, (6 * UNIT, 294 * UNIT), 294, 1_000);
        assert_eq!(weight.attack_share_ppm, 0);
        assert_eq!(GUARD.hold(&weight), Some(Hold::Mixed));
    }

    #[test]
    fn a_rotation_among_few_newcomers_is_one() {
        let weight = Weight::new(20_000, (300 * UNIT, 30 * UNIT), 60, 1_000);
        // 0.0204 * 30.5 / 300.
        assert_eq!(weight.attack_share_ppm, 997_926);
        assert_eq!(GUARD.hold(&weight), None);
    }

    #[test]
    fn innocents_beyond_the_budget_hold_back() {
        let weight = Weight::new(20_000, (30_000 * UNIT, 1_000 * UNIT), 1_000, 1_000);
        assert_eq!(weight.innocent_ppm, 20_418);
        assert_eq!(GUARD.hold(&weight), Some(Hold::Budget));
    }

    #[test]
    fn nothing_seen_is_not_certain_attack() {
        assert_eq!(Weight::new(20_000, (0, 0), 0, 0).attack_share_ppm, 0);
    }
}
