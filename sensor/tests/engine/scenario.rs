//! A world for the pure engine: a clock that the test moves, a seeded population, and a kernel of plain tables that
//! carries the plans out as the packet path would.

use std::collections::BTreeMap;

use sensor::engine::plan::{Action, Notice, Origin, Plan, Rule, Rules, Subject};
use sensor::engine::record::{ConnectionRecord, Snapshot, SourceTotals};
use sensor::engine::tier::Tiers;
use sensor::engine::time::{Span, Time};
use sensor::engine::{Engine, source_prefix};
use sensor::tunable::Tunables;
use sensor_common::address::{Address, Prefix};
use sensor_common::event::{flag, protocol};
use sensor_common::rule::ClassKey;

/// 22 November 2026, 14:00 UTC.
pub(crate) const START: Time = Time(1_795_356_000_000_000_000);

/// The fingerprint of the popular client, and the service.
pub(crate) const CLIENT: u64 = 0x3f2a_0000_0000_0001;
pub(crate) const SERVICE: u16 = 8443;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Served,
    Refused,
    Denied,
}

/// See the module.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    pub(crate) standing: Rules,
    /// Detectors' rules as the plans left them.
    pub(crate) installed: Rules,
    pub(crate) notices: Vec<(Time, Notice)>,
    pub(crate) enforce: bool,
    networks: BTreeMap<Address, Time>,
    flagged: BTreeMap<Address, u32>,
    pub(crate) totals: BTreeMap<Address, SourceTotals>,
    completed: u64,
    /// Counts connections of a rotation.
    pub(crate) turn: u64,
    random: u64,
}

impl World {
    pub(crate) fn new(tunables: &Tunables) -> Self {
        Self::with_tiers(tunables, Tiers::default())
    }

    pub(crate) fn with_tiers(tunables: &Tunables, tiers: Tiers) -> Self {
        Self {
            engine: Engine::new(tunables, tiers),
            now: START,
            standing: Rules::new(),
            installed: Rules::new(),
            notices: Vec::new(),
            enforce: true,
            networks: BTreeMap::new(),
            flagged: BTreeMap::new(),
            totals: BTreeMap::new(),
            completed: 0,
            turn: 0,
            random: 1,
        }
    }

    /// A number below `n` (SplitMix64, Steele et al. 2014).
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(crate) fn seed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// One connection of the popular client; `gap_ms` as measured, `None` without a sample.
    pub(crate) fn connect(&mut self, client: Address, gap_ms: Option<u32>) -> Fate {
        self.connect_as(client, CLIENT, gap_ms)
    }

    /// One connection through the kernel's tables.
    pub(crate) fn connect_as(&mut self, client: Address, fingerprint: u64, gap_ms: Option<u32>) -> Fate {
        let at = self.now + Span(self.below(900_000_000));
        let source = client.source();
        let first = *self.networks.entry(client.network()).or_insert(at);
        let totals = self.totals.entry(source).or_insert(SourceTotals {
            source,
            connections: 0,
            requests: 0,
            answer_bytes: 0,
            first_seen: at,
            last_seen: at,
        });
        totals.last_seen = at;
        let allowed = self.standing.keys().any(|s| matches!(s, Subject::Allow(p) if p.contains(&client)));
        let denied = self.installed.iter().any(|(s, rule)| {
            matches!(s, Subject::Deny(p) if p.contains(&client)) && rule.expires.is_some_and(|e| e > at)
        });
        if denied && !allowed && self.enforce {
            return Fate::Denied;
        }
        totals.connections += 1;
        self.completed += 1;
        let relayed = gap_ms.is_some_and(|ms| ms >= 25);
        let mut flags = flag::ESTABLISHED;
        flags |= if gap_ms.is_some() { flag::GAP_SAMPLE } else { 0 };
        flags |= if relayed { flag::GAP_FLAGGED } else { 0 };
        flags |= if allowed { flag::ALLOWED } else { 0 };
        let flagged = self.flagged.entry(source).or_default();
        *flagged += u32::from(relayed);
        let rule = self.installed.get(&Subject::Class(ClassKey::new(SERVICE, fingerprint)));
        let refused = rule.is_some_and(|rule| {
            let newer = first >= rule.newer_than.expect("class rules say since when");
            newer && relayed && *flagged >= 2 && !allowed && rule.expires.is_some_and(|e| e > at)
        });
        flags |= if refused { flag::CLASS_MATCHED } else { 0 };
        flags |= if refused && self.enforce { flag::REFUSED } else { 0 };
        if !refused {
            self.totals.get_mut(&source).expect("entered above").requests += 1;
        }
        self.engine.observe(&ConnectionRecord {
            at,
            client,
            service: SERVICE,
            protocol: protocol::TLS,
            fingerprint,
            rtt_us: 20_000,
            hello_gap_us: Some(1_000),
            flight_gap_us: gap_ms.map(|ms| ms * 1_000),
            flags,
        });
        if refused && self.enforce { Fate::Refused } else { Fate::Served }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { sources: self.totals.values().copied().collect(), connections: self.completed }
    }

