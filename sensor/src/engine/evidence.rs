//! What one host tells the others, so that together they see what none sees alone.
//!
//! Per client and minute: the networks first seen with it, each with its relay gap; a sample of all its networks; and
//! how many sources there were. Of each at most a fixed number is kept, those with the smallest hash, so evidence is
//! bounded and what is kept depends on what was seen alone. Merging is a union: it knows no order and no grouping, and
//! what comes twice counts once. [`Engine::absorb`] enters it into an engine that stands for the whole fleet, or into
//! that of a host. A network that several hosts met counts once, by its first sample.
//!
//! Fingerprints are seeded: hosts that share evidence share their seed. Evidence holds addresses of networks, and is to
//! be kept like a log of connections.

use std::collections::BTreeMap;

use sensor_common::address::Address;
use serde::{Deserialize, Serialize};

use super::cohort::{CohortKey, Sample};
use super::distinct::Distinct;
use super::keyed::Key;
use super::time::{Span, Time};
use super::{Engine, cap};

/// First-seen networks told per client and minute, and others.
const FIRST_MAX: usize = 512;
const OTHERS_MAX: usize = 64;

/// Clients and minutes that wait to be told at most; the oldest minutes are given up for new ones.
const PAGES_MAX: usize = 16_384;

const MINUTE: Span = Span::seconds(60);

/// One connection as it is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) source: Address,
    /// The gap and whether it says relay, if the network counts by it.
    pub(super) gap_us: Option<(u32, bool)>,
    pub(super) established: bool,
    pub(super) at: Time,
}

/// A network first seen with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct First {
    at: Time,
    network: [u8; 16],
    gap_us: u32,
    relayed: bool,
}

/// Any network of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Other {
    at: Time,
    network: [u8; 16],
    established: bool,
}

/// One client in one minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    protocol: u8,
    /// By hash of the network.
    first: BTreeMap<u64, First>,
    others: BTreeMap<u64, Other>,
    sources: Distinct,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<((u64, CohortKey), Page)>", from = "Vec<((u64, CohortKey), Page)>")]
pub struct Evidence {
    /// By minute since 1970 and client.
    pages: BTreeMap<(u64, CohortKey), Page>,
}

impl From<Evidence> for Vec<((u64, CohortKey), Page)> {
    fn from(evidence: Evidence) -> Self {
        evidence.pages.into_iter().collect()
    }
}

impl From<Vec<((u64, CohortKey), Page)>> for Evidence {
    fn from(pages: Vec<((u64, CohortKey), Page)>) -> Self {
        let mut evidence = Self::default();
        for (key, page) in pages {
            evidence.pages.entry(key).or_default().merge(&page);
        }
        evidence.bound();
        evidence
    }
}

impl Page {
    fn merge(&mut self, other: &Self) {
        self.protocol = self.protocol.max(other.protocol);
        for (hash, first) in &other.first {
            enter(&mut self.first, *hash, *first, FIRST_MAX);
        }
        for (hash, seen) in &other.others {
            enter(&mut self.others, *hash, *seen, OTHERS_MAX);
        }
        self.sources.merge(&other.sources);
    }
}

/// Of two that claim the same network the earlier one holds; the largest hash goes when there are too many.
fn enter<T: Copy + Ord>(sample: &mut BTreeMap<u64, T>, hash: u64, value: T, most: usize) {
    sample.entry(hash).and_modify(|known| *known = (*known).min(value)).or_insert(value);
    if sample.len() > most {
        sample.pop_last();
    }
}

impl Evidence {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// First-seen networks in it: relayed, direct.
    #[must_use]
    pub fn first_seen(&self) -> (u64, u64) {
        let all = || self.pages.values().flat_map(|page| page.first.values());
        let relayed = all().filter(|first| first.relayed).count() as u64;
        (relayed, all().count() as u64 - relayed)
    }

    /// Takes in what another host saw.
    pub fn merge(&mut self, other: &Self) {
        for (key, page) in &other.pages {
            self.pages.entry(*key).or_default().merge(page);
        }
        self.bound();
    }

    pub(super) fn note(&mut self, client: CohortKey, protocol: u8, seen: &Seen) {
        let Seen { source, gap_us, established, at } = *seen;
        let page = self.pages.entry((at.0 / MINUTE.0, client)).or_default();
        page.protocol = page.protocol.max(protocol);
        let network = source.network();
        // The same on every host.
        let hash = network.hash(0);
        let octets = network.octets;
        if let Some((gap_us, relayed)) = gap_us {
            enter(&mut page.first, hash, First { at, network: octets, gap_us, relayed }, FIRST_MAX);
        }
        enter(&mut page.others, hash, Other { at, network: octets, established }, OTHERS_MAX);
        page.sources.note(source.hash(0));
        self.bound();
    }

    fn bound(&mut self) {
        while self.pages.len() > PAGES_MAX {
            self.pages.pop_first();
        }
    }
}

impl Engine {
    /// What was seen since the last call; nothing at the first one, which begins the noting.
    pub fn take_evidence(&mut self) -> Evidence {
        self.shared.replace(Evidence::default()).unwrap_or_default()
    }

    /// Enters what other hosts saw. What this engine has noted itself must not be in it.
    pub fn absorb(&mut self, evidence: &Evidence) {
        for ((_, client), page) in &evidence.pages {
            self.absorb_page(*client, page);
        }
    }

    fn absorb_page(&mut self, client: CohortKey, page: &Page) {
        let novelty = Span::seconds(self.tunables.novelty_days.saturating_mul(86_400));
        let away = Span::seconds(self.tunables.rotation_quiet_s);
        let most = cap(self.tunables.networks_max);
        // In the order of time, whatever the order of hashes.
        let mut others: Vec<&Other> = page.others.values().collect();
        others.sort_unstable();
        let mut first: Vec<&First> = page.first.values().collect();
        first.sort_unstable();
        for Other { at, network, established } in others {
            let (network, at) = (Address { octets: *network }.network(), self.plausible(*at));
            let mut sight = self.networks.see(network, at, false, (novelty, away), most);
            if *established {
                sight.first_seen = Time(0);
            }
            self.last_record = self.last_record.max(Some(at));
            self.enter_cohort(client, page.protocol, at);
            self.enter_spread(client, network, &sight, (None, at));
        }
        for First { at, network, gap_us, relayed } in first {
            let (network, at) = (Address { octets: *network }.network(), self.plausible(*at));
            let sight = self.networks.see(network, at, true, (novelty, away), most);
            let campaign = self.enter_cohort(client, page.protocol, at);
            if sight.counts && !sight.returned {
                let normal_ppm = self.normal_ppm(&client, at);
                let gap_us = relayed.then_some(*gap_us);
                self.sample(client, &Sample { network: network.octets, gap_us, returned: false, normal_ppm, at });
            }
            if let Some(campaign) = campaign.and_then(|id| self.campaigns.get_mut(&id)) {
                campaign.hear(network, sight.first_seen, *relayed, at);
            }
        }
        let own = self.cohorts.get(&client).and_then(|cohort| cohort.campaign);
        if let Some(campaign) = own.and_then(|id| self.campaigns.get_mut(&id)) {
            campaign.sources.merge(&page.sources);
        }
    }
}
