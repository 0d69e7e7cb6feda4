//! What flood tests share: the shipped sensor before a real server, frames in any number from sources that nobody has,
//! and the sensor's own figures. Every run is bounded in frames; asserts nothing about what is right.

pub mod crowd;
pub mod volley;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::XdpMode;
use nix::net::if_::if_nametoindex;
use sensor::control::protocol::Status;

use crate::bench::feeder::{Feeder, Tool, on_cpu_politely};
use crate::lab::sensor::{METRICS, SensorOptions};
use crate::lab::topology::{ROUTER_INTERFACE, SERVER_INTERFACE};
use crate::lab::{Lab, LabPlan, Role, wait_until};
use crate::live::{DEADLINE, Live, possible};
use crate::require::{Tier, require_program};
use volley::Volley;

/// Where forged sources live. What the server answers them ends at the router.
const NOWHERE: [&str; 4] = ["40.0.0.0/6", "80.0.0.0/6", "200.0.0.0/8", "3ffe::/16"];
/// Live frames sent at once: half of what the receiver's queue holds.
const BURST: u64 = 128;
/// How long the receiver may take for them before more are sent regardless.
const TAKEN: Duration = Duration::from_millis(100);
/// Between two looks at what it has taken.
const PAUSE: Duration = Duration::from_micros(20);
/// Without a frame for so long a link that was set up anew is quiet; a tick of the sensor is within.
const HELLO: Duration = Duration::from_millis(2_500);
/// Without a frame for so long, traffic has ended.
const QUIET: Duration = Duration::from_millis(300);

/// The sensor before nginx, and a gun at its link.
pub struct Site {
    /// Keeps the router's end able to send frames of XDP.
    _taker: Feeder,
    /// Index of that end.
    peer: u32,
    /// Frames that went to the server before the sensor came.
    before: u64,
    /// Lab, server and sensor.
    pub live: Live,
}

/// True when these tests can run here; says so otherwise.
///
/// # Panics
/// As [`crate::require::require`].
pub fn ready() -> bool {
    possible(&[]) && require_program(Tier::Net, "ethtool")
}

impl Site {
    /// A small lab with a queue for each CPU between router and server, nginx and the sensor.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(options: SensorOptions) -> Result<Self> {
        let lab = Lab::start(&LabPlan::small())?;
        for (role, interface) in [(Role::Server, SERVER_INTERFACE), (Role::Net, ROUTER_INTERFACE)] {
            let output = lab.output(role, "ethtool", &["-L", interface, "rx", "2", "tx", "2"])?;
            ensure!(output.status.success(), "two queues for {interface}: {}", String::from_utf8_lossy(&output.stderr));
        }
        for prefix in NOWHERE {
            let output = lab.output(Role::Net, "ip", &["route", "add", "blackhole", prefix])?;
            ensure!(output.status.success(), "{prefix}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut taker = Feeder::plain(Tool::Pass)?;
        let peer = lab.space(Role::Net).run(|| -> Result<u32> {
            taker.program()?.attach(ROUTER_INTERFACE, XdpMode::Driver).context("attach to the router's end")?;
            if_nametoindex(ROUTER_INTERFACE).context("index of the router's end")
        })?;
        let live = Live::with(lab, options)?;
        let mut site = Self { _taker: taker, peer, before: 0, live };
        // The interfaces were reset by their new queues, and say hello for a while.
        let came = site.live.lab.wait_quiet(HELLO, DEADLINE)?;
        site.before = came - site.metrics()?.get("frames_total");
        Ok(site)
    }

    /// Sends so many frames to the server from one CPU. How many arrived: what its queue had no room for did not.
    ///
    /// # Errors
    /// When the kernel does not send them.
    pub fn fire(&self, cpu: usize, volley: &Volley, frames: u64) -> Result<u64> {
        let server = self.live.lab.space(Role::Server);
        // It stays what it was opened as: the server's, whoever reads it.
        let counters = server.run(|| File::open("/proc/thread-self/net/dev")).context("open interface counters")?;
        let receiver = Receiver { counters };
        on_cpu_politely(self.live.lab.space(Role::Net), cpu, || {
            let before = receiver.taken()?;
            let mut left = frames;
            while left > 0 {
                let part = left.min(BURST);
                let seen = receiver.taken()?;
                volley.feeder.send(self.peer, part as u32)?;
                receiver.await_taken(seen.0 + seen.1 + part)?;
                left -= part;
            }
            Ok(frames - (receiver.taken()?.1 - before.1))
        })
    }

    /// The sensor's status, as its control socket gives it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> Result<Status> {
        serde_json::from_value(self.live.ask(&["status"])?).context("a status")
    }

