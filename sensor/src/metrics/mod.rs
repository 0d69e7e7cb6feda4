//! Metrics for Prometheus. One call a tick; the number of series is a constant; addresses, prefixes and fingerprints
//! are never labels.

mod kernel;
mod series;
pub mod serve;
pub mod tick;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use sensor_common::ABI_VERSION;

use kernel::KernelTotals;
use series::{Total, Whole, bytes, gauge, gauges, seconds};
pub use tick::Tick;

/// Most series one sensor publishes, histogram buckets included. A test holds them to it.
pub const SERIES_MAX: usize = 180;

/// Upper bounds of the tick's histogram, seconds. A tick has one second.
const TICK_BOUNDS_S: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Tables by the names of their label, in the order of [`Metrics::record`].
const TABLES: [&str; 12] = [
    "sources",
    "records",
    "connections",
    "attempts",
    "networks",
    "allow",
    "deny",
    "classes",
    "tiered",
    "engine_sources",
    "engine_networks",
    "engine_cohorts",
];

/// Every metric of the sensor.
#[derive(Debug)]
pub struct Metrics {
    exposition: Exposition,
    kernel: KernelTotals,
    sources_tracked: Whole,
    sources_evicted: Total,
    entries: [Whole; TABLES.len()],
    capacity: [Whole; TABLES.len()],
    kernel_memory: Whole,
    mirror_memory: Whole,
    campaigns: [Whole; 2],
    campaigns_opened: Total,
    rules: [Whole; 3],
    tick: Histogram,
    attach_mode: [Whole; 2],
    native_fallback: Whole,
    enforcing: Whole,
    enforce_configured: Whole,
    learning_calm: Whole,
    learning_needed: Whole,
    config_loaded: Whole,
    config_failures: Total,
    drift_repaired: Total,
    store_errors: Total,
}

/// What the scraper gets: a handle on the metrics that can be handed to the server.
#[derive(Clone, Debug)]
pub struct Exposition {
    registry: Arc<Registry>,
    latest: Arc<Mutex<Option<Instant>>>,
}

