//! The packet path's tables in plain memory. The one place outside the kernel that hands out `&mut` from `&self`, as
//! the kernel's maps do.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::{BTreeMap, BTreeSet};

use sensor_common::address::{Address, Prefix};
use sensor_common::connection::{Connection, ConnectionBucket, ConnectionKey, Tuple};
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::plain::Plain;
use sensor_common::rule::{ClassKey, ClassRule, Reference, Rule, TierLimit};
use sensor_common::seat;
use sensor_common::settings::Settings;
use sensor_common::stats::{NetworkBucket, SourceBucket};
use sensor_common::stream::{self, Buffer};
use sensor_common::tables::{EventBudget, Frame, Tables};
use sensor_common::traffic::TrafficBucket;
use sensor_common::wire::Segment;
use sensor_common::{capacity, filter, hash};

/// Bytes of a frame that its first buffer holds in the kernel's test run; the rest lies in fragments.
const FIRST_BUFFER_BYTES: usize = 3_520;
/// CPUs there are.
const CPUS: usize = 8;

/// A frame in memory.
#[derive(Debug)]
pub struct Bytes {
    bytes: Vec<u8>,
    first_buffer: usize,
    length: usize,
}

impl Bytes {
    /// A whole frame.
    #[must_use]
    pub fn new(frame: &[u8]) -> Self {
        Self::cut(frame, frame.len())
    }

    /// The beginning of a frame that was so long. What is missing cannot be read, as bytes outside the first buffer.
    #[must_use]
    pub fn cut(frame: &[u8], length: usize) -> Self {
        let length = length.max(frame.len());
        Self { bytes: frame.to_vec(), first_buffer: frame.len().min(FIRST_BUFFER_BYTES), length }
    }
}

impl Frame for Bytes {
    fn first_len(&self) -> usize {
        self.first_buffer
    }

    fn len(&self) -> usize {
        self.length
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > capacity::HEADERS_END {
            return None;
        }
        self.bytes[..self.first_buffer].get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}

/// An array whose elements are shared.
#[derive(Debug)]
pub struct Shared<T>(Box<[UnsafeCell<T>]>);

impl<T: Plain> Shared<T> {
    fn new(elements: usize) -> Self {
        // Pages that nobody writes to stay unused.
        let zeroed = Box::<[UnsafeCell<T>]>::new_zeroed_slice(elements);
        // SAFETY: all bits zero is a valid `T`, as any other pattern is.
        Self(unsafe { zeroed.assume_init() })
    }

    #[expect(clippy::mut_from_ref, reason = "the packet path's tables are shared by contract, as maps are")]
    fn get(&self, index: u32) -> Option<&mut T> {
        let cell = self.0.get(usize::try_from(index).ok()?)?;
        // SAFETY: one thread runs the packet path, and the path does not hold two references to one element while it
        // writes.
        Some(unsafe { &mut *cell.get() })
    }

    /// All elements, between frames.
    pub fn all(&mut self) -> &mut [T] {
        let cells: *mut [UnsafeCell<T>] = &raw mut *self.0;
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, and `self` is borrowed alone.
        unsafe { &mut *(cells as *mut [T]) }
    }
}

/// Class rules.
#[derive(Debug)]
pub struct Classes(BTreeMap<ClassKey, Box<UnsafeCell<ClassRule>>>);

impl Classes {
    /// Enters a rule.
    pub fn put(&mut self, key: ClassKey, rule: ClassRule) {
        self.0.insert(key, Box::new(UnsafeCell::new(rule)));
    }

