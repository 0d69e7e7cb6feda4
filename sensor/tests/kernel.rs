//! Program and tables in a real kernel, attached to nothing: rules in great number, and what others do to them.

mod skip;

use std::path::{Path, PathBuf};

use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, Map, MapData};
use nix::mount::umount;
use sensor::control::subject::prefix;
use sensor::engine::plan::Subject;
use sensor::kernel::size::Capacity;
use sensor::kernel::xdp::{Claimed, Loaded};
use sensor::kernel::{Kernel, Terms, Wanted};
use sensor_common::ABI_VERSION;
use sensor_common::address::{Address, Prefix};
use sensor_common::names;
use sensor_common::plain::Plain;
use sensor_common::settings::Settings;

const SECOND: u64 = 1_000_000_000;
const RULES: u32 = 100_000;

const SMALL: Capacity = Capacity { sources: 4_096, records: 1_024, connections: 1_024, networks: 1_024 };

/// The loopback interface, never attached to, with a BPF file system of its own. Gone with the value.
struct World {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// `None`, and said so, where this kernel or user cannot.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").exists() {
            skip::skip("bpf", "needs root and a kernel with BTF");
            return None;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Some(Self { folder: tempfile::tempdir().expect("a temporary folder"), runtime })
    }

    fn bpffs(&self) -> PathBuf {
        self.folder.path().join("bpf")
    }

    fn load(&self) -> (Loaded, impl Kernel + use<>) {
        let (loaded, mut kernel) = self.take(&SMALL, None);
        let settings = Settings { seed: 77, abi_version: ABI_VERSION, ..Settings::zeroed() };
        let tiered = vec![(prefix("198.51.100.0/24").expect("a prefix"), 1)];
        let wanted = Wanted { settings, services: vec![443], limits: Vec::new(), tiered };
        kernel.configure(&wanted).expect("fresh tables take settings");
        (loaded, kernel)
    }

    /// Program and tables as a starting daemon has them, before it writes anything.
    fn take(&self, capacity: &Capacity, seed: Option<u64>) -> (Loaded, impl Kernel + use<>) {
        let _context = self.runtime.enter();
        let claimed = Claimed::claim(&self.bpffs(), "lo", capacity).expect("lo is there and free");
        let (loaded, kernel, _ring) = claimed.load(seed).expect("this kernel takes the program");
        (loaded, kernel)
    }

    fn pin(&self, name: &str) -> PathBuf {
        self.bpffs().join("sensor").join("lo").join(name)
    }

    /// The trie of denied prefixes, as somebody else may open it.
    fn deny(&self) -> LpmTrie<MapData, [u8; 16], [u32; 2]> {
        let map = MapData::from_pin(self.pin(names::DENY)).expect("it is pinned");
        let map = Map::from_map_data(map).expect("it is a map");
        map.try_into().expect("its key and value have these sizes")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = umount(&self.bpffs());
    }
}

fn host(number: u32) -> Prefix {
    let [_, b, c, d] = number.to_be_bytes();
    Address::v4([10, b, c, d]).host_prefix()
}

#[test]
fn a_hundred_thousand_rules_enter_are_listed_and_leave() {
    let Some(world) = World::new() else { return };
    let (_loaded, mut kernel) = world.load();
    let terms = |number: u32| Terms { expires_ns: u64::from(number) + 1, newer_than_ns: 0 };
    for number in 0..RULES {
        kernel.install(&Subject::Deny(host(number)), terms(number), false).expect("there is room");
    }
    let rules = kernel.rules().expect("they can be read");
    assert_eq!(rules.len(), RULES as usize);
    for number in [0, 1, 77_777, RULES - 1] {
        assert_eq!(rules.get(&Subject::Deny(host(number))).map(|rule| rule.terms), Some(terms(number)));
    }
    // Walks of all of it leave it as it is.
    for second in 1..60 {
        kernel.tend(second * SECOND).expect("the tries can be walked");
    }
    assert_eq!(kernel.rules().expect("they can be read").len(), RULES as usize);
    assert_eq!(world.deny().keys().count(), RULES as usize);
    for number in 0..RULES {
        kernel.remove(&Subject::Deny(host(number))).expect("it is there");
    }
    assert_eq!(kernel.rules().expect("they can be read").len(), 0);
    assert_eq!(world.deny().keys().count(), 0);
}

