//! The packet path's tables in plain memory. The one place of the tests that hands out `&mut` from `&self`, as the
//! kernel's maps do.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::BTreeMap;

use sensor_common::address::{Address, Prefix};
use sensor_common::connection::{Connection, ConnectionBucket, Tuple};
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::plain::Plain;
use sensor_common::rule::{ClassKey, ClassRule, Reference, Rule, TierLimit};
use sensor_common::settings::Settings;
use sensor_common::stats::{NetworkBucket, SourceBucket};
use sensor_common::stream::{self, Buffer};
use sensor_common::tables::{EventBudget, Frame, Tables};
use sensor_common::traffic::TrafficBucket;
use sensor_common::wire::Segment;
use sensor_common::{capacity, filter};

use super::rules::Rules;
use super::{List, World};

/// Bytes of a frame that its first buffer holds in the kernel's test run; the rest lies in fragments.
const FIRST_BUFFER_BYTES: usize = 3_520;
/// CPUs that a test may name.
const CPUS: usize = 8;

/// A frame in memory.
pub(super) struct Bytes {
    bytes: Vec<u8>,
    first_buffer: usize,
}

impl Bytes {
    pub(super) fn new(frame: &[u8]) -> Self {
        Self { bytes: frame.to_vec(), first_buffer: frame.len().min(FIRST_BUFFER_BYTES) }
    }
}

impl Frame for Bytes {
    fn first_len(&self) -> usize {
        self.first_buffer
    }

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

/// An array whose elements are shared.
pub(super) struct Shared<T>(Box<[UnsafeCell<T>]>);

impl<T: Plain> Shared<T> {
    fn new(elements: usize) -> Self {
        Self((0..elements).map(|_| UnsafeCell::new(T::zeroed())).collect())
    }

    #[expect(clippy::mut_from_ref, reason = "the packet path's tables are shared by contract, as maps are")]
    fn get(&self, index: u32) -> Option<&mut T> {
        let cell = self.0.get(usize::try_from(index).ok()?)?;
        // SAFETY: one thread runs the packet path, and the path does not hold two references to one element while it
        // writes.
        Some(unsafe { &mut *cell.get() })
    }

    /// All elements, between frames.
    pub(super) fn all(&mut self) -> &mut [T] {
        let cells: *mut [UnsafeCell<T>] = &raw mut *self.0;
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, and `self` is borrowed alone.
        unsafe { &mut *(cells as *mut [T]) }
    }
}

/// Class rules.
pub(super) struct Classes(BTreeMap<ClassKey, Box<UnsafeCell<ClassRule>>>);

impl Classes {
    pub(super) fn put(&mut self, key: ClassKey, rule: ClassRule) {
        self.0.insert(key, Box::new(UnsafeCell::new(rule)));
    }

    pub(super) fn copy(&mut self) -> BTreeMap<ClassKey, ClassRule> {
        self.0.iter_mut().map(|(key, rule)| (*key, *rule.get_mut())).collect()
    }
}

/// The packet path's tables in plain memory.
pub(super) struct Memory {
    segment: UnsafeCell<Segment>,
    payload: UnsafeCell<Box<Buffer>>,
    pub(super) settings: Settings,
    services: Vec<u16>,
    pub(super) cpu: Cell<u32>,
    pub(super) counters: RefCell<BTreeMap<Counter, u64>>,
    pub(super) traffic: Shared<TrafficBucket>,
    pub(super) half_open: Shared<HalfOpenBucket>,
    pub(super) sources: Shared<SourceBucket>,
    pub(super) networks: Shared<NetworkBucket>,
    pub(super) connections: Shared<ConnectionBucket>,
    pub(super) rules: Rules,
    filter: Vec<u64>,
    /// As many as were used.
    places: Vec<Rule>,
    /// By region and place.
    pub(super) hits: RefCell<BTreeMap<(u32, u32), u64>>,
    allow: BTreeMap<Prefix, Reference>,
    deny: BTreeMap<Prefix, Reference>,
    /// How often the tries of rules were asked.
    pub(super) asked: Cell<u64>,
    pub(super) tiered: BTreeMap<Prefix, u32>,
    limits: BTreeMap<u32, TierLimit>,
    pub(super) classes: Classes,
    budgets: Shared<EventBudget>,
    random: RefCell<fastrand::Rng>,
    pub(super) events: RefCell<Vec<ConnectionEvent>>,
    /// How many more events the ring takes.
    pub(super) room: Cell<usize>,
}

impl Memory {
    /// Settings, services and limits of a world, and empty tables.
    pub(super) fn new(world: &World) -> Self {
        let sizes = world.settings.sizes.elements();
        let size = |elements: u32| usize::try_from(elements).expect("fits into memory");
        Self {
            segment: UnsafeCell::new(Segment::zeroed()),
            payload: UnsafeCell::new(Box::new([0; capacity::SEGMENT_BYTES])),
            settings: world.settings,
            services: world.services.clone(),
            cpu: Cell::new(0),
            counters: RefCell::default(),
            traffic: Shared::new(size(sizes.traffic)),
            half_open: Shared::new(size(sizes.half_open)),
            sources: Shared::new(size(sizes.sources)),
            networks: Shared::new(size(sizes.networks)),
            connections: Shared::new(size(sizes.connections)),
            rules: Rules::default(),
            filter: vec![0; size(filter::WORDS)],
            places: Vec::new(),
            hits: RefCell::default(),
            allow: BTreeMap::new(),
            deny: BTreeMap::new(),
            asked: Cell::new(0),
            tiered: BTreeMap::new(),
            limits: world.limits.iter().copied().collect(),
            classes: Classes(BTreeMap::new()),
            budgets: Shared::new(CPUS),
            random: RefCell::new(fastrand::Rng::with_seed(world.settings.seed)),
            events: RefCell::default(),
            room: Cell::new(usize::MAX),
        }
    }

