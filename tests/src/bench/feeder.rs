//! The kernel's side of a measurement: programs that write frames, and calls that run them, on one CPU and timed.
//! Knows nothing of what is measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::maps::{PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use bench_ebpf::{FRAMES_PER_CPU, JUMP, NEXT, PATTERN};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use sensor_common::plain::Plain;

use super::traffic::Feed;
use crate::lab::become_punctual;
use crate::lab::namespace::Namespace;

static TOOLS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tools.bpf.o"));

/// Live frames handed to the network stack at once.
const BATCH: u32 = 64;
/// What an XDP program returns that found nobody to jump to.
const XDP_ABORTED: u32 = 0;

/// A program of the harness's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Drops.
    Floor,
    /// Reads the source and drops.
    Parse,
    /// Passes.
    Pass,
    /// Writes a frame and sends it back.
    Generator,
    /// Writes a frame and jumps.
    Shuffle,
    /// As above, into programs that take no fragments.
    ShuffleLinear,
    /// Asks a program, and drops what it passes.
    Ending,
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Parse => "parse",
            Self::Pass => "pass",
            Self::Generator => "generator",
            Self::Shuffle => "shuffle",
            Self::ShuffleLinear => "shuffle_linear",
            Self::Ending => "ending",
        }
    }
}

/// One loaded program with what it writes.
pub(crate) struct Feeder {
    object: Ebpf,
    tool: Tool,
    frame: Vec<u8>,
}

impl Feeder {
    /// Loads a program with a pattern of its own. Frames are numbered from 0 on each CPU.
    pub(crate) fn load(tool: Tool, feed: &Feed) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        loader.override_global(PATTERN, feed.pattern.as_bytes(), true);
        let mut object = loader.load(TOOLS).context("create the maps of the bench tools")?;
        let program: &mut Xdp = object.program_mut(tool.name()).context("the object has every tool")?.try_into()?;
        program.load().with_context(|| format!("load {}", tool.name()))?;
        let mut next: PerCpuArray<_, u64> = object.map_mut(NEXT).context("the object has NEXT")?.try_into()?;
        let cpus = nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let numbers: Vec<u64> = (0..cpus as u64).map(|cpu| cpu * FRAMES_PER_CPU).collect();
        next.set(0, PerCpuValues::try_from(numbers).context("a number for each CPU")?, 0)?;
        Ok(Self { object, tool, frame: feed.frame.clone() })
    }

    /// One that writes nothing.
    pub(crate) fn plain(tool: Tool) -> Result<Self> {
        Self::load(tool, &Feed { frame: vec![0; 64], pattern: bench_ebpf::Pattern::zeroed() })
    }

    /// The program, to be attached or jumped into.
    pub(crate) fn program(&mut self) -> Result<&mut Xdp> {
        Ok(self.object.program_mut(self.tool.name()).context("the object has every tool")?.try_into()?)
    }

    /// Names the program that is jumped into.
    pub(crate) fn aim(&mut self, subject: &ProgramFd) -> Result<()> {
        let mut jump: ProgramArray<_> = self.object.map_mut(JUMP).context("the object has JUMP")?.try_into()?;
        jump.set(0, subject, 0).context("put the program under test into the array")
    }

    fn shared(&self) -> Result<&Xdp> {
        Ok(self.object.program(self.tool.name()).context("the object has every tool")?.try_into()?)
    }

    /// Runs the program `count` times on the same frame, on this thread's CPU.
    pub(crate) fn run(&self, count: u32) -> Result<Timed> {
        let options = TestRunOptions { data_in: Some(&self.frame), repeat: count, ..TestRunOptions::new() };
        let started = Instant::now();
        let result = self.shared()?.test_run(options).with_context(|| format!("run {}", self.tool.name()))?;
        let timed = Timed { wall: started.elapsed(), average: result.duration };
        if result.return_value == XDP_ABORTED {
            bail!("{} did not reach the program under test", self.tool.name());
        }
        Ok(timed)
    }

    /// Sends `count` frames out of an interface of this thread's namespace; they have been received at the other end
    /// when this returns.
    pub(crate) fn send(&self, interface: u32, count: u32) -> Result<Timed> {
        let length = u32::try_from(self.frame.len())?;
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, length, 0, interface, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&context),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let started = Instant::now();
        let result = self.shared()?.test_run(options).context("send live frames")?;
        Ok(Timed { wall: started.elapsed(), average: result.duration })
    }
}

/// How long a call took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    /// By the clock on the wall: the kernel's preparations are in it.
    pub(crate) wall: Duration,
    /// The kernel's own figure for one frame, without preparations and without what else ran: whole nanoseconds,
    /// rounded down.
    pub(crate) average: Duration,
}

/// Runs `work` on a thread of its own: in a namespace, on one CPU, before all others.
pub(crate) fn on_cpu<T: Send>(namespace: &Namespace, cpu: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    namespace.run(|| {
        pin(Pid::from_raw(0), cpu)?;
        become_punctual();
        work()
    })
}

/// As [`on_cpu`], but without going before others.
pub(crate) fn on_cpu_politely<T: Send>(
    namespace: &Namespace,
    cpu: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    namespace.run(|| {
        pin(Pid::from_raw(0), cpu)?;
        work()
    })
}

/// Keeps a thread or process to one CPU.
pub(crate) fn pin(pid: Pid, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("there is no CPU {cpu}"))?;
    sched_setaffinity(pid, &set).with_context(|| format!("keep to CPU {cpu}"))
}
