//! What only looks like an attack: a launch that brings new users, and a new customer whose program runs in homes.

use rand::RngExt;

use super::gap::Path;
use super::place::{plane, v4};
use super::{Class, Event, SLOT_S, Slot, World, rhythm};
use crate::random::{Domain, below, hash, poisson, stream, unit};

/// A launch begins this long after the scenario, and lasts this long, seconds.
const CROWD_AFTER_S: u64 = 6 * 3_600;
const CROWD_S: u64 = 6 * 3_600;

/// Networks that a crowd comes from.
const CROWD_NETWORKS: u64 = 1_000_000;

/// A new customer's homes, and connections of each in a day.
const HOMES: u64 = 2_000;
const PER_HOME: f64 = 5.0;

impl World {
    /// Surges of a slot.
    pub(super) fn surges(&self, number: u64, out: &mut Vec<Event>) {
        let since_s = (number * SLOT_S).checked_sub(self.branch_s + CROWD_AFTER_S);
        let Some(since_s) = since_s else { return };
        if let Some(times) = self.scenario.benign.crowd
            && since_s < CROWD_S
        {
            self.crowd(times, number, out);
        }
        if let Some(is_relayed) = self.scenario.benign.new_tenant
            && since_s < 86_400
        {
            self.new_tenant(is_relayed, number, out);
        }
    }

    /// New users alone, so that consumers' load is so many times what it was.
    fn crowd(&self, times: f64, number: u64, out: &mut Vec<Event>) {
        let random = stream(self.seed, Domain::Crowd, number);
        let mut slot = Slot { random, from_s: number * SLOT_S, number, out };
        let rate = self.assumptions.consumer_per_s * (times - 1.0) * rhythm(number, self.assumptions.consumer_swing);
        let sessions = poisson(&mut slot.random, rate * SLOT_S as f64 / self.turns_mean());
        for _ in 0..sessions {
            let draw: u64 = slot.random.random();
            let mut person = self.person(draw, number);
            let home = v4(plane::CROWD, below(hash(self.seed, Domain::Crowd, &[draw]), CROWD_NETWORKS), draw & 0xff);
            if person.class == Class::Consumer {
                person.class = Class::Crowd;
            }
            self.session(&mut slot, &person, home);
        }
    }

    /// A customer whose program, on the popular SDK, runs on computers in homes.
    fn new_tenant(&self, is_relayed: bool, number: u64, out: &mut Vec<Event>) {
        let random = stream(self.seed, Domain::NewTenant, number);
        let mut slot = Slot { random, from_s: number * SLOT_S, number, out };
        let count = poisson(&mut slot.random, HOMES as f64 * PER_HOME * SLOT_S as f64 / 86_400.0);
        for _ in 0..count {
            let home = below(slot.random.random(), HOMES);
            let visible = unit(hash(self.seed, Domain::NewTenant, &[home])) < self.assumptions.gap_visible;
            let path = if is_relayed && visible { Path::Relayed } else { Path::Direct };
            let at_s = slot.moment();
            let client = v4(plane::NEW_TENANT, home, home);
            self.push(&mut slot, at_s, client, self.sdk_number(0), path, Class::NewTenant);
        }
    }
}
