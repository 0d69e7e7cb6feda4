//! A quota, modelled: what the ladder's middle step would refuse on top of what the shipped engine refuses.
//!
//! While a campaign is open, networks newer than it that use its client are admitted at twice the rate at which new
//! networks normally begin to use it, from a token bucket ten minutes deep; who was admitted stays so. The shipped engine
//! has no such step yet; a refusal before the first request still sends its record, so counting beside the engine gives
//! the same numbers as acting would.

use sensor::engine::Engine;
use sensor::engine::time::Time;
use sensor_common::hash::mix;

use crate::table::Table;

/// Memory of the normal rate, seconds.
const MEMORY_S: f64 = 86_400.0;

/// Times the normal rate that is admitted, and depth of the bucket, seconds.
const TIMES: f64 = 2.0;
const DEPTH_S: f64 = 600.0;

/// Fewer than this are never admitted, per second: one in ten minutes.
const LEAST_PER_S: f64 = 1.0 / 600.0;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// New networks, fading.
    weight: f64,
    weighed: Time,
    tokens: f64,
    filled: Time,
    /// Networks of the open campaign are newer than this.
    newer_than: Option<Time>,
    /// The normal rate when it opened.
    per_s: f64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    buckets: Table<Bucket>,
    /// Networks that were admitted, each with the client that it was admitted with.
    admitted: Table<()>,
}

impl Quota {
    /// Takes over which campaigns are open.
    pub fn follow(&mut self, engine: &Engine, now: Time) {
        for bucket in self.buckets.values_mut() {
            bucket.newer_than = None;
        }
        for campaign in engine.campaigns().values().filter(|campaign| campaign.closed.is_none()) {
            if campaign.cohort.is_whole_service() {
                continue;
            }
            let bucket = self.buckets.entry(campaign.cohort.fingerprint).or_default();
            if bucket.per_s == 0.0 {
                bucket.per_s = (bucket.weight / MEMORY_S).max(LEAST_PER_S);
                (bucket.tokens, bucket.filled) = (TIMES * bucket.per_s * DEPTH_S, now);
            }
            bucket.newer_than = Some(campaign.newer_than);
        }
        for bucket in self.buckets.values_mut().filter(|bucket| bucket.newer_than.is_none()) {
            bucket.per_s = 0.0;
        }
    }

    /// Whether a connection that is otherwise served would be refused. `network`: its key.
    pub fn refuses(&mut self, fingerprint: u64, network: u64, first_seen: Time, at: Time) -> bool {
        let bucket = self.buckets.entry(fingerprint).or_default();
        let Some(newer_than) = bucket.newer_than else {
            if first_seen == at {
                let age_s = at.since(bucket.weighed).0 as f64 / 1e9;
                bucket.weight = bucket.weight.mul_add((-age_s / MEMORY_S).exp(), 1.0);
                bucket.weighed = at;
            }
            return false;
        };
        if first_seen < newer_than || self.admitted.contains_key(&mix(network, fingerprint)) {
            return false;
        }
        let rate = TIMES * bucket.per_s;
        let passed_s = at.since(bucket.filled).0 as f64 / 1e9;
        bucket.tokens = rate.mul_add(passed_s, bucket.tokens).min((rate * DEPTH_S).max(1.0));
        bucket.filled = at;
        if bucket.tokens < 1.0 {
            return true;
        }
        bucket.tokens -= 1.0;
        self.admitted.insert(mix(network, fingerprint), ());
        false
    }
}
