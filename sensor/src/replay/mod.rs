//! Recorded evidence through the shipped engine: events in, the engine's notices and plans out, in the file's own time.
//!
//! Pure but for the reader that it is given. A tick a second, as the daemon makes them; in a silence of minutes nothing
//! can change but what expires, so there a tick a minute is made. Memory is bounded by the engine's own limits.

pub mod evidence;
pub mod path;
pub mod read;
pub mod report;
pub mod tune;
pub mod write;

use std::collections::BTreeMap;

use sensor_common::address::{Address, network_key};

use self::evidence::{ATTACK, Evidence};
use self::path::{Fate, Path};
use crate::engine::Engine;
use crate::engine::bounded::Bounded;
use crate::engine::plan::{Action, Notice, Rules, Subject};
use crate::engine::tier::Tiers;
use crate::engine::time::{Span, Time};
use crate::tunable::Tunables;

/// One tick.
const TICK: Span = Span::seconds(1);

/// After a silence of this long ticks come once a minute.
const SILENCE: Span = Span::seconds(900);
const MINUTE: Span = Span::seconds(60);

/// Events may come this much out of order.
pub const LATE_MAX: Span = Span::seconds(600);

/// A silence that is longer than this is no recording but a wrong time.
pub const SILENCE_MAX: Span = Span::seconds(90 * 86_400);

/// Labels that are told apart; the rest is counted as one.
const LABELS_MAX: usize = 64;

/// Notices kept for the summary; later ones are counted.
const NOTICES_MAX: usize = 10_000;

/// What happened to the connections of one label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub connections: u64,
    /// Of these: what class rules would refuse.
    pub class: u64,
    /// Of these: what rules against their source would refuse.
    pub denied: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Replay {
    engine: Engine,
    path: Path,
    standing: Rules,
    /// The end of the second at hand.
    next: Option<Time>,
    first: Option<Time>,
    last: Time,
    /// Notices with their times.
    pub notices: Vec<(Time, Notice)>,
    pub notices_dropped: u64,
    pub labels: BTreeMap<String, Tally>,
    /// Rules made, renewals included.
    pub class_rules: u64,
    pub denials: u64,
    pub verdicts: Vec<Verdict>,
    /// The first connection that is labelled as a campaign's.
    pub attack_began: Option<Time>,
    /// Networks of such connections.
    attackers: Bounded<u64, ()>,
    networks_max: usize,
    pub events: u64,
    pub has_labels: bool,
}

/// A campaign that was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub campaign: u64,
    pub at: Time,
    /// More than half of the networks in it are labelled as a campaign's.
    pub is_true: bool,
}

/// Why an event cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// It is so much earlier than the one before.
    Late(Span),
    /// It is so much later than the one before.
    Silent(Span),
}

impl Replay {
    /// A replay through an engine that knows nothing yet.
    #[must_use]
    pub fn new(tunables: &Tunables) -> Self {
        Self {
            engine: Engine::new(tunables, Tiers::default()),
            path: Path::new(tunables, false),
            standing: Rules::new(),
            next: None,
            first: None,
            last: Time(0),
            notices: Vec::new(),
            notices_dropped: 0,
            labels: BTreeMap::new(),
            class_rules: 0,
            denials: 0,
            verdicts: Vec::new(),
            attack_began: None,
            attackers: Bounded::default(),
            networks_max: usize::try_from(tunables.networks_max).unwrap_or(usize::MAX),
            events: 0,
            has_labels: false,
        }
    }

    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The times of the first and the last event.
    #[must_use]
    pub fn span(&self) -> Option<(Time, Time)> {
        self.first.map(|first| (first, self.last))
    }

    /// Takes one event; ticks up to its second are made first.
    ///
    /// # Errors
    /// If its time contradicts that of the events before.
    pub fn feed(&mut self, evidence: &Evidence) -> Result<Fate, OrderError> {
        let at = evidence.at;
        if self.first.is_some() {
            if at + LATE_MAX < self.last {
                return Err(OrderError::Late(self.last.since(at)));
            }
            if at.since(self.last) > SILENCE_MAX {
                return Err(OrderError::Silent(at.since(self.last)));
            }
        }
        self.first.get_or_insert(at);
        self.catch_up(at);
        self.last = self.last.max(at);
        let (fate, record) = self.path.connect(evidence);
        if let Some(record) = record {
            self.engine.observe(&record);
        }
        self.count(evidence, fate);
        Ok(fate)
    }

    /// The last tick, after the last event.
    pub fn finish(&mut self) {
        if let Some(next) = self.next.take() {
            self.tick(next);
        }
    }

    fn catch_up(&mut self, at: Time) {
        let mut next = self.next.unwrap_or(Time(at.0 / TICK.0 * TICK.0) + TICK);
        while next <= at {
            self.tick(next);
            let is_silent = next.since(self.last) > SILENCE && at.since(next) > MINUTE;
            next = next + if is_silent { MINUTE } else { TICK };
        }
        self.next = Some(next);
    }

    fn tick(&mut self, now: Time) {
        for subject in self.path.take_met() {
            self.engine.knock(&subject, now);
        }
        let snapshot = self.path.snapshot();
        let plan = self.engine.step(now, &snapshot, &self.standing);
        for action in &plan.actions {
            self.path.carry_out(action);
            match action {
                Action::Install(Subject::Class(_), _) => self.class_rules += 1,
                Action::Install(Subject::Deny(_), _) => self.denials += 1,
                Action::Install(Subject::Allow(_), _) | Action::Remove(_) => {}
            }
        }
        for notice in plan.notices {
            if notice.kind == "campaign_opened" {
                self.judge(&notice, now);
            }
            if self.notices.len() < NOTICES_MAX {
                self.notices.push((now, notice));
            } else {
                self.notices_dropped += 1;
            }
        }
    }

    /// Whether a campaign is what the labels say.
    fn judge(&mut self, notice: &Notice, at: Time) {
        let Some(campaign) = notice.campaign.and_then(|id| self.engine.campaigns().get(&id)) else { return };
        let is_attacker =
            |octets: &&[u8; 16]| self.attackers.contains(&network_key(Address { octets: **octets }.key()));
        let attackers = campaign.networks.iter().filter(is_attacker).count();
        let is_true = attackers * 2 > campaign.networks.len();
        if self.verdicts.len() < NOTICES_MAX {
            self.verdicts.push(Verdict { campaign: campaign.id, at, is_true });
        }
    }

    fn count(&mut self, evidence: &Evidence, fate: Fate) {
        self.events += 1;
        self.has_labels |= evidence.label.is_some();
        let label = evidence.label.as_deref().unwrap_or("");
        if label == ATTACK {
            self.attack_began.get_or_insert(evidence.at);
            let network = network_key(evidence.client.key());
            if self.attackers.touch(&network).is_none() {
                self.attackers.insert(network, ());
                while self.attackers.shrink(self.networks_max).is_some() {}
            }
        }
        if !self.labels.contains_key(label) {
            let room = self.labels.len() < LABELS_MAX;
            self.labels.entry(if room { label.to_owned() } else { "other".to_owned() }).or_default();
        }
        let tally = match self.labels.contains_key(label) {
            true => self.labels.get_mut(label),
            false => self.labels.get_mut("other"),
        };
        if let Some(tally) = tally {
            tally.connections += 1;
            tally.class += u64::from(fate == Fate::Class);
            tally.denied += u64::from(fate == Fate::Denied);
        }
    }
}
