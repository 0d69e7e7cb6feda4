//! The detection engine: evidence in, plans out. No I/O, no clock, no randomness; time is an argument.
//!
//! The same settings, records and snapshots give the same plans, byte for byte. Records are entered as they come
//! ([`Engine::observe`]); once a tick [`Engine::step`] weighs them and says which rules should stand.

pub mod baseline;
pub mod bounded;
pub mod campaign;
pub mod cohort;
pub mod cover;
pub mod decay;
pub mod decide;
mod deny;
pub mod detect;
pub mod distinct;
mod dossier;
mod enforce;
pub mod evidence;
mod explain;
pub mod fixed;
pub mod harm;
pub mod keyed;
pub mod ledger;
pub mod network;
pub mod plan;
pub mod proposal;
pub mod range;
pub mod record;
pub mod season;
pub mod source;
pub mod spread;
pub mod state;
mod step;
mod surge;
pub mod tally;
pub mod tier;
pub mod time;
mod verdict;
mod view;
pub mod volume;
pub mod window;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::{Address, Prefix};
use sensor_common::event::{flag, protocol};

use self::baseline::Baseline;
use self::bounded::Bounded;
use self::campaign::{Campaign, Sight};
use self::cohort::{CohortKey, Cohorts, Sample};
use self::decay::Fading;
use self::evidence::{Evidence, Seen};
use self::ledger::Ledger;
use self::network::Networks;
use self::plan::{Rules, Subject};
use self::range::RangeTable;
use self::record::ConnectionRecord;
use self::season::Season;
use self::source::Sources;
use self::state::Changed;
use self::tally::Tallies;
use self::tier::Tiers;
use self::time::{Span, Time};
use self::volume::Volume;
use self::window::Window;
use crate::tunable::Tunables;

pub use self::deny::Offence;
pub use self::explain::Account;
pub use self::verdict::VerdictError;
pub use self::view::Counts;

/// A record's time is taken to lie within this of the last tick: nothing the kernel says may move time itself.
const LATE: Span = Span::seconds(600);
const EARLY: Span = Span::seconds(3_600);

/// The engine's time ends in the year 2262: half the range, so that no sum of times overflows.
const END: Time = Time(u64::MAX / 2);

/// See the module.
#[derive(Clone, Debug)]
pub struct Engine {
    tunables: Tunables,
    tiers: Tiers,
    networks: Networks,
    sources: Sources,
    tallies: Tallies,
    cohorts: Cohorts,
    /// What is normal for all cohorts together.
    overall: Baseline,
    season: Season,
    /// Of the hour at the last tick.
    hour_odds_ppm: u64,
    /// Clients that somebody new came to, and those whose networks filled, since the last tick.
    spreading: BTreeSet<CohortKey>,
    filled: Vec<(CohortKey, Time)>,
    ranges: RangeTable,
    /// Networks that came to a client: established ones, and others.
    joins: Fading,
    /// Connections of all clients.
    volume: Volume,
    campaigns: BTreeMap<u64, Campaign>,
    open: BTreeSet<u64>,
    next_campaign: u64,
    changed_campaigns: Changed<u64>,
    ledger: Ledger,
    /// What is to be told to other hosts; `None`: nobody asks.
    shared: Option<Evidence>,
    offences: Bounded<Address, Offence>,
    changed_offences: Changed<Address>,
    /// Refused sources that showed a direct connection since.
    cleared: BTreeSet<Address>,
    /// The last tick.
    now: Option<Time>,
    last_record: Option<Time>,
    /// Calm traffic learned from.
    calm: Span,
    /// When that was enough.
    learned_at: Option<Time>,
    secret: u64,
    /// Completed handshakes, and those that class rules matched, in the last ten minutes.
    completed: Window,
    matched: Window,
    total_connections: Option<u64>,
    received: u64,
    repeated: u64,
}

impl Engine {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(tunables: &Tunables, tiers: Tiers) -> Self {
        Self::keyed(tunables, tiers, 0)
    }

