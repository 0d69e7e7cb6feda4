#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
//! What both sides of the kernel boundary agree on, and the packet path itself.
//!
//! Types that cross the boundary are declared with [`plain!`]; [`path::judge`] decides about one frame. The eBPF
//! program is a thin caller of it, the host runs the very same function in tests, replay and fuzzing. Nothing here
//! reads a clock, allocates, or knows where bytes and tables come from.

pub mod address;
pub mod capacity;
pub mod connection;
pub mod counter;
pub mod event;
mod evidence;
pub mod filter;
pub mod half_open;
pub mod hash;
mod lane;
mod listing;
pub mod names;
pub mod path;
pub mod plain;
pub mod rule;
pub mod seat;
pub mod settings;
pub mod stats;
pub mod stream;
pub mod tables;
pub mod traffic;
pub mod wire;

/// Version of every layout in this crate. Pinned maps of another version are never reused.
pub const ABI_VERSION: u32 = 3;
