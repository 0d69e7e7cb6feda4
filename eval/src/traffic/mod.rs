//! Labelled traffic: a function of seed, assumptions and scenario. Every connection says what it really is.
//!
//! Time is cut into slots of ten minutes. Each part of the traffic draws a slot from a stream of its own, so a scenario
//! changes nothing but what it is about, and the same benign connections come in every scenario of a seed. One
//! connection carries one request: the most connections, and the most false gaps, that a load can bring.

mod attack;
mod consumer;
mod gap;
mod office;
mod place;
mod surge;
mod tenant;

use std::sync::Arc;

use rand::RngExt;
use sensor_common::address::Address;

use crate::assumption::Assumptions;
use crate::random::Stream;
use crate::scenario::Scenario;
use crate::trace::Trace;

pub use self::gap::Gaps;
pub use self::place::exit_address;
pub(crate) use self::tenant::arrivals;

/// Length of a slot, seconds.
pub const SLOT_S: u64 = 600;

/// Slots of a day.
pub const SLOTS_PER_DAY: u64 = 86_400 / SLOT_S;

/// The watched port that all of it goes to.
pub const SERVICE: u16 = 443;

/// What a connection really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Tenant,
    Consumer,
    Hobbyist,
    Phone,
    Vpn,
    Corporate,
    Sase,
    Batch,
    Crowd,
    NewTenant,
    /// An ordinary customer of the proxy service that a campaign uses.
    ProxyCustomer,
    Attack,
}

impl Class {
    pub const ALL: [Self; 12] = [
        Self::Tenant,
        Self::Consumer,
        Self::Hobbyist,
        Self::Phone,
        Self::Vpn,
        Self::Corporate,
        Self::Sase,
        Self::Batch,
        Self::Crowd,
        Self::NewTenant,
        Self::ProxyCustomer,
        Self::Attack,
    ];

    /// Its name in tables, and as a label of event files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Consumer => "consumer",
            Self::Hobbyist => "hobbyist",
            Self::Phone => "phone",
            Self::Vpn => "vpn",
            Self::Corporate => "corporate",
            Self::Sase => "sase",
            Self::Batch => "batch",
            Self::Crowd => "crowd",
            Self::NewTenant => "new-tenant",
            Self::ProxyCustomer => "proxy-customer",
            Self::Attack => "attack",
        }
    }

    /// Whether it is the campaign.
    #[must_use]
    pub const fn is_attack(self) -> bool {
        matches!(self, Self::Attack)
    }
}

/// One connection, with its one request and its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When its evidence is complete, nanoseconds since the beginning.
    pub at_ns: u64,
    pub client: Address,
    pub fingerprint: u64,
    /// Relay gap (F1b), microseconds; `None` without a valid sample.
    pub gap_us: Option<u32>,
    /// Its first flight was late too (F1a).
    pub is_hello_late: bool,
    pub class: Class,
}

/// What all parts of the traffic draw from.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    pub assumptions: Arc<Assumptions>,
    pub scenario: Scenario,
    /// Arrivals of tenants, in place of the model's own.
    pub trace: Option<Arc<Trace>>,
    /// When the scenario's events begin, seconds since the beginning.
    pub branch_s: u64,
    gaps: Gaps,
}

/// The connections in order, slot by slot.
#[derive(Clone, Debug)]
pub struct Traffic {
    world: World,
    next: u64,
    /// Drawn, but of a later slot.
    carried: Vec<Event>,
}

/// One slot of one part of the traffic.
struct Slot<'a> {
    random: Stream,
    /// Seconds since the beginning.
    from_s: u64,
    number: u64,
    out: &'a mut Vec<Event>,
}

impl Slot<'_> {
    /// A moment of the slot, seconds since the beginning.
    fn moment(&mut self) -> f64 {
        self.from_s as f64 + self.random.random::<f64>() * SLOT_S as f64
    }
}

impl World {
    /// A world whose scenario begins at `branch_s`.
    #[must_use]
    pub fn new(
        seed: u64,
        assumptions: Arc<Assumptions>,
        scenario: Scenario,
        trace: Option<Arc<Trace>>,
        branch_s: u64,
    ) -> Self {
        let gaps = Gaps::new(&assumptions, scenario.benign.gap_false);
        Self { seed, assumptions, scenario, trace, branch_s, gaps }
    }

    /// Everything that begins in a slot; some of it may go on into later ones. Not sorted.
    fn draw(&self, number: u64, out: &mut Vec<Event>) {
        self.tenants(number, out);
        self.consumers(number, out);
        self.offices(number, out);
        self.surges(number, out);
        if let Some(attack) = &self.scenario.attack {
            self.campaign(attack, number, out);
        }
    }
}

impl Traffic {
    /// The traffic of a world from its beginning.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self { world, next: 0, carried: Vec::new() }
    }

    /// Goes on as another scenario of the same seed.
    #[must_use]
    pub fn branch(&self, scenario: Scenario) -> Self {
        let World { seed, assumptions, trace, branch_s, .. } = self.world.clone();
        Self { world: World::new(seed, assumptions, scenario, trace, branch_s), ..self.clone() }
    }

    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// The next slot, in order of time.
    pub fn slot(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.carried);
        self.world.draw(self.next, &mut events);
        self.next += 1;
        let end_ns = self.next * SLOT_S * 1_000_000_000;
        events.sort_unstable();
        let later = events.partition_point(|event| event.at_ns < end_ns);
        self.carried = events.split_off(later);
        events
    }
}

/// Seconds as nanoseconds.
fn ns(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}

/// The daily rhythm at a slot: 1 on average, highest at 20:00.
fn rhythm(slot: u64, swing: f64) -> f64 {
    let hour = (slot % SLOTS_PER_DAY) as f64 / SLOTS_PER_DAY as f64 * 24.0;
    1.0 + swing * ((hour - 20.0) / 24.0 * std::f64::consts::TAU).cos()
}

/// Which of its lives something is in that is replaced at this rate, and a phase of its own.
fn life(slot: u64, per_day: f64, phase: f64) -> u64 {
    (slot as f64 / SLOTS_PER_DAY as f64 * per_day + phase) as u64
}
