//! The kernel's tables as one value. The one place that calls the crate's boundary types `Pod`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use aya::maps::{Array, HashMap, IterableMap, Map, MapData, MapError, PerCpuArray};
use aya::{Ebpf, Pod};
use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;
use sensor_common::counter::Counter;
use sensor_common::filter::Trie;
use sensor_common::names;
use sensor_common::plain::Plain;
use sensor_common::rule::TierLimit;
use sensor_common::settings::{Settings, Sizes};
use sensor_common::stats::NetworkStats;

use super::book::Book;
use super::classes::Classes;
use super::drift::Check;
use super::filter::Filter;
use super::memory::Memory;
use super::mirror::{Mirror, Traffic};
use super::shared::{AttemptCells, Cells, ConnectionCells, Mapped, NetworkCells, SourceCells, TrafficCells};
use super::size::SERVICE_WORDS;
use super::trie::{self, KernelTries, enter_tier, key};
use super::{
    Completed, Counters, Installed, Kernel, KernelError, RulesPart, SourceStats, Terms, Usage, Wanted, batch, completed,
};
use crate::engine::plan::Subject;

/// A boundary type, as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Plainly<T>(pub(super) T);

// SAFETY: a `Plain` type has no padding and no invalid bit pattern, and this wrapper has its layout.
unsafe impl<T: Plain> Pod for Plainly<T> {}

pub(super) type Table<K, V> = HashMap<MapData, Plainly<K>, Plainly<V>>;

/// Looks between two counts of places in use in the tables that a look does not read anyway.
const COUNT_EVERY: u64 = 10;

/// All tables but the ring.
pub struct Maps {
    settings: Array<MapData, Plainly<Settings>>,
    /// What was written to them last.
    written: Settings,
    services: Array<MapData, u64>,
    counters: PerCpuArray<MapData, Plainly<[u64; Counter::COUNT as usize]>>,
    traffic: Mapped<TrafficCells>,
    mirror: Mirror,
    attempts: Mapped<AttemptCells>,
    sources: Mapped<SourceCells>,
    networks: Mapped<NetworkCells>,
    connections: Mapped<ConnectionCells>,
    book: Book<KernelTries>,
    check: Check,
    classes: Classes,
    tiered: trie::Table<u32>,
    /// What stands in the trie of tiers.
    tiers: BTreeMap<Prefix, u32>,
    limits: Array<MapData, Plainly<TierLimit>>,
    /// When the latest look was, monotonic nanoseconds.
    latest_ns: Option<u64>,
    looks: u64,
    usage: Usage,
    memory: Memory,
}

impl Maps {
    /// Takes the tables out of a loaded object that was given these sizes.
    pub(super) fn take(object: &mut Ebpf, sizes: &Sizes) -> Result<Self, KernelError> {
        let memory = Memory::of(object);
        let settings: Array<MapData, Plainly<Settings>> = take(object, names::SETTINGS)?;
        // All zero unless an earlier run left them, and then these are its sizes too.
        let Plainly(standing) = settings.get(&0, 0).map_err(|error| refused("read settings", &error))?;
        let written = Settings { sizes: *sizes, ..standing };
        let elements = sizes.elements();
        let filter = mapped::<AtomicU64>(object, names::FILTER, sensor_common::filter::WORDS)?;
        let mut filter = Filter::new(filter, written.seed);
        let tiered: trie::Table<u32> = take(object, names::TIERED)?;
        let tiers: BTreeMap<Prefix, u32> = tiers(&tiered)?;
        tiers.keys().for_each(|prefix| filter.enter(Trie::Tier, prefix));
        let tries = KernelTries { allow: take(object, names::ALLOW)?, deny: take(object, names::DENY)? };
        let rules = mapped(object, names::RULES, capacity::RULES)?;
        let book = Book::open(tries, rules, mapped(object, names::HITS, elements.hits)?, filter)?;
        book.filter.settle();
        Ok(Self {
            settings,
            services: take(object, names::SERVICES)?,
            counters: take(object, names::COUNTERS)?,
            traffic: mapped(object, names::TRAFFIC, elements.traffic)?,
            mirror: Mirror::new(&written),
            attempts: mapped(object, names::HALF_OPEN, elements.half_open)?,
            sources: mapped(object, names::SOURCES, elements.sources)?,
            networks: mapped(object, names::NETWORKS, elements.networks)?,
            connections: mapped(object, names::CONNECTIONS, elements.connections)?,
            book,
            check: Check::default(),
            classes: Classes(take(object, names::CLASSES)?),
            tiered,
            tiers,
            limits: take(object, names::LIMITS)?,
            written,
            latest_ns: None,
            looks: 0,
            usage: Usage::new(sizes),
            memory,
        })
    }

