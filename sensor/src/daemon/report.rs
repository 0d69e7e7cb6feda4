//! How the sensor is: the answer to `status`, and one tick's facts for the metrics.

use std::collections::BTreeMap;

use sensor_common::capacity;
use sensor_common::counter::{Counter, Group};

use super::Daemon;
use crate::control::protocol::{Rates, Status, TableFill};
use crate::engine::plan::Kinds;
use crate::engine::time::Time;
use crate::kernel::{Attachment, Kernel, TableUse, XdpMode};
use crate::metrics::Tick;
use crate::metrics::tick::{Campaigns, Fill, Rules, Tables};

/// Share of a table, percent, above which it is called nearly full.
const NEARLY_FULL_PERCENT: u64 = 90;

impl<K: Kernel> Daemon<K> {
    /// The answer to `status`.
    pub(super) fn status(&self, now: Time) -> Status {
        let facts = &self.facts;
        let total = |counter| facts.counters.get(counter);
        let engine = self.engine.counts();
        let attached = self.attachment.as_ref();
        Status {
            sensor_version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            ready: attached.is_some() && facts.ticks > 0,
            started_at_unix_s: facts.started.unix_s(),
            uptime_s: now.since(facts.started).as_seconds(),
            interface: self.config.interface.clone(),
            xdp_mode: attached.map_or("", |attached| attached.mode.name()).to_owned(),
            fallback: attached.and_then(|attached| attached.fallback.clone()),
            mode: if self.config.enforce { "enforce" } else { "dry_run" }.to_owned(),
            services: self.config.services.clone(),
            frames: total(Counter::Frames),
            bytes: total(Counter::Bytes),
            connections: total(Counter::Connections),
            requests: total(Counter::RequestsExact).saturating_add(total(Counter::RequestsEstimated)),
            rates: Rates::between(facts.previous.as_slice(), facts.counters.as_slice(), facts.elapsed_s),
            dropped: self.group(Group::Drop),
            would_drop: self.group(Group::WouldDrop),
            rejects: self.group(Group::Reject),
            unknown: self.group(Group::Unknown),
            lost: self.group(Group::Lost),
            sources_tracked: facts.usage.traffic.used,
            sources_capacity: facts.usage.traffic.capacity,
            sources_evicted: total(Counter::EvictedSources),
            tables: self.tables(),
            kernel_memory_bytes: facts.usage.kernel_bytes,
            mirror_memory_bytes: facts.usage.mirror_bytes,
            networks_known: engine.networks,
            cohorts_followed: engine.cohorts,
            events_received: facts.records,
            campaigns_open: engine.campaigns_open,
            rules: self.kinds(),
            rules_pending: self.enforcement.pending() as u64,
            learning: self.engine.learning(),
            tick_ms: facts.tick_s * 1e3,
            config_path: self.config.path.as_ref().map(|path| path.display().to_string()),
            config_loaded_at_unix_s: facts.config_loaded.unix_s(),
            config_error: facts.config_error.clone(),
            warnings: self.warnings(),
        }
    }

    /// Tables whose size was chosen at the start.
    fn tables(&self) -> BTreeMap<String, TableFill> {
        let usage = &self.facts.usage;
        [
            ("sources", usage.traffic),
            ("records", usage.sources),
            ("connections", usage.connections),
            ("attempts", usage.attempts),
            ("networks", usage.networks),
        ]
        .map(|(name, TableUse { used, capacity })| (name.to_owned(), TableFill { used, capacity }))
        .into()
    }

    fn group(&self, group: Group) -> BTreeMap<String, u64> {
        let of_group = Counter::ALL.iter().filter(|counter| counter.group() == group);
        of_group.map(|counter| (counter.name().to_owned(), self.facts.counters.get(*counter))).collect()
    }

    /// Rules in the kernel, by kind.
    fn kinds(&self) -> BTreeMap<String, u64> {
        let Kinds { allow, deny, class } = self.enforcement.kinds;
        [("allow", allow), ("deny", deny), ("class", class)].map(|(kind, n)| (kind.to_owned(), n as u64)).into()
    }

