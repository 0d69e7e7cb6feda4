//! One host: traffic, packet path and the shipped engine, in simulated time, one tick a second.
//!
//! A site can be cloned: scenarios that share their past go on from one copy of it.

use std::borrow::Cow;

use sensor::engine::Engine;
use sensor::engine::plan::{Action, Notice, Rules, Subject};
use sensor::engine::record::Snapshot;
use sensor::engine::tier::Tiers;
use sensor::engine::time::{Span, Time};
use sensor::replay::evidence::Evidence;
use sensor::replay::path::{Fate, Path};
use sensor::tunable::Tunables;
use sensor_common::address::{Address, network_key};
use sensor_common::event::protocol;

use crate::account::{Account, Alarm};
use crate::quota::Quota;
use crate::random::{Domain, hash, unit};
use crate::rival::Rivals;
use crate::scenario::Scenario;
use crate::table::Table;
use crate::traffic::{Event, SERVICE, SLOT_S, Traffic, World, exit_address};

/// The beginning of simulated time: a midnight.
pub const START: Time = Time(1_795_305_600_000_000_000);

/// A source counts as established after this time, if no campaign has begun since it was first seen.
const ESTABLISHED: Span = Span::seconds(86_400);

/// The daemon is restarted so long after the scenario began, and is away so long, seconds.
const RESTART_AFTER_S: u64 = 12 * 3_600;
const AWAY_S: u64 = 60;

/// Who else looks at what the engine is told: to write it down, for example.
pub trait Witness {
    /// The evidence on a connection.
    fn see(&mut self, _evidence: &Evidence) {}
    /// What a tick told.
    fn told(&mut self, _now: Time, _notice: &Notice) {}
}

/// Nobody.
pub struct Nobody;

impl Witness for Nobody {}

/// See the module.
#[derive(Clone)]
pub struct Site {
    traffic: Traffic,
    path: Path,
    engine: Engine,
    tunables: Tunables,
    pub quota: Quota,
    pub rivals: Option<Rivals>,
    pub account: Account,
    standing: Rules,
    /// Whole seconds since the beginning.
    now_s: u64,
    /// The campaign's exits by source, and the networks that are theirs.
    exits: Table<()>,
    exit_networks: Table<()>,
    /// When expected innocents are added up again.
    next_weighing_s: u64,
}

impl Site {
    /// A host on which nothing has happened yet. `enforce`: rules are carried out; otherwise they only count.
    #[must_use]
    pub fn new(world: World, tunables: &Tunables, enforce: bool) -> Self {
        let mut site = Self {
            traffic: Traffic::new(world),
            path: Path::new(tunables, enforce),
            engine: Engine::new(tunables, Tiers::default()),
            tunables: tunables.clone(),
            quota: Quota::default(),
            rivals: None,
            account: Account::default(),
            standing: Rules::new(),
            now_s: 0,
            exits: Table::default(),
            exit_networks: Table::default(),
            next_weighing_s: 0,
        };
        site.know_exits();
        site
    }

    /// Goes on as another scenario, with an empty account.
    #[must_use]
    pub fn branch(&self, scenario: Scenario) -> Self {
        let mut site = self.clone();
        site.traffic = self.traffic.branch(scenario);
        site.account = Account::default();
        site.know_exits();
        site
    }

    fn know_exits(&mut self) {
        let world = self.traffic.world().clone();
        let Some(attack) = &world.scenario.attack else { return };
        for n in 0..attack.exits {
            let exit = exit_address(&world, attack, n).key();
            self.exits.insert(exit, ());
            self.exit_networks.insert(network_key(exit), ());
        }
    }

    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whole seconds since the beginning.
    #[must_use]
    pub const fn now_s(&self) -> u64 {
        self.now_s
    }

    /// Runs whole slots until this time, seconds since the beginning.
    pub fn run(&mut self, until_s: u64, witness: &mut impl Witness) {
        while self.now_s < until_s {
            self.slot(witness);
        }
    }

    /// Runs one slot.
    pub fn slot(&mut self, witness: &mut impl Witness) {
        let events = self.traffic.slot();
        let mut next = 0;
        for second in self.now_s..self.now_s + SLOT_S {
            let end_ns = (second + 1) * 1_000_000_000;
            while let Some(event) = events.get(next).filter(|event| event.at_ns < end_ns) {
                self.connect(event, witness);
                next += 1;
            }
            self.tick(second + 1, witness);
        }
        self.now_s += SLOT_S;
    }

    fn connect(&mut self, event: &Event, witness: &mut impl Witness) {
        let at = START + Span(event.at_ns);
        let evidence = evidence(event);
        let (fate, record) = self.path.connect(&evidence);
        if let Some(record) = record
            && !self.is_lost(event)
        {
            witness.see(&evidence);
            self.engine.observe(&record);
        }
        let first_seen = self.path.network_first_seen(&event.client).unwrap_or(at);
        let is_established = self.path.source_first_seen(&event.client).is_some_and(|s| self.is_established(s, at));
        let network = network_key(event.client.key());
        let quota = fate == Fate::Served && self.quota.refuses(event.fingerprint, network, first_seen, at);
        if let Some(rivals) = &mut self.rivals {
            rivals.connect(event, first_seen, at, self.account.found_s());
        }
        self.account.enter(event.class, &event.client, fate, is_established, quota);
    }

