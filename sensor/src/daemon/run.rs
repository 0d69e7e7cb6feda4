//! `sensor run`: starts everything in order, and waits for whatever comes next.
//!
//! Order of the start: configuration; the interface's lock; the store; the program; sockets; rules in the kernel;
//! and only then the program onto the interface. Whatever fails before that leaves the host as it was.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use sensor_common::event::ConnectionEvent;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing_subscriber::EnvFilter;

use super::{Daemon, Parts, protect};
use crate::cli::run::{DetachOptions, LogFormat, RunOptions};
use crate::config::{Config, DEFAULT_BPFFS};
use crate::control::server::{self, Call};
use crate::exit::{Code, Failure};
use crate::kernel::clock::Clock;
use crate::kernel::xdp::{Claimed, Hold};
use crate::kernel::{self, Detached, Kernel, KernelError, Records};
use crate::metrics::serve;
use crate::store;
use crate::store::writer::Writer;

/// One tick.
const TICK: Duration = Duration::from_secs(1);

/// Between two looks at peers, gateways and the interface.
const SURVEY: Duration = Duration::from_secs(60);

/// Between two slices of rule changes that are too many for one tick.
const CATCH_UP: Duration = Duration::from_millis(50);

/// Requests that wait at most.
const CALLS: usize = 64;

/// What ends the waiting.
enum Wake {
    Tick,
    CatchUp,
    Survey,
    Records(io::Result<Vec<ConnectionEvent>>),
    Call(Call),
    Reload,
    Stop(&'static str),
}

/// Runs the sensor until SIGTERM or SIGINT. The program stays attached, and rules go on until they expire.
///
/// # Errors
/// With the exit code of what was missing, wrong or taken.
pub fn run(flags: &RunOptions) -> Result<(), Failure> {
    let config = Config::load(flags)?;
    start_log(config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Runtime, format!("the runtime cannot start: {error}"), ""))?;
    runtime.block_on(start(config, flags.clone()))
}

/// Removes program, tables and rules of one interface, or of all of them. Gives what was done, one line each.
///
/// # Errors
/// Exit code 6 while a daemon runs on the interface: stopping it is a decision of its own.
pub fn detach(options: &DetachOptions) -> Result<String, Failure> {
    let (interface, bpffs) = match Config::file(options.config.as_deref())? {
        Some(config) => (Some(config.interface).filter(|name| !name.is_empty()), config.bpffs),
        None => (None, PathBuf::from(DEFAULT_BPFFS)),
    };
    let bpffs = options.bpffs.clone().unwrap_or(bpffs);
    let interfaces = match options.interface.clone().or(interface) {
        Some(interface) => vec![interface],
        None => kernel::pinned(&bpffs),
    };
    let mut text = String::new();
    for interface in &interfaces {
        let Detached { link, maps } = kernel::detach(&bpffs, interface)?;
        text.push_str(&match (link, maps) {
            (false, 0) => format!("{interface}: nothing to remove\n"),
            (false, maps) => format!("{interface}: {maps} tables removed\n"),
            (true, maps) => format!("{interface}: program detached, {maps} tables removed\n"),
        });
    }
    if interfaces.is_empty() {
        text.push_str("no interface has a sensor attached\n");
    }
    Ok(text)
}

async fn start(config: Config, flags: RunOptions) -> Result<(), Failure> {
    let clock = Clock::anchored();
    let claimed = Claimed::claim(&config.bpffs, &config.interface, &config.capacity)?;
    let opened = store::open(&config.state_dir)?;
    for warning in &opened.warnings {
        tracing::warn!("{warning}");
    }
    // What is in the tables of an earlier run stands where its seed put it.
    let seed = (!opened.stored.fresh).then_some(opened.stored.seed);
    let (loaded, kernel, mut ring) = claimed.load(seed)?;
    let socket = server::bind(&config.socket)?;
    let scraped = match config.metrics {
        Some(address) => Some(serve::bind(address).await?),
        None => None,
    };
    let mode = config.mode;
    let parts = Parts {
        config,
        flags,
        kernel,
        clock,
        stored: opened.stored,
        writer: opened.store.map(Writer::start),
        survey: protect::survey(),
        warnings: opened.warnings,
        reused: loaded.reused(),
    };
    let mut daemon = Daemon::new(parts, clock.now()).map_err(unready)?;
    let (attachment, hold) = loaded.attach(mode)?;
    tracing::info!(
        event = "attached",
        interface = attachment.interface,
        mode = attachment.mode.name(),
        taken_over = attachment.reused,
        enforce = daemon.config.enforce,
        "the sensor is attached",
    );
    daemon.attached(attachment);
    if let Some(listener) = scraped {
        tokio::spawn(serve::serve(listener, daemon.metrics().exposition()));
    }
    let (sender, calls) = mpsc::channel(CALLS);
    tokio::spawn(server::serve(socket, sender));
    let why = wait(&mut daemon, &mut ring, calls, &hold, clock).await?;
    tracing::info!(event = "stopping", "{why}: the program stays attached, rules go on until they expire");
    if let Err(error) = daemon.finish().await {
        tracing::warn!(event = "state_lost", "the last state could not be written: {error}");
    }
    Ok(())
}

/// The loop: whatever comes next, until a signal ends it.
async fn wait<K: Kernel, R: Records>(
    daemon: &mut Daemon<K>,
    ring: &mut R,
    mut calls: mpsc::Receiver<Call>,
    hold: &Hold,
    clock: Clock,
) -> Result<&'static str, Failure> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut ticks = every(TICK);
    let mut surveys = every(SURVEY);
    surveys.reset();
    let mut slices = every(CATCH_UP);
    loop {
        let wake = tokio::select! {
            _ = ticks.tick() => Wake::Tick,
            _ = surveys.tick() => Wake::Survey,
            _ = slices.tick(), if daemon.has_backlog() => Wake::CatchUp,
            records = ring.next() => Wake::Records(records),
            Some(call) = calls.recv() => Wake::Call(call),
            _ = hangup.recv() => Wake::Reload,
            _ = terminate.recv() => Wake::Stop("SIGTERM"),
            _ = interrupt.recv() => Wake::Stop("SIGINT"),
        };
        let now = clock.now();
        match wake {
            Wake::Tick => daemon.tick(now),
            Wake::CatchUp => daemon.catch_up(now),
            Wake::Survey => daemon.survey(now, protect::survey(), hold.fault()),
            Wake::Records(Ok(records)) => daemon.observe(&records),
            Wake::Records(Err(error)) => {
                let hint = "the program stays attached; start the sensor again";
                return Err(Failure::new(Code::Runtime, format!("the event ring cannot be read: {error}"), hint));
            }
            Wake::Call((request, reply)) => {
                // Whoever asked may be gone by now.
                let _ = reply.send(daemon.answer(request, now));
            }
            Wake::Reload => {
                // The fault is in the log and in `status`.
                let _ = daemon.reload(now);
            }
            Wake::Stop(signal) => return Ok(signal),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Code::Runtime, format!("signals cannot be received: {error}"), ""))
}

fn unready(error: KernelError) -> Failure {
    Failure::new(Code::Runtime, error.to_string(), "`sensor detach` takes away the tables of an earlier run")
}

/// The log goes to standard error; `RUST_LOG` says how much of it.
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A log that is already there (tests) stays.
    let _ = match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
