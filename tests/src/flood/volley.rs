//! Frames of one kind from many sources, as a function of a seed: what was sent is known without being written down.

use anyhow::Result;
use bench_ebpf::{Draw, Pattern};
use sensor_common::address::Address;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bench::feeder::{Feeder, Tool};
use crate::bench::traffic::{Range, Traffic};
use aya::programs::ProgramFd;

/// Where forged IPv6 sources live: a block that is given back (RFC 3701), so nobody's.
const V6_BASE: u64 = 0x3ffe_0000_0000_0000;
/// The lower half of their addresses, as the frame is built.
const V6_HOST: u64 = 7;

/// A source of frames. The first one is number 0, and each CPU numbers its own.
pub struct Volley {
    pub(super) feeder: Feeder,
    pattern: Pattern,
}

impl Volley {
    /// Frames that are sent into an interface.
    ///
    /// # Errors
    /// When the kernel does not take the generator.
    pub fn live(traffic: Traffic, seed: u64) -> Result<Self> {
        Self::load(Tool::Generator, traffic, seed)
    }

    /// Frames that are handed to a program.
    ///
    /// # Errors
    /// As [`Volley::live`].
    pub fn aimed(program: &ProgramFd, traffic: Traffic, seed: u64) -> Result<Self> {
        let mut volley = Self::load(Tool::Shuffle, traffic, seed)?;
        volley.feeder.aim(program)?;
        Ok(volley)
    }

    fn load(tool: Tool, traffic: Traffic, seed: u64) -> Result<Self> {
        let mut feed = traffic.feed(seed)?;
        if traffic.range == Range::V6 {
            feed.pattern.base = V6_BASE;
        }
        Ok(Self { feeder: Feeder::load(tool, &feed)?, pattern: feed.pattern })
    }

    /// Runs the program that it is aimed at on so many frames, on the CPU of the calling thread.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn run(&self, frames: u32) -> Result<()> {
        self.feeder.run(frames).map(drop)
    }

    /// What frame `number` of CPU 0 carries.
    #[must_use]
    pub const fn draw(&self, number: u64) -> Draw {
        self.pattern.draw(number)
    }

    /// The first heavy source's address; those of all others are below.
    #[must_use]
    pub const fn first_heavy(&self) -> u64 {
        self.pattern.heavy_base
    }

    /// The source of a draw, as the sensor names it.
    #[must_use]
    pub fn source(&self, address: u64) -> Address {
        let ip = if self.pattern.family == 6 {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(address) << 64 | u128::from(V6_HOST)))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(address as u32))
        };
        Address::from(ip).source()
    }
}
