//! The campaign: one operator behind many exits.

use rand::RngExt;
use sensor_common::address::Address;

use super::gap::Path;
use super::place::exit_address;
use super::{Class, Event, SLOT_S, Slot, World, ns, rhythm};
use crate::random::{Domain, Stream, below, hash, log_normal, poisson, stream, unit};
use crate::scenario::{Attack, Client, Pace};

/// Time between two requests of a sticky identity, seconds.
const STICKY_S: f64 = 60.0;

impl World {
    /// When the campaign begins, seconds since the beginning.
    #[must_use]
    pub fn attack_s(&self) -> Option<u64> {
        self.scenario.attack.as_ref().map(|attack| self.branch_s + attack.after_s)
    }

    /// The campaign's connections of a slot, and those of the proxy service's other customers.
    pub(super) fn campaign(&self, attack: &Attack, number: u64, out: &mut Vec<Event>) {
        let from_s = number * SLOT_S;
        let Some(since_s) = from_s.checked_sub(self.branch_s + attack.after_s) else { return };
        if since_s >= attack.length_s {
            return;
        }
        let ramp = match attack.ramp_s {
            0 => 1.0,
            ramp_s => ((since_s + SLOT_S / 2) as f64 / ramp_s as f64).min(1.0),
        };
        let swing = if attack.pace == Pace::Daily { 0.8 } else { 0.0 };
        let per_s = attack.per_s * ramp * rhythm(number, swing);
        let mut slot = Slot { random: stream(self.seed, Domain::Attack, number), from_s, number, out };
        self.rotate(attack, per_s, Class::Attack, &mut slot);
        if attack.mixing > 0.0 {
            let customers = per_s * attack.mixing / (1.0 - attack.mixing).max(0.01);
            slot.random = stream(self.seed, Domain::Customer, number);
            self.rotate(attack, customers, Class::ProxyCustomer, &mut slot);
        }
    }

    fn rotate(&self, attack: &Attack, per_s: f64, class: Class, slot: &mut Slot<'_>) {
        let turns = attack.sticky_s.map_or(1.0, |sticky_s| (sticky_s as f64 / STICKY_S).max(1.0));
        let mean = per_s * SLOT_S as f64 / turns;
        let identities = match attack.pace {
            // As even as a machine: the fraction that is left over comes by chance.
            Pace::Even => (mean + slot.random.random::<f64>()) as u64,
            Pace::Random | Pace::Daily => poisson(&mut slot.random, mean),
        };
        for turn in 0..identities {
            let at_s = match attack.pace {
                Pace::Even => slot.from_s as f64 + turn as f64 / identities as f64 * SLOT_S as f64,
                Pace::Random | Pace::Daily => slot.moment(),
            };
            let exit = below(slot.random.random(), attack.exits.max(1));
            let client = exit_address(self, attack, exit);
            let visible = unit(hash(self.seed, Domain::Exit, &[exit, 5]));
            let share = attack.gap_visible.unwrap_or(self.assumptions.gap_visible);
            let path = if visible < share { Path::Relayed } else { Path::Direct };
            self.identity(attack, (client, path, class), at_s, turns, slot);
        }
    }

    /// The connections of one identity on one exit.
    fn identity(
        &self,
        attack: &Attack,
        (client, path, class): (Address, Path, Class),
        mut at_s: f64,
        turns: f64,
        slot: &mut Slot<'_>,
    ) {
        let fingerprint = if class == Class::ProxyCustomer {
            self.browser(slot.random.random())
        } else {
            self.attack_client(attack, &mut slot.random)
        };
        // The mean is kept: whole turns, and one more by the chance of the fraction.
        let turns = (turns + slot.random.random::<f64>()) as u64;
        for _ in 0..turns.max(1) {
            let is_fresh = attack.client == Client::Fresh && class == Class::Attack;
            let fingerprint = if is_fresh { slot.random.random::<u64>().max(1) } else { fingerprint };
            let (gap_us, is_hello_late) = self.gaps.draw(path, &mut slot.random);
            slot.out.push(Event { at_ns: ns(at_s), client, fingerprint, gap_us, is_hello_late, class });
            at_s += match attack.pace {
                Pace::Even => STICKY_S,
                Pace::Random | Pace::Daily => log_normal(&mut slot.random, STICKY_S, 0.8).min(3_600.0),
            };
        }
    }

    fn attack_client(&self, attack: &Attack, random: &mut Stream) -> u64 {
        match attack.client {
            Client::Popular => self.sdk_number(0),
            Client::Rare => self.sdk_number(500),
            Client::Browsers(count) => {
                let draw: f64 = random.random();
                // The most popular ones, as often as they are.
                let share = (f64::from(count) / 10.0).sqrt().min(1.0);
                self.browser(((draw * share) * (1_u64 << 53) as f64) as u64 * (1 << 11))
            }
            Client::Fresh => random.random::<u64>().max(1),
        }
    }

    /// Every fingerprint that the campaign shows; `None` if it shows a new one each time.
    #[must_use]
    pub fn attack_fingerprints(&self, attack: &Attack) -> Option<Vec<u64>> {
        let browsers = |count: u8| (0..u64::from(count)).map(|n| hash(self.seed, Domain::Fingerprint, &[2, n]).max(1));
        match attack.client {
            Client::Popular => Some(vec![self.sdk_number(0)]),
            Client::Rare => Some(vec![self.sdk_number(500)]),
            Client::Browsers(count) => Some(browsers(count).collect()),
            Client::Fresh => None,
        }
    }
}
