//! The kernel's tables, and the packet path's view of them.

use core::cell::UnsafeCell;
use core::ffi::c_void;

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;
use sensor_common::connection::{Connection, ConnectionKey, EMPTY};
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::rule::{AllowRule, ClassKey, ClassRule, DenyRule, TierLimit};
use sensor_common::settings::Settings;
use sensor_common::stats::{self, NetworkStats, SourceStats};
use sensor_common::stream::{self, Buffer};
use sensor_common::tables::Tables;
use sensor_common::wire::Segment;

use crate::packet::Packet;

#[map]
static SETTINGS: Array<Settings> = Array::pinned(1, 0);
#[map]
static SERVICES: Array<u64> = Array::pinned(1024, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::pinned(Counter::COUNT, 0);
#[map]
static SOURCES: LruHashMap<Address, SourceStats> = LruHashMap::pinned(capacity::SOURCES, 0);
#[map]
static CONNECTIONS: LruHashMap<ConnectionKey, Connection> = LruHashMap::pinned(capacity::CONNECTIONS, 0);
#[map]
static NETWORKS: LruHashMap<Address, NetworkStats> = LruHashMap::pinned(capacity::NETWORKS, 0);
#[map]
static ALLOW: LpmTrie<Address, Shared<AllowRule>> = LpmTrie::pinned(capacity::ALLOW, BPF_F_NO_PREALLOC);
#[map]
static DENY: LpmTrie<Address, Shared<DenyRule>> = LpmTrie::pinned(capacity::DENY, BPF_F_NO_PREALLOC);
#[map]
static CLASSES: HashMap<ClassKey, ClassRule> = HashMap::pinned(capacity::CLASSES, 0);
#[map]
static TIERED: LpmTrie<Address, u32> = LpmTrie::pinned(capacity::TIERED, BPF_F_NO_PREALLOC);
#[map]
static LIMITS: Array<TierLimit> = Array::pinned(capacity::TIERS, 0);
#[map]
static EVENTS: RingBuf = RingBuf::pinned(capacity::EVENTS_BYTES, 0);
/// Not pinned: holds nothing between two frames.
#[map]
static SEGMENT: PerCpuArray<Segment> = PerCpuArray::with_max_entries(1, 0);
/// Not pinned, as above.
#[map]
static PAYLOAD: PerCpuArray<Buffer> = PerCpuArray::with_max_entries(1, 0);

/// A map value that this program changes, in a map whose look-up hands out shared references only.
#[repr(transparent)]
struct Shared<V>(UnsafeCell<V>);

// SAFETY: values are integers; several CPUs may change them at once, see `value`.
unsafe impl<V> Sync for Shared<V> {}

/// What `bpf_loop` hands to every step.
struct Scan {
    connection: *mut Connection,
    buffer: *const Buffer,
}

/// All of the maps.
pub(crate) struct Maps;

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
        if let Some(cell) = COUNTERS.get_ptr_mut(counter.index()) {
            // SAFETY: the cell belongs to this CPU, and XDP programs of one CPU do not interrupt each other.
            unsafe { *cell = (*cell).wrapping_add(n) };
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
    fn allow(&self, prefix: &Prefix) -> Option<&mut AllowRule> {
        // SAFETY: see `value`.
        ALLOW.get(trie_key(prefix)).map(|rule| unsafe { value(rule.0.get()) })
    }

    #[inline(always)]
    fn deny(&self, prefix: &Prefix) -> Option<&mut DenyRule> {
        // SAFETY: see `value`.
        DENY.get(trie_key(prefix)).map(|rule| unsafe { value(rule.0.get()) })
    }

    #[inline(always)]
    fn class(&self, key: &ClassKey) -> Option<&mut ClassRule> {
        // SAFETY: see `value`.
        CLASSES.get_ptr_mut(key).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn limits(&self, client: &Prefix) -> Option<&TierLimit> {
        let tier = TIERED.get(trie_key(client)).copied().unwrap_or(0);
        LIMITS.get(tier)
    }

    #[inline(always)]
    fn source(&self, source: &Address, now_ns: u64) -> Option<&mut SourceStats> {
        if let Some(pointer) = SOURCES.get_ptr_mut(source) {
            // SAFETY: see `value`.
            return Some(unsafe { value(pointer) });
        }
        // Another CPU may have been first: then its entry is the one to use.
        let _ = SOURCES.insert(source, &stats::NEW, u64::from(BPF_NOEXIST));
        // SAFETY: see `value`.
        let entry = SOURCES.get_ptr_mut(source).map(|pointer| unsafe { value(pointer) })?;
        if entry.first_seen_ns == 0 {
            entry.first_seen_ns = now_ns;
        }
        Some(entry)
    }

    #[inline(always)]
    fn network(&self, network: &Address, now_ns: u64) -> Option<(&mut NetworkStats, bool)> {
        if let Some(pointer) = NETWORKS.get_ptr_mut(network) {
            // SAFETY: see `value`.
            return Some((unsafe { value(pointer) }, false));
        }
        let fresh = NetworkStats { first_seen_ns: now_ns, last_seen_ns: now_ns };
        let first = NETWORKS.insert(network, fresh, u64::from(BPF_NOEXIST)).is_ok();
        // SAFETY: see `value`.
        NETWORKS.get_ptr_mut(network).map(|pointer| (unsafe { value(pointer) }, first))
    }

    #[inline(always)]
    fn connection(&self, key: &ConnectionKey) -> Option<&mut Connection> {
        // SAFETY: see `value`.
        CONNECTIONS.get_ptr_mut(key).map(|pointer| unsafe { value(pointer) })
    }

    #[inline(always)]
    fn open_connection(&self, key: &ConnectionKey) -> Option<&mut Connection> {
        CONNECTIONS.insert(key, &EMPTY, 0).ok()?;
        self.connection(key)
    }

    #[inline(always)]
    fn close_connection(&self, key: &ConnectionKey) {
        let _ = CONNECTIONS.remove(key);
    }

    #[inline(always)]
    fn report(&self, key: &ConnectionKey, connection: &Connection, now_ns: u64) -> bool {
        let Some(mut entry) = EVENTS.reserve::<ConnectionEvent>(0) else { return false };
        entry.write(ConnectionEvent::of(key, connection, now_ns));
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
