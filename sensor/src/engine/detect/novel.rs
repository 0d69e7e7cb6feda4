//! D2, new client: a client that is new or rare here turns up in many networks at once, and these are new too.
//!
//! A release of a popular SDK makes a new client as well, but its networks are those of everyone who used the old one.
//! Of `n` networks that came to a client within a day, `e` were known before; of those that come to clients in ordinary
//! times the share `q` is. The evidence that the client was brought by newcomers, four times less often established, is
//! `e ln(1/4) + (n-e) ln((1-q/4)/(1-q))` nats, where nobody's networks are established (a first day, a launch) it stays
//! near zero however many come. Besides, less than a tenth may be established, and the connections must be spread
//! evenly: entropy over the networks above 0.9 of the greatest possible one (Lakhina, Crovella and Diot, SIGCOMM 2005,
//! for entropy as a sign of anomaly). It says nothing about a client that was common before: there, volume and novelty
//! prove nothing. Units: networks, nats, parts per million. Alone it refuses nobody: a rule needs the relay gap too.

use super::Detector;
use crate::engine::fixed::{NAT, WHOLE_PPM, ln};
use crate::engine::spread::{Spread, evenness_ppm};
use crate::engine::time::Time;
use crate::tunable::Tunables;

/// Most established ones among its networks.
const ESTABLISHED_MAX_PPM: u64 = 100_000;

/// Least evenness of the connections over its networks.
const EVENNESS_MIN_PPM: u64 = 900_000;

/// How many times less often its networks are established than is usual.
const FACTOR: u64 = 4;

/// Settings of the detector.
#[derive(Clone, Copy, Debug)]
pub struct Novel {
    networks_min: u64,
    /// Millionths of a nat.
    evidence_min: i64,
}

/// A new client in many new networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surge {
    /// Millionths of a nat.
    pub score: i64,
    pub networks: u64,
    pub established: u64,
    pub evenness_ppm: u64,
}

impl Novel {
    #[must_use]
    pub fn new(tunables: &Tunables) -> Self {
        let evidence_min = i64::try_from(tunables.new_client_alarm).unwrap_or(100).saturating_mul(NAT);
        Self { networks_min: tunables.new_client_networks_min, evidence_min }
    }
}

impl Detector for Novel {
    const NAME: &'static str = "new_client";
    type State = Spread;
    /// The moment, and the usual share of established networks among those that come to a client, parts per million.
    type Sample<'a> = (Time, u64);
    type Finding = Surge;

    fn judge(&self, spread: &mut Spread, (now, usual_ppm): (Time, u64)) -> Option<Surge> {
        let members = spread.members(now);
        let networks = members.clone().count() as u64;
        if networks < self.networks_min {
            return None;
        }
        let established = members.clone().filter(|member| member.established).count() as u64;
        let usual_ppm = usual_ppm.min(WHOLE_PPM - 1);
        let fresh = i64::try_from(networks - established).unwrap_or(i64::MAX);
        let known = i64::try_from(established).unwrap_or(i64::MAX);
        let per_fresh = ln(WHOLE_PPM - usual_ppm / FACTOR, WHOLE_PPM - usual_ppm);
        let score = fresh.saturating_mul(per_fresh).saturating_sub(known.saturating_mul(ln(FACTOR, 1)));
        let is_new = established * WHOLE_PPM < networks * ESTABLISHED_MAX_PPM;
        if score < self.evidence_min || !is_new {
            return None;
        }
        let evenness_ppm = evenness_ppm(members.map(|member| u64::from(member.connections)));
        let surge = Surge { score, networks, established, evenness_ppm };
        (evenness_ppm > EVENNESS_MIN_PPM).then_some(surge)
    }
}
