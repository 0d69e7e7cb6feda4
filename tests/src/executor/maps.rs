//! The program's maps as the executor reads, fills and empties them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, anyhow};
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, MapData, PerCpuArray, PerCpuValues};
use aya::{Ebpf, Pod};
use sensor_common::address::{Address, Prefix};
use sensor_common::plain::Plain;
use sensor_common::settings::Sizes;
use sensor_common::{capacity, names};

use super::mapped::Mapped;

const BPFFS: &str = "/sys/fs/bpf";

/// A value as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Wire<T>(pub T);

// SAFETY: `Wire` is transparent, and `Plain` promises what `Pod` asks for: no padding, every bit pattern valid.
unsafe impl<T: Plain> Pod for Wire<T> {}

pub(super) type Hash<K, V> = HashMap<MapData, Wire<K>, Wire<V>>;
pub(super) type Trie<V> = LpmTrie<MapData, Wire<Address>, Wire<V>>;

/// The folder of this executor's pinned maps; removed at the end.
pub(super) struct Pins(pub(super) PathBuf);

impl Pins {
    pub(super) fn new() -> Result<Self> {
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

pub(super) fn take(object: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    object.take_map(name).ok_or_else(|| anyhow!("the object has no map {name}"))
}

pub(super) fn trie_key(prefix: &Prefix) -> Key<Wire<Address>> {
    Key::new(prefix.bits, Wire(prefix.address))
}

/// Elements of every array whose size is chosen at start.
pub(super) fn elements(sizes: &Sizes) -> [(&'static str, u32); 6] {
    let elements = sizes.elements();
    [
        (names::TRAFFIC, elements.traffic),
        (names::HALF_OPEN, elements.half_open),
        (names::SOURCES, elements.sources),
        (names::NETWORKS, elements.networks),
        (names::CONNECTIONS, elements.connections),
        (names::HITS, elements.hits),
    ]
}

pub(super) fn mapped<T: Plain>(object: &mut Ebpf, name: &str) -> Result<Mapped<T>> {
    Mapped::new(take(object, name)?, name)
}

/// Writes every CPU's element.
pub(super) fn write<T: Plain>(map: &mut PerCpuArray<MapData, Wire<T>>, values: Vec<Wire<T>>) -> Result<()> {
    Ok(map.set(0, PerCpuValues::try_from(values)?, 0)?)
}

pub(super) fn reset<T: Plain>(map: &mut PerCpuArray<MapData, Wire<T>>) -> Result<()> {
    let cpus = map.get(&0, 0)?.len();
    write(map, vec![Wire(T::zeroed()); cpus])
}

pub(super) fn read_hash<K: Plain + Ord, V: Plain>(map: &Hash<K, V>) -> BTreeMap<K, V> {
    map.iter().map(|entry| entry.map(|(key, value)| (key.0, value.0)).expect("the map can be read")).collect()
}

pub(super) fn clear_trie<V: Plain>(map: &mut Trie<V>) -> Result<()> {
    let keys: Vec<_> = map.keys().collect::<std::result::Result<_, _>>()?;
    keys.iter().try_for_each(|key| map.remove(key))?;
    Ok(())
}

pub(super) fn index(place: u32) -> usize {
    usize::try_from(place).expect("fits into memory")
}

pub(super) fn hit_index(region: u32, place: u32) -> usize {
    index(region * capacity::RULES + place)
}