    /// Whether a source that was first seen then is an established one now: known for a day, and before the campaign.
    fn is_established(&self, first_seen: Time, at: Time) -> bool {
        let began = self.traffic.world().attack_s().map_or(at, |second| START + Span::seconds(second));
        at.since(first_seen) >= ESTABLISHED && first_seen < began
    }

    /// Whether the record does not reach the engine.
    fn is_lost(&self, event: &Event) -> bool {
        let world = self.traffic.world();
        let benign = &world.scenario.benign;
        let at_s = event.at_ns / 1_000_000_000;
        if at_s < world.branch_s {
            return false;
        }
        let away = world.branch_s + RESTART_AFTER_S..world.branch_s + RESTART_AFTER_S + AWAY_S;
        let lost = || unit(hash(world.seed, Domain::Loss, &[event.at_ns, event.client.key()])) < benign.lost_records;
        benign.restart && away.contains(&at_s) || benign.lost_records > 0.0 && lost()
    }

    fn tick(&mut self, second: u64, witness: &mut impl Witness) {
        let now = START + Span::seconds(second);
        let world = self.traffic.world();
        if world.scenario.benign.restart {
            let down_s = world.branch_s + RESTART_AFTER_S;
            if (down_s..down_s + AWAY_S).contains(&second) {
                return;
            }
            if second == down_s + AWAY_S {
                let state = self.engine.save();
                self.engine = Engine::new(&self.tunables, Tiers::default());
                self.engine.restore(state, now);
            }
        }
        for subject in self.path.take_met() {
            self.engine.knock(&subject, now);
        }
        let snapshot: Snapshot = self.path.snapshot();
        let plan = self.engine.step(now, &snapshot, &self.standing);
        for action in &plan.actions {
            self.path.carry_out(action);
            self.note_rule(action, second);
        }
        for notice in &plan.notices {
            witness.told(now, notice);
            self.note_alarm(notice, second);
        }
        if !plan.notices.is_empty() || second.is_multiple_of(60) {
            self.quota.follow(&self.engine, now);
        }
        if second >= self.next_weighing_s {
            self.weigh();
            self.next_weighing_s = second + 600;
        }
        if let Some(rivals) = &mut self.rivals
            && second.is_multiple_of(60)
        {
            rivals.minute(second);
        }
    }

    fn note_rule(&mut self, action: &Action, second: u64) {
        match action {
            Action::Install(Subject::Class(_), _) => {
                self.account.class_rules += 1;
                self.account.first_rule_s.get_or_insert(second);
            }
            Action::Install(Subject::Deny(prefix), _) => {
                self.account.denials += 1;
                self.account.denied.insert(prefix.address);
                if self.exits.contains_key(&prefix.address.key()) {
                    self.account.denied_exits.insert(prefix.address);
                }
                self.account.first_rule_s.get_or_insert(second);
            }
            Action::Install(Subject::Allow(_), _) | Action::Remove(_) => {}
        }
    }

    fn note_alarm(&mut self, notice: &Notice, second: u64) {
        if notice.kind != "campaign_opened" {
            return;
        }
        let campaign = notice.campaign.and_then(|id| self.engine.campaigns().get(&id));
        let Some(campaign) = campaign else { return };
        let networks = &campaign.networks;
        let own =
            |octets: &&[u8; 16]| self.exit_networks.contains_key(&network_key(Address { octets: **octets }.key()));
        let is_true = !networks.is_empty() && networks.iter().filter(own).count() * 2 > networks.len();
        self.account.alarms.push(Alarm {
            at_s: second,
            is_true,
            detector: campaign.detector.clone(),
            fingerprint: campaign.cohort.fingerprint,
            why: notice.text.clone(),
        });
    }

    /// Adds up what class rules in force are expected to do to innocents within ten minutes.
    fn weigh(&mut self) {
        let in_force: Vec<u64> =
            self.engine.rules().values().filter(|r| r.newer_than.is_some()).filter_map(|r| r.campaign).collect();
        for id in in_force {
            if let Some(campaign) = self.engine.campaigns().get(&id) {
                self.account.expected_innocents += campaign.weight.innocents_millionths as f64 / 1e6;
            }
        }
    }
}

/// The evidence that a connection leaves, labelled.
#[must_use]
pub fn evidence(event: &Event) -> Evidence {
    Evidence {
        at: START + Span(event.at_ns),
        client: event.client,
        service: SERVICE,
        protocol: protocol::TLS,
        fingerprint: event.fingerprint,
        rtt_us: 20_000,
        hello_gap_us: Some(if event.is_hello_late { 60_000 } else { 1_000 }),
        flight_gap_us: event.gap_us,
        timestamps: true,
        requests: 1,
        label: Some(Cow::Borrowed(event.class.name())),
    }
}
