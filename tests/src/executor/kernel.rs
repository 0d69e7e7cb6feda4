//! The real program in the real kernel, one frame at a time through BPF_PROG_TEST_RUN, on maps of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, MapInfo, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use nix::time::{ClockId, clock_gettime};
use sensor::kernel::xdp::OBJECT;
use sensor_common::address::{Address, Prefix};
use sensor_common::connection::{Connection, ConnectionKey};
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::names;
use sensor_common::plain::Plain;
use sensor_common::rule::{AllowRule, ClassKey, ClassRule, DenyRule, TierLimit};
use sensor_common::settings::Settings;
use sensor_common::stats::{NetworkStats, SourceStats};

use super::age::Age;
use super::{Executor, Observation, RelativeNs, World};

const BPFFS: &str = "/sys/fs/bpf";
/// Entries of the tables that are large in production: tests need few, and loading stays quick.
const ENTRIES: u32 = 4_096;
/// Return values of an XDP program.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
/// How far the kernel's clock may stray from virtual time before its tables are corrected.
const DRIFT_NS: i64 = 1_000_000;
/// A frame that runs later than this was held up: its time is not virtual time.
const STALL_NS: i64 = 2_000_000;

/// A value as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Wire<T>(pub T);

// SAFETY: `Wire` is transparent, and `Plain` promises what `Pod` asks for: no padding, every bit pattern valid.
unsafe impl<T: Plain> Pod for Wire<T> {}

type Hash<K, V> = HashMap<MapData, Wire<K>, Wire<V>>;
type Trie<V> = LpmTrie<MapData, Wire<Address>, Wire<V>>;

/// The program and its maps.
pub struct Kernel {
    settings: Array<MapData, Wire<Settings>>,
    services: Array<MapData, u64>,
    counters: PerCpuArray<MapData, u64>,
    sources: Hash<Address, SourceStats>,
    connections: Hash<ConnectionKey, Connection>,
    networks: Hash<Address, NetworkStats>,
    allow: Trie<AllowRule>,
    deny: Trie<DenyRule>,
    classes: Hash<ClassKey, ClassRule>,
    tiered: Trie<u32>,
    limits: Array<MapData, Wire<TierLimit>>,
    events: RingBuf<MapData>,
    object: Ebpf,
    /// When the latest frame ran.
    latest_ns: u64,
    on_time: bool,
    pins: Pins,
}