    /// What an operator should look at.
    fn warnings(&self) -> Vec<String> {
        let facts = &self.facts;
        let mut warnings = facts.warnings.clone();
        warnings.extend(facts.detached.clone());
        if let Some(Attachment { fallback: Some(why), .. }) = &self.attachment {
            warnings.push(format!("generic XDP, which costs more per frame: {why}"));
        }
        warnings.extend(facts.config_error.iter().map(|error| format!("the last reload was refused: {error}")));
        warnings.extend(facts.kernel_error.iter().map(|error| format!("the kernel refuses: {error}")));
        if let Some((subject, cause)) = self.enforcement.refused.first_key_value() {
            let more = self.enforcement.refused.len();
            warnings.push(format!("{more} rule(s) not installed, for example on {subject}: {cause}"));
        }
        if facts.drift > 0 {
            let times = facts.drift;
            warnings.push(format!("somebody else changed the sensor's rules in the kernel {times} time(s); put right"));
        }
        for counter in Counter::ALL.iter().filter(|counter| counter.group() == Group::Lost) {
            let lost = facts.counters.get(*counter);
            // In a flood of forged sources they only drive out each other.
            if lost > 0 && *counter != Counter::EvictedSources {
                warnings.push(format!("{lost} {} lost for want of room", counter.name().replace('_', " ")));
            }
        }
        let TableUse { used, capacity } = facts.usage.sources;
        if capacity > 0 && used * 100 >= capacity * NEARLY_FULL_PERCENT {
            warnings.push(
                "the table of sources with a completed handshake is nearly full, those seen longest ago go first: give \
                 [capacity] more `records`"
                    .to_owned(),
            );
        }
        let store = self.writer.as_ref().and_then(|writer| writer.health().error);
        warnings.extend(store.map(|error| format!("state is not being kept: {error}")));
        warnings
    }

    /// Hands one tick's facts to the metrics.
    pub(super) fn record_metrics(&mut self) {
        let engine = self.engine.counts();
        let facts = &self.facts;
        let learning = self.engine.learning();
        let Kinds { allow, deny, class } = self.enforcement.kinds;
        let rules = Rules { allow: allow as u64, deny: deny as u64, class: class as u64 };
        let fill = |entries: u64, capacity: u32| Fill { entries, capacity: u64::from(capacity) };
        let of = |TableUse { used, capacity }| Fill { entries: used, capacity };
        let tunables = &self.config.tunables;
        let tables = Tables {
            sources: of(facts.usage.traffic),
            records: of(facts.usage.sources),
            connections: of(facts.usage.connections),
            attempts: of(facts.usage.attempts),
            networks: of(facts.usage.networks),
            allow: fill(rules.allow, capacity::ALLOW),
            deny: fill(rules.deny, capacity::DENY),
            classes: fill(rules.class, capacity::CLASSES),
            tiered: fill(self.config.tiers.prefix_count() as u64, capacity::TIERED),
            engine_sources: Fill { entries: engine.sources, capacity: tunables.sources_max },
            engine_networks: Fill { entries: engine.networks, capacity: tunables.networks_max },
            engine_cohorts: Fill { entries: engine.cohorts, capacity: tunables.cohorts_max },
        };
        let attached = self.attachment.as_ref();
        self.metrics.record(&Tick {
            counters: facts.counters.as_slice(),
            tables,
            sources_evicted: facts.counters.get(Counter::EvictedSources),
            kernel_memory_bytes: facts.usage.kernel_bytes,
            mirror_memory_bytes: facts.usage.mirror_bytes,
            campaigns: Campaigns {
                open: engine.campaigns_open,
                closed: engine.campaigns_closed,
                opened: facts.campaigns_opened,
            },
            rules,
            tick_s: facts.tick_s,
            native: attached.is_some_and(|attached| attached.mode == XdpMode::Native),
            native_fallback: attached.is_some_and(|attached| attached.fallback.is_some()),
            enforcing: self.config.enforce && facts.detached.is_none() && facts.kernel_error.is_none(),
            enforce_configured: self.config.enforce,
            learning_calm_s: learning.calm_s,
            learning_needed_s: learning.needed_s,
            config_loaded_at_unix_s: facts.config_loaded.unix_s(),
            config_failures: facts.config_failures,
            drift_repaired: facts.drift,
            store_errors: self.writer.as_ref().map_or(0, |writer| writer.health().failures),
        });
    }
}
