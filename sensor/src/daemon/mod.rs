//! The daemon: one value that reads the kernel once a tick, lets the engine decide, and carries the difference out.
//!
//! Everything it does is a method that takes the time; [`run`] wires the methods to clock, ring, signals and socket.

pub mod protect;
pub mod run;
pub mod standing;

mod answer;
mod bulk;
mod campaign;
mod change;
mod enforce;
mod look;
mod recent;
mod report;

use std::time::Instant;

use sensor_common::address::Address;
use sensor_common::event::{ConnectionEvent, UNKNOWN_US};
use sensor_common::plain::Plain;
use sensor_common::rule::TierLimit;
use sensor_common::settings::Settings;
use sensor_common::stats::NetworkStats;
use sensor_common::{ABI_VERSION, counter::Counter};

use self::enforce::Enforcement;
use self::recent::Latest;
use self::standing::Standing;
use crate::cli::run::RunOptions;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::network::Network;
use crate::engine::plan::{Notice, Subject};
use crate::engine::record::{ConnectionRecord, Snapshot, SourceTotals};
use crate::engine::time::Time;
use crate::kernel::clock::Clock;
use crate::kernel::{Attachment, Completed, Counters, Kernel, KernelError, Usage, Wanted};
use crate::metrics::Metrics;
use crate::store::Stored;
use crate::store::standing::StandingRows;
use crate::store::writer::{Batch, Wants, Writer};

/// Ticks between two batches for the store.
const TICKS_PER_BATCH: u64 = 5;

/// What a daemon starts with.
pub struct Parts<K> {
    pub config: Config,
    /// The command line, for reloads.
    pub flags: RunOptions,
    pub kernel: K,
    pub clock: Clock,
    pub stored: Stored,
    /// `None`: nothing is kept.
    pub writer: Option<Writer>,
    /// Who must be able to reach this host.
    pub survey: protect::Survey,
    /// What the operator should know about the start.
    pub warnings: Vec<String>,
    /// Whether the kernel's tables are those of an earlier run.
    pub reused: bool,
}

/// See the module.
pub struct Daemon<K> {
    config: Config,
    flags: RunOptions,
    kernel: K,
    clock: Clock,
    engine: Engine,
    standing: Standing,
    enforcement: Enforcement,
    attachment: Option<Attachment>,
    seed: u64,
    writer: Option<Writer>,
    standing_changed: bool,
    /// An operator's word on a campaign waits to be stored.
    judged: bool,
    metrics: Metrics,
    facts: Facts,
    latest: Latest,
}

/// What is counted and remembered for `status` and metrics.
#[derive(Default)]
struct Facts {
    started: Time,
    config_loaded: Time,
    config_error: Option<String>,
    config_failures: u64,
    warnings: Vec<String>,
    ticks: u64,
    tick_s: f64,
    last_tick: Option<Time>,
    elapsed_s: f64,
    counters: Counters,
    previous: Counters,
    /// How full the kernel's tables were at the last tick.
    usage: Usage,
    records: u64,
    drift: u64,
    campaigns_opened: u64,
    kernel_error: Option<String>,
    /// What the regular look at the interface found wrong.
    detached: Option<String>,
}

impl<K: Kernel> Daemon<K> {
    /// Takes up what was stored and writes settings and standing rules to the kernel, before the program is attached.
    ///
    /// # Errors
    /// If the kernel refuses the settings.
    pub fn new(parts: Parts<K>, now: Time) -> Result<Self, KernelError> {
        let Parts { config, flags, kernel, clock, stored, writer, survey, warnings, reused } = parts;
        let Stored { seed, state, standing, fresh } = stored;
        let mut engine = Engine::keyed(&config.tunables, config.tiers.clone(), seed);
        let networks = state.networks.put.clone();
        engine.restore(state, now);
        let mut daemon = Self {
            standing: Standing::new(&config.allow, standing, now),
            config,
            flags,
            kernel,
            clock,
            engine,
            enforcement: Enforcement::default(),
            attachment: None,
            seed,
            writer,
            standing_changed: false,
            judged: false,
            metrics: Metrics::new(),
            facts: Facts { started: now, config_loaded: now, warnings, ..Facts::default() },
            latest: Latest::default(),
        };
        daemon.standing.protect(now, survey);
        if reused && fresh {
            daemon.adopt()?;
        }
        daemon.configure()?;
        if !reused {
            daemon.remember(networks)?;
        }
        daemon.enforce_all(now);
        Ok(daemon)
    }

