//! The delay line: joins pairs of TUN devices in different namespaces and holds every packet for half the round trip
//! of its address. Packets of one address and direction stay in order. Queues are bounded; losses are counted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, setns};
use nix::sys::time::TimeSpec;
use nix::unistd::{read, write};
use serde::{Deserialize, Serialize};

use crate::lab::address::Distances;
use crate::lab::{become_punctual, open_tun};

/// Packets that one device may have in flight.
const QUEUE_MAX: usize = 20_000;
/// Packets taken from one device before the others get their turn.
const BATCH: usize = 64;
/// Largest packet of a TUN device with the usual MTU, with room to spare.
const PACKET_MAX: usize = 4096;

/// What the process `sensor-lab line` is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LinePlan {
    /// Seed of the jitter.
    pub(crate) seed: u64,
    /// Pairs of devices.
    pub(crate) links: Vec<LinkPlan>,
    /// Where counters are written once a second; the file appears when all devices are open.
    pub(crate) report: PathBuf,
}

/// One pair of TUN devices, each given as namespace file and device name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LinkPlan {
    /// The side whose addresses decide the delay.
    pub(crate) near: (PathBuf, String),
    /// The other side.
    pub(crate) far: (PathBuf, String),
    /// Round trip in milliseconds for each near address; others pass at once.
    pub(crate) round_trips: Distances,
    /// Largest random extra delay of a packet.
    pub(crate) jitter_ms: f64,
}

/// Counters of the whole line.
#[derive(Debug, Default)]
struct Counters {
    forwarded: AtomicU64,
    dropped: AtomicU64,
    late_max_ns: AtomicU64,
}

/// A device with what is known about its packets' way.
struct Port {
    device: OwnedFd,
    /// Index of the port on the other side.
    peer: usize,
    /// True when the near addresses are the sources of what is read here.
    near: bool,
    waiting: usize,
    link: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    due_ns: u64,
    order: u64,
    port: usize,
    packet: Vec<u8>,
}

struct Line {
    ports: Vec<Port>,
    one_way_ns: Vec<HashMap<IpAddr, u64>>,
    jitter_ns: Vec<u64>,
    last_due_ns: HashMap<(usize, IpAddr), u64>,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    start: Instant,
    draw: fastrand::Rng,
    counters: Arc<Counters>,
}

/// Runs the line of a plan file until the process is killed.
///
/// # Errors
/// When the plan cannot be read or a device cannot be opened.
pub fn run(plan: &Path) -> Result<()> {
    let text = fs::read(plan).with_context(|| format!("read {}", plan.display()))?;
    let plan: LinePlan = serde_json::from_slice(&text).context("parse the delay line's plan")?;
    let mut line = Line::open(&plan)?;
    let counters = Arc::clone(&line.counters);
    write_report(&plan.report, &counters)?;
    let report = plan.report.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::park_timeout(Duration::from_secs(1));
            if write_report(&report, &counters).is_err() {
                break;
            }
        }
    });
    if !become_punctual() {
        eprintln!("delay line: no real-time priority; delays may be late under load");
    }
    line.forward()
}

fn write_report(path: &Path, counters: &Counters) -> Result<()> {
    let report = serde_json::json!({
        "forwarded": counters.forwarded.load(Ordering::Relaxed),
        "dropped": counters.dropped.load(Ordering::Relaxed),
        "late_max_us": counters.late_max_ns.load(Ordering::Relaxed) / 1000,
    });
    let fresh = path.with_extension("new");
    fs::write(&fresh, report.to_string()).context("write the delay line's report")?;
    fs::rename(&fresh, path).context("replace the delay line's report")
}

fn open_in(end: &(PathBuf, String)) -> Result<OwnedFd> {
    let (space, device) = end;
    let file = fs::File::open(space).with_context(|| format!("open {}", space.display()))?;
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(file.as_fd(), CloneFlags::CLONE_NEWNET).context("enter a namespace")?;
                open_tun(device).with_context(|| format!("attach to the TUN device {device}"))
            })
            .join()
            .expect("opening a device does not panic")
    })
}

