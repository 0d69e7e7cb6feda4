//! Typed access to the kernel's tables. The one place that calls the crate's boundary types `Pod`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, IterableMap, LpmTrie, MapData, MapError, PerCpuArray};
use aya::{Ebpf, Pod};
use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;
use sensor_common::connection::{Connection, ConnectionKey};
use sensor_common::counter::Counter;
use sensor_common::names;
use sensor_common::plain::Plain;
use sensor_common::rule::{AllowRule, ClassKey, ClassRule, DenyRule, TierLimit};
use sensor_common::settings::Settings;
use sensor_common::stats::{NetworkStats, SourceStats};

use super::{Counters, Installed, Kernel, KernelError, Terms, Wanted, batch};
use crate::engine::plan::Subject;

/// A boundary type, as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Plainly<T>(pub(super) T);

// SAFETY: a `Plain` type has no padding and no invalid bit pattern, and this wrapper has its layout.
unsafe impl<T: Plain> Pod for Plainly<T> {}

type Table<K, V> = HashMap<MapData, Plainly<K>, Plainly<V>>;
type Trie<V> = LpmTrie<MapData, Plainly<Address>, V>;

/// Words of the bit set of watched ports.
const SERVICE_WORDS: u32 = 1_024;

/// Size of a trie's key: the length, then the address.
const TRIE_KEY: usize = size_of::<Prefix>();

/// Name, key size, value size and capacity of every pinned map, as this daemon knows them; bytes and entries.
pub(super) const SHAPES: &[(&str, usize, usize, u32)] = &[
    (names::SETTINGS, 4, size_of::<Settings>(), 1),
    (names::SERVICES, 4, 8, SERVICE_WORDS),
    (names::COUNTERS, 4, 8, Counter::COUNT),
    (names::SOURCES, size_of::<Address>(), size_of::<SourceStats>(), capacity::SOURCES),
    (names::CONNECTIONS, size_of::<ConnectionKey>(), size_of::<Connection>(), capacity::CONNECTIONS),
    (names::NETWORKS, size_of::<Address>(), size_of::<NetworkStats>(), capacity::NETWORKS),
    (names::ALLOW, TRIE_KEY, size_of::<AllowRule>(), capacity::ALLOW),
    (names::DENY, TRIE_KEY, size_of::<DenyRule>(), capacity::DENY),
    (names::CLASSES, size_of::<ClassKey>(), size_of::<ClassRule>(), capacity::CLASSES),
    (names::TIERED, TRIE_KEY, 4, capacity::TIERED),
    (names::LIMITS, 4, size_of::<TierLimit>(), capacity::TIERS),
    (names::EVENTS, 0, 0, capacity::EVENTS_BYTES),
];

/// All tables but the ring.
pub struct Maps {
    settings: Array<MapData, Plainly<Settings>>,
    services: Array<MapData, u64>,
    counters: PerCpuArray<MapData, u64>,
    sources: Table<Address, SourceStats>,
    networks: Table<Address, NetworkStats>,
    allow: Trie<Plainly<AllowRule>>,
    deny: Trie<Plainly<DenyRule>>,
    classes: Table<ClassKey, ClassRule>,
    tiered: Trie<u32>,
    limits: Array<MapData, Plainly<TierLimit>>,
}

impl Maps {
    /// Takes the tables out of a loaded object.
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            settings: take(object, names::SETTINGS)?,
            services: take(object, names::SERVICES)?,
            counters: take(object, names::COUNTERS)?,
            sources: take(object, names::SOURCES)?,
            networks: take(object, names::NETWORKS)?,
            allow: take(object, names::ALLOW)?,
            deny: take(object, names::DENY)?,
            classes: take(object, names::CLASSES)?,
            tiered: take(object, names::TIERED)?,
            limits: take(object, names::LIMITS)?,
        })
    }

    fn set_tiers(&mut self, wanted: &Wanted) -> Result<(), KernelError> {
        for index in 0..capacity::TIERS {
            let limit = wanted.limits.get(index as usize).copied().unwrap_or_else(TierLimit::zeroed);
            self.limits.set(index, Plainly(limit), 0).map_err(|error| refused("write limits", &error))?;
        }
        for (prefix, tier) in &wanted.tiered {
            self.tiered.insert(&key(prefix), tier, 0).map_err(|error| refused("write tiers", &error))?;
        }
        let wanted: BTreeSet<Prefix> = wanted.tiered.iter().map(|(prefix, _)| *prefix).collect();
        let standing = prefixes::<u32, _>(&self.tiered)?;
        for (old, _) in standing.iter().filter(|(prefix, _)| !wanted.contains(prefix)) {
            gone(self.tiered.remove(&key(old))).map_err(|error| refused("take out a tier's prefix", &error))?;
        }
        Ok(())
    }
}