    /// Takes up what the kernel still has of an installation whose stored state is lost: its seed, so that fingerprints
    /// stay comparable, and the prefixes it refuses. Allow rules are not taken up: why they stood is not known.
    fn adopt(&mut self) -> Result<(), KernelError> {
        let seed = self.kernel.seed()?;
        if seed != 0 {
            self.seed = seed;
        }
        for (subject, installed) in self.kernel.rules()? {
            if matches!(subject, Subject::Deny(_)) {
                let expires = Some(self.clock.time(installed.terms.expires_ns));
                let reason = "taken over from the kernel: the stored state was lost".to_owned();
                self.standing.put(subject, expires, reason);
            }
        }
        self.standing.expire(self.facts.started);
        self.standing_changed = true;
        Ok(())
    }

    /// Tells how the program came to hang on the interface.
    pub fn attached(&mut self, attachment: Attachment) {
        self.facts.warnings.extend(attachment.warnings.iter().cloned());
        self.attachment = Some(attachment);
    }

    /// The metrics, for the server.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Enters connection records.
    pub fn observe(&mut self, records: &[ConnectionEvent]) {
        self.facts.records = self.facts.records.saturating_add(records.len() as u64);
        for event in records {
            self.latest.keep(event);
            self.engine.observe(&record(event, &self.clock));
        }
    }

    /// One tick: look, decide, carry out.
    pub fn tick(&mut self, now: Time) {
        let began = Instant::now();
        match self.look(now) {
            Ok(snapshot) => {
                self.facts.kernel_error = None;
                self.standing.expire(now);
                let plan = self.engine.step(now, &snapshot, self.standing.rules());
                self.journal(&plan.notices);
                self.enforce(now);
            }
            Err(error) => self.note_kernel_error(&error),
        }
        self.facts.ticks = self.facts.ticks.saturating_add(1);
        if self.facts.ticks.is_multiple_of(TICKS_PER_BATCH) || self.is_unsaved() {
            self.store();
        }
        self.facts.tick_s = began.elapsed().as_secs_f64();
        self.record_metrics();
    }

    /// What the kernel knows.
    fn look(&mut self, now: Time) -> Result<Snapshot, KernelError> {
        let now_ns = self.clock.monotonic_ns(now);
        let counters = self.kernel.counters()?;
        let sources = self.kernel.sources(now_ns)?;
        self.kernel.tend(now_ns)?;
        let connections = counters.get(Counter::Connections);
        self.facts.previous = std::mem::replace(&mut self.facts.counters, counters);
        let elapsed = self.facts.last_tick.map_or(0, |before| now.since(before).0);
        self.facts.elapsed_s = elapsed as f64 / 1e9;
        self.facts.last_tick = Some(now);
        self.facts.usage = self.kernel.usage();
        let sources = sources.iter().map(|completed| totals(completed, &self.clock)).collect();
        Ok(Snapshot { sources, connections })
    }

    /// Writes settings, services and tiers to the kernel.
    fn configure(&mut self) -> Result<(), KernelError> {
        self.kernel.configure(&wanted(&self.config, self.seed))
    }

    /// Puts known networks back into the kernel, least recently seen first: most of its table, the rest is for new ones.
    fn remember(&mut self, mut networks: Vec<([u8; 16], Network)>) -> Result<(), KernelError> {
        networks.sort_unstable_by_key(|(octets, network)| (network.last_seen, *octets));
        let restored = self.config.capacity.networks as usize / 4 * 3;
        let late = networks.split_off(networks.len().saturating_sub(restored));
        let stats = |(octets, network): ([u8; 16], Network)| {
            let first_seen_ns = self.clock.monotonic_ns(network.first_seen);
            let last_seen_ns = self.clock.monotonic_ns(network.last_seen);
            (Address { octets }, NetworkStats { first_seen_ns, last_seen_ns })
        };
        let late: Vec<_> = late.into_iter().map(stats).collect();
        self.kernel.remember(&late)
    }

