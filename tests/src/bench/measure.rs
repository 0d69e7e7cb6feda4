//! One measurement: nanoseconds per frame of one subject, in one way, in one repetition.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::programs::ProgramFd;

use super::case::{Case, Way};
use super::feeder::{Feeder, Timed, Tool, on_cpu};
use super::subject::{Arena, MEASURED, OTHER, Receiver, Subject};
use super::traffic::{Kind, Traffic};

/// Connections whose handshakes are begun before the first of them is completed.
const HANDSHAKES: u32 = 1 << 15;
/// The most frames that fill tables before a measurement.
const WARM_MOST: u64 = 2_500_000;
/// A new port for each repetition makes new connections.
const FIRST_PORT: u16 = 2_000;
/// Most frames of one call, whatever the clock says.
const FRAMES_MOST: f64 = 30_000_000.0;

/// How much is done for one figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Time that frames are measured for.
    pub(super) goal: Duration,
    /// The most frames that fill tables before.
    pub(super) warm: u64,
}

impl Effort {
    pub(super) const FULL: Self = Self { goal: Duration::from_millis(200), warm: WARM_MOST };
    pub(super) const QUICK: Self = Self { goal: Duration::from_millis(80), warm: 600_000 };
    /// For tests: that it works, not how fast.
    pub(super) const TINY: Self = Self { goal: Duration::from_millis(5), warm: 20_000 };
}

/// Nanoseconds per frame; with two cores, of the two together.
pub(super) fn measure(
    arena: &Arena,
    case: &Case,
    subject: Subject,
    way: Way,
    repetition: u16,
    effort: Effort,
) -> Result<f64> {
    let receiver = arena.receiver(subject).context("the subject was set up")?;
    let mut traffic = case.traffic;
    if traffic.port != 0 {
        // The subject too: several may have the same program.
        traffic.port = FIRST_PORT + repetition * 16 + u16::from(way != Way::Run);
    }
    let judges = matches!(subject, Subject::Sensor(_) | Subject::Lru);
    if case.established && judges {
        establish(arena, traffic, receiver.program.as_ref().context("a program judges")?)?;
    }
    let warm = (traffic.sources * 4).max(50_000).min(effort.warm);
    let feed = traffic.feed(u64::from(repetition) + 1)?;
    if way == Way::Run {
        let mut shuffle = Feeder::load(if receiver.linear { Tool::ShuffleLinear } else { Tool::Shuffle }, &feed)?;
        shuffle.aim(receiver.program.as_ref().context("only programs can be run")?)?;
        // Each connection says hello once.
        let once = (traffic.kind == Kind::Hello).then_some(traffic.sources as u32);
        return on_cpu(arena.net(), MEASURED, || sample(|count| shuffle.run(count), warm, once, effort));
    }
    let link = match (&receiver.ending, way) {
        (Some((link, _)), Way::Live | Way::LiveTwo) => link,
        _ => &receiver.link,
    };
    let generator = Feeder::load(Tool::Generator, &feed)?;
    if way == Way::LiveTwo {
        return both(arena, &generator, link.peer, warm, effort);
    }
    let before = arena.received(&link.name)?;
    let sent = AtomicU64::new(0);
    let send = |count| {
        sent.fetch_add(u64::from(count), Ordering::Relaxed);
        generator.send(link.peer, count)
    };
    let ns = on_cpu(arena.net(), MEASURED, || sample(send, warm, None, effort))?;
    check_received(arena, receiver, &link.name, before, sent.into_inner())?;
    Ok(ns)
}

/// Every frame sent must have been received, or the rate is that of the losses.
fn check_received(arena: &Arena, _: &Receiver, interface: &str, before: u64, sent: u64) -> Result<()> {
    let received = arena.received(interface)? - before;
    // A neighbour's own chatter may come on top.
    if received < sent {
        bail!("{interface} received {received} of {sent} frames");
    }
    Ok(())
}

/// Fills tables, sizes the call, and times it.
fn sample(call: impl Fn(u32) -> Result<Timed>, warm: u64, once: Option<u32>, effort: Effort) -> Result<f64> {
    let fixed = call(2)?.wall;
    let count = match once {
        Some(count) => count - 2,
        None => {
            let filled = call(u32::try_from(warm)?)?;
            let each = per_frame(filled, fixed, warm as u32).max(1.0);
            (effort.goal.as_nanos() as f64 / each).clamp(1_000.0, FRAMES_MOST) as u32
        }
    };
    let timed = call(count)?;
    Ok(per_frame(timed, fixed, count))
}

/// The wall's clock counts preparations that vary by milliseconds, the kernel's figure is cut off to whole
/// nanoseconds: the one within the bounds of the other.
fn per_frame(timed: Timed, fixed: Duration, count: u32) -> f64 {
    let average = timed.average.as_nanos() as f64;
    let wall = timed.wall.saturating_sub(fixed).as_nanos() as f64 / f64::from(count);
    wall.clamp(average, average + 1.0)
}

/// Sends on two cores at once.
fn both(arena: &Arena, generator: &Feeder, peer: u32, warm: u64, effort: Effort) -> Result<f64> {
    let start = Barrier::new(2);
    let one = |cpu| {
        on_cpu(arena.net(), cpu, || {
            start.wait();
            let filled = generator.send(peer, warm as u32);
            start.wait();
            // Longer than for one core, so that the two overlap but for a small part.
            let each = (filled?.average.as_nanos() as f64).max(1.0);
            let count = (2.0 * effort.goal.as_nanos() as f64 / each).clamp(1_000.0, FRAMES_MOST) as u32;
            Ok(generator.send(peer, count)?.average.as_nanos() as f64)
        })
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| one(OTHER));
        let first = one(MEASURED);
        (first, other.join().expect("a sender does not panic"))
    });
    // Rates add up.
    Ok(1.0 / (1.0 / first? + 1.0 / second?))
}

/// Completes a handshake for each source, a part of them at a time: as many as the tables hold stay.
pub(super) fn establish(arena: &Arena, traffic: Traffic, program: &ProgramFd) -> Result<()> {
    let feeder = |kind| -> Result<Feeder> {
        let mut shuffle = Feeder::load(Tool::Shuffle, &traffic.kind(kind).feed(1)?)?;
        shuffle.aim(program)?;
        Ok(shuffle)
    };
    let (attempts, ends) = (feeder(Kind::Syn)?, feeder(Kind::Ack)?);
    on_cpu(arena.net(), MEASURED, || {
        let mut left = traffic.sources;
        while left > 0 {
            let part = left.min(u64::from(HANDSHAKES)) as u32;
            attempts.run(part)?;
            ends.run(part)?;
            left -= u64::from(part);
        }
        Ok(())
    })
}
