//! The real program in the real kernel, one frame at a time through BPF_PROG_TEST_RUN, on maps of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{Array, HashMap, LpmTrie, MapData, MapInfo, PerCpuArray, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use sensor::kernel::xdp::OBJECT;
use sensor_common::address::Prefix;
use sensor_common::connection::ConnectionBucket;
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::names;
use sensor_common::plain::Plain;
use sensor_common::rule::{ClassKey, ClassRule, Reference, Rule, TierLimit};
use sensor_common::settings::{Settings, Sizes};
use sensor_common::stats::{NetworkBucket, SourceBucket};
use sensor_common::tables::EventBudget;
use sensor_common::traffic::TrafficBucket;

use super::age::{Age, Past};
use super::mapped::Mapped;
pub use super::maps::Wire;
use super::maps::{
    Hash, Pins, Trie, clear_trie, elements, hit_index, index, mapped, read_hash, reset, take, trie_key, write,
};
use super::rules::{Rules, tier_marks};
use super::{Executor, List, Observation, RelativeNs, SIZES, World, arrays, network_entries};

/// Maps that hold nothing for others, so they have no name that others share.
const BUDGET: &str = "BUDGET";
const TICK: &str = "TICK";
/// Words of what a CPU knows of the timer tick at hand.
const TICK_WORDS: usize = 3;
/// Return values of an XDP program.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
/// How far the kernel's clock may stray from virtual time before its tables are corrected.
const DRIFT_NS: i64 = 1_000_000;
/// A frame that runs later than this was held up: its time is not virtual time.
const STALL_NS: i64 = 2_000_000;

/// The program and its maps.
pub struct Kernel {
    settings: Array<MapData, Wire<Settings>>,
    services: Array<MapData, u64>,
    counters: PerCpuArray<MapData, Wire<[u64; Counter::COUNT as usize]>>,
    traffic: Mapped<TrafficBucket>,
    half_open: Mapped<HalfOpenBucket>,
    sources: Mapped<SourceBucket>,
    networks: Mapped<NetworkBucket>,
    connections: Mapped<ConnectionBucket>,
    filter: Mapped<u64>,
    rules: Mapped<Rule>,
    hits: Mapped<u64>,
    allow: Trie<Reference>,
    deny: Trie<Reference>,
    classes: Hash<ClassKey, ClassRule>,
    tiered: Trie<u32>,
    limits: Array<MapData, Wire<TierLimit>>,
    budget: PerCpuArray<MapData, Wire<EventBudget>>,
    tick: PerCpuArray<MapData, Wire<[u64; TICK_WORDS]>>,
    events: RingBuf<MapData>,
    object: Ebpf,
    /// The rule book, and the words of the filter that it has marked.
    book: Rules,
    marked: BTreeSet<usize>,
    sizes: Sizes,
    seed: u64,
    /// When the latest frame ran: not before, and not after.
    latest_ns: u64,
    latest_end_ns: u64,
    past: Past,
    on_time: bool,
    pins: Pins,
}

impl Kernel {
    /// Loads the program, with small tables.
    ///
    /// # Errors
    /// If the object is not there, or the kernel does not take it.
    pub fn load() -> Result<Self> {
        Self::with_sizes(SIZES)
    }

    /// Loads the program with tables of these sizes.
    ///
    /// # Errors
    /// As [`Kernel::load`].
    pub fn with_sizes(sizes: Sizes) -> Result<Self> {
        let pins = Pins::new()?;
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(&pins.0);
        for (name, elements) in elements(&sizes) {
            loader.map_max_entries(name, elements);
        }
        let mut object = loader.load(OBJECT).context("create the maps")?;
        program(&mut object)?.load().context("load the program")?;
        Ok(Self {
            settings: Array::try_from(take(&mut object, names::SETTINGS)?)?,
            services: Array::try_from(take(&mut object, names::SERVICES)?)?,
            counters: PerCpuArray::try_from(take(&mut object, names::COUNTERS)?)?,
            traffic: mapped(&mut object, names::TRAFFIC)?,
            half_open: mapped(&mut object, names::HALF_OPEN)?,
            sources: mapped(&mut object, names::SOURCES)?,
            networks: mapped(&mut object, names::NETWORKS)?,
            connections: mapped(&mut object, names::CONNECTIONS)?,
            filter: mapped(&mut object, names::FILTER)?,
            rules: mapped(&mut object, names::RULES)?,
            hits: mapped(&mut object, names::HITS)?,
            allow: LpmTrie::try_from(take(&mut object, names::ALLOW)?)?,
            deny: LpmTrie::try_from(take(&mut object, names::DENY)?)?,
            classes: HashMap::try_from(take(&mut object, names::CLASSES)?)?,
            tiered: LpmTrie::try_from(take(&mut object, names::TIERED)?)?,
            limits: Array::try_from(take(&mut object, names::LIMITS)?)?,
            budget: PerCpuArray::try_from(take(&mut object, BUDGET)?)?,
            tick: PerCpuArray::try_from(take(&mut object, TICK)?)?,
            events: RingBuf::try_from(take(&mut object, names::EVENTS)?)?,
            object,
            book: Rules::default(),
            marked: BTreeSet::new(),
            sizes,
            seed: 0,
            latest_ns: now_ns(),
            latest_end_ns: now_ns(),
            past: Past::default(),
            on_time: true,
            pins,
        })
    }

