//! What the daemon costs, and whether it counts right: tick and snapshot with a million sources, memory, heavy sources
//! among spoofed ones.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::time::{ClockId, clock_gettime};
use sensor::kernel::Kernel as _;
use sensor::kernel::size::Capacity;
use sensor::kernel::xdp::Claimed;
use serde::Serialize;
use serde_json::Value;

use super::feeder::{Feeder, Tool, on_cpu};
use super::measure::establish;
use super::sensor::{bpffs, map_memory};
use super::subject::{Arena, MEASURED, OTHER, Rules, Subject};
use super::traffic::{Kind, Range, Traffic};
use crate::lab::wait_until;

/// Sources that are tracked.
const TRACKED: u64 = 1 << 20;
/// Sources that send in every tick, their handshakes completed: a power of two above 100,000.
const ACTIVE: u64 = 1 << 17;
/// Between two rounds of the active sources: several in each tick of a second.
const ROUND: Duration = Duration::from_millis(250);
/// How long ticks are waited for.
const TICKS_DEADLINE: Duration = Duration::from_secs(60);
/// Ticks that follow the handshakes and are not counted: they take in what these left.
const TICKS_LEFT_OUT: usize = 2;

/// Looks at all sources that are timed.
const LOOKS: usize = 7;

/// Heavy sources.
const HEAVY: u64 = 1_000;
/// Longer list than there are heavy sources.
const LISTED: &str = "2000";

/// What the daemon takes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Footprint {
    /// Sources that the sensor says it tracks.
    pub sources_tracked: u64,
    /// Sources that sent in every tick.
    pub sources_active: u64,
    /// Bytes of each pinned map.
    pub map_bytes: BTreeMap<String, u64>,
    /// Resident bytes of the daemon with that many sources.
    pub rss_bytes: u64,
    /// Milliseconds of each tick.
    pub tick_ms: Vec<f64>,
    /// Milliseconds of each look at all sources, where every one of them sent since the look before.
    pub snapshot_ms: Vec<f64>,
    /// The same, where only the active ones did.
    pub snapshot_active_ms: Vec<f64>,
}

/// Tick, memory and snapshot of the sensor without rules. Its daemon has ended afterwards.
pub(super) fn footprint(arena: &mut Arena, ticks: usize, tiny: bool) -> Result<Footprint> {
    let subject = Subject::Sensor(Rules::None);
    arena.add(subject)?;
    arena.only(&[subject])?;
    let receiver = arena.receiver(subject).context("it was set up")?;
    let sensor = receiver.sensor.as_ref().context("it is a sensor")?;
    let program = receiver.program.as_ref().context("it has a program")?;
    let (frames, sources) = if tiny { (50_000, 1 << 10) } else { (4 * TRACKED as u32, ACTIVE) };
    // Each CPU has a part of the table of its own: half of the sources send to each.
    let halves = [(MEASURED, Range::Free), (OTHER, Range::Denied)].map(|(cpu, range)| -> Result<(usize, Feeder)> {
        let mut half = Feeder::load(Tool::Shuffle, &Traffic::syn(TRACKED / 2).from(range).feed(0xf007)?)?;
        half.aim(program)?;
        Ok((cpu, half))
    });
    let [first, second] = halves;
    let halves = [first?, second?];
    let net = arena.net();
    let flood = || halves.iter().try_for_each(|(cpu, half)| on_cpu(net, *cpu, || half.run(frames).map(drop)));
    flood()?;
    let active = Traffic::syn(sources).connected(7_000);
    establish(arena, active, program)?;
    let mut requests = Feeder::load(Tool::Shuffle, &active.kind(Kind::Request).feed(1)?)?;
    requests.aim(program)?;
    let mut seen: Vec<f64> = Vec::new();
    let mut failed = None;
    // Only this thread keeps to the CPU that is not the daemon's.
    let done = on_cpu(arena.net(), MEASURED, || {
        Ok(wait_until(TICKS_DEADLINE, || {
            if let Err(error) = requests.run(sources as u32) {
                failed = Some(error);
                return true;
            }
            std::thread::park_timeout(ROUND);
            let tick = sensor.status().ok().map(|status| status.tick_ms);
            // Two ticks never take the same time to the nanosecond.
            seen.extend(tick.filter(|tick| seen.last() != Some(tick)));
            seen.len() >= ticks + TICKS_LEFT_OUT
        }))
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    if !done {
        bail!("only {} ticks within {TICKS_DEADLINE:?}", seen.len());
    }
    let mut footprint = Footprint {
        sources_tracked: sensor.status()?.sources_tracked,
        sources_active: sources,
        map_bytes: map_memory(sensor.pins())?,
        rss_bytes: resident(sensor.pid())?,
        tick_ms: seen.split_off(TICKS_LEFT_OUT),
        snapshot_ms: Vec::new(),
        snapshot_active_ms: Vec::new(),
    };
    sensor.end()?;
    let interface = &receiver.link.name;
    footprint.snapshot_ms = looks(arena, interface, &flood)?;
    let again = || on_cpu(net, MEASURED, || requests.run(sources as u32).map(drop));
    footprint.snapshot_active_ms = looks(arena, interface, &again)?;
    arena.forget(subject)?;
    Ok(footprint)
}

/// Takes over the tables as a starting daemon does, and looks at all sources as it does in every tick. Before each look
/// `moved` makes sources send.
fn looks(arena: &Arena, interface: &str, moved: &(dyn Fn() -> Result<()> + Sync)) -> Result<Vec<f64>> {
    let bpffs = bpffs(&arena.lab)?;
    on_cpu(arena.server(), OTHER, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("build a runtime")?;
        let _guard = runtime.enter();
        let claimed = Claimed::claim(&bpffs, interface, &Capacity::default()).context("claim the tables")?;
        let (loaded, mut kernel, _ring) = claimed.load(None).context("take over the tables")?;
        if !loaded.reused() {
            bail!("the tables of the daemon that ended were not taken over");
        }
        // The first look takes in all there is and makes room for it: that is a start, not a tick.
        kernel.sources(now_ns()).context("look at all sources")?;
        (0..LOOKS)
            .map(|_| {
                moved()?;
                let started = std::time::Instant::now();
                let sources = kernel.sources(now_ns()).context("look at all sources")?;
                let elapsed = started.elapsed();
                drop(sources);
                Ok(elapsed.as_secs_f64() * 1e3)
            })
            .collect()
    })
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock can be read");
    u64::try_from(Duration::from(now).as_nanos()).expect("up for less than centuries")
}

/// Resident bytes of a process.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read the daemon's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is a number")?;
    Ok(kilobytes * 1024)
}