    /// Every metric of the sensor by name and labels.
    ///
    /// # Errors
    /// When it is not served.
    pub fn metrics(&self) -> Result<Figures> {
        let url = format!("http://{METRICS}/metrics");
        let output = self.live.lab.output(Role::Server, "curl", &["--silent", "--fail", "--max-time", "10", &url])?;
        ensure!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Figures::read(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Waits until every frame that came is counted and the sensor's metrics say so; gives them.
    ///
    /// # Errors
    /// When the counts do not become equal.
    pub fn settled(&self) -> Result<Figures> {
        let came = self.live.lab.wait_quiet(QUIET, DEADLINE)? - self.before;
        let mut latest = Figures::default();
        let caught_up = wait_until(DEADLINE, || {
            latest = self.metrics().unwrap_or_default();
            latest.0.get("frames_total") == Some(&came)
        });
        ensure!(caught_up, "{came} frames came, the sensor counts {:?}", latest.0.get("frames_total"));
        Ok(latest)
    }
}

/// The server's end of the link.
struct Receiver {
    counters: File,
}

impl Receiver {
    /// Frames that the server's end has taken out of its queue, and those that found no room in it.
    fn taken(&self) -> Result<(u64, u64)> {
        let mut text = [0; 2048];
        let length = self.counters.read_at(&mut text, 0).context("read interface counters")?;
        let text = String::from_utf8_lossy(&text[..length]);
        let row = text.lines().find_map(|line| line.trim().strip_prefix(SERVER_INTERFACE)?.strip_prefix(':'));
        let mut columns = row.context("the server's interface is there")?.split_whitespace().skip(1);
        let mut column = |skip| -> Result<u64> { Ok(columns.nth(skip).context("a short line")?.parse()?) };
        Ok((column(0)?, column(1)?))
    }

    /// Waits until both together are so many. What others send is among them, so this may end early.
    fn await_taken(&self, wanted: u64) -> Result<()> {
        let end = Instant::now() + TAKEN;
        loop {
            let (taken, refused) = self.taken()?;
            if taken + refused >= wanted || Instant::now() >= end {
                return Ok(());
            }
            std::thread::park_timeout(PAUSE);
        }
    }
}

/// Values by name and labels, the prefix that all share left out: `lost_total{kind="events"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(BTreeMap<String, u64>);

impl Figures {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figure = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.strip_prefix("sensor_")?.to_owned(), value.parse().ok()?))
        };
        Self(lines.filter_map(figure).collect())
    }

    /// One figure.
    ///
    /// # Panics
    /// When there is none of this name: tests name only what is there.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no metric {name} in {:#?}", self.0.keys()))
    }

    /// Records and entries lost, of one kind.
    #[must_use]
    pub fn lost(&self, kind: &str) -> u64 {
        self.get(&format!("lost_total{{kind=\"{kind}\"}}"))
    }

    /// What grew since an earlier reading, and by how much.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |(name, value): (&String, &u64)| {
            (name.clone(), value.saturating_sub(earlier.0.get(name).copied().unwrap_or_default()))
        };
        Self(self.0.iter().map(grown).collect())
    }

    /// Kinds of loss that are not zero.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<&str, u64> {
        let lost = self.0.iter().filter(|(name, value)| name.starts_with("lost_total") && **value > 0);
        lost.filter_map(|(name, value)| Some((name.split('"').nth(1)?, *value))).collect()
    }
}