    /// How large its tables are.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The loaded program.
    ///
    /// # Errors
    /// If the object has none of this name.
    pub fn program(&mut self) -> Result<&mut Xdp> {
        program(&mut self.object)
    }

    /// What the kernel knows of every pinned map, by name.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn map_infos(&self) -> Result<BTreeMap<&'static str, MapInfo>> {
        let info = |name: &'static str| -> Result<(&'static str, MapInfo)> {
            Ok((name, MapInfo::from_pin(self.pins.0.join(name)).with_context(|| format!("ask for {name}"))?))
        };
        names::MAPS.iter().map(|name| info(name)).collect()
    }

    /// Runs each frame so often on its CPU, all of them at once. Time is real meanwhile.
    ///
    /// # Errors
    /// If a CPU is not there, or the kernel does not run the program.
    pub fn run_at_once(&mut self, frames: &[(u32, Vec<u8>)], times: u32) -> Result<()> {
        let program = &*program(&mut self.object)?;
        std::thread::scope(|scope| {
            let run = |cpu: u32, frame: &[u8]| -> Result<()> {
                stay_on(cpu)?;
                let options = TestRunOptions { data_in: Some(frame), repeat: times, ..TestRunOptions::default() };
                program.test_run(options)?;
                Ok(())
            };
            let threads: Vec<_> = frames.iter().map(|(cpu, frame)| scope.spawn(move || run(*cpu, frame))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })
    }

    fn age(&mut self, ns: i64) {
        let step = self.past.step(ns);
        self.traffic.iter_mut().for_each(|bucket| bucket.age(step));
        self.half_open.iter_mut().for_each(|bucket| bucket.age(step));
        self.sources.iter_mut().for_each(|bucket| bucket.age(step));
        self.networks.iter_mut().for_each(|bucket| bucket.age(step));
        self.connections.iter_mut().for_each(|bucket| bucket.age(step));
        self.book.used().for_each(|place| self.rules[index(place)].age(step));
        for (key, mut rule) in read_hash(&self.classes) {
            rule.age(step);
            self.classes.insert(Wire(key), Wire(rule), 0).expect("the entry is there");
        }
        let mut budgets = self.budget.get(&0, 0).expect("it has one element").to_vec();
        budgets.iter_mut().for_each(|budget| budget.0.age(step));
        write(&mut self.budget, budgets).expect("as many as were read");
        // A time that was read before the step is none behind it.
        reset(&mut self.tick).expect("it has one element");
    }

    fn at(&self, relative: RelativeNs) -> u64 {
        self.latest_ns.saturating_add_signed(relative)
    }

    fn mark(&mut self, marks: &[(u32, u64)]) {
        for (word, bits) in marks {
            self.filter[index(*word)] |= bits;
            self.marked.insert(index(*word));
        }
    }

    fn trie(&mut self, list: List) -> &mut Trie<Reference> {
        match list {
            List::Allow => &mut self.allow,
            List::Deny => &mut self.deny,
        }
    }

    fn fill(&mut self, world: &World) -> Result<()> {
        anyhow::ensure!(world.settings.sizes == self.sizes, "a world of other sizes: load the program with them");
        self.seed = world.settings.seed;
        self.latest_ns = now_ns();
        self.latest_end_ns = self.latest_ns;
        for (list, prefix, ends) in world.rules() {
            let place = self.book.fresh();
            self.add_rule(list, &prefix, place, ends);
        }
        for (prefix, tier) in &world.tiers {
            self.tiered.insert(&trie_key(prefix), Wire(*tier), 0)?;
            self.mark(&tier_marks(prefix, self.seed));
        }
        for (tier, limit) in &world.limits {
            self.limits.set(*tier, Wire(*limit), 0)?;
        }
        for terms in &world.classes {
            let rule = terms.rule(|relative| self.at(relative));
            self.classes.insert(Wire(terms.key), Wire(rule), 0)?;
        }
        for (place, bucket) in network_entries(world, |relative| self.at(relative)) {
            self.networks[place] = bucket;
        }
        let mut words = vec![0u64; self.services.len() as usize];
        for port in &world.services {
            words[usize::from(*port >> 6)] |= 1 << (port & 63);
        }
        for (index, word) in (0..).zip(words) {
            if self.services.get(&index, 0)? != word {
                self.services.set(index, word, 0)?;
            }
        }
        Ok(self.settings.set(0, Wire(world.settings), 0)?)
    }

    fn clear(&mut self) -> Result<()> {
        self.traffic.fill(Plain::zeroed());
        self.half_open.fill(Plain::zeroed());
        self.sources.fill(Plain::zeroed());
        self.networks.fill(Plain::zeroed());
        self.connections.fill(Plain::zeroed());
        for place in self.book.used() {
            self.rules[index(place)] = Plain::zeroed();
            (0..self.sizes.regions).for_each(|region| self.hits[hit_index(region, place)] = 0);
        }
        self.book = Rules::default();
        for word in std::mem::take(&mut self.marked) {
            self.filter[word] = 0;
        }
        for key in read_hash(&self.classes).keys() {
            self.classes.remove(&Wire(*key))?;
        }
        clear_trie(&mut self.allow)?;
        clear_trie(&mut self.deny)?;
        clear_trie(&mut self.tiered)?;
        let none = TierLimit { connections_per_s: 0, requests_per_min: 0 };
        for tier in 0..self.limits.len() {
            self.limits.set(tier, Wire(none), 0)?;
        }
        reset(&mut self.counters)?;
        reset(&mut self.budget)?;
        reset(&mut self.tick)?;
        while self.events.next().is_some() {}
        Ok(())
    }
}

