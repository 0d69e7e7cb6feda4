//! What machine this is, what was built, and how quiet it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use super::memory::{MEGABYTES, latency_ns};
use crate::lab::wait_until;

/// The machine and the program.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the CPU.
    pub cpu: String,
    /// CPUs.
    pub cpus: usize,
    /// What the kernel does against speculation, as far as it slows programs: returns and indirect jumps.
    pub mitigations: String,
    /// Commit of the sensor, with `+` if the checkout was changed.
    pub commit: String,
    /// Seconds since 1970 at the end of the run.
    pub at_unix_s: u64,
    /// Repetitions of each figure.
    pub repetitions: u16,
    /// Share of time that the host gave to others, of all CPUs, while it ran.
    pub steal_ratio: f64,
    /// Load averages over one minute, one at the start of each repetition.
    pub load: Vec<f64>,
    /// Nanoseconds of a load that depends on the one before, by the megabytes that loads are spread over.
    pub memory_ns: BTreeMap<usize, f64>,
    /// Releases of the peers.
    pub peers: Vec<String>,
}

/// Time of all CPUs since the start, in ticks: all, stolen, idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    all: u64,
    stolen: u64,
    idle: u64,
}

impl Clock {
    /// Now.
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u64> =
            stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        Self { all: fields.iter().take(8).sum(), stolen: field(7), idle: field(3) + field(4) }
    }

    /// Share of the time since then that was stolen.
    pub(super) fn stolen(self) -> f64 {
        let now = Self::now();
        now.stolen.saturating_sub(self.stolen) as f64 / now.all.saturating_sub(self.all).max(1) as f64
    }

    fn idle(self, now: Self) -> f64 {
        now.idle.saturating_sub(self.idle) as f64 / now.all.saturating_sub(self.all).max(1) as f64
    }
}

/// Waits until nine tenths of the machine were idle for a moment, or for so long.
pub(super) fn wait_quiet(most: Duration) {
    wait_until(most, || {
        let before = Clock::now();
        std::thread::park_timeout(Duration::from_millis(200));
        before.idle(Clock::now()) >= 0.9
    });
}

/// Load average over one minute.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

impl Machine {
    /// What there is to know at the start.
    pub fn look(repetitions: u16) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: release.trim().to_owned(),
            cpu: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            mitigations: mitigations(),
            commit: commit(),
            at_unix_s: 0,
            repetitions,
            steal_ratio: 0.0,
            load: Vec::new(),
            memory_ns: MEGABYTES.iter().map(|megabytes| (*megabytes, latency_ns(*megabytes))).collect(),
            peers: [("nft", "--version"), ("xdp-filter", "--version"), ("nginx", "-v")]
                .iter()
                .filter_map(|(program, flag)| first_line(program, &[flag]))
                .collect(),
        }
    }
}

fn mitigations() -> String {
    let folder = Path::new("/sys/devices/system/cpu/vulnerabilities");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned();
    format!("spectre_v2: {}; spec_rstack_overflow: {}", read("spectre_v2"), read("spec_rstack_overflow"))
}

fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    // A checkout of another user's is only looked at.
    let git = |words: &[&str]| first_line("git", &[&["-c", "safe.directory=*", "-C", folder], words].concat());
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some();
    format!("{commit}{}", if changed { "+" } else { "" })
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