impl Line {
    fn open(plan: &LinePlan) -> Result<Self> {
        let mut ports = Vec::new();
        let mut one_way_ns = Vec::new();
        let mut jitter_ns = Vec::new();
        for (link, spec) in plan.links.iter().enumerate() {
            let first = ports.len();
            ports.push(Port { device: open_in(&spec.near)?, peer: first + 1, near: true, waiting: 0, link });
            ports.push(Port { device: open_in(&spec.far)?, peer: first, near: false, waiting: 0, link });
            one_way_ns.push(spec.round_trips.iter().map(|(address, ms)| (*address, ms_to_ns(ms / 2.0))).collect());
            jitter_ns.push(ms_to_ns(spec.jitter_ms));
        }
        Ok(Self {
            ports,
            one_way_ns,
            jitter_ns,
            last_due_ns: HashMap::new(),
            flying: BinaryHeap::new(),
            order: 0,
            start: Instant::now(),
            draw: fastrand::Rng::with_seed(plan.seed),
            counters: Arc::default(),
        })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn forward(&mut self) -> Result<()> {
        loop {
            self.land();
            let timeout = self.flying.peek().map(|Reverse(next)| {
                TimeSpec::from_duration(Duration::from_nanos(next.due_ns.saturating_sub(self.now_ns())))
            });
            let mut polled: Vec<PollFd<'_>> =
                self.ports.iter().map(|port| PollFd::new(port.device.as_fd(), PollFlags::POLLIN)).collect();
            match ppoll(&mut polled, timeout, None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("wait for packets"),
            }
            let ready: Vec<usize> = polled
                .iter()
                .enumerate()
                .filter(|(_, poll)| poll.revents().is_some_and(|events| !events.is_empty()))
                .map(|(index, _)| index)
                .collect();
            for port in ready {
                self.take_off(port)?;
            }
        }
    }

    /// Reads what waits at a port and notes when each packet is due at the other side.
    fn take_off(&mut self, index: usize) -> Result<()> {
        let mut buffer = [0_u8; PACKET_MAX];
        for _ in 0..BATCH {
            let length = match read(&self.ports[index].device, &mut buffer) {
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(error) => return Err(error).context("read from a TUN device: is its namespace gone?"),
            };
            let port = &mut self.ports[index];
            if port.waiting >= QUEUE_MAX {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            port.waiting += 1;
            let (near, link) = (port.near, port.link);
            let now = self.now_ns();
            let mut due_ns = now;
            if let Some(address) = near_address(&buffer[..length], near) {
                let jitter = if self.jitter_ns[link] > 0 { self.draw.u64(0..=self.jitter_ns[link]) } else { 0 };
                due_ns = now + self.one_way_ns[link].get(&address).copied().unwrap_or(0) + jitter;
                let last = self.last_due_ns.entry((index, address)).or_insert(0);
                due_ns = due_ns.max(*last);
                *last = due_ns;
            }
            self.order += 1;
            self.flying.push(Reverse(Flying {
                due_ns,
                order: self.order,
                port: index,
                packet: buffer[..length].to_vec(),
            }));
        }
        Ok(())
    }

    /// Delivers everything that is due.
    fn land(&mut self) {
        loop {
            let now = self.now_ns();
            if self.flying.peek().is_none_or(|Reverse(next)| next.due_ns > now) {
                return;
            }
            let Some(Reverse(flying)) = self.flying.pop() else { return };
            self.counters.late_max_ns.fetch_max(now - flying.due_ns, Ordering::Relaxed);
            let port = &mut self.ports[flying.port];
            port.waiting -= 1;
            let peer = port.peer;
            let counter = match write(&self.ports[peer].device, &flying.packet) {
                Ok(_) => &self.counters.forwarded,
                Err(_) => &self.counters.dropped,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "delays are small positive numbers")]
fn ms_to_ns(ms: f64) -> u64 {
    (ms.max(0.0) * 1e6) as u64
}

/// The address of the near side: the source of what comes from there, the destination of what goes there.
fn near_address(packet: &[u8], from_near: bool) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => {
            let at = if from_near { 12 } else { 16 };
            let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        6 => {
            let at = if from_near { 8 } else { 24 };
            let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}
