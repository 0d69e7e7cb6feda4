//! Companies behind NAT and behind filtering proxies, health checks, and batches on the hour.

use rand::RngExt;
use sensor_common::address::Address;

use super::gap::Path;
use super::place::{plane, v4};
use super::{Class, Event, SLOT_S, Slot, World, ns, rhythm};
use crate::random::{Domain, below, hash, poisson, stream, unit};

const COMPANIES: u64 = 20;
const SASE_NETWORKS: u64 = 40;

/// Health checks: addresses, and seconds between two of one.
const CHECKERS: u64 = 5;
const CHECK_S: u64 = 60;

/// Batches: clients that begin on the hour, and connections of each.
const BATCHES: u64 = 30;
const BATCH: u64 = 10;

impl World {
    /// Offices, checks and batches of a slot.
    pub(super) fn offices(&self, number: u64, out: &mut Vec<Event>) {
        let parts = &self.scenario.benign;
        let rate = self.assumptions.corporate_per_s * f64::from(parts.corporate);
        self.office(Domain::Corporate, rate, number, out);
        self.office(Domain::Sase, self.assumptions.sase_per_s * f64::from(parts.sase), number, out);
        if parts.batch {
            self.checks(number, out);
            self.batches(number, out);
        }
    }

    fn office(&self, domain: Domain, per_s: f64, number: u64, out: &mut Vec<Event>) {
        let random = stream(self.seed, domain, number);
        let mut slot = Slot { random, from_s: number * SLOT_S, number, out };
        let count = poisson(&mut slot.random, per_s * rhythm(number, 0.5) * SLOT_S as f64);
        for _ in 0..count {
            let at_s = slot.moment();
            let draw: u64 = slot.random.random();
            let (client, path, class) = if domain == Domain::Sase {
                let exit = below(draw, SASE_NETWORKS * 8);
                let visible = unit(hash(self.seed, Domain::Sase, &[exit])) < self.assumptions.gap_vpn;
                let path = if visible { Path::Relayed } else { Path::Direct };
                (v4(plane::SASE, exit / 8, exit % 8), path, Class::Sase)
            } else {
                let gate = below(draw, COMPANIES * 2);
                (v4(plane::OFFICES, gate / 2, gate % 2), Path::Direct, Class::Corporate)
            };
            let fingerprint = self.browser(slot.random.random());
            self.push(&mut slot, at_s, client, fingerprint, path, class);
        }
    }

    fn checks(&self, number: u64, out: &mut Vec<Event>) {
        let mut slot = Slot { random: stream(self.seed, Domain::Health, number), from_s: number * SLOT_S, number, out };
        for checker in 0..CHECKERS {
            for turn in 0..SLOT_S / CHECK_S {
                let at_s = (slot.from_s + turn * CHECK_S) as f64 + checker as f64 + slot.random.random::<f64>();
                let client = v4(plane::BATCH, 0, checker);
                self.push(&mut slot, at_s, client, self.sdk_number(200), Path::Direct, Class::Batch);
            }
        }
    }

    fn batches(&self, number: u64, out: &mut Vec<Event>) {
        if !(number * SLOT_S).is_multiple_of(3_600) {
            return;
        }
        let mut slot = Slot { random: stream(self.seed, Domain::Cron, number), from_s: number * SLOT_S, number, out };
        for batch in 0..BATCHES * BATCH {
            let client = v4(plane::BATCH, 1 + batch % BATCHES, 1);
            let at_s = slot.from_s as f64 + slot.random.random::<f64>() * 30.0;
            let fingerprint = self.sdk(hash(self.seed, Domain::Cron, &[batch % BATCHES]), batch % BATCHES, number);
            self.push(&mut slot, at_s, client, fingerprint, Path::Direct, Class::Batch);
        }
    }

    /// Enters one connection.
    pub(super) fn push(
        &self,
        slot: &mut Slot<'_>,
        at_s: f64,
        client: Address,
        fingerprint: u64,
        path: Path,
        class: Class,
    ) {
        let (gap_us, is_hello_late) = self.gaps.draw(path, &mut slot.random);
        slot.out.push(Event { at_ns: ns(at_s), client, fingerprint, gap_us, is_hello_late, class });
    }
}
