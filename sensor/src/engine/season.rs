//! What is normal at this hour of the week: people, batch jobs and phones each have their hours.
//!
//! Counts of relayed and direct first-seen networks by hour of the week (UTC), learned only while calm, each week's
//! worth half of the next one's. Once a week has been seen, the odds of a relayed one are multiplied by those of the
//! hour over those of the whole week: with `h` of this hour, `w` of the week, `p' / (1-p') = p / (1-p) * h(1-w) / (w(1-h))`.
//! An hour of which little is known counts as the week does (a prior worth a hundred networks), and no hour moves the
//! odds by more than twice in either direction.

use serde::{Deserialize, Serialize};

use super::fixed::{WHOLE_PPM, scale, share_ppm};
use super::time::{Span, Time};

const HOUR_S: u64 = 3_600;
const HOURS: u64 = 168;

/// Nothing is seasonal before so much was seen.
const WEEK: Span = Span::seconds(HOURS * HOUR_S);

/// Networks that the prior of an hour is worth.
const PRIOR_WEIGHT: u64 = 100;

/// Odds that change nothing.
pub const EVEN: u64 = WHOLE_PPM;

/// Greatest change of the odds, parts per million.
const MOST_PPM: u64 = 2 * WHOLE_PPM;

/// Counts of one hour of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    week: u64,
    relayed: u64,
    direct: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Season {
    since: Option<Time>,
    hours: Vec<Hour>,
}

impl Hour {
    /// The counts as they weigh in a later week.
    fn faded(self, week: u64) -> Self {
        let shift = u32::try_from(week.saturating_sub(self.week)).unwrap_or(u32::MAX);
        let fade = |count: u64| count.checked_shr(shift).unwrap_or(0);
        Self { week: self.week.max(week), relayed: fade(self.relayed), direct: fade(self.direct) }
    }
}

impl Season {
    /// Learns from first-seen networks of calm times.
    pub fn learn(&mut self, (relayed, direct): (u32, u32), now: Time) {
        self.since.get_or_insert(now);
        self.hours.resize(HOURS as usize, Hour::default());
        let (week, hour) = place(now);
        let slot = &mut self.hours[hour];
        *slot = slot.faded(week);
        slot.relayed = slot.relayed.saturating_add(u64::from(relayed));
        slot.direct = slot.direct.saturating_add(u64::from(direct));
    }

    /// Whether a week has been seen.
    #[must_use]
    pub fn is_known(&self, now: Time) -> bool {
        self.since.is_some_and(|since| now.since(since) >= WEEK) && self.hours.len() == HOURS as usize
    }

    /// The odds of this hour over those of the week, parts per million; even before a week was seen.
    #[must_use]
    pub fn odds_ppm(&self, now: Time) -> u64 {
        if !self.is_known(now) {
            return EVEN;
        }
        let (week, hour) = place(now);
        let hours = self.hours.iter().map(|hour| hour.faded(week));
        let sum = |(relayed, all): (u64, u64), hour: Hour| {
            (relayed.saturating_add(hour.relayed), all.saturating_add(hour.relayed).saturating_add(hour.direct))
        };
        let (relayed, all) = hours.fold((0, 0), sum);
        // Neither nothing nor everything, so that odds exist.
        let whole_ppm = share_ppm(relayed, all).clamp(1, WHOLE_PPM - 1);
        let (own_relayed, own_all) = sum((0, 0), self.hours[hour].faded(week));
        let prior = scale(PRIOR_WEIGHT * WHOLE_PPM, whole_ppm, WHOLE_PPM);
        let weighed = own_relayed.saturating_mul(WHOLE_PPM).saturating_add(prior);
        let hour_ppm = (weighed / own_all.saturating_add(PRIOR_WEIGHT)).clamp(1, WHOLE_PPM - 1);
        let ratio_ppm = scale(odds(hour_ppm), WHOLE_PPM, odds(whole_ppm).max(1));
        ratio_ppm.clamp(WHOLE_PPM * WHOLE_PPM / MOST_PPM, MOST_PPM)
    }

    /// A stored season, held to what is possible.
    #[must_use]
    pub(super) fn sane(mut self, now: Time) -> Self {
        self.since = self.since.map(|since| since.min(now));
        let (week, _) = place(now);
        for hour in &mut self.hours {
            hour.week = hour.week.min(week);
        }
        if self.hours.len() != HOURS as usize {
            self.hours.clear();
        }
        self
    }
}

/// A share whose odds are multiplied; all in parts per million.
#[must_use]
pub fn adjust(normal_ppm: u64, odds_ppm: u64) -> u64 {
    if odds_ppm == EVEN {
        return normal_ppm;
    }
    let adjusted = scale(odds(normal_ppm.min(WHOLE_PPM - 1)), odds_ppm, WHOLE_PPM);
    scale(adjusted, WHOLE_PPM, adjusted.saturating_add(WHOLE_PPM))
}

fn odds(ppm: u64) -> u64 {
    scale(ppm, WHOLE_PPM, WHOLE_PPM.saturating_sub(ppm))
}

/// The week since 1970, and the hour within it.
fn place(now: Time) -> (u64, usize) {
    let hour = now.unix_s() / HOUR_S;
    (hour / HOURS, (hour % HOURS) as usize)
}

#[cfg(test)]
mod tests {
    use super::{HOUR_S, HOURS, Season, adjust};
    use crate::engine::time::{Span, Time};

    #[test]
    fn an_hour_with_more_relays_is_told_apart_after_a_week() {
        let start = Time(0) + Span::seconds(HOURS * HOUR_S * 2_900);
        let at = |hour: u64| start + Span::seconds(hour * HOUR_S);
        let mut season = Season::default();
        for hour in 0..HOURS {
            // One relayed in fifty; at three in the night as many again.
            season.learn((if hour % 24 == 3 { 40 } else { 20 }, 980), at(hour));
            assert_eq!(adjust(20_000, season.odds_ppm(at(hour))), 20_000, "hour {hour} of the first week");
        }
        let (night, day) =
            (adjust(20_000, season.odds_ppm(at(HOURS + 3))), adjust(20_000, season.odds_ppm(at(HOURS + 12))));
        // 1.76 times the odds: the prior pulls (20 + 2.1) of (510 + 100) below two fiftieths.
        assert!((34_500..35_100).contains(&night) && (18_000..20_000).contains(&day), "{night} {day}");
        let text = serde_json::to_string(&season).expect("plain data");
        let again: Season = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(again.sane(at(HOURS)), season);
        // Weeks without a sign fade; an hour of which nothing is left counts as the week does.
        assert_eq!(season.odds_ppm(at(HOURS * 80 + 3)), season.odds_ppm(at(HOURS * 80 + 12)));
    }
}