impl Kernel for Maps {
    fn configure(&mut self, wanted: &Wanted) -> Result<(), KernelError> {
        let mut words = vec![0_u64; SERVICE_WORDS as usize];
        for port in &wanted.services {
            words[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        for (index, word) in (0..).zip(words) {
            self.services.set(index, word, 0).map_err(|error| refused("write services", &error))?;
        }
        self.set_tiers(wanted)?;
        // Last: whoever reads the settings finds the rest in place.
        self.settings.set(0, Plainly(wanted.settings), 0).map_err(|error| refused("write settings", &error))
    }

    fn seed(&mut self) -> Result<u64, KernelError> {
        let settings = found(self.settings.get(&0, 0)).map_err(|error| refused("read settings", &error))?;
        Ok(settings.map_or(0, |settings| settings.seed))
    }

    fn counters(&mut self) -> Result<Counters, KernelError> {
        let sum = |index| -> Result<u64, KernelError> {
            let cells = self.counters.get(&index, 0).map_err(|error| refused("read counters", &error))?;
            Ok(cells.iter().fold(0_u64, |sum, cell| sum.wrapping_add(*cell)))
        };
        (0..Counter::COUNT).map(sum).collect::<Result<_, _>>().map(Counters::new)
    }

    fn sources(&mut self) -> Result<Vec<(Address, SourceStats)>, KernelError> {
        batch::entries(self.sources.map().fd().as_fd()).map_err(|error| KernelError::new("read sources", error))
    }

    fn source(&mut self, source: &Address) -> Result<Option<SourceStats>, KernelError> {
        found(self.sources.get(&Plainly(*source), 0)).map_err(|error| refused("read a source", &error))
    }

    fn remember(&mut self, networks: &[(Address, NetworkStats)]) -> Result<(), KernelError> {
        for (network, stats) in networks {
            let known = found(self.networks.get(&Plainly(*network), 0));
            let merged = match known.map_err(|error| refused("read networks", &error))? {
                None => *stats,
                Some(known) => NetworkStats {
                    first_seen_ns: known.first_seen_ns.min(stats.first_seen_ns),
                    last_seen_ns: known.last_seen_ns.max(stats.last_seen_ns),
                },
            };
            self.networks
                .insert(Plainly(*network), Plainly(merged), 0)
                .map_err(|error| refused("write networks", &error))?;
        }
        Ok(())
    }

    fn rules(&mut self) -> Result<BTreeMap<Subject, Installed>, KernelError> {
        let mut rules = BTreeMap::new();
        for (prefix, rule) in prefixes::<AllowRule, _>(&self.allow)? {
            rules.insert(Subject::Allow(prefix), Installed { hits: rule.hits, ..Installed::default() });
        }
        for (prefix, rule) in prefixes::<DenyRule, _>(&self.deny)? {
            let terms = Terms { expires_ns: rule.expires_ns, ..Terms::default() };
            rules.insert(Subject::Deny(prefix), Installed { terms, hits: rule.hits, passed: 0 });
        }
        let classes = batch::entries::<ClassKey, ClassRule>(self.classes.map().fd().as_fd())
            .map_err(|error| KernelError::new("read class rules", error))?;
        for (class, rule) in classes {
            let terms = Terms { expires_ns: rule.expires_ns, newer_than_ns: rule.newer_than_ns };
            rules.insert(Subject::Class(class), Installed { terms, hits: rule.hits, passed: rule.passed });
        }
        Ok(rules)
    }

    fn install(&mut self, subject: &Subject, terms: Terms, stands: bool) -> Result<(), KernelError> {
        let Terms { expires_ns, newer_than_ns } = terms;
        let result = match subject {
            // It says nothing but its prefix.
            Subject::Allow(_) if stands => Ok(()),
            Subject::Allow(prefix) => self.allow.insert(&key(prefix), Plainly(AllowRule::zeroed()), 0),
            Subject::Deny(prefix) => {
                let old = if stands { found(self.deny.get(&key(prefix), 0)).ok().flatten() } else { None };
                let rule = DenyRule { expires_ns, ..old.unwrap_or_else(DenyRule::zeroed) };
                self.deny.insert(&key(prefix), Plainly(rule), 0)
            }
            Subject::Class(class) => {
                let old = if stands { found(self.classes.get(&Plainly(*class), 0)).ok().flatten() } else { None };
                let rule = ClassRule { expires_ns, newer_than_ns, ..old.unwrap_or_else(ClassRule::zeroed) };
                self.classes.insert(Plainly(*class), Plainly(rule), 0)
            }
        };
        result.map_err(|error| refused(&format!("install the {} rule on {subject}", subject.kind()), &error))
    }

    fn remove(&mut self, subject: &Subject) -> Result<(), KernelError> {
        let result = match subject {
            Subject::Allow(prefix) => self.allow.remove(&key(prefix)),
            Subject::Deny(prefix) => self.deny.remove(&key(prefix)),
            Subject::Class(class) => self.classes.remove(&Plainly(*class)),
        };
        gone(result).map_err(|error| refused(&format!("remove the {} rule on {subject}", subject.kind()), &error))
    }
}

fn take<M: TryFrom<aya::maps::Map, Error = MapError>>(object: &mut Ebpf, name: &str) -> Result<M, KernelError> {
    let map = object.take_map(name).ok_or_else(|| KernelError::new(format!("take map {name}"), "not in the object"))?;
    M::try_from(map).map_err(|error| refused(&format!("take map {name}"), &error))
}

fn key(prefix: &Prefix) -> Key<Plainly<Address>> {
    Key::new(prefix.bits, Plainly(prefix.address))
}

/// Every entry of a trie by its prefix: the key's layout is [`Prefix`]'s.
fn prefixes<V: Plain, P: Pod>(trie: &Trie<P>) -> Result<Vec<(Prefix, V)>, KernelError> {
    batch::entries(trie.map().fd().as_fd()).map_err(|error| KernelError::new("read prefixes", error))
}

/// A look-up's result; an entry that is not there is no error.
fn found<V>(result: Result<Plainly<V>, MapError>) -> Result<Option<V>, MapError> {
    match result {
        Ok(Plainly(value)) => Ok(Some(value)),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removing what is not there is no error.
fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

fn refused(doing: &str, error: &MapError) -> KernelError {
    let MapError::SyscallError(cause) = error else { return KernelError::new(doing, error) };
    if cause.io_error.raw_os_error() == Some(libc::ENOSPC) {
        return KernelError::new(doing, "the kernel's table is full");
    }
    KernelError::new(doing, &cause.io_error)
}