    fn set_tiers(&mut self, wanted: &Wanted) -> Result<(), KernelError> {
        for index in 0..capacity::TIERS {
            let limit = wanted.limits.get(index as usize).copied().unwrap_or_else(TierLimit::zeroed);
            self.limits.set(index, Plainly(limit), 0).map_err(|error| refused("write limits", &error))?;
        }
        for (prefix, tier) in &wanted.tiered {
            let standing = self.tiers.get(prefix).copied();
            if standing == Some(*tier) {
                continue;
            }
            if standing.is_none() {
                self.book.filter.enter(Trie::Tier, prefix);
                // From here on it is taken out again, also if it does not get in.
                self.tiers.insert(*prefix, u32::MAX);
            }
            enter_tier(&mut self.tiered, prefix, *tier).map_err(|error| refused("write tiers", &error))?;
            self.tiers.insert(*prefix, *tier);
        }
        let wanted: BTreeSet<&Prefix> = wanted.tiered.iter().map(|(prefix, _)| prefix).collect();
        let old: Vec<Prefix> = self.tiers.keys().filter(|prefix| !wanted.contains(prefix)).copied().collect();
        for prefix in old {
            gone(self.tiered.remove(&key(&prefix))).map_err(|error| refused("take out a tier's prefix", &error))?;
            self.tiers.remove(&prefix);
            self.book.filter.leave(Trie::Tier, &prefix);
        }
        Ok(())
    }

    /// Chooses where everything stands, before anything does.
    fn seed_tables(&mut self, seed: u64) -> Result<(), KernelError> {
        if seed == self.written.seed {
            return Ok(());
        }
        if self.written.seed != 0 {
            let cause = "the tables are filled by another installation's seed";
            return Err(KernelError::new("write settings", cause));
        }
        let tiers: Vec<Prefix> = self.tiers.keys().copied().collect();
        tiers.iter().for_each(|prefix| self.book.filter.leave(Trie::Tier, prefix));
        self.book.filter.reseed(seed);
        tiers.iter().for_each(|prefix| self.book.filter.enter(Trie::Tier, prefix));
        self.written.seed = seed;
        self.mirror = Mirror::new(&self.written);
        Ok(())
    }

    fn count(&mut self) {
        self.usage.attempts.used = completed::used(self.attempts.iter().flat_map(|bucket| &bucket.tags));
        self.usage.networks.used = completed::used(self.networks.iter().flat_map(|bucket| &bucket.keys));
        self.usage.connections.used = completed::used(self.connections.iter().flat_map(|bucket| &bucket.tags));
        self.usage.kernel_bytes = self.memory.bytes();
        self.usage.mirror_bytes = self.mirror.bytes();
    }

    fn stats(&self, key: u64, traffic: Option<&Traffic>) -> Option<SourceStats> {
        let record = completed::get(&self.sources, &self.written, key);
        (traffic.is_some() || record.is_some()).then(|| SourceStats::of(traffic, record.as_ref()))
    }
}

