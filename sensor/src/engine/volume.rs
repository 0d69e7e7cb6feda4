//! How much came in, told apart by how long ago: today, yesterday, before. What was common before cannot be new now.

use serde::{Deserialize, Serialize};

use super::time::Time;

const DAY_S: u64 = 86_400;

/// See the module. Days are those of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    day: u64,
    today: u64,
    yesterday: u64,
    before: u64,
}

impl Volume {
    /// Counts one.
    pub fn count(&mut self, at: Time) {
        self.roll(at);
        self.today = self.today.saturating_add(1);
    }

    /// What came before yesterday.
    #[must_use]
    pub fn before(&self, now: Time) -> u64 {
        let mut rolled = *self;
        rolled.roll(now);
        rolled.before
    }

    fn roll(&mut self, at: Time) {
        let day = at.unix_s() / DAY_S;
        if day <= self.day {
            return;
        }
        self.before = self.before.saturating_add(self.yesterday);
        self.yesterday = std::mem::take(&mut self.today);
        if day > self.day + 1 {
            self.before = self.before.saturating_add(std::mem::take(&mut self.yesterday));
        }
        self.day = day;
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_S, Volume};
    use crate::engine::time::{Span, Time};

    #[test]
    fn days_move_back_one_by_one_or_all_at_once() {
        let day = |n: u64| Time(0) + Span::seconds(n * DAY_S);
        let mut volume = Volume::default();
        for (at, before) in [(5, 0), (5, 0), (6, 0), (7, 2), (9, 4), (9, 4)] {
            volume.count(day(at));
            assert_eq!(volume.before(day(at)), before, "day {at}");
        }
        // Late ones count today.
        volume.count(day(3));
        assert_eq!((volume.before(day(10)), volume.before(day(11))), (4, 7));
    }
}