impl Executor for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn install(&mut self, world: &World) {
        self.on_time = true;
        self.clear().expect("maps can be emptied");
        self.fill(world).expect("the world fits into the maps");
    }

    fn run(&mut self, after: Duration, frame: &[u8]) -> bool {
        let after = i64::try_from(after.as_nanos()).expect("tests last less than centuries");
        // Time that really passed counts; what is missing is made up by ageing, and so is what is too much: but no
        // frame may come before the one before it.
        let now = now_ns();
        let passed = between(self.latest_ns, now);
        let shift = (after - passed).max(-between(self.latest_end_ns, now));
        let shift = if shift.abs() > DRIFT_NS { shift } else { 0 };
        if shift != 0 {
            self.age(shift);
        }
        let started = now_ns();
        let elapsed = between(self.latest_ns, started);
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = program(&mut self.object)
            .and_then(|program| program.test_run(options).map_err(Into::into))
            .unwrap_or_else(|error| panic!("test run of {} bytes: {error:#}", frame.len()));
        let ended = now_ns();
        let lag = elapsed + shift - after + between(started, ended);
        if lag > STALL_NS {
            self.on_time = false;
        }
        self.latest_ns = started;
        self.latest_end_ns = ended;
        match result.return_value {
            XDP_DROP => true,
            XDP_PASS => false,
            other => panic!("the program returned {other}"),
        }
    }

    fn observe(&mut self) -> Observation {
        let mut events = Vec::new();
        while let Some(record) = self.events.next() {
            events.push(ConnectionEvent::from_bytes(&record).expect("a whole record"));
        }
        let hits = |place| (0..self.sizes.regions).map(|region| self.hits[hit_index(region, place)]).sum();
        let mut observation = Observation {
            sources: arrays::sources(&self.traffic, &self.sources),
            networks: arrays::networks(&self.networks),
            attempts: arrays::attempts(&self.half_open),
            connections: arrays::connections(&self.connections),
            allow: self.book.hits(List::Allow, hits),
            deny: self.book.hits(List::Deny, hits),
            classes: read_hash(&self.classes),
            events,
            ..Observation::default()
        };
        let counters = self.counters.get(&0, 0).expect("it has one element");
        for counter in Counter::ALL {
            let sum: u64 = counters.iter().map(|cpu| cpu.0[index(counter.index())]).sum();
            if sum > 0 {
                observation.counters.insert(*counter, sum);
            }
        }
        observation
    }

    fn set_cpu(&mut self, cpu: u32) {
        // The test run happens where its caller is.
        stay_on(cpu).expect("a CPU of this machine");
    }

    fn add_rule(&mut self, list: List, prefix: &Prefix, place: u32, ends: Option<RelativeNs>) {
        let expires_ns = ends.map_or(u64::MAX, |ends| self.at(ends));
        let entry = self.book.enter(list, prefix, place, expires_ns, self.seed);
        self.rules[index(place)] = entry.rule;
        self.mark(&entry.marks);
        self.trie(list).insert(&trie_key(prefix), Wire(entry.reference), 0).expect("the trie has room");
    }

    fn remove_rule(&mut self, list: List, prefix: &Prefix) {
        let (place, free) = self.book.leave(list, prefix);
        self.trie(list).remove(&trie_key(prefix)).expect("the rule is in its trie");
        self.rules[index(place)] = free;
    }

    fn on_time(&self) -> bool {
        self.on_time
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock can be read");
    u64::try_from(Duration::from(now).as_nanos()).expect("up for less than centuries")
}

/// Keeps this thread on one CPU.
fn stay_on(cpu: u32) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(index(cpu))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Nanoseconds from one time to a later one.
fn between(earlier: u64, later: u64) -> i64 {
    i64::try_from(later.saturating_sub(earlier)).expect("tests last less than centuries")
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp> {
    let program = object.program_mut(names::PROGRAM).ok_or_else(|| anyhow!("no program {}", names::PROGRAM))?;
    Ok(program.try_into()?)
}