impl Kernel for Maps {
    fn configure(&mut self, wanted: &Wanted) -> Result<(), KernelError> {
        self.seed_tables(wanted.settings.seed)?;
        let mut words = vec![0_u64; SERVICE_WORDS as usize];
        for port in &wanted.services {
            words[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        for (index, word) in (0..).zip(words) {
            self.services.set(index, word, 0).map_err(|error| refused("write services", &error))?;
        }
        self.set_tiers(wanted)?;
        // Last: whoever reads the settings finds the rest in place.
        let settings = Settings { sizes: self.written.sizes, ..wanted.settings };
        self.settings.set(0, Plainly(settings), 0).map_err(|error| refused("write settings", &error))?;
        self.written = settings;
        Ok(())
    }

    fn seed(&mut self) -> Result<u64, KernelError> {
        Ok(self.written.seed)
    }

    fn counters(&mut self) -> Result<Counters, KernelError> {
        let cells = self.counters.get(&0, 0).map_err(|error| refused("read counters", &error))?;
        let mut sums = vec![0_u64; Counter::COUNT as usize];
        for Plainly(of_cpu) in cells.iter() {
            sums.iter_mut().zip(of_cpu).for_each(|(sum, cell)| *sum = sum.wrapping_add(*cell));
        }
        Ok(Counters::new(sums))
    }

    fn sources(&mut self, now_ns: u64) -> Result<Vec<Completed>, KernelError> {
        self.mirror.look(&self.traffic, now_ns);
        let (changed, used) = completed::changed(&self.sources, self.latest_ns);
        self.usage.traffic.used = self.mirror.used();
        self.usage.sources.used = used;
        if self.looks.is_multiple_of(COUNT_EVERY) {
            self.count();
        }
        self.looks += 1;
        self.latest_ns = Some(now_ns);
        Ok(changed)
    }

    fn each_source(&mut self, now_ns: u64, visit: &mut dyn FnMut(Address, &SourceStats)) -> Result<(), KernelError> {
        self.mirror.look(&self.traffic, now_ns);
        self.mirror.each(&self.traffic, now_ns, |key, traffic| {
            if let Some(stats) = self.stats(key, Some(traffic)) {
                visit(Address::from_key(key), &stats);
            }
        });
        completed::each(&self.sources, |record| {
            if self.mirror.get(&self.traffic, now_ns, record.key).is_none() {
                visit(Address::from_key(record.key), &SourceStats::of(None, Some(record)));
            }
        });
        Ok(())
    }

    fn source(&mut self, source: &Address, now_ns: u64) -> Result<Option<SourceStats>, KernelError> {
        self.mirror.look(&self.traffic, now_ns);
        let traffic = self.mirror.get(&self.traffic, now_ns, source.key());
        Ok(self.stats(source.key(), traffic.as_ref()))
    }

    fn usage(&self) -> Usage {
        self.usage.clone()
    }

    fn remember(&mut self, networks: &[(Address, NetworkStats)]) -> Result<(), KernelError> {
        completed::remember(&self.networks, &self.written, networks);
        Ok(())
    }

    fn rules(&mut self) -> Result<BTreeMap<Subject, Installed>, KernelError> {
        let mut rules = self.book.rules()?;
        rules.extend(self.classes.rules()?);
        Ok(rules.into_iter().collect())
    }

    fn rules_after(&mut self, after: Option<&Subject>, most: usize) -> Result<RulesPart, KernelError> {
        let (mut rules, next) = self.book.rules_after(after, most)?;
        if next.is_none() {
            let classes = self.classes.rules()?.into_iter();
            rules.extend(classes.filter(|(subject, _)| after.is_none_or(|after| subject > after)));
        }
        Ok((rules, next))
    }

    fn tend(&mut self, now_ns: u64) -> Result<(), KernelError> {
        self.check.step(&mut self.book, now_ns)
    }

    fn install(&mut self, subject: &Subject, terms: Terms, _stands: bool) -> Result<(), KernelError> {
        if self.book.is_worn_out() {
            self.book.refresh(&self.traffic);
        }
        let result = match subject {
            Subject::Allow(_) => self.book.install(subject, u64::MAX, self.check.number()),
            Subject::Deny(_) => self.book.install(subject, terms.expires_ns, self.check.number()),
            Subject::Class(class) => self.classes.install(class, terms),
        };
        result
            .map_err(|error| KernelError::new(format!("install the {} rule on {subject}", subject.kind()), error.cause))
    }

    fn remove(&mut self, subject: &Subject) -> Result<(), KernelError> {
        let result = match subject {
            Subject::Class(class) => self.classes.remove(class),
            Subject::Allow(_) | Subject::Deny(_) => self.book.remove(subject),
        };
        result
            .map_err(|error| KernelError::new(format!("remove the {} rule on {subject}", subject.kind()), error.cause))
    }
}

pub(super) fn take<M: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, name: &str) -> Result<M, KernelError> {
    let map = object.take_map(name).ok_or_else(|| KernelError::new(format!("take map {name}"), "not in the object"))?;
    M::try_from(map).map_err(|error| refused(&format!("take map {name}"), &error))
}

/// Maps an array of the object, once its shape was found to be this one.
fn mapped<T: Cells>(object: &mut Ebpf, name: &str, entries: u32) -> Result<Mapped<T>, KernelError> {
    let doing = format!("map {name} into memory");
    let map = object.take_map(name).ok_or_else(|| KernelError::new(&doing, "not in the object"))?;
    let Map::Array(data) = map else { return Err(KernelError::new(doing, "it is no array")) };
    let info = data.info().map_err(|error| refused(&doing, &error))?;
    if (info.value_size() as usize, info.max_entries()) != (size_of::<T>(), entries) {
        return Err(KernelError::new(doing, "it has another shape"));
    }
    Mapped::of(data.fd().as_fd(), entries as usize).map_err(|error| KernelError::new(doing, error))
}

/// Every prefix of a tier: the key's layout is [`Prefix`]'s.
fn tiers(table: &trie::Table<u32>) -> Result<BTreeMap<Prefix, u32>, KernelError> {
    let mut all = BTreeMap::new();
    let mut from = None;
    loop {
        let piece = batch::piece::<Prefix, u32>(table.map().fd().as_fd(), from.as_ref());
        let (found, next) = piece.map_err(|error| KernelError::new("read tiers", error))?;
        all.extend(found);
        if next.is_none() {
            return Ok(all);
        }
        from = next;
    }
}

/// Removing what is not there is no error.
pub(super) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

pub(super) fn refused(doing: &str, error: &MapError) -> KernelError {
    let MapError::SyscallError(cause) = error else { return KernelError::new(doing, error) };
    if cause.io_error.raw_os_error() == Some(libc::ENOSPC) {
        return KernelError::new(doing, "the kernel's table is full");
    }
    KernelError::new(doing, &cause.io_error)
}
