//! The layout of everything that crosses the kernel boundary: the host's against the built object's, and against what
//! [`ABI_VERSION`] stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sensor::kernel::xdp::OBJECT;
use sensor_common::address::{Address, Prefix};
use sensor_common::connection::{Connection, ConnectionBucket, ConnectionKey, Tuple};
use sensor_common::counter::Counter;
use sensor_common::event::{ConnectionEvent, flag};
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::rule::{ClassKey, ClassRule, Reference, Rule, TierLimit};
use sensor_common::settings::{Settings, Sizes};
use sensor_common::stats::{NetworkBucket, NetworkStats, SourceBucket, SourceRecord};
use sensor_common::stream::{Hello, Http, Records};
use sensor_common::tables::EventBudget;
use sensor_common::traffic::TrafficBucket;
use sensor_common::wire::Segment;
use sensor_common::{ABI_VERSION, capacity, filter, names};
use sensor_tests::executor::SIZES;
use sensor_tests::executor::kernel::Kernel;
use sensor_tests::require::{Tier, require};

/// Name, size and fields (name, offset, size) of a type.
type Layout = (&'static str, usize, &'static [(&'static str, usize, usize)]);

macro_rules! layouts {
    ($($name:ident),*) => { &[$((stringify!($name), size_of::<$name>(), $name::LAYOUT)),*] };
}

const LAYOUTS: &[Layout] = layouts![
    Address,
    ClassKey,
    ClassRule,
    Connection,
    ConnectionBucket,
    ConnectionEvent,
    ConnectionKey,
    EventBudget,
    HalfOpenBucket,
    Hello,
    Http,
    NetworkBucket,
    NetworkStats,
    Prefix,
    Records,
    Reference,
    Rule,
    Segment,
    Settings,
    Sizes,
    SourceBucket,
    SourceRecord,
    TierLimit,
    TrafficBucket,
    Tuple
];

/// Types whose fields the object describes; the compiler leaves the others out, their maps' sizes are checked.
const DESCRIBED: &[&str] = &["Connection", "Hello", "Http", "Records", "Segment", "Settings", "Sizes", "Tuple"];

#[test]
fn every_boundary_type_is_checked() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sensor-common/src");
    let mut declared = BTreeSet::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the crate is there") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "plain.rs") {
                declared.extend(boundary_types(&std::fs::read_to_string(&path).expect("it can be read")));
            }
        }
    }
    let checked: BTreeSet<String> = LAYOUTS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(declared, checked, "name every type that `plain!` declares in LAYOUTS");
}

fn boundary_types(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        match line {
            "plain! {" | "crate::plain! {" => inside = true,
            "}" => inside = false,
            _ if inside => names.extend(
                line.strip_prefix("    pub struct ").and_then(|rest| rest.split(' ').next()).map(str::to_owned),
            ),
            _ => {}
        }
    }
    names
}

#[test]
fn the_object_lays_out_types_as_the_host_does() {
    let structs = Btf::of_object().structs();
    for (name, size, fields) in LAYOUTS {
        let Some((described_size, members)) = structs.get(*name) else {
            assert!(!DESCRIBED.contains(name), "the object's BTF does not describe {name}");
            continue;
        };
        let host: BTreeMap<&str, usize> = fields.iter().map(|(field, offset, _)| (*field, *offset)).collect();
        let object: BTreeMap<&str, usize> = members.iter().map(|(field, offset)| (field.as_str(), *offset)).collect();
        assert_eq!((size, host), (described_size, object), "{name} differs between host and object");
    }
}

#[test]
fn maps_have_the_host_s_sizes() {
    if !require(Tier::Bpf) {
        return;
    }
    let sizes = Sizes { regions: 2, ..SIZES };
    let kernel = Kernel::with_sizes(sizes).expect("the program loads");
    let expected = maps(&sizes);
    assert_eq!(expected.iter().map(|map| map.0).collect::<Vec<_>>(), names::MAPS, "every pinned map is checked");
    let infos = kernel.map_infos().expect("maps can be asked");
    for (name, key, value, entries, flags) in expected {
        let info = &infos[name];
        let is = (info.key_size() as usize, info.value_size() as usize, info.max_entries(), info.map_flags());
        assert_eq!(is, (key, value, entries, flags), "{name}: key, value, entries, flags");
    }
}

/// `BPF_F_NO_PREALLOC` and `BPF_F_MMAPABLE` in linux/bpf.h: tries want the one; the daemon maps what has the other.
const ON_DEMAND: u32 = 1;
const MAPPED: u32 = 1 << 10;

/// Name, key size, value size, capacity and flags of every pinned map.
fn maps(sizes: &Sizes) -> Vec<(&'static str, usize, usize, u32, u32)> {
    let elements = sizes.elements();
    let (prefix, reference) = (size_of::<Prefix>(), size_of::<Reference>());
    let array = |name, value, entries| (name, 4, value, entries, 0);
    let mapped = |name, value, entries| (name, 4, value, entries, MAPPED);
    vec![
        array(names::SETTINGS, size_of::<Settings>(), 1),
        array(names::SERVICES, 8, 65_536 / 64),
        array(names::COUNTERS, 8 * Counter::COUNT as usize, 1),
        mapped(names::TRAFFIC, size_of::<TrafficBucket>(), elements.traffic),
        mapped(names::HALF_OPEN, size_of::<HalfOpenBucket>(), elements.half_open),
        mapped(names::SOURCES, size_of::<SourceBucket>(), elements.sources),
        mapped(names::NETWORKS, size_of::<NetworkBucket>(), elements.networks),
        mapped(names::CONNECTIONS, size_of::<ConnectionBucket>(), elements.connections),
        mapped(names::FILTER, 8, filter::WORDS),
        mapped(names::RULES, size_of::<Rule>(), capacity::RULES),
        mapped(names::HITS, 8, elements.hits),
        (names::ALLOW, prefix, reference, capacity::ALLOW, ON_DEMAND),
        (names::DENY, prefix, reference, capacity::DENY, ON_DEMAND),
        (names::CLASSES, size_of::<ClassKey>(), size_of::<ClassRule>(), capacity::CLASSES, 0),
        (names::TIERED, prefix, 4, capacity::TIERED, ON_DEMAND),
        array(names::LIMITS, size_of::<TierLimit>(), capacity::TIERS),
        (names::EVENTS, 0, 0, capacity::EVENTS_BYTES, 0),
    ]
}