/// Largest relative error of the heavy sources' packet counts, as `sensor sources` reports them.
pub(super) fn heavy_count_error(arena: &mut Arena, frames: u64, seed: u64) -> Result<f64> {
    let subject = Subject::Sensor(Rules::Fresh);
    arena.add(subject)?;
    arena.only(&[subject])?;
    let receiver = arena.receiver(subject).context("it was set up")?;
    let sensor = receiver.sensor.as_ref().context("it is a sensor")?;
    let traffic = Traffic { heavy: HEAVY, ..Traffic::syn(TRACKED) };
    let feed = traffic.feed(seed)?;
    let mut flood = Feeder::load(Tool::Shuffle, &feed)?;
    flood.aim(receiver.program.as_ref().context("it has a program")?)?;
    on_cpu(arena.net(), MEASURED, || flood.run(u32::try_from(frames)?))?;
    // The same sequence again, for the truth.
    let mut truth: BTreeMap<u64, u64> = BTreeMap::new();
    let first = feed.pattern.heavy_base;
    for n in 0..frames {
        let address = feed.pattern.draw(n).address;
        if address >= first {
            *truth.entry(address).or_default() += 1;
        }
    }
    let mut reported = BTreeMap::new();
    let complete = wait_until(Duration::from_secs(20), || {
        let answer = sensor.ask(&arena.lab, &["sources", "--sort", "packets", "--limit", LISTED]);
        reported = answer.map(|answer| packets(&answer)).unwrap_or_default();
        // The daemon shows what its latest tick took in.
        truth.keys().filter(|address| reported.contains_key(*address)).count() == truth.len()
            && largest_error(&truth, &reported) < 0.01
    });
    let _ = complete;
    Ok(largest_error(&truth, &reported))
}

fn largest_error(truth: &BTreeMap<u64, u64>, reported: &BTreeMap<u64, u64>) -> f64 {
    let error = |(address, packets): (&u64, &u64)| {
        let is = reported.get(address).copied().unwrap_or_default();
        is.abs_diff(*packets) as f64 / *packets as f64
    };
    truth.iter().map(error).fold(0.0, f64::max)
}

/// Packets by address, of an answer of `sensor sources`.
fn packets(answer: &Value) -> BTreeMap<u64, u64> {
    let sources = answer["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    sources
        .iter()
        .filter_map(|source| {
            let address: Ipv4Addr = source["source"].as_str()?.split('/').next()?.parse().ok()?;
            Some((u64::from(address.to_bits()), source["packets"].as_u64()?))
        })
        .collect()
}