impl Metrics {
    /// All series, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sensor");
        let r = &mut registry;
        let kernel = KernelTotals::register(r);
        let sources_tracked = gauge(r, "sources_tracked", "Places taken in the kernel's table of sources");
        let sources_evicted = Total::register(r, "sources_evicted", "Sources forgotten for new ones");
        let entries = gauges(r, "map_entries", "Entries of each bounded table", "map", TABLES);
        let capacity = gauges(r, "map_capacity", "Entries each bounded table can hold", "map", TABLES);
        let kernel_memory = bytes(r, "kernel_memory", "Memory of the kernel's tables");
        let mirror_memory = bytes(r, "mirror_memory", "Most memory that the daemon's totals of sources may take");
        let campaigns = gauges(r, "campaigns", "Campaigns known, by state", "state", ["open", "closed"]);
        let campaigns_opened = Total::register(r, "campaigns_opened", "Campaigns raised");
        let rules = gauges(r, "rules", "Rules in the kernel, by kind", "kind", ["allow", "deny", "class"]);
        let tick = Histogram::new(TICK_BOUNDS_S);
        r.register_with_unit("tick", "Work of one tick; it has one second", Unit::Seconds, tick.clone());
        let help = "1 for how the XDP program is attached, 0 for the other way";
        let attach_mode = gauges(r, "attach_mode", help, "mode", ["native", "generic"]);
        let help = "Whether native mode was asked for and not to be had";
        let native_fallback = gauge(r, "native_fallback", help);
        let enforcing = gauge(r, "enforcing", "Whether verdicts are carried out; 0 is dry run");
        let enforce_configured = gauge(r, "enforce_configured", "Whether configuration or command line ask to enforce");
        let learning_calm = seconds(r, "learning_calm", "Calm traffic learned so far");
        let learning_needed = seconds(r, "learning_needed", "Calm traffic wanted before automatic rules");
        let help = "When the configuration in force was read, on the Unix scale";
        let config_loaded = seconds(r, "config_reload_success_timestamp", help);
        let config_failures = Total::register(r, "config_reload_failures", "Configurations refused at reload");
        let help = "Rules found changed in the kernel by somebody else, and put right";
        let drift_repaired = Total::register(r, "kernel_drift_repaired", help);
        let store_errors = Total::register(r, "store_errors", "Failed writes to the store");
        let build = Family::<[(&str, String); 2], Whole>::default();
        let labels = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("abi", ABI_VERSION.to_string())];
        build.get_or_create(&labels).set(1);
        r.register("build_info", "Release of the daemon and version of the kernel tables' layout; always 1", build);
        let exposition = Exposition { registry: Arc::new(registry), latest: Arc::default() };
        Self {
            exposition,
            kernel,
            sources_tracked,
            sources_evicted,
            entries,
            capacity,
            kernel_memory,
            mirror_memory,
            campaigns,
            campaigns_opened,
            rules,
            tick,
            attach_mode,
            native_fallback,
            enforcing,
            enforce_configured,
            learning_calm,
            learning_needed,
            config_loaded,
            config_failures,
            drift_repaired,
            store_errors,
        }
    }

    /// Takes over one tick's facts.
    pub fn record(&mut self, tick: &Tick<'_>) {
        let Tick { counters, tables, sources_evicted, campaigns, rules, tick_s, native, native_fallback, .. } = *tick;
        self.kernel.follow(counters);
        self.sources_tracked.set(tables.sources.entries);
        self.sources_evicted.follow(sources_evicted);
        self.kernel_memory.set(tick.kernel_memory_bytes);
        self.mirror_memory.set(tick.mirror_memory_bytes);
        let fills = fills(tables);
        for ((fill, entries), capacity) in fills.iter().zip(&self.entries).zip(&self.capacity) {
            entries.set(fill.entries);
            capacity.set(fill.capacity);
        }
        set(&self.campaigns, [campaigns.open, campaigns.closed]);
        self.campaigns_opened.follow(campaigns.opened);
        set(&self.rules, [rules.allow, rules.deny, rules.class]);
        self.tick.observe(tick_s);
        set(&self.attach_mode, [u64::from(native), u64::from(!native)]);
        self.native_fallback.set(u64::from(native_fallback));
        self.enforcing.set(u64::from(tick.enforcing));
        self.enforce_configured.set(u64::from(tick.enforce_configured));
        self.learning_calm.set(tick.learning_calm_s);
        self.learning_needed.set(tick.learning_needed_s);
        self.config_loaded.set(tick.config_loaded_at_unix_s);
        self.config_failures.follow(tick.config_failures);
        self.drift_repaired.follow(tick.drift_repaired);
        self.store_errors.follow(tick.store_errors);
        *self.exposition.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The handle for [`serve::serve`].
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        self.exposition.clone()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Exposition {
    /// The metrics as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    /// How long ago the latest tick was; `None` before the first.
    #[must_use]
    pub fn tick_age(&self) -> Option<Duration> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }
}

/// In the order of [`TABLES`].
const fn fills(tables: tick::Tables) -> [tick::Fill; TABLES.len()] {
    let tick::Tables { sources, records, connections, attempts, networks, allow, deny, classes, tiered, .. } = tables;
    let tick::Tables { engine_sources, engine_networks, engine_cohorts, .. } = tables;
    [
        sources,
        records,
        connections,
        attempts,
        networks,
        allow,
        deny,
        classes,
        tiered,
        engine_sources,
        engine_networks,
        engine_cohorts,
    ]
}

fn set<const N: usize>(gauges: &[Whole; N], values: [u64; N]) {
    for (gauge, value) in gauges.iter().zip(values) {
        gauge.set(value);
    }
}
