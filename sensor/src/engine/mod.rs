//! The detection engine: evidence in, plans out. No I/O, no clock, no randomness; time is an argument.
//!
//! The same settings, records and snapshots give the same plans, byte for byte.

pub mod plan;
pub mod record;
pub mod time;