    /// The same, with a secret that keeps clients from choosing where they stand in its tables. Which networks
    /// stand for a client that has more of them than are kept depends on it, nothing else.
    #[must_use]
    pub fn keyed(tunables: &Tunables, tiers: Tiers, secret: u64) -> Self {
        let sources = cap(tunables.sources_max);
        Self {
            tunables: tunables.clone(),
            tiers,
            networks: Networks::with_room(cap(tunables.networks_max), secret),
            sources: Sources::with_room(sources, secret),
            tallies: Tallies::with_room(sources, secret),
            cohorts: Cohorts::with_room(cap(tunables.cohorts_max), secret),
            overall: Baseline::default(),
            season: Season::default(),
            hour_odds_ppm: season::EVEN,
            spreading: BTreeSet::new(),
            filled: Vec::new(),
            ranges: RangeTable::keyed(secret),
            joins: Fading::default(),
            volume: Volume::default(),
            campaigns: BTreeMap::new(),
            open: BTreeSet::new(),
            next_campaign: 1,
            changed_campaigns: Changed::default(),
            ledger: Ledger::default(),
            shared: None,
            offences: Bounded::default(),
            changed_offences: Changed::keyed(secret),
            cleared: BTreeSet::new(),
            now: None,
            last_record: None,
            calm: Span(0),
            learned_at: None,
            secret,
            completed: Window::default(),
            matched: Window::default(),
            total_connections: None,
            received: 0,
            repeated: 0,
        }
    }

    /// Takes new settings, which hold from the next tick on. Nothing learned is lost.
    pub fn retune(&mut self, tunables: &Tunables, tiers: Tiers) {
        self.tunables = tunables.clone();
        self.tiers = tiers;
    }

    /// Enters the record of one connection. Records may come late, twice or out of order.
    pub fn observe(&mut self, record: &ConnectionRecord) {
        self.received = self.received.saturating_add(1);
        // Without a completed handshake the address may be forged.
        if record.flags & flag::ESTABLISHED == 0 {
            return;
        }
        let at = self.plausible(record.at);
        self.last_record = self.last_record.max(Some(at));
        let source = record.client.source();
        let key = CohortKey { service: record.service, fingerprint: record.fingerprint };
        let sample = gap(record);
        let Some(tally) = self.tallies.enter(source, key, at, sample, cap(self.tunables.sources_max)) else {
            self.repeated = self.repeated.saturating_add(1);
            return;
        };
        // What is allowed cannot be refused, so it is no evidence for or against refusing.
        let allowed = record.flags & flag::ALLOWED != 0;
        let network = record.client.network();
        let novelty = Span::seconds(self.tunables.novelty_days.saturating_mul(86_400));
        let has_sample = sample.is_some() && !allowed;
        let away = Span::seconds(self.tunables.rotation_quiet_s);
        let sight = self.networks.see(network, at, has_sample, (novelty, away), cap(self.tunables.networks_max));
        if allowed {
            return;
        }
        let campaign = self.enter_cohort(key, record.protocol, at);
        self.enter_spread(key, source, &sight, (sample.map(|(_, relayed)| relayed), at));
        if self.shared.is_some() {
            let gap_us = sample.filter(|_| sight.counts && !sight.returned);
            let established = self.is_established(sight.first_seen, at);
            let seen = Seen { source, gap_us, established, at };
            if let Some(shared) = &mut self.shared {
                shared.note(key, record.protocol, &seen);
            }
        }
        // While a campaign is open its own networks are followed by the campaign.
        if let (Some((gap_us, relayed)), true) = (sample, sight.counts && !(sight.returned && campaign.is_some())) {
            let (gap_us, returned) = (relayed.then_some(gap_us), sight.returned);
            let normal_ppm = self.normal_ppm(&key, at);
            self.sample(key, &Sample { network: network.octets, gap_us, returned, normal_ppm, at });
        }
        let matched = record.flags & flag::CLASS_MATCHED != 0;
        self.matched.add(window::Length::TenMinutes, at, u64::from(matched));
        if let Some(campaign) = campaign.and_then(|id| self.campaigns.get_mut(&id)) {
            let relayed = sample.map(|(_, relayed)| relayed);
            let caught = relayed == Some(true) && tally.is_caught(campaign.cohort);
            let is_own = campaign.see(&Sight { at, source, first_seen: sight.first_seen, relayed, caught, matched });
            if is_own && relayed == Some(true) {
                self.networks.suspect(&network, true);
            }
            if is_own && campaign.claims(relayed) {
                self.sources.claim(source, campaign.id, at);
            }
        }
        if sample.is_some_and(|(_, relayed)| !relayed) {
            self.networks.suspect(&network, false);
            let rule = self.ledger.get(&Subject::Deny(source_prefix(&source)));
            if rule.is_some_and(|rule| rule.campaign.is_some()) {
                self.cleared.insert(source);
            }
        }
    }