/// The folder of this executor's pinned maps; removed at the end.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(BPFFS).join(format!("sensor-test-{}-{number}", std::process::id()));
        if !std::fs::read_to_string("/proc/mounts")?.lines().any(|line| line.contains(&format!(" {BPFFS} bpf "))) {
            use nix::mount::{MsFlags, mount};
            mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
                .with_context(|| format!("mount {BPFFS}"))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Kernel {
    /// Loads the program, with small tables.
    ///
    /// # Errors
    /// If the object is not there, or the kernel does not take it.
    pub fn load() -> Result<Self> {
        Self::with_tables(Some(ENTRIES))
    }

    /// Loads the program with tables of their real capacity.
    ///
    /// # Errors
    /// As [`Kernel::load`].
    pub fn load_full() -> Result<Self> {
        Self::with_tables(None)
    }

    fn with_tables(entries: Option<u32>) -> Result<Self> {
        let pins = Pins::new()?;
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(&pins.0);
        if let Some(entries) = entries {
            for name in [names::SOURCES, names::CONNECTIONS, names::NETWORKS] {
                loader.map_max_entries(name, entries);
            }
        }
        let mut object = loader.load(OBJECT).context("create the maps")?;
        program(&mut object)?.load().context("load the program")?;
        Ok(Self {
            settings: Array::try_from(take(&mut object, names::SETTINGS)?)?,
            services: Array::try_from(take(&mut object, names::SERVICES)?)?,
            counters: PerCpuArray::try_from(take(&mut object, names::COUNTERS)?)?,
            sources: HashMap::try_from(take(&mut object, names::SOURCES)?)?,
            connections: HashMap::try_from(take(&mut object, names::CONNECTIONS)?)?,
            networks: HashMap::try_from(take(&mut object, names::NETWORKS)?)?,
            allow: LpmTrie::try_from(take(&mut object, names::ALLOW)?)?,
            deny: LpmTrie::try_from(take(&mut object, names::DENY)?)?,
            classes: HashMap::try_from(take(&mut object, names::CLASSES)?)?,
            tiered: LpmTrie::try_from(take(&mut object, names::TIERED)?)?,
            limits: Array::try_from(take(&mut object, names::LIMITS)?)?,
            events: RingBuf::try_from(take(&mut object, names::EVENTS)?)?,
            object,
            latest_ns: now_ns(),
            on_time: true,
            pins,
        })
    }

    /// The loaded program.
    ///
    /// # Errors
    /// If the object has none of this name.
    pub fn program(&mut self) -> Result<&mut Xdp> {
        program(&mut self.object)
    }

    /// Key size, value size and capacity of every pinned map, by name.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn map_sizes(&self) -> Result<BTreeMap<&'static str, (u32, u32, u32)>> {
        let sizes = |name: &'static str| -> Result<(&'static str, (u32, u32, u32))> {
            let info = MapInfo::from_pin(self.pins.0.join(name)).with_context(|| format!("ask for {name}"))?;
            Ok((name, (info.key_size(), info.value_size(), info.max_entries())))
        };
        names::MAPS.iter().map(|name| sizes(name)).collect()
    }

    fn age(&mut self, ns: i64) {
        age_hash(&mut self.sources, ns);
        age_hash(&mut self.connections, ns);
        age_hash(&mut self.networks, ns);
        age_hash(&mut self.classes, ns);
        let rules: Vec<(Key<Wire<Address>>, Wire<DenyRule>)> =
            self.deny.iter().map(|entry| entry.expect("the trie can be read")).collect();
        for (key, mut rule) in rules {
            rule.0.age(ns);
            self.deny.insert(&key, rule, 0).expect("the entry is there");
        }
    }

    fn fill(&mut self, world: &World) -> Result<()> {
        let start = now_ns();
        let at = |relative: RelativeNs| start.saturating_add_signed(relative);
        for prefix in &world.allow {
            self.allow.insert(&trie_key(prefix), Wire(AllowRule { hits: 0 }), 0)?;
        }
        for (prefix, expires) in &world.deny {
            let rule = DenyRule { expires_ns: at(*expires), hits: 0, last_hit_ns: 0 };
            self.deny.insert(&trie_key(prefix), Wire(rule), 0)?;
        }
        for (prefix, tier) in &world.tiers {
            self.tiered.insert(&trie_key(prefix), Wire(*tier), 0)?;
        }
        for (tier, limit) in &world.limits {
            self.limits.set(*tier, Wire(*limit), 0)?;
        }
        for terms in &world.classes {
            let (expires_ns, newer_than_ns) = (at(terms.expires), at(terms.newer_than));
            let rule = ClassRule { expires_ns, newer_than_ns, hits: 0, passed: 0 };
            self.classes.insert(Wire(terms.key), Wire(rule), 0)?;
        }
        for (network, since) in &world.networks {
            let stats = NetworkStats { first_seen_ns: at(*since), last_seen_ns: at(*since) };
            self.networks.insert(Wire(*network), Wire(stats), 0)?;
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
        self.settings.set(0, Wire(world.settings), 0)?;
        self.latest_ns = start;
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        clear_hash(&mut self.sources)?;
        clear_hash(&mut self.connections)?;
        clear_hash(&mut self.networks)?;
        clear_hash(&mut self.classes)?;
        clear_trie(&mut self.allow)?;
        clear_trie(&mut self.deny)?;
        clear_trie(&mut self.tiered)?;
        let none = TierLimit { connections_per_s: 0, requests_per_min: 0 };
        for tier in 0..self.limits.len() {
            self.limits.set(tier, Wire(none), 0)?;
        }
        for index in 0..self.counters.len() {
            let values = self.counters.get(&index, 0)?;
            if values.iter().any(|value| *value != 0) {
                self.counters.set(index, PerCpuValues::try_from(vec![0; values.len()])?, 0)?;
            }
        }
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
        // Time that really passed counts; what is missing is made up by ageing.
        let passed = i64::try_from(now_ns().saturating_sub(self.latest_ns)).expect("short");
        let shift = if (after - passed).abs() > DRIFT_NS { after - passed } else { 0 };
        if shift != 0 {
            self.age(shift);
        }
        let started = now_ns();
        let elapsed = i64::try_from(started.saturating_sub(self.latest_ns)).expect("short");
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = program(&mut self.object)
            .and_then(|program| program.test_run(options).map_err(Into::into))
            .unwrap_or_else(|error| panic!("test run of {} bytes: {error:#}", frame.len()));
        let lag = elapsed + shift - after + i64::try_from(now_ns().saturating_sub(started)).expect("short");
        if lag > STALL_NS {
            self.on_time = false;
        }
        self.latest_ns = started;
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
        let mut observation = Observation {
            sources: read_hash(&self.sources),
            networks: read_hash(&self.networks),
            connections: read_hash(&self.connections),
            allow: read_trie(&self.allow),
            deny: read_trie(&self.deny),
            classes: read_hash(&self.classes),
            events,
            ..Observation::default()
        };
        for counter in Counter::ALL {
            let values = self.counters.get(&counter.index(), 0).expect("every counter has a place");
            let sum: u64 = values.iter().sum();
            if sum > 0 {
                observation.counters.insert(*counter, sum);
            }
        }
        observation
    }

    fn on_time(&self) -> bool {
        self.on_time
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock can be read");
    u64::try_from(Duration::from(now).as_nanos()).expect("up for less than centuries")
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp> {
    let program = object.program_mut(names::PROGRAM).ok_or_else(|| anyhow!("no program {}", names::PROGRAM))?;
    Ok(program.try_into()?)
}

fn take(object: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    object.take_map(name).ok_or_else(|| anyhow!("the object has no map {name}"))
}

fn trie_key(prefix: &Prefix) -> Key<Wire<Address>> {
    Key::new(prefix.bits, Wire(prefix.address))
}

fn read_hash<K: Plain + Ord, V: Plain>(map: &Hash<K, V>) -> BTreeMap<K, V> {
    map.iter().map(|entry| entry.map(|(key, value)| (key.0, value.0)).expect("the map can be read")).collect()
}

fn read_trie<V: Plain>(map: &Trie<V>) -> BTreeMap<Prefix, V> {
    map.iter()
        .map(|entry| entry.expect("the trie can be read"))
        .map(|(key, value)| (Prefix { bits: key.prefix_len(), address: key.data().0 }, value.0))
        .collect()
}

fn age_hash<K: Plain + Ord, V: Plain + Age>(map: &mut Hash<K, V>, ns: i64) {
    for (key, mut value) in read_hash(map) {
        value.age(ns);
        map.insert(Wire(key), Wire(value), 0).expect("the entry is there");
    }
}

fn clear_hash<K: Plain + Ord, V: Plain>(map: &mut Hash<K, V>) -> Result<()> {
    for key in read_hash(map).keys() {
        map.remove(&Wire(*key))?;
    }
    Ok(())
}

fn clear_trie<V: Plain>(map: &mut Trie<V>) -> Result<()> {
    for key in read_trie(map).keys() {
        map.remove(&trie_key(key))?;
    }
    Ok(())
}
