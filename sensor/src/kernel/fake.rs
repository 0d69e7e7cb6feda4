//! A kernel in plain memory, for tests of the daemon: it holds what it is told, and can be made to lose and refuse.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sensor_common::address::Address;
use sensor_common::counter::Counter;
use sensor_common::event::ConnectionEvent;
use sensor_common::stats::NetworkStats;
use tokio::sync::mpsc;

use super::{
    Completed, Counters, Installed, Kernel, KernelError, Records, SourceStats, TableUse, Terms, Usage, Wanted,
};
use crate::engine::plan::Subject;

/// Places for sources.
const SOURCES: u64 = 1_000;

/// What the fake holds; tests look at it and change it while the daemon runs.
#[derive(Debug, Default)]
pub struct Held {
    pub wanted: Option<Wanted>,
    pub counters: BTreeMap<u32, u64>,
    pub sources: BTreeMap<Address, SourceStats>,
    pub networks: BTreeMap<Address, NetworkStats>,
    pub rules: BTreeMap<Subject, Installed>,
    /// Every install and remove, in order.
    pub writes: Vec<String>,
    /// Refuse to install anything, with this cause.
    pub refuse: Option<String>,
}

/// A kernel in memory. Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct FakeKernel(Arc<Mutex<Held>>);

/// Records that a test sends.
#[derive(Debug)]
pub struct FakeRecords(pub mpsc::Receiver<Vec<ConnectionEvent>>);

impl FakeKernel {
    /// What it holds.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for FakeKernel {
    fn configure(&mut self, wanted: &Wanted) -> Result<(), KernelError> {
        self.held().wanted = Some(wanted.clone());
        Ok(())
    }

    fn seed(&mut self) -> Result<u64, KernelError> {
        Ok(self.held().wanted.as_ref().map_or(0, |wanted| wanted.settings.seed))
    }

    fn counters(&mut self) -> Result<Counters, KernelError> {
        let held = self.held();
        Ok(Counters::new((0..Counter::COUNT).map(|index| held.counters.get(&index).copied().unwrap_or(0)).collect()))
    }

    fn sources(&mut self, _now_ns: u64) -> Result<Vec<Completed>, KernelError> {
        let completed = |(source, stats): (&Address, &SourceStats)| Completed {
            key: source.key(),
            connections: stats.connections,
            requests: stats.requests,
            gap_samples: stats.gap_samples,
            gap_flagged: stats.gap_flagged,
            first_seen_ns: stats.first_seen_ns,
            last_seen_ns: stats.last_seen_ns,
        };
        Ok(self.held().sources.iter().filter(|(_, stats)| stats.connections > 0).map(completed).collect())
    }

    fn each_source(&mut self, _now_ns: u64, visit: &mut dyn FnMut(Address, &SourceStats)) -> Result<(), KernelError> {
        self.held().sources.iter().for_each(|(source, stats)| visit(*source, stats));
        Ok(())
    }

    fn source(&mut self, source: &Address, _now_ns: u64) -> Result<Option<SourceStats>, KernelError> {
        Ok(self.held().sources.get(source).copied())
    }

    fn usage(&self) -> Usage {
        let traffic = TableUse { used: self.held().sources.len() as u64, capacity: SOURCES };
        Usage { traffic, kernel_bytes: 4_096, mirror_bytes: 48 * SOURCES, ..Usage::default() }
    }

    fn remember(&mut self, networks: &[(Address, NetworkStats)]) -> Result<(), KernelError> {
        self.held().networks.extend(networks.iter().copied());
        Ok(())
    }

    fn rules(&mut self) -> Result<BTreeMap<Subject, Installed>, KernelError> {
        Ok(self.held().rules.clone())
    }

    fn tend(&mut self, _now_ns: u64) -> Result<(), KernelError> {
        Ok(())
    }

    fn install(&mut self, subject: &Subject, terms: Terms, stands: bool) -> Result<(), KernelError> {
        let mut held = self.held();
        let doing = format!("install {} {subject}", subject.kind());
        if let Some(cause) = &held.refuse {
            return Err(KernelError::new(doing, cause));
        }
        held.writes.push(doing);
        let old = held.rules.get(subject).copied().filter(|_| stands).unwrap_or_default();
        let terms = if matches!(subject, Subject::Allow(_)) { Terms::default() } else { terms };
        held.rules.insert(*subject, Installed { terms, ..old });
        Ok(())
    }

    fn remove(&mut self, subject: &Subject) -> Result<(), KernelError> {
        let mut held = self.held();
        held.writes.push(format!("remove {} {subject}", subject.kind()));
        held.rules.remove(subject);
        Ok(())
    }
}

impl Records for FakeRecords {
    async fn next(&mut self) -> io::Result<Vec<ConnectionEvent>> {
        match self.0.recv().await {
            Some(records) => Ok(records),
            // The test is done sending; the daemon goes on without records.
            None => std::future::pending().await,
        }
    }
}
