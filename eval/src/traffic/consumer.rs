//! Consumers: people with browsers at home, on phones, behind a VPN, and hobbyists with an SDK. Sessions of turns.

use rand::RngExt;

use super::gap::Path;
use super::place::{plane, v4};
use super::{Class, Event, SLOT_S, Slot, World, life, ns, rhythm};
use crate::random::{Domain, below, hash, log_normal, poisson, stream, unit};

/// Addresses of carrier NAT in one network.
const PHONES_PER_NETWORK: u64 = 25;

/// Spread of the time between turns: p90 is 480 s where the median is 123 s.
const THINK_SIGMA: f64 = 1.062;

/// Who somebody is.
pub(super) struct Person {
    pub(super) class: Class,
    pub(super) path: Path,
    pub(super) fingerprint: u64,
    /// Which VPN exit, at random within the session for phones.
    pub(super) draw: u64,
}

impl World {
    /// Consumers' sessions that begin in a slot.
    pub(super) fn consumers(&self, number: u64, out: &mut Vec<Event>) {
        let random = stream(self.seed, Domain::Consumer, number);
        let mut slot = Slot { random, from_s: number * SLOT_S, number, out };
        let rate = self.assumptions.consumer_per_s * rhythm(number, self.assumptions.consumer_swing);
        let sessions = poisson(&mut slot.random, rate * SLOT_S as f64 / self.turns_mean());
        for _ in 0..sessions {
            // Some come far more often than others.
            let user = (slot.random.random::<f64>().powf(1.5) * self.assumptions.consumers) as u64;
            let life = self.life_of(user, number);
            let person = self.person(hash(self.seed, Domain::User, &[user, life, 2]), number);
            let home = self.home(user, life, number);
            self.session(&mut slot, &person, home);
        }
    }

    /// Which of the people in this place of the population it is now.
    pub(super) fn life_of(&self, user: u64, slot: u64) -> u64 {
        let phase = unit(hash(self.seed, Domain::User, &[user]));
        life(slot, self.assumptions.consumer_churn_per_day, phase)
    }

    /// Mean turns of a session.
    pub(super) fn turns_mean(&self) -> f64 {
        1.0 + self.assumptions.multi_turn * (1.0 + self.assumptions.turns_more)
    }

    /// Who somebody with this draw is.
    pub(super) fn person(&self, draw: u64, slot: u64) -> Person {
        let assumptions = &self.assumptions;
        let phones = self.scenario.benign.phones.unwrap_or(assumptions.cgnat);
        let hobbyists = assumptions.hobbyists * self.scenario.benign.hobbyists.unwrap_or(1.0);
        let vpn = self.scenario.benign.vpn.unwrap_or(assumptions.vpn);
        let kind = unit(draw);
        let choice = hash(self.seed, Domain::Fingerprint, &[draw]);
        let browser = self.browser(choice);
        let visible = unit(hash(self.seed, Domain::Exit, &[draw, 3])) < assumptions.gap_vpn;
        if kind < vpn {
            let path = if visible { Path::Relayed } else { Path::Direct };
            return Person { class: Class::Vpn, path, fingerprint: browser, draw };
        }
        if kind < vpn + hobbyists {
            let fingerprint = self.sdk(choice, draw, slot);
            return Person { class: Class::Hobbyist, path: Path::Direct, fingerprint, draw };
        }
        if kind < vpn + hobbyists + phones {
            return Person { class: Class::Phone, path: Path::Jittery, fingerprint: browser, draw };
        }
        Person { class: Class::Consumer, path: Path::Direct, fingerprint: browser, draw }
    }

    /// One session of somebody who lives there.
    pub(super) fn session(&self, slot: &mut Slot<'_>, person: &Person, home: sensor_common::address::Address) {
        let assumptions = &self.assumptions;
        let mut at_s = slot.moment();
        let client = if person.class == Class::Vpn {
            let exits = assumptions.vpn_networks as u64 * 20;
            let exit = below(hash(self.seed, Domain::Exit, &[person.draw, 4]), exits);
            v4(plane::VPN, exit / 20, exit % 20)
        } else if person.class == Class::Phone {
            let address = below(slot.random.random(), assumptions.cgnat_addresses as u64);
            v4(plane::PHONES, address / PHONES_PER_NETWORK, address % PHONES_PER_NETWORK)
        } else {
            home
        };
        let mut turns = 1;
        if slot.random.random::<f64>() < assumptions.multi_turn {
            turns += 1 + poisson(&mut slot.random, assumptions.turns_more);
        }
        for _ in 0..turns {
            let (gap_us, is_hello_late) = self.gaps.draw(person.path, &mut slot.random);
            let fingerprint = person.fingerprint;
            slot.out.push(Event { at_ns: ns(at_s), client, fingerprint, gap_us, is_hello_late, class: person.class });
            at_s += log_normal(&mut slot.random, assumptions.think_median_s, THINK_SIGMA).min(7_200.0);
        }
    }
}
