//! The networks that one client was lately seen in: a bounded sample, from which its spread is judged.
//!
//! Of all networks of a cohort those are kept whose keyed hash is smallest (bottom-k sampling; Cohen and Kaplan, PODC
//! 2007): which ones they are depends on the set alone, not on the order or the number of their connections, so that
//! the samples of two hosts merge into that of both. Each remembers when it came, how often it connected, and in which
//! tens of minutes of the last 21 hours. A network that stays away for a day is dropped. Not stored: after a restart
//! the sample is drawn anew within a day.

use sensor_common::address::Address;

use super::fixed::{WHOLE_PPM, ln, scale};
use super::keyed::Key;
use super::time::{Span, Time};

/// Networks kept of each cohort.
pub const MEMBERS_MAX: usize = 64;

/// Length of a slot of activity.
pub const SLOT: Span = Span::seconds(600);

/// A network that stays away for this long is no member any more.
pub const AWAY: Span = Span::seconds(86_400);

/// One network of the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    hash: u64,
    pub network: Address,
    /// Its first connection with this client.
    pub joined: Time,
    pub last: Time,
    /// It was known for long before that.
    pub established: bool,
    pub connections: u32,
    /// Connections whose gap says relay, and those whose gap does not.
    pub relayed: u32,
    pub direct: u32,
    /// Tens of minutes in which it connected; the lowest bit is that of `last`.
    active: u128,
}

/// What one connection brings.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    pub network: Address,
    pub at: Time,
    pub established: bool,
    /// Its gap says relay; `None` without a sample.
    pub relayed: Option<bool>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// By hash.
    members: Vec<Member>,
    /// When lockstep was last looked for.
    pub(super) looked: Time,
}

/// Bytes of one cohort's sample when it is full.
pub(super) const BYTES: usize = MEMBERS_MAX * size_of::<Member>();

impl Member {
    fn new(hash: u64, visit: &Visit) -> Self {
        let Visit { network, at, established, .. } = *visit;
        Self { hash, network, joined: at, last: at, established, connections: 0, relayed: 0, direct: 0, active: 1 }
    }

    fn count(&mut self, visit: &Visit) {
        self.connections = self.connections.saturating_add(1);
        match visit.relayed {
            Some(true) => self.relayed = self.relayed.saturating_add(1),
            Some(false) => self.direct = self.direct.saturating_add(1),
            None => {}
        }
        let (before, now) = (slot(self.last), slot(visit.at));
        let set =
            |active: u128, back: u64| active | 1_u128.checked_shl(u32::try_from(back).unwrap_or(128)).unwrap_or(0);
        if now >= before {
            self.active = self.shifted(now - before) | 1;
            self.last = self.last.max(visit.at);
        } else {
            self.active = set(self.active, before - now);
        }
        self.joined = self.joined.min(visit.at);
    }

    fn shifted(&self, slots: u64) -> u128 {
        u32::try_from(slots).ok().and_then(|slots| self.active.checked_shl(slots)).unwrap_or(0)
    }

    /// Tens of minutes in which it was active, as seen at `now`: the lowest bit is the slot at hand.
    #[must_use]
    pub fn activity(&self, now: Time) -> u128 {
        self.shifted(slot(now).saturating_sub(slot(self.last)))
    }

    /// Takes in what another sample knows of the same network.
    fn merge(&mut self, other: &Self) {
        let (older, newer) = if self.last <= other.last { (*self, *other) } else { (*other, *self) };
        *self = Self {
            joined: older.joined.min(newer.joined),
            established: older.established || newer.established,
            connections: older.connections.saturating_add(newer.connections),
            relayed: older.relayed.saturating_add(newer.relayed),
            direct: older.direct.saturating_add(newer.direct),
            active: newer.active | older.activity(newer.last),
            ..newer
        };
    }
}

impl Spread {
    /// Counts a connection. Whether its network is a new member; then, whether it was established.
    pub fn see(&mut self, visit: &Visit, secret: u64) -> Option<bool> {
        let hash = visit.network.hash(secret);
        match self.members.binary_search_by_key(&hash, |member| member.hash) {
            Ok(at) => {
                let member = &mut self.members[at];
                if visit.at.since(member.last) < AWAY {
                    member.count(visit);
                    return None;
                }
                *member = Member::new(hash, visit);
                member.count(visit);
            }
            Err(at) => {
                if self.members.len() >= MEMBERS_MAX {
                    self.members.retain(|member| visit.at.since(member.last) < AWAY);
                }
                let at = at.min(self.members.partition_point(|member| member.hash < hash));
                if at >= MEMBERS_MAX {
                    return None;
                }
                self.members.insert(at, Member::new(hash, visit));
                self.members[at].count(visit);
                self.members.truncate(MEMBERS_MAX);
            }
        }
        Some(visit.established)
    }

    /// Members that were active within a day.
    pub fn members(&self, now: Time) -> impl Iterator<Item = &Member> + Clone {
        self.members.iter().filter(move |member| now.since(member.last) < AWAY)
    }

