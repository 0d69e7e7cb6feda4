//! D5, rented ranges: more and more new networks of one client fill with active addresses.
//!
//! Rented exits come by the /24 or /48: a network that was not known before shows at least eight active addresses of
//! one client within an hour, and hardly another client: homes and clouds are a mixture. One such network is an office or a data centre's new range, so their rate is tested, not
//! their number: a one-sided sequential test (Page 1954) for Poisson counts between the learned rate `r` and four times
//! that; a filled network adds `ln 4 / 2` nats to the evidence, the time `t` between takes `3 r t / 2` away, and it
//! never falls below zero. The half pays for ranges that come by the bunch. The rate is learned while calm, with a
//! prior of one a day, so a cloud that always brings new ranges raises nothing. Units: networks, nats, networks a day.
//! Alone it refuses nobody.

use serde::{Deserialize, Serialize};

use super::Detector;
use crate::engine::decay::{Fading, UNIT};
use crate::engine::fixed::{NAT, ln, scale};
use crate::engine::time::{Span, Time};
use crate::tunable::Tunables;

/// How many times as often the networks must fill.
const FACTOR: u64 = 4;

const DAY: Span = Span::seconds(86_400);

/// Settings of the detector.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    /// Millionths of a nat.
    alarm: i64,
    memory: Span,
}

/// What is remembered of one cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filling {
    /// Millionths of a nat.
    pub score: i64,
    /// Filled networks since the evidence left zero, and when it did.
    pub networks: u64,
    pub onset: Time,
    at: Time,
    /// Filled networks learned from.
    usual: Fading,
}

/// Too many new networks have filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Millionths of a nat.
    pub score: i64,
    pub networks: u64,
    pub since: Time,
    /// Thousandths of a network a day.
    pub usual_millis_per_day: u64,
}

impl Ranges {
    #[must_use]
    pub fn new(tunables: &Tunables) -> Self {
        let alarm = i64::try_from(tunables.rotation_alarm).unwrap_or(100).saturating_mul(NAT);
        Self { alarm, memory: Span::seconds(tunables.baseline_memory_s) }
    }

    /// Evidence from which on filled networks are not learned from: a third of the alarm.
    #[must_use]
    pub(crate) const fn unrest(&self) -> i64 {
        self.alarm / 3
    }

    /// The usual rate, thousandths of a network a day: the learned count over the memory, and the prior of one a day.
    fn usual_millis_per_day(&self, filling: &Filling, now: Time) -> u64 {
        let (learned, _) = filling.usual.at(now, self.memory);
        scale(learned, 1_000 * DAY.0 / UNIT, self.memory.0.max(1)).saturating_add(1_000)
    }
}

impl Filling {
    /// Learns from a network that filled in calm times.
    pub(crate) fn learn(&mut self, now: Time, memory: Span) {
        self.usual.add(1, 0, now, memory);
    }
}

impl Detector for Ranges {
    const NAME: &'static str = "rented_ranges";
    type State = Filling;
    /// When a network filled.
    type Sample<'a> = Time;
    type Finding = Filled;

    fn judge(&self, filling: &mut Filling, now: Time) -> Option<Filled> {
        let usual_millis_per_day = self.usual_millis_per_day(filling, now);
        // 3/2 of the rate over the time, in millionths: (3/2) * rate/1000 * t/day * 10^6.
        let passed = scale(usual_millis_per_day.saturating_mul(500 * (FACTOR - 1)), now.since(filling.at).0, DAY.0);
        filling.score = filling.score.saturating_sub(i64::try_from(passed).unwrap_or(i64::MAX)).max(0);
        filling.at = filling.at.max(now);
        if filling.score == 0 {
            (filling.networks, filling.onset) = (0, now);
        }
        filling.networks = filling.networks.saturating_add(1);
        filling.score = filling.score.saturating_add(ln(FACTOR, 1) / 2).min(self.alarm.saturating_add(self.alarm / 2));
        let Filling { score, networks, onset: since, .. } = *filling;
        (score > self.alarm).then_some(Filled { score, networks, since, usual_millis_per_day })
    }
}
