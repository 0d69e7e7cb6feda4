//! The sensor's tables with those that a flood fills on LRU hashes: what its own are measured against.
//!
//! Traffic and attempts are hashes that evict the least recently used, and each bucket of them a place of its own: the
//! settings make these tables so large that two sources hardly ever share one. What only completed handshakes enter
//! stays in arrays, so that looking for it costs what it costs the sensor. There is no filter in front of the tries.

use core::ffi::c_void;

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_get_smp_processor_id, bpf_loop};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;
use sensor_common::connection::{Connection, ConnectionBucket, Tuple};
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::rule::{ClassKey, ClassRule, Reference, Rule, TierLimit};
use sensor_common::settings::Settings;
use sensor_common::stats::{NetworkBucket, SourceBucket};
use sensor_common::stream::{self, Buffer};
use sensor_common::tables::{EventBudget, Tables};
use sensor_common::traffic::TrafficBucket;
use sensor_common::wire::Segment;

use crate::packet::Packet;

/// Zeros for a new bucket.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

static NO_TRAFFIC: Aligned<{ size_of::<TrafficBucket>() }> = Aligned([0; _]);
static NO_ATTEMPTS: Aligned<{ size_of::<HalfOpenBucket>() }> = Aligned([0; _]);

#[map]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
static SERVICES: Array<u64> = Array::with_max_entries(1024, 0);
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);
#[map]
static TRAFFIC: LruHashMap<u32, TrafficBucket> = LruHashMap::with_max_entries(capacity::SOURCES, 0);
#[map]
static HALF_OPEN: LruHashMap<u32, HalfOpenBucket> = LruHashMap::with_max_entries(capacity::ATTEMPTS, 0);
#[map]
static SOURCES: Array<SourceBucket> = Array::with_max_entries(capacity::RECORDS / 8, 0);
#[map]
static NETWORKS: Array<NetworkBucket> = Array::with_max_entries(capacity::NETWORKS / 8, 0);
#[map]
static CONNECTIONS: Array<ConnectionBucket> = Array::with_max_entries(capacity::CONNECTIONS / 8, 0);
#[map]
static HITS: Array<u64> = Array::with_max_entries(capacity::RULES, 0);
#[map]
static RULES: Array<Rule> = Array::with_max_entries(capacity::RULES, 0);
#[map]
static ALLOW: LpmTrie<Address, Reference> = LpmTrie::with_max_entries(capacity::ALLOW, BPF_F_NO_PREALLOC);
#[map]
static DENY: LpmTrie<Address, Reference> = LpmTrie::with_max_entries(capacity::DENY, BPF_F_NO_PREALLOC);
#[map]
static CLASSES: HashMap<ClassKey, ClassRule> = HashMap::with_max_entries(capacity::CLASSES, 0);
#[map]
static TIERED: LpmTrie<Address, u32> = LpmTrie::with_max_entries(capacity::TIERED, BPF_F_NO_PREALLOC);
#[map]
static LIMITS: Array<TierLimit> = Array::with_max_entries(capacity::TIERS, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(capacity::EVENTS_BYTES, 0);
/// Holds nothing between two frames.
#[map]
static SEGMENT: PerCpuArray<Segment> = PerCpuArray::with_max_entries(1, 0);
/// As above.
#[map]
static PAYLOAD: PerCpuArray<Buffer> = PerCpuArray::with_max_entries(1, 0);
#[map]
static BUDGET: PerCpuArray<EventBudget> = PerCpuArray::with_max_entries(1, 0);

/// What `bpf_loop` hands to every step.
struct Scan {
    connection: *mut Connection,
    buffer: *const Buffer,
}

/// A CPU's counters, by [`Counter::index`].
type Counters = [u64; Counter::COUNT as usize];

/// All of the maps.
pub(crate) struct Maps {
    /// Looked up once: nearly every step counts something.
    counters: *mut Counters,
}

impl Maps {
    /// `None` if the kernel has no counters for this CPU, which it has.
    #[inline(always)]
    pub(crate) fn new() -> Option<Self> {
        COUNTERS.get_ptr_mut(0).map(|counters| Self { counters })
    }
}

/// The reference behind a map pointer.
///
/// # Safety
/// `pointer` came from a look-up in this run of the program: the kernel keeps the value in place until the program
/// ends (RCU), and aligns it to 8 bytes. Other CPUs may change it; all fields are integers, shared counters are
/// changed by atomic adds only, and a torn read of the others misjudges one frame at most.
#[inline(always)]
unsafe fn value<'a, V>(pointer: *mut V) -> &'a mut V {
    // SAFETY: by this function's contract.
    unsafe { &mut *pointer }
}

/// A bucket's place, entered as empty if need be.
#[inline(always)]
fn entry<V>(map: &LruHashMap<u32, V>, index: u32, empty: &V) -> Option<*mut V> {
    if let Some(pointer) = map.get_ptr_mut(&index) {
        return Some(pointer);
    }
    // Another CPU may have been first: then its entry is the one to use.
    let _ = map.insert(&index, empty, u64::from(BPF_NOEXIST));
    map.get_ptr_mut(&index)
}

/// A bucket of zeros.
///
/// # Safety
/// Every bit pattern is a valid `V`, and `N` is its size.
#[inline(always)]
unsafe fn zeroed<V, const N: usize>(bytes: &'static Aligned<N>) -> &'static V {
    // SAFETY: by this function's contract; `Aligned` has the alignment of the buckets.
    unsafe { &*core::ptr::from_ref(bytes).cast() }
}

/// The prefix as a key of the trie, in place.
#[inline(always)]
fn trie_key(prefix: &Prefix) -> &Key<Address> {
    const { assert!(size_of::<Prefix>() == size_of::<Key<Address>>()) };
    // SAFETY: both are a u32 of significant bits, then 16 bytes of address; `Key` is packed, so any alignment will do.
    unsafe { &*core::ptr::from_ref(prefix).cast() }
}

impl Tables for Maps {
    type Frame = Packet;

    #[inline(always)]
    fn segment(&self) -> Option<&mut Segment> {
        // SAFETY: see `value`; the entry belongs to this CPU.
        SEGMENT.get_ptr_mut(0).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline(always)]
    fn watched(&self, port: u16) -> bool {
        match SERVICES.get(u32::from(port) >> 6) {
            Some(word) => word >> (port & 63) & 1 != 0,
            None => false,
        }
    }

    #[inline(always)]
    fn count(&self, counter: Counter, n: u64) {
        // SAFETY: the counters belong to this CPU, XDP programs of one CPU do not interrupt each other, and the index
        // is below their number.
        unsafe {
            let cell = self.counters.cast::<u64>().add(counter.index() as usize);
            *cell = (*cell).wrapping_add(n);
        }
    }

    #[inline(always)]
    fn add(&self, cell: &mut u64, n: u64) {
        // SAFETY: a live, aligned u64; the result is not used, so this becomes one `lock add`.
        unsafe {
            core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(cell, n);
        }
    }

    #[inline(always)]
    fn cpu(&self) -> u32 {
        // SAFETY: the helper takes no argument and has no precondition.
        unsafe { bpf_get_smp_processor_id() }
    }

    #[inline(always)]
    fn replace(&self, cell: &mut u64, former: u64, value: u64) -> bool {
        // SAFETY: a live, aligned u64.
        let (found, _) = unsafe {
            core::intrinsics::atomic_cxchg::<
                u64,
                { core::intrinsics::AtomicOrdering::SeqCst },
                { core::intrinsics::AtomicOrdering::SeqCst },
            >(cell, former, value)
        };
        found == former
    }

    #[inline(always)]
    fn traffic(&self, index: u32) -> Option<&mut TrafficBucket> {
        // SAFETY: all zero is an empty bucket.
        let pointer = entry(&TRAFFIC, index, unsafe { zeroed(&NO_TRAFFIC) })?;
        // SAFETY: see `value`.
        Some(unsafe { value(pointer) })
    }

    #[inline(always)]
    fn half_open(&self, index: u32) -> Option<&mut HalfOpenBucket> {
        // SAFETY: all zero is an empty bucket.
        let pointer = entry(&HALF_OPEN, index, unsafe { zeroed(&NO_ATTEMPTS) })?;
        // SAFETY: see `value`.
        Some(unsafe { value(pointer) })
    }

    #[inline(always)]
    fn sources(&self, index: u32) -> Option<&mut SourceBucket> {
        // SAFETY: see `value`.
        SOURCES.get_ptr_mut(index).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn networks(&self, index: u32) -> Option<&mut NetworkBucket> {
        // SAFETY: see `value`.
        NETWORKS.get_ptr_mut(index).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn connections(&self, index: u32) -> Option<&mut ConnectionBucket> {
        // SAFETY: see `value`.
        CONNECTIONS.get_ptr_mut(index).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn filter(&self, _: u32) -> u64 {
        u64::MAX
    }

    #[inline(always)]
    fn rule(&self, index: u32) -> Option<&Rule> {
        RULES.get(index)
    }

    #[inline(always)]
    fn hit(&self, region: u32, index: u32) {
        if let Some(cell) = HITS.get_ptr_mut(region.wrapping_mul(capacity::RULES).wrapping_add(index)) {
            // SAFETY: the cell belongs to this CPU, unless there are more CPUs than regions: then a hit may be lost.
            unsafe { *cell = (*cell).wrapping_add(1) };
        }
    }

    #[inline(always)]
    fn allow(&self, client: &Prefix) -> Option<Reference> {
        ALLOW.get(trie_key(client)).copied()
    }

    #[inline(always)]
    fn deny(&self, client: &Prefix) -> Option<Reference> {
        DENY.get(trie_key(client)).copied()
    }

    #[inline(always)]
    fn tier(&self, client: &Prefix) -> Option<u32> {
        TIERED.get(trie_key(client)).copied()
    }

    #[inline(always)]
    fn limit(&self, tier: u32) -> Option<&TierLimit> {
        LIMITS.get(tier)
    }

    #[inline(always)]
    fn class(&self, key: &ClassKey) -> Option<&mut ClassRule> {
        // SAFETY: see `value`.
        CLASSES.get_ptr_mut(key).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn budget(&self) -> Option<&mut EventBudget> {
        // SAFETY: see `value`; the entry belongs to this CPU.
        BUDGET.get_ptr_mut(0).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes no argument and has no precondition.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn report(&self, tuple: &Tuple, connection: &Connection, now_ns: u64) -> bool {
        let Some(mut entry) = EVENTS.reserve::<ConnectionEvent>(0) else { return false };
        entry.write(ConnectionEvent::of(tuple, connection, now_ns));
        entry.submit(0);
        true
    }

    #[inline(always)]
    fn scan(&self, frame: &Packet, offset: usize, length: usize, connection: &mut Connection) -> bool {
        let Some(buffer) = PAYLOAD.get_ptr_mut(0) else { return false };
        // SAFETY: the buffer belongs to this CPU, and nothing else refers to it during this run.
        if !frame.copy(offset, length, unsafe { value(buffer) }) {
            return false;
        }
        connection.position = 0;
        connection.end = length as u32;
        let mut scan = Scan { connection, buffer };
        // SAFETY: the callback has the signature that the kernel calls, and its context outlives the call.
        unsafe {
            bpf_loop(capacity::SEGMENT_STEPS, step as *mut c_void, core::ptr::from_mut(&mut scan).cast(), 0);
        }
        true
    }
}

/// One step of the stream parser: 0 goes on, 1 ends the loop.
unsafe extern "C" fn step(_: u32, context: *mut c_void) -> i64 {
    // SAFETY: `scan` passes a live `Scan`, whose pointers are a map value and this CPU's buffer.
    let scan = unsafe { &*context.cast::<Scan>() };
    // SAFETY: as above; nothing else refers to them while the loop runs.
    let (connection, buffer) = unsafe { (&mut *scan.connection, &*scan.buffer) };
    i64::from(!stream::step(connection, buffer))
}