#[test]
fn what_others_do_to_the_tries_is_noticed_within_a_walk() {
    let Some(world) = World::new() else { return };
    let (_loaded, mut kernel) = world.load();
    for number in 0..10_000 {
        let terms = Terms { expires_ns: u64::MAX, newer_than_ns: 0 };
        kernel.install(&Subject::Deny(host(number)), terms, false).expect("there is room");
    }
    let allowed = Subject::Allow(prefix("2001:db8::/48").expect("a prefix"));
    kernel.install(&allowed, Terms::default(), false).expect("there is room");
    let mut deny = world.deny();
    let (stolen, foreign) = (host(5_000), prefix("203.0.113.0/24").expect("a prefix"));
    deny.remove(&Key::new(stolen.bits, stolen.address.octets)).expect("it is there");
    deny.insert(&Key::new(foreign.bits, foreign.address.octets), [7, 7], 0).expect("there is room");
    for second in 1..20 {
        kernel.tend(second * SECOND).expect("the tries can be walked");
    }
    let rules = kernel.rules().expect("they can be read");
    assert_eq!(rules.len(), 10_000, "9,999 refusals and what is allowed");
    assert!(!rules.contains_key(&Subject::Deny(stolen)) && rules.contains_key(&allowed));
    assert!(deny.get(&Key::new(foreign.bits, foreign.address.octets), 0).is_err(), "what nobody wants is gone");
    // And it can be entered again.
    kernel.install(&Subject::Deny(stolen), Terms::default(), false).expect("there is room");
    assert_eq!(kernel.rules().expect("they can be read").len(), 10_001);
}

#[test]
fn fresh_tables_are_empty_and_state_their_memory() {
    let Some(world) = World::new() else { return };
    let (loaded, mut kernel) = world.load();
    assert!(!loaded.reused());
    assert_eq!(kernel.sources(SECOND).expect("they can be read"), []);
    let mut all = 0;
    kernel.each_source(SECOND, &mut |_, _| all += 1).expect("they can be read");
    assert_eq!(all, 0);
    let usage = kernel.usage();
    assert_eq!((usage.traffic.used, usage.sources.used, usage.connections.used), (0, 0, 0));
    assert!(usage.traffic.capacity >= 4_096 && usage.connections.capacity == 1_024, "{usage:?}");
    assert!(usage.kernel_bytes > 1 << 20, "{usage:?}");
    assert_eq!(kernel.seed().expect("settings can be read"), 77);
}

#[test]
fn tables_are_taken_over_if_layout_capacity_and_seed_are_the_same() {
    let Some(world) = World::new() else { return };
    let (loaded, mut kernel) = world.load();
    let rule = Subject::Deny(prefix("203.0.113.0/24").expect("a prefix"));
    kernel.install(&rule, Terms { expires_ns: 5, newer_than_ns: 0 }, false).expect("there is room");
    // What a start that came to nothing made goes with it: as if it had been attached, the pins are put back.
    let open = |name: &&str| MapData::from_pin(world.pin(name)).expect("it is pinned");
    let maps: Vec<MapData> = names::MAPS.iter().map(open).collect();
    drop((loaded, kernel));
    std::fs::create_dir_all(world.pin("")).expect("a BPF file system has folders");
    for (name, map) in names::MAPS.iter().zip(&maps) {
        map.pin(world.pin(name)).expect("nothing is there");
    }
    for seed in [Some(77), None] {
        let (loaded, mut kernel) = world.take(&SMALL, seed);
        assert!(loaded.reused(), "{seed:?}");
        assert_eq!(kernel.seed().expect("settings can be read"), 77);
        let rules = kernel.rules().expect("they can be read");
        assert_eq!(rules.get(&rule).map(|rule| rule.terms.expires_ns), Some(5));
    }
    assert!(!world.take(&SMALL, Some(78)).0.reused(), "another installation's seed");
    assert!(!world.take(&Capacity { sources: 1 << 15, ..SMALL }, Some(77)).0.reused(), "another capacity");
    assert!(world.take(&SMALL, Some(77)).0.reused(), "and nothing of that took them away");
}