    /// Sets bits of the filter.
    pub(super) fn mark(&mut self, marks: &[(u32, u64)]) {
        for (word, bits) in marks {
            self.filter[usize::try_from(*word).expect("fits")] |= bits;
        }
    }

    pub(super) fn write_rule(&mut self, place: u32, rule: Rule) {
        let place = usize::try_from(place).expect("fits");
        if self.places.len() <= place {
            self.places.resize(place + 1, Rule::zeroed());
        }
        self.places[place] = rule;
    }

    pub(super) fn trie(&mut self, list: List) -> &mut BTreeMap<Prefix, Reference> {
        match list {
            List::Allow => &mut self.allow,
            List::Deny => &mut self.deny,
        }
    }
}

/// The longest prefix that holds the address.
fn longest<V: Copy>(trie: &BTreeMap<Prefix, V>, host: &Prefix) -> Option<V> {
    let whole = u128::from_be_bytes(host.address.octets);
    (0..=128u32).rev().find_map(|bits| {
        let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
        trie.get(&Prefix { bits, address: Address { octets: (whole & mask).to_be_bytes() } }).copied()
    })
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

    fn cpu(&self) -> u32 {
        self.cpu.get()
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

    fn replace(&self, cell: &mut u64, former: u64, value: u64) -> bool {
        let same = *cell == former;
        if same {
            *cell = value;
        }
        same
    }

    fn traffic(&self, index: u32) -> Option<&mut TrafficBucket> {
        self.traffic.get(index)
    }

    fn half_open(&self, index: u32) -> Option<&mut HalfOpenBucket> {
        self.half_open.get(index)
    }

    fn sources(&self, index: u32) -> Option<&mut SourceBucket> {
        self.sources.get(index)
    }

    fn networks(&self, index: u32) -> Option<&mut NetworkBucket> {
        self.networks.get(index)
    }

    fn connections(&self, index: u32) -> Option<&mut ConnectionBucket> {
        self.connections.get(index)
    }

    fn filter(&self, index: u32) -> u64 {
        self.filter.get(index as usize).copied().unwrap_or(u64::MAX)
    }

    fn rule(&self, index: u32) -> Option<&Rule> {
        static FREE: Rule = Rule { expires_ns: 0, generation: 0, kind: sensor_common::rule::kind::NONE };
        (index < capacity::RULES).then(|| self.places.get(index as usize).unwrap_or(&FREE))
    }

    fn hit(&self, region: u32, index: u32) {
        *self.hits.borrow_mut().entry((region, index)).or_default() += 1;
    }

    fn allow(&self, client: &Prefix) -> Option<Reference> {
        self.asked.set(self.asked.get() + 1);
        longest(&self.allow, client)
    }

    fn deny(&self, client: &Prefix) -> Option<Reference> {
        self.asked.set(self.asked.get() + 1);
        longest(&self.deny, client)
    }

    fn tier(&self, client: &Prefix) -> Option<u32> {
        longest(&self.tiered, client)
    }

    fn limit(&self, tier: u32) -> Option<&TierLimit> {
        static NONE: TierLimit = TierLimit { connections_per_s: 0, requests_per_min: 0 };
        (tier < capacity::TIERS).then(|| self.limits.get(&tier).unwrap_or(&NONE))
    }

    fn class(&self, key: &ClassKey) -> Option<&mut ClassRule> {
        // SAFETY: as for `Shared`.
        self.classes.0.get(key).map(|rule| unsafe { &mut *rule.get() })
    }

    fn budget(&self) -> Option<&mut EventBudget> {
        self.budgets.get(self.cpu.get())
    }

    fn random(&self) -> u32 {
        self.random.borrow_mut().u32(..)
    }

    fn report(&self, tuple: &Tuple, connection: &Connection, now_ns: u64) -> bool {
        let Some(room) = self.room.get().checked_sub(1) else { return false };
        self.room.set(room);
        self.events.borrow_mut().push(ConnectionEvent::of(tuple, connection, now_ns));
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
