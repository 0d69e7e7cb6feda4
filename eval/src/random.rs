//! Randomness that is a function of the seed: a stream for each part of the traffic and each slot of time, so that
//! adding one part never changes another, and any slot can be made without those before it.

use rand::SeedableRng;
use rand_distr::{Distribution, Gamma, LogNormal, Poisson};
use rand_pcg::Pcg64Mcg;
use sensor_common::hash::mix;

/// One stream.
pub type Stream = Pcg64Mcg;

/// What a stream or a fixed property is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Domain {
    Tenant = 1,
    Consumer,
    Corporate,
    Sase,
    Health,
    Cron,
    Crowd,
    NewTenant,
    Attack,
    Customer,
    User,
    Exit,
    Fingerprint,
    Trace,
    Loss,
}

/// The stream of one part of the traffic in one slot.
#[must_use]
pub fn stream(seed: u64, domain: Domain, slot: u64) -> Stream {
    Pcg64Mcg::seed_from_u64(hash(seed, domain, &[slot]))
}

/// A fixed property of something: the same for the same words.
#[must_use]
pub fn hash(seed: u64, domain: Domain, words: &[u64]) -> u64 {
    words.iter().fold(mix(seed, domain as u64), |state, word| mix(*word, state))
}

/// A hash as a number from 0 to 1.
#[must_use]
pub fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// A hash as a number below `n`; 0 if `n` is 0.
#[must_use]
pub fn below(hash: u64, n: u64) -> u64 {
    u64::try_from((u128::from(hash) * u128::from(n)) >> 64).unwrap_or(0)
}

/// A Poisson count.
#[must_use]
pub fn poisson(random: &mut Stream, mean: f64) -> u64 {
    // Above this mean the count is capped: no slot of any scenario comes near.
    let mean = mean.min(1e7);
    if mean > 0.0 { Poisson::new(mean).map_or(0, |law| law.sample(random) as u64) } else { 0 }
}

/// A log-normal value with this median.
#[must_use]
pub fn log_normal(random: &mut Stream, median: f64, sigma: f64) -> f64 {
    LogNormal::new(median.max(1e-9).ln(), sigma.max(0.0)).map_or(median, |law| law.sample(random))
}

/// A gamma value with this mean and coefficient of variation.
#[must_use]
pub fn gamma(random: &mut Stream, mean: f64, cv: f64) -> f64 {
    let shape = 1.0 / (cv * cv).max(1e-6);
    Gamma::new(shape, mean / shape).map_or(mean, |law| law.sample(random))
}

/// The point that a standard normal value exceeds with this probability.
///
/// Abramowitz and Stegun 26.2.23, off by less than 4.5e-4.
#[must_use]
pub fn normal_tail(probability: f64) -> f64 {
    let (p, sign) = if probability > 0.5 { (1.0 - probability, -1.0) } else { (probability, 1.0) };
    let t = (-2.0 * p.max(1e-12).ln()).sqrt();
    let numerator = 0.010_328_f64.mul_add(t, 0.802_853).mul_add(t, 2.515_517);
    let denominator = 0.001_308_f64.mul_add(t, 0.189_269).mul_add(t, 1.432_788).mul_add(t, 1.0);
    sign * (t - numerator / denominator)
}

#[cfg(test)]
mod tests {
    use super::{Domain, below, gamma, hash, normal_tail, stream, unit};

    #[test]
    fn parts_and_slots_have_streams_of_their_own() {
        let value = |seed, domain, slot| gamma(&mut stream(seed, domain, slot), 1.0, 1.0);
        let first = value(1, Domain::Tenant, 1);
        assert_eq!(first, value(1, Domain::Tenant, 1));
        for other in [value(2, Domain::Tenant, 1), value(1, Domain::Attack, 1), value(1, Domain::Tenant, 2)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn hashes_fill_their_range() {
        let hashes = || (0..10_000).map(|n| hash(7, Domain::User, &[n]));
        let mean = hashes().map(unit).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!(hashes().all(|h| below(h, 10) < 10) && hashes().any(|h| below(h, 10) == 9));
    }

    #[test]
    fn the_tail_of_the_normal_law() {
        for (probability, point) in [(0.5, 0.0), (0.02, 2.0537), (0.06, 1.5548), (0.98, -2.0537)] {
            assert!((normal_tail(probability) - point).abs() < 1e-3, "{probability}");
        }
    }

    #[test]
    fn gamma_has_its_mean_and_spread() {
        let mut random = stream(1, Domain::Tenant, 0);
        let values: Vec<f64> = (0..100_000).map(|_| gamma(&mut random, 2.0, 1.5)).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 2.0).abs() < 0.1 && (variance.sqrt() / mean - 1.5).abs() < 0.1, "{mean} {variance}");
    }
}
