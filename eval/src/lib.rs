//! The evaluator: labelled traffic from a seed, through the shipped engine, and what came of it.
//!
//! Everything is a function of seed, assumptions, scenario and tunables. The engine is the one that ships, with its
//! defaults; the packet path in front of it is modelled by its own terms ([`sensor::replay::path`]).

pub mod account;
pub mod assumption;
pub mod evaluate;
pub mod page;
pub mod plot;
pub mod quota;
pub mod random;
pub mod record;
pub mod rival;
pub mod run;
pub mod scenario;
pub mod sheet;
pub mod site;
pub mod stat;
pub mod suite;
pub mod summary;
pub mod table;
pub mod tick;
pub mod trace;
pub mod traffic;