/// Buckets are what fits cache lines: none may straddle one more than it must, and the probe reads one or two.
#[test]
fn buckets_fill_cache_lines() {
    const LINE: usize = 64;
    assert_eq!(size_of::<TrafficBucket>(), 2 * LINE, "keys and counters of four sources");
    assert_eq!(size_of::<HalfOpenBucket>(), LINE, "four attempts");
    let keys = [
        (SourceBucket::LAYOUT, "keys", size_of::<SourceBucket>()),
        (NetworkBucket::LAYOUT, "keys", size_of::<NetworkBucket>()),
        (ConnectionBucket::LAYOUT, "tags", size_of::<ConnectionBucket>()),
    ];
    for (layout, keys, size) in keys {
        assert_eq!(layout[0], (keys, 0, LINE), "the keys of a bucket are its first line");
        assert_eq!(size % LINE, 0, "the next bucket begins with a line");
    }
}

/// The version is a promise about layouts: one that changes without the other would let a daemon take over tables
/// that it misreads.
#[test]
fn layouts_change_only_with_the_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/abi.txt");
    let text = std::fs::read_to_string(&path).expect("golden/abi.txt is there");
    let pinned: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let [pinned] = pinned[..] else { panic!("golden/abi.txt has one line: version and hash") };
    let (version, hash) = pinned.split_once(' ').expect("version and hash");
    let now = format!("{:016x}", layout_hash());
    assert!(
        hash == now || version != ABI_VERSION.to_string(),
        "a boundary layout changed (hash {now}, version {ABI_VERSION} stands for {hash}): raise ABI_VERSION"
    );
    let line = format!("{ABI_VERSION} {now}");
    assert_eq!(pinned, line, "ABI_VERSION was raised: write `{line}` into tests/golden/abi.txt");
}

/// FNV-1a over all that both sides must agree on.
fn layout_hash() -> u64 {
    let mut text = String::new();
    for (name, size, fields) in LAYOUTS {
        text.push_str(&format!("{name} {size} {fields:?}\n"));
    }
    for counter in Counter::ALL {
        text.push_str(&format!("{} {:?} {}\n", counter.index(), counter.group(), counter.name()));
    }
    let flags = [
        flag::ESTABLISHED,
        flag::GAP_SAMPLE,
        flag::GAP_FLAGGED,
        flag::HELLO_GAP_FLAGGED,
        flag::CLASS_MATCHED,
        flag::REFUSED,
        flag::REPORTED,
        flag::CLOSED,
        flag::STREAM_GAP,
        flag::TIMESTAMPS,
        flag::TIMESTAMPS_DISAGREE,
        flag::ALLOWED,
        flag::NEW_NETWORK,
        flag::MALFORMED,
        flag::NO_PURE_ACK,
        flag::FAST_OPEN,
        flag::REQUESTED,
    ];
    text.push_str(&format!("{flags:?} {:?}", names::MAPS));
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The object's type information, as far as structs go (kernel documentation, "BPF Type Format").
struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Btf {
    fn of_object() -> Self {
        let object = aya_obj::Object::parse(OBJECT).expect("the object is well-formed");
        let bytes = object.btf.expect("the object carries BTF").to_bytes();
        let word = |at: usize| usize::try_from(u32_at(&bytes, at)).expect("fits");
        let (header, types, types_len, strings, strings_len) = (word(4), word(8), word(12), word(16), word(20));
        let part = |from: usize, len: usize| bytes[header + from..header + from + len].to_vec();
        Self { types: part(types, types_len), strings: part(strings, strings_len) }
    }

    /// Every struct by name: size, and members with their offsets in bytes.
    fn structs(&self) -> BTreeMap<String, (usize, Vec<(String, usize)>)> {
        const STRUCT: u32 = 4;
        let mut found = BTreeMap::new();
        let mut at = 0;
        while at < self.types.len() {
            let (name, info, size) =
                (u32_at(&self.types, at), u32_at(&self.types, at + 4), u32_at(&self.types, at + 8));
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            at += 12;
            if kind == STRUCT {
                let members = (0..count)
                    .map(|index| at + 12 * index)
                    .map(|at| (self.text(u32_at(&self.types, at)), (u32_at(&self.types, at + 8) / 8) as usize))
                    .collect();
                found.insert(self.text(name), (size as usize, members));
            }
            at += trailer(kind, count);
        }
        found
    }

    fn text(&self, offset: u32) -> String {
        let rest = &self.strings[offset as usize..];
        let end = rest.iter().position(|byte| *byte == 0).expect("strings end in 0");
        String::from_utf8_lossy(&rest[..end]).into_owned()
    }
}

/// Bytes behind a type's head, by its kind and number of members.
fn trailer(kind: u32, count: usize) -> usize {
    match kind {
        // int, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // struct, union, data section, 64-bit enumeration
        4 | 5 | 15 | 19 => 12 * count,
        // enumeration, function prototype
        6 | 13 => 8 * count,
        _ => 0,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