    /// All of them.
    pub fn copy(&mut self) -> BTreeMap<ClassKey, ClassRule> {
        self.0.iter_mut().map(|(key, rule)| (*key, *rule.get_mut())).collect()
    }
}

/// The packet path's tables in plain memory.
#[derive(Debug)]
pub struct Memory {
    segment: UnsafeCell<Segment>,
    payload: UnsafeCell<Box<Buffer>>,
    /// What the packet path is told.
    pub settings: Settings,
    services: BTreeSet<u16>,
    /// The CPU that frames come to, below 8.
    pub cpu: Cell<u32>,
    /// All CPUs together.
    pub counters: RefCell<BTreeMap<Counter, u64>>,
    pub traffic: Shared<TrafficBucket>,
    pub half_open: Shared<HalfOpenBucket>,
    pub sources: Shared<SourceBucket>,
    pub networks: Shared<NetworkBucket>,
    pub connections: Shared<ConnectionBucket>,
    filter: Vec<u64>,
    /// As many as were used.
    places: Vec<Rule>,
    /// By region and place.
    pub hits: RefCell<BTreeMap<(u32, u32), u64>>,
    allow: BTreeMap<Prefix, Reference>,
    deny: BTreeMap<Prefix, Reference>,
    /// How often the tries of rules were asked.
    pub asked: Cell<u64>,
    /// Prefixes that belong to a tier.
    pub tiered: BTreeMap<Prefix, u32>,
    limits: BTreeMap<u32, TierLimit>,
    pub classes: Classes,
    budgets: Shared<EventBudget>,
    drawn: Cell<u64>,
    /// Records sent to the daemon.
    pub events: RefCell<Vec<ConnectionEvent>>,
    /// How many more records the ring takes.
    pub room: Cell<usize>,
    /// The bucket of connections that was asked for last.
    touched: Cell<Option<u32>>,
}

impl Memory {
    /// Empty tables of the sizes that the settings say.
    ///
    /// # Panics
    /// If the sizes do not fit into the address space.
    #[must_use]
    pub fn new(settings: Settings, services: &[u16], limits: &[(u32, TierLimit)]) -> Self {
        let sizes = settings.sizes.elements();
        let size = |elements: u32| usize::try_from(elements).expect("fits into memory");
        Self {
            segment: UnsafeCell::new(Segment::zeroed()),
            payload: UnsafeCell::new(Box::new([0; capacity::SEGMENT_BYTES])),
            settings,
            services: services.iter().copied().collect(),
            cpu: Cell::new(0),
            counters: RefCell::default(),
            traffic: Shared::new(size(sizes.traffic)),
            half_open: Shared::new(size(sizes.half_open)),
            sources: Shared::new(size(sizes.sources)),
            networks: Shared::new(size(sizes.networks)),
            connections: Shared::new(size(sizes.connections)),
            filter: vec![0; size(filter::WORDS)],
            places: Vec::new(),
            hits: RefCell::default(),
            allow: BTreeMap::new(),
            deny: BTreeMap::new(),
            asked: Cell::new(0),
            tiered: BTreeMap::new(),
            limits: limits.iter().copied().collect(),
            classes: Classes(BTreeMap::new()),
            budgets: Shared::new(CPUS),
            drawn: Cell::new(0),
            events: RefCell::default(),
            room: Cell::new(usize::MAX),
            touched: Cell::new(None),
        }
    }

    /// Sets bits of the filter: words, and the bits in each.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn mark(&mut self, marks: &[(u32, u64)]) {
        for (word, bits) in marks {
            self.filter[usize::try_from(*word).expect("fits")] |= bits;
        }
    }

    /// Writes a place of the rule table.
    ///
    /// # Panics
    /// If places do not fit into the address space.
    pub fn write_rule(&mut self, place: u32, rule: Rule) {
        let place = usize::try_from(place).expect("fits");
        if self.places.len() <= place {
            self.places.resize(place + 1, Rule::zeroed());
        }
        self.places[place] = rule;
    }

    /// Allowed prefixes, and where their rules stand.
    pub fn allowed(&mut self) -> &mut BTreeMap<Prefix, Reference> {
        &mut self.allow
    }

    /// Denied prefixes, and where their rules stand.
    pub fn denied(&mut self) -> &mut BTreeMap<Prefix, Reference> {
        &mut self.deny
    }

    /// The connection that the frame judged last belongs to, as it stands now; its state is `None` if the record is
    /// gone. `None` if connections were not asked for.
    #[must_use]
    pub fn latest(&mut self) -> Option<(ConnectionKey, Option<Connection>)> {
        let tuple = self.segment.get_mut().tuple;
        let bucket = self.connections.get(self.touched.take()?)?;
        let holds = |way: &usize| bucket.tags[*way] != seat::FREE && bucket.keys[*way].is(&tuple);
        let state = (0..bucket.tags.len()).find(holds).map(|way| bucket.records[way]);
        Some((tuple.key(), state))
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
        self.touched.set(Some(index));
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
        let drawn = self.drawn.get().wrapping_add(1);
        self.drawn.set(drawn);
        hash::mix(drawn, self.settings.seed) as u32
    }

    fn report(&self, tuple: &Tuple, connection: &Connection, now_ns: u64) -> bool {
        let Some(room) = self.room.get().checked_sub(1) else { return false };
        self.room.set(room);
        self.events.borrow_mut().push(ConnectionEvent::of(tuple, connection, now_ns));
        true
    }

    fn scan(&self, frame: &Bytes, offset: usize, length: usize, connection: &mut Connection) -> bool {
        debug_assert!((1..=capacity::SEGMENT_BYTES).contains(&length), "scan of {length} bytes");
        let Some(bytes) = offset.checked_add(length).and_then(|end| frame.bytes.get(offset..end)) else {
            return false;
        };
        // SAFETY: one thread, and the reference ends with this call.
        let buffer = unsafe { &mut *self.payload.get() };
        buffer[..length].copy_from_slice(bytes);
        connection.position = 0;
        connection.end = u32::try_from(length).expect("at most SEGMENT_BYTES");
        // The kernel runs as many steps and no more; they are always enough.
        let more = (0..capacity::SEGMENT_STEPS).all(|_| stream::step(connection, buffer));
        debug_assert!(!more, "a segment took more steps than the kernel allows");
        true
    }
}
