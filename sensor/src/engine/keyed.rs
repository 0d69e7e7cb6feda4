//! Where a key stands in the engine's tables: a hash keyed with a secret, so that nobody can aim for one place.
//!
//! The tables are looked up by hash and never walked in its order, so no decision depends on the key.

use sensor_common::address::Address;
use sensor_common::hash::mix;
use sensor_common::rule::ClassKey;

use super::cohort::CohortKey;
use super::plan::Subject;

/// What can be a key of a table.
pub trait Key: Copy + Ord {
    /// Its hash under a secret.
    fn hash(&self, secret: u64) -> u64;
}

impl Key for u64 {
    fn hash(&self, secret: u64) -> u64 {
        mix(*self, secret)
    }
}

impl Key for Address {
    fn hash(&self, secret: u64) -> u64 {
        let (high, low) = self.words();
        mix(low, mix(high, secret))
    }
}

impl Key for CohortKey {
    fn hash(&self, secret: u64) -> u64 {
        mix(self.fingerprint, secret ^ u64::from(self.service))
    }
}

impl Key for Subject {
    fn hash(&self, secret: u64) -> u64 {
        match self {
            Self::Allow(prefix) => prefix.address.hash(secret ^ u64::from(prefix.bits)),
            Self::Deny(prefix) => prefix.address.hash(!secret ^ u64::from(prefix.bits)),
            Self::Class(ClassKey { fingerprint, service, .. }) => mix(*fingerprint, secret ^ u64::from(*service)),
        }
    }
}