    /// Counts a connection of a cohort. Gives the open campaign that it belongs to: the cohort's, or its service's.
    fn enter_cohort(&mut self, key: CohortKey, protocol: u8, at: Time) -> Option<u64> {
        let cohort = self.cohorts.enter(key, cap(self.tunables.cohorts_max));
        if cohort.connections == 0 {
            cohort.first_seen = at;
        }
        cohort.connections = cohort.connections.saturating_add(1);
        cohort.protocol = protocol;
        let own = cohort.campaign;
        own.or_else(|| self.cohorts.get(&key.whole_service()).and_then(|whole| whole.campaign))
    }

    /// Counts a first-seen network for its cohort, and for the service as a whole if that accounts for it too.
    fn sample(&mut self, key: CohortKey, sample: &Sample) {
        self.cohorts.sample(key, sample);
        let Some(cohort) = self.cohorts.get(&key) else { return };
        let protocol = cohort.protocol;
        if cohort.campaign.is_none() && !key.is_whole_service() {
            let whole = key.whole_service();
            self.cohorts.enter(whole, cap(self.tunables.cohorts_max)).protocol = protocol;
            self.cohorts.sample(whole, sample);
        }
    }

    /// Tells that frames met a rule against a source: what is refused sends no records, but is not gone.
    pub fn knock(&mut self, subject: &Subject, at: Time) {
        self.ledger.knock(subject, at.min(END));
    }

    /// The detectors' rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        self.ledger.rules()
    }

    /// Every campaign remembered, by number.
    #[must_use]
    pub const fn campaigns(&self) -> &BTreeMap<u64, Campaign> {
        &self.campaigns
    }

    /// The time of a record, held near the last tick.
    fn plausible(&self, at: Time) -> Time {
        self.now.map_or(at.min(END), |now| at.clamp(now - LATE, now + EARLY))
    }
}

/// Bytes that the engine's tables take when all of them are full.
#[must_use]
pub fn bytes_at_most(tunables: &Tunables) -> u64 {
    let tables = [
        (tunables.sources_max, source::BYTES + tally::BYTES),
        (tunables.networks_max, network::BYTES),
        (tunables.cohorts_max, cohort::BYTES + spread::BYTES),
        (range::RANGES_MAX as u64, range::BYTES),
    ];
    tables.iter().map(|(entries, bytes)| entries.saturating_mul(*bytes as u64)).fold(0, u64::saturating_add)
}

/// The relay gap of a connection and whether it says relay; `None` without a sample.
fn gap(record: &ConnectionRecord) -> Option<(u32, bool)> {
    if record.flags & flag::GAP_SAMPLE == 0 {
        return None;
    }
    let gap_us = if record.protocol == protocol::TLS { record.flight_gap_us } else { record.hello_gap_us };
    Some((gap_us.unwrap_or(0), record.flags & flag::GAP_FLAGGED != 0))
}

/// The prefix that a rule against one source is about: the address itself, or the /64.
#[must_use]
pub fn source_prefix(source: &Address) -> Prefix {
    let bits = if source.is_v4() { 128 } else { 64 };
    Prefix { bits, address: source.source() }
}

/// A cap as the tables take it.
fn cap(tunable: u64) -> usize {
    usize::try_from(tunable).unwrap_or(usize::MAX)
}
