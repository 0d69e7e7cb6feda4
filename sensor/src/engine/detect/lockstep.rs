//! D3, lockstep: members that stay, and start, pause and stop together over hours.
//!
//! Among the networks of one client that were not known before, those are looked at that were active in at least twelve
//! of the last 128 slots of ten minutes and began anew at least twice: who is always there, or came once, is in step
//! with anybody. A group is the members whose active slots agree with those of one of them, `|A and B| / |A or B|` at
//! least 0.9 (the loosely synchronised actions of SynchroTrap, Cao et al., CCS 2014, within one client instead of pair
//! by pair over all). People are not that punctual: at random, two members that are each active in half of the slots
//! agree in a third of them. Their counts must be even as well (evenness above 0.95): a crowd that follows the same
//! working day is not. Looked for once per slot. Units: networks, slots, parts per million. Batch jobs that were there
//! while the sensor learned are known networks. Alone it refuses nobody.

use super::Detector;
use crate::engine::fixed::{WHOLE_PPM, share_ppm};
use crate::engine::spread::{Member, SLOT, Spread, evenness_ppm};
use crate::engine::time::Time;
use crate::tunable::Tunables;

/// Least active slots: two hours.
const ACTIVE_MIN: u32 = 12;

/// Least beginnings after a pause.
const STARTS_MIN: u32 = 2;

/// Least agreement of active slots.
const AGREEMENT_MIN_PPM: u64 = 900_000;

/// Least evenness of connections over the members.
const EVENNESS_MIN_PPM: u64 = 950_000;

/// Settings of the detector.
#[derive(Clone, Copy, Debug)]
pub struct Lockstep {
    networks_min: u64,
}

/// Members in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InStep {
    pub networks: u64,
    /// Members that stayed and paused at all.
    pub sticky: u64,
    pub active_slots: u32,
    pub starts: u32,
    /// Least agreement within the group.
    pub agreement_ppm: u64,
    pub evenness_ppm: u64,
}

impl Lockstep {
    #[must_use]
    pub const fn new(tunables: &Tunables) -> Self {
        Self { networks_min: tunables.lockstep_networks_min }
    }
}

impl Detector for Lockstep {
    const NAME: &'static str = "lockstep";
    type State = Spread;
    /// The moment, and since when networks count that were not yet known.
    type Sample<'a> = (Time, Time);
    type Finding = InStep;

    fn judge(&self, spread: &mut Spread, (now, since): (Time, Time)) -> Option<InStep> {
        if now.since(spread.looked) < SLOT {
            return None;
        }
        spread.looked = now;
        let is_fresh = |member: &&Member| !member.established && member.joined >= since;
        let sticky: Vec<(&Member, u128)> = spread
            .members(now)
            .filter(is_fresh)
            // The slot at hand is not over: who has not come yet may still come.
            .map(|member| (member, member.activity(now) >> 1))
            .filter(|(_, active)| active.count_ones() >= ACTIVE_MIN && starts(*active) >= STARTS_MIN)
            .collect();
        if (sticky.len() as u64) < self.networks_min {
            return None;
        }
        let groups = sticky.iter().map(|(_, pattern)| {
            let group: Vec<_> =
                sticky.iter().filter(|(_, other)| agreement(*pattern, *other) >= AGREEMENT_MIN_PPM).collect();
            (*pattern, group)
        });
        let (pattern, group) = groups.max_by_key(|(_, group)| group.len())?;
        let evenness_ppm = evenness_ppm(group.iter().map(|(member, _)| u64::from(member.connections)));
        let found = InStep {
            networks: group.len() as u64,
            sticky: sticky.len() as u64,
            active_slots: pattern.count_ones(),
            starts: starts(pattern),
            agreement_ppm: group.iter().map(|(_, other)| agreement(pattern, *other)).min().unwrap_or(0),
            evenness_ppm,
        };
        (found.networks >= self.networks_min && evenness_ppm > EVENNESS_MIN_PPM).then_some(found)
    }
}

/// Beginnings of activity after a pause.
const fn starts(active: u128) -> u32 {
    (active & !(active << 1)).count_ones()
}

/// Slots in which both are active, of those in which either is; parts per million.
fn agreement(one: u128, other: u128) -> u64 {
    let (both, either) = ((one & other).count_ones(), (one | other).count_ones());
    if either == 0 { WHOLE_PPM } else { share_ppm(u64::from(both), u64::from(either)) }
}