    /// Ends the second: one step, whose plan is carried out.
    pub(crate) fn tick(&mut self) -> Plan {
        self.now = self.now + Span::seconds(1);
        let plan = self.engine.step(self.now, &self.snapshot(), &self.standing);
        for action in &plan.actions {
            match action {
                Action::Install(subject, rule) => {
                    assert!(rule.expires.is_some_and(|e| e > self.now), "a rule without life: {rule:?}");
                    self.installed.insert(*subject, rule.clone());
                }
                Action::Remove(subject) => {
                    assert!(self.installed.remove(subject).is_some(), "removed what was not there: {subject}");
                }
            }
        }
        assert_eq!(&self.installed, self.engine.rules(), "plans and rules disagree");
        self.notices.extend(plan.notices.iter().map(|notice| (self.now, notice.clone())));
        plan
    }

    /// Time passes without traffic, in steps of so many seconds.
    pub(crate) fn idle(&mut self, seconds: u64, step: u64) {
        for _ in 0..seconds / step {
            self.now = self.now + Span::seconds(step - 1);
            self.tick();
        }
    }

    pub(crate) fn noticed(&self, kind: &str) -> usize {
        self.notices.iter().filter(|(_, notice)| notice.kind == kind).count()
    }

    pub(crate) fn classes(&self) -> usize {
        self.installed.keys().filter(|s| matches!(s, Subject::Class(_))).count()
    }

    pub(crate) fn denials(&self) -> usize {
        self.installed.keys().filter(|s| matches!(s, Subject::Deny(_))).count()
    }

    pub(crate) fn is_denied(&self, client: &Address) -> bool {
        self.installed.contains_key(&Subject::Deny(source_prefix(client)))
    }

    pub(crate) fn stand(&mut self, subject: Subject) {
        let rule =
            Rule { origin: Origin::Operator, expires: None, newer_than: None, reason: String::new(), campaign: None };
        self.standing.insert(subject, rule);
    }
}

/// The address of home number `n`, alone in its /24; `plane` keeps populations apart.
pub(crate) fn home(plane: u8, n: u64) -> Address {
    let [_, _, _, _, _, a, b, c] = n.to_be_bytes();
    Address::v4([plane + a, b, c, 7])
}

pub(crate) fn prefix(text: &str) -> Prefix {
    let (ip, length) = text.split_once('/').expect("a prefix");
    Prefix::new(ip.parse().expect("an address"), length.parse().expect("a length")).expect("a valid prefix")
}

/// Learns a calm baseline: so many newcomers a second, of which so many per thousand show a gap.
pub(crate) fn calm(world: &mut World, seconds: u64, per_second: u64, flagged_permille: u64) {
    for second in 0..seconds {
        for k in 0..per_second {
            let client = home(20, second * per_second + k);
            let gap = if world.below(1_000) < flagged_permille { 60 } else { 2 };
            world.connect(client, Some(gap));
        }
        world.tick();
    }
}

/// Settings of a host that learns quickly.
pub(crate) fn quick(learn_s: u64) -> Tunables {
    Tunables { learn_s, ..Tunables::default() }
}
