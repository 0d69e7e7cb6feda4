//! Tenants: programs in data centres, Zipf-distributed rates, over-dispersed arrivals, a few addresses each.

use rand::RngExt;

use super::gap::Path;
use super::place::{plane, v4};
use super::{Class, Event, SLOT_S, Slot, World, life, ns, rhythm};
use crate::random::{Domain, Stream, below, gamma, hash, log_normal, stream, unit};

/// Addresses that the largest tenants connect from.
const ADDRESSES_MAX: f64 = 60.0;

/// A tenant's slot never has more arrivals than this many times what is expected, and some.
const BURST_MAX: f64 = 20.0;

impl World {
    /// All tenants' connections of a slot.
    pub(super) fn tenants(&self, number: u64, out: &mut Vec<Event>) {
        let random = stream(self.seed, Domain::Tenant, number);
        let mut slot = Slot { random, from_s: number * SLOT_S, number, out };
        if let Some(trace) = &self.trace {
            for (tenant, at_s) in trace.arrivals(self.seed, number, self.assumptions.tenant_per_s) {
                self.tenant_connects(&mut slot, tenant, at_s);
            }
            return;
        }
        let tenants = self.assumptions.tenants as u64;
        let whole: f64 = (1..=tenants).map(|rank| self.weight(rank)).sum();
        for tenant in 0..tenants {
            let mean = self.assumptions.tenant_per_s * self.weight(tenant + 1) / whole
                * rhythm(number, self.assumptions.tenant_swing);
            let cv = self.spread(tenant);
            for at_s in arrivals(&mut slot.random, mean, cv) {
                self.tenant_connects(&mut slot, tenant, (number * SLOT_S) as f64 + at_s);
            }
        }
    }

    fn weight(&self, rank: u64) -> f64 {
        (rank as f64).powf(-self.assumptions.tenant_skew)
    }

    /// Coefficient of variation of a tenant's inter-arrival times.
    fn spread(&self, tenant: u64) -> f64 {
        let mut random = stream(self.seed, Domain::Tenant, u64::MAX - tenant);
        log_normal(&mut random, self.assumptions.tenant_cv_median, self.assumptions.tenant_cv_sigma).clamp(0.7, 30.0)
    }

    fn tenant_connects(&self, slot: &mut Slot<'_>, tenant: u64, at_s: f64) {
        let assumptions = &self.assumptions;
        let addresses = (ADDRESSES_MAX / (tenant + 1) as f64).ceil() as u64;
        let place = slot.random.random_range(0..addresses);
        let phase = unit(hash(self.seed, Domain::Tenant, &[tenant, place]));
        let churn = self.scenario.benign.churn_per_day.unwrap_or(assumptions.tenant_churn_per_day);
        let life = life(slot.number, churn, phase);
        let at = hash(self.seed, Domain::Tenant, &[tenant, place, life, 1]);
        let client = v4(plane::CLOUD, below(at, assumptions.cloud_networks as u64), at & 0xff);
        let property = unit(hash(self.seed, Domain::Tenant, &[tenant, 2]));
        let is_proxied = property < assumptions.tenant_proxied;
        let is_relayed = is_proxied && slot.random.random::<f64>() < assumptions.gap_tenant_proxied;
        let path = if is_relayed { Path::Relayed } else { Path::Direct };
        let (gap_us, is_hello_late) = self.gaps.draw(path, &mut slot.random);
        let fingerprint = self.sdk(hash(self.seed, Domain::Tenant, &[tenant, 3]), tenant, slot.number);
        slot.out.push(Event { at_ns: ns(at_s), client, fingerprint, gap_us, is_hello_late, class: Class::Tenant });
    }

    /// The SDK of a client: a dozen, the first by far the most popular; during a release clients change one by one.
    pub(super) fn sdk(&self, draw: u64, client: u64, slot: u64) -> u64 {
        let first = self.scenario.benign.monoculture.unwrap_or(0.45);
        let share = unit(draw);
        // The rest: each one half as popular as the one before.
        let rest = (share - first) / (1.0 - first);
        let number = if share < first { 0 } else { 1 + ((1.0 - rest).log2().abs() as u64).min(10) };
        let release_s = unit(hash(self.seed, Domain::Fingerprint, &[client, 9])) * 86_400.0 + self.branch_s as f64;
        let is_new = self.scenario.benign.release && number == 0 && (slot * SLOT_S) as f64 >= release_s;
        self.sdk_number(if is_new { 100 } else { number })
    }

    /// The fingerprint of SDK number `n`.
    pub(super) fn sdk_number(&self, n: u64) -> u64 {
        hash(self.seed, Domain::Fingerprint, &[1, n]).max(1)
    }

    /// The fingerprint of a browser: ten, of falling popularity.
    pub(super) fn browser(&self, draw: u64) -> u64 {
        let number = (unit(draw).powi(2) * 10.0) as u64;
        hash(self.seed, Domain::Fingerprint, &[2, number]).max(1)
    }
}

/// Seconds within a slot at which something with this mean rate and spread arrives: a renewal process with gamma times.
pub(crate) fn arrivals(random: &mut Stream, per_s: f64, cv: f64) -> Vec<f64> {
    let expected = per_s * SLOT_S as f64;
    let most = (expected * BURST_MAX) as usize + 20;
    let mut found = Vec::new();
    if expected <= 0.0 {
        return found;
    }
    // The slot begins somewhere within a time between two arrivals, which is likelier within a long one.
    let mean_s = 1.0 / per_s;
    let inside = gamma(random, mean_s, cv).max(gamma(random, mean_s, cv));
    let mut at_s = random.random::<f64>() * inside.max(mean_s * (1.0 + cv * cv) / 2.0);
    while at_s < SLOT_S as f64 && found.len() < most {
        found.push(at_s);
        at_s += gamma(random, mean_s, cv);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::arrivals;
    use crate::random::{Domain, stream};

    #[test]
    fn arrivals_keep_their_rate_whatever_their_spread() {
        for (per_s, cv) in [(0.5, 1.0), (0.5, 2.0), (0.02, 1.2), (0.2, 4.0)] {
            let mut random = stream(5, Domain::Tenant, 1);
            let all: usize = (0..4_000).map(|_| arrivals(&mut random, per_s, cv).len()).sum();
            let found = all as f64 / (4_000.0 * 600.0);
            assert!((found / per_s - 1.0).abs() < 0.25, "rate {found}, not {per_s}, at cv {cv}");
        }
    }
}
