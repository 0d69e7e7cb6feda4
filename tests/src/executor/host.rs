//! The packet path over plain memory. The one place of the tests that hands out `&mut` from `&self`, as the kernel's
//! maps do.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::BTreeMap;
use std::time::Duration;

use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;
use sensor_common::connection::{Connection, ConnectionKey, EMPTY};
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::path::{Verdict, judge};
use sensor_common::plain::Plain as _;
use sensor_common::rule::{AllowRule, ClassKey, ClassRule, DenyRule, TierLimit};
use sensor_common::settings::Settings;
use sensor_common::stats::{self, NetworkStats, SourceStats};
use sensor_common::stream::{self, Buffer};
use sensor_common::tables::{Frame, Tables};
use sensor_common::wire::Segment;

use super::{Executor, Observation, RelativeNs, World};

/// Bytes of a frame that its first buffer holds in the kernel's test run; the rest lies in fragments.
const FIRST_BUFFER_BYTES: usize = 3_520;
/// When virtual time starts, nanoseconds: late enough that no rule of a test begins before 0.
const START_NS: u64 = 1_000_000_000_000_000;
/// No two frames come at the same time, nanoseconds.
const FRAME_NS: u64 = 1_000;

/// A frame in memory.
pub struct Bytes {
    bytes: Vec<u8>,
    first_buffer: usize,
}

impl Frame for Bytes {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > capacity::HEADERS_END {
            return None;
        }
        self.bytes[..self.first_buffer].get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}

/// One table. An entry that is removed lives on until the frame ends, as under RCU in the kernel.
struct Table<K, V> {
    entries: RefCell<BTreeMap<K, Box<UnsafeCell<V>>>>,
    removed: RefCell<Vec<Box<UnsafeCell<V>>>>,
}

impl<K: Ord + Copy, V: Copy> Table<K, V> {
    fn new() -> Self {
        Self { entries: RefCell::default(), removed: RefCell::default() }
    }

    #[expect(clippy::mut_from_ref, reason = "the packet path's tables are shared by contract, as maps are")]
    fn get(&self, key: &K) -> Option<&mut V> {
        let entries = self.entries.borrow();
        let place = entries.get(key)?.get();
        // SAFETY: the box is freed only by `settle`, which takes `&mut self`; one thread runs the packet path, and
        // the path does not hold two references to one entry while it writes.
        Some(unsafe { &mut *place })
    }

    fn put(&self, key: K, value: V) {
        let earlier = self.entries.borrow_mut().insert(key, Box::new(UnsafeCell::new(value)));
        self.removed.borrow_mut().extend(earlier);
    }

    fn remove(&self, key: &K) {
        let earlier = self.entries.borrow_mut().remove(key);
        self.removed.borrow_mut().extend(earlier);
    }

    fn settle(&mut self) {
        self.removed.get_mut().clear();
    }

    fn copy(&mut self) -> BTreeMap<K, V> {
        self.entries.get_mut().iter_mut().map(|(key, value)| (*key, *value.get_mut())).collect()
    }
}

impl<V: Copy> Table<Prefix, V> {
    /// The entry with the longest prefix that holds the address.
    fn longest(&self, host: &Prefix) -> Option<&mut V> {
        let entries = self.entries.borrow();
        let holds = |prefix: &&Prefix| prefix.contains(&host.address);
        let best = *entries.keys().filter(holds).max_by_key(|prefix| prefix.bits)?;
        drop(entries);
        self.get(&best)
    }
}

/// The packet path's tables in plain memory.
struct Memory {
    segment: UnsafeCell<Segment>,
    payload: UnsafeCell<Box<Buffer>>,
    settings: Settings,
    services: Vec<u16>,
    counters: RefCell<BTreeMap<Counter, u64>>,
    sources: Table<Address, SourceStats>,
    connections: Table<ConnectionKey, Connection>,
    networks: Table<Address, NetworkStats>,
    allow: Table<Prefix, AllowRule>,
    deny: Table<Prefix, DenyRule>,
    classes: Table<ClassKey, ClassRule>,
    tiered: Table<Prefix, u32>,
    limits: BTreeMap<u32, TierLimit>,
    events: RefCell<Vec<ConnectionEvent>>,
    /// How many more events the ring takes.
    room: Cell<usize>,
}

impl Memory {
    fn new(world: &World) -> Self {
        let memory = Self {
            segment: UnsafeCell::new(Segment::zeroed()),
            payload: UnsafeCell::new(Box::new([0; capacity::SEGMENT_BYTES])),
            settings: world.settings,
            services: world.services.clone(),
            counters: RefCell::default(),
            sources: Table::new(),
            connections: Table::new(),
            networks: Table::new(),
            allow: Table::new(),
            deny: Table::new(),
            classes: Table::new(),
            tiered: Table::new(),
            limits: world.limits.iter().copied().collect(),
            events: RefCell::default(),
            room: Cell::new(usize::MAX),
        };
        let at = |relative: RelativeNs| START_NS.saturating_add_signed(relative);
        for prefix in &world.allow {
            memory.allow.put(*prefix, AllowRule { hits: 0 });
        }
        for (prefix, expires) in &world.deny {
            memory.deny.put(*prefix, DenyRule { expires_ns: at(*expires), hits: 0, last_hit_ns: 0 });
        }
        for terms in &world.classes {
            let rule =
                ClassRule { expires_ns: at(terms.expires), newer_than_ns: at(terms.newer_than), hits: 0, passed: 0 };
            memory.classes.put(terms.key, rule);
        }
        for (prefix, tier) in &world.tiers {
            memory.tiered.put(*prefix, *tier);
        }
        for (network, since) in &world.networks {
            memory.networks.put(*network, NetworkStats { first_seen_ns: at(*since), last_seen_ns: at(*since) });
        }
        memory
    }