    /// Whether an operator's decision waits to be stored.
    fn is_unsaved(&self) -> bool {
        self.judged || self.standing_changed || self.standing.is_unsaved()
    }

    /// Hands what changed to the store's thread, if it is ready for more; the next tick tries again otherwise.
    fn store(&mut self) {
        let Some(writer) = &self.writer else { return };
        let state = match writer.wants() {
            Wants::Nothing => return,
            Wants::Changes => self.engine.changes(),
            Wants::Everything => self.engine.save(),
        };
        let everything = writer.wants() == Wants::Everything;
        let standing = (self.is_unsaved() || everything).then(|| self.standing.changes(everything));
        (self.standing_changed, self.judged) = (false, false);
        let seed = standing.is_some().then_some(self.seed);
        writer.put(Batch { state, standing, seed });
    }

    /// Writes everything to the store; the last act.
    ///
    /// # Errors
    /// If it could not be written; what to tell the operator.
    pub async fn finish(mut self) -> Result<(), String> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let standing = StandingRows { put: self.standing.rows(), whole: true, ..StandingRows::default() };
        writer.finish(Batch { state: self.engine.save(), standing: Some(standing), seed: Some(self.seed) }).await
    }

    fn journal(&mut self, notices: &[Notice]) {
        for Notice { kind, campaign, text } in notices {
            if *kind == "campaign_opened" {
                self.facts.campaigns_opened = self.facts.campaigns_opened.saturating_add(1);
            }
            tracing::info!(event = kind, campaign, "{text}");
        }
    }

    fn note_kernel_error(&mut self, error: &KernelError) {
        let text = error.to_string();
        if self.facts.kernel_error.as_ref() != Some(&text) {
            tracing::error!(event = "kernel_error", "{text}");
        }
        self.facts.kernel_error = Some(text);
    }

    /// Takes the regular look at peers, gateways and the interface.
    pub fn survey(&mut self, now: Time, survey: protect::Survey, detached: Option<String>) {
        let before = self.standing.rules().mark();
        self.standing.protect(now, survey);
        if self.standing.rules().mark() != before {
            self.enforce(now);
        }
        if let Some(why) = &detached
            && self.facts.detached.is_none()
        {
            tracing::error!(event = "detached", "{why}");
        }
        self.facts.detached = detached;
    }
}

/// What the configuration asks of the packet path.
fn wanted(config: &Config, seed: u64) -> Wanted {
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let settings = Settings {
        seed,
        abi_version: ABI_VERSION,
        enforce: u32::from(config.enforce),
        relay_gap_us: small(config.tunables.relay_gap_ms.saturating_mul(1_000)),
        relay_gap_rtt_percent: small(config.tunables.relay_gap_rtt_percent),
        events_per_s: small(config.tunables.events_per_s),
        ..Settings::zeroed()
    };
    let limits = config
        .tiers
        .all()
        .iter()
        .map(|tier| TierLimit { connections_per_s: tier.connections_per_s, requests_per_min: tier.requests_per_min });
    let tiered = config.tiers.prefixes().into_iter().map(|(prefix, tier)| (prefix, small(tier as u64)));
    Wanted { settings, services: config.services.clone(), limits: limits.collect(), tiered: tiered.collect() }
}

fn totals(completed: &Completed, clock: &Clock) -> SourceTotals {
    SourceTotals {
        source: completed.source(),
        connections: completed.connections,
        requests: completed.requests,
        // The packet path does not count them yet.
        answer_bytes: 0,
        first_seen: clock.time(completed.first_seen_ns),
        last_seen: clock.time(completed.last_seen_ns),
    }
}

fn record(event: &ConnectionEvent, clock: &Clock) -> ConnectionRecord {
    let measured = |us: u32| (us != UNKNOWN_US).then_some(us);
    ConnectionRecord {
        at: clock.time(event.at_ns),
        client: event.client,
        service: event.service,
        protocol: event.protocol,
        fingerprint: event.fingerprint,
        rtt_us: event.rtt_us,
        hello_gap_us: measured(event.hello_gap_us),
        flight_gap_us: measured(event.flight_gap_us),
        flags: event.flags,
    }
}

#[cfg(test)]
mod tests;