    /// The sample of what two hosts saw.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.members {
            match self.members.binary_search_by_key(&theirs.hash, |member| member.hash) {
                Ok(at) => self.members[at].merge(theirs),
                Err(at) => self.members.insert(at, *theirs),
            }
        }
        self.members.truncate(MEMBERS_MAX);
        self.looked = self.looked.max(other.looked);
    }
}

/// How evenly something is spread over its parts, parts per million: the entropy of the counts as a share of the
/// greatest possible one. One part alone is not spread at all.
#[must_use]
pub fn evenness_ppm(counts: impl Iterator<Item = u64> + Clone) -> u64 {
    let (mut whole, mut parts) = (0_u64, 0_u64);
    for count in counts.clone().filter(|count| *count > 0) {
        (whole, parts) = (whole.saturating_add(count), parts + 1);
    }
    if parts < 2 {
        return 0;
    }
    // The sum of c/n ln(n/c), millionths of a nat.
    let entropy = counts.filter(|count| *count > 0).map(|count| {
        let nats = u64::try_from(ln(whole, count)).unwrap_or(0);
        scale(nats, count, whole)
    });
    let most = u64::try_from(ln(parts, 1)).unwrap_or(0);
    scale(entropy.fold(0, u64::saturating_add), WHOLE_PPM, most).min(WHOLE_PPM)
}

fn slot(at: Time) -> u64 {
    at.0 / SLOT.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_common::address::Address;

    use super::{AWAY, MEMBERS_MAX, SLOT, Spread, Visit, evenness_ppm};
    use crate::engine::time::{Span, Time};

    const START: Time = Time(1_795_356_000_000_000_000);

    fn visit(network: u16, slot: u64) -> Visit {
        let [a, b] = network.to_be_bytes();
        Visit {
            network: Address::v4([10, a, b, 0]),
            at: START + Span(SLOT.0 * slot),
            established: network.is_multiple_of(3),
            relayed: [None, Some(true), Some(false)][usize::from(network % 3)],
        }
    }

    #[test]
    fn evenness_is_the_share_of_the_greatest_entropy() {
        assert!((999_980..=1_000_000).contains(&evenness_ppm([1; 24].into_iter())));
        assert_eq!(evenness_ppm([7].into_iter()), 0);
        let counts = [90_u64, 5, 5];
        let float = |c: u64| -(c as f64 / 100.0) * (c as f64 / 100.0).ln() / 3_f64.ln();
        let want = counts.iter().map(|c| float(*c)).sum::<f64>() * 1e6;
        let got = evenness_ppm(counts.into_iter());
        assert!((got as f64 - want).abs() < 5.0, "{got} not {want}");
    }

    #[test]
    fn activity_is_kept_by_the_ten_minutes_for_most_of_a_day() {
        let mut spread = Spread::default();
        for slot in [0, 1, 5] {
            assert_eq!(spread.see(&visit(9, slot), 7).is_some(), slot == 0);
        }
        // One comes late.
        spread.see(&visit(9, 3), 7);
        let member = spread.members(START).next().expect("a member");
        assert_eq!(member.activity(START + Span(SLOT.0 * 6)), 0b110_1010);
        assert_eq!((member.connections, member.joined), (4, START));
        assert_eq!(member.activity(START + AWAY), 0);
        assert_eq!(spread.members(START + AWAY + SLOT + Span(SLOT.0 * 5)).count(), 0);
    }

    proptest! {
        /// Whoever merges with whom, in whichever order: the sample is that of all visits.
        #[test]
        fn samples_merge(
            visits in prop::collection::vec((0_u16..200, 0_u64..100, 0_u8..3), 0..400),
            secret in any::<u64>(),
        ) {
            let of = |host: Option<u8>| {
                let mut spread = Spread::default();
                for (network, slot, _) in visits.iter().filter(|(_, _, at)| host.is_none_or(|host| host == *at)) {
                    spread.see(&visit(*network, *slot), secret);
                }
                spread
            };
            let merged = |order: [u8; 3]| {
                let mut merged = Spread::default();
                order.iter().for_each(|host| merged.merge(&of(Some(*host))));
                merged
            };
            let one = merged([0, 1, 2]);
            prop_assert_eq!(&one, &merged([2, 0, 1]));
            let mut right = of(Some(1));
            right.merge(&of(Some(2)));
            let mut left = of(Some(0));
            left.merge(&right);
            prop_assert_eq!(&one, &left);
            let networks = |spread: &Spread| spread.members.iter().map(|m| (m.network, m.joined)).collect::<Vec<_>>();
            let whole = of(None);
            prop_assert_eq!(networks(&one).iter().map(|m| m.0).collect::<Vec<_>>(), networks(&whole).iter().map(|m| m.0).collect::<Vec<_>>());
            prop_assert!(whole.members.len() <= MEMBERS_MAX);
        }
    }
}