    fn settle(&mut self) {
        self.sources.settle();
        self.connections.settle();
        self.networks.settle();
    }
}

impl Tables for Memory {
    type Frame = Bytes;

    fn segment(&self) -> Option<&mut Segment> {
        // SAFETY: asked once a frame, on one thread.
        Some(unsafe { &mut *self.segment.get() })
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn watched(&self, port: u16) -> bool {
        self.services.contains(&port)
    }

    fn count(&self, counter: Counter, n: u64) {
        *self.counters.borrow_mut().entry(counter).or_default() += n;
    }

    fn add(&self, cell: &mut u64, n: u64) {
        *cell = cell.wrapping_add(n);
    }

    fn allow(&self, prefix: &Prefix) -> Option<&mut AllowRule> {
        self.allow.longest(prefix)
    }

    fn deny(&self, prefix: &Prefix) -> Option<&mut DenyRule> {
        self.deny.longest(prefix)
    }

    fn class(&self, key: &ClassKey) -> Option<&mut ClassRule> {
        self.classes.get(key)
    }

    fn limits(&self, client: &Prefix) -> Option<&TierLimit> {
        static NONE: TierLimit = TierLimit { connections_per_s: 0, requests_per_min: 0 };
        let tier = self.tiered.longest(client).copied().unwrap_or(0);
        (tier < capacity::TIERS).then(|| self.limits.get(&tier).unwrap_or(&NONE))
    }

    fn source(&self, source: &Address, now_ns: u64) -> Option<&mut SourceStats> {
        if let Some(known) = self.sources.get(source) {
            return Some(known);
        }
        self.sources.put(*source, SourceStats { first_seen_ns: now_ns, ..stats::NEW });
        self.sources.get(source)
    }

    fn network(&self, network: &Address, now_ns: u64) -> Option<(&mut NetworkStats, bool)> {
        if let Some(known) = self.networks.get(network) {
            return Some((known, false));
        }
        self.networks.put(*network, NetworkStats { first_seen_ns: now_ns, last_seen_ns: now_ns });
        self.networks.get(network).map(|entry| (entry, true))
    }

    fn connection(&self, key: &ConnectionKey) -> Option<&mut Connection> {
        self.connections.get(key)
    }

    fn open_connection(&self, key: &ConnectionKey) -> Option<&mut Connection> {
        self.connections.put(*key, EMPTY);
        self.connections.get(key)
    }

    fn close_connection(&self, key: &ConnectionKey) {
        self.connections.remove(key);
    }

    fn report(&self, key: &ConnectionKey, connection: &Connection, now_ns: u64) -> bool {
        let Some(room) = self.room.get().checked_sub(1) else { return false };
        self.room.set(room);
        self.events.borrow_mut().push(ConnectionEvent::of(key, connection, now_ns));
        true
    }

    fn scan(&self, frame: &Bytes, offset: usize, length: usize, connection: &mut Connection) -> bool {
        assert!((1..=capacity::SEGMENT_BYTES).contains(&length), "scan of {length} bytes");
        let Some(bytes) = offset.checked_add(length).and_then(|end| frame.bytes.get(offset..end)) else {
            return false;
        };
        // SAFETY: one thread, and the reference ends with this call.
        let buffer = unsafe { &mut *self.payload.get() };
        buffer[..length].copy_from_slice(bytes);
        connection.position = 0;
        connection.end = u32::try_from(length).expect("at most SEGMENT_BYTES");
        let mut steps = 0;
        while stream::step(connection, buffer) {
            steps += 1;
            assert!(steps <= capacity::SEGMENT_STEPS, "a segment took more steps than the kernel allows");
        }
        true
    }
}

/// The packet path on the host, in virtual time.
pub struct Host {
    memory: Memory,
    now_ns: u64,
    /// The latest frame's verdict.
    pub verdict: Verdict,
}

impl Host {
    /// In the default world.
    #[must_use]
    pub fn new() -> Self {
        Self { memory: Memory::new(&World::default()), now_ns: START_NS, verdict: Verdict::Pass }
    }

    /// Lets the event ring take so many more records.
    pub fn set_event_room(&mut self, records: usize) {
        self.memory.room.set(records);
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn install(&mut self, world: &World) {
        self.memory = Memory::new(world);
        self.now_ns = START_NS;
    }

    fn run(&mut self, after: Duration, frame: &[u8]) -> bool {
        let after = u64::try_from(after.as_nanos()).expect("tests last less than centuries");
        self.now_ns = self.now_ns.saturating_add(after).saturating_add(FRAME_NS);
        let frame = Bytes { bytes: frame.to_vec(), first_buffer: frame.len().min(FIRST_BUFFER_BYTES) };
        self.verdict = judge(&frame, &self.memory, self.now_ns);
        self.memory.settle();
        matches!(self.verdict, Verdict::Drop(_))
    }

    fn observe(&mut self) -> Observation {
        let memory = &mut self.memory;
        Observation {
            counters: memory.counters.get_mut().iter().filter(|(_, n)| **n > 0).map(|(c, n)| (*c, *n)).collect(),
            sources: memory.sources.copy(),
            networks: memory.networks.copy(),
            connections: memory.connections.copy(),
            allow: memory.allow.copy(),
            deny: memory.deny.copy(),
            classes: memory.classes.copy(),
            events: std::mem::take(memory.events.get_mut()),
        }
    }
}
