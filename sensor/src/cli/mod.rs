//! The command line: flags in, requests to the daemon, answers out.
//!
//! What runs the sensor itself (`run`, `detach`, `check-config`) is only described here; `main` carries it out.

pub mod ask;
pub mod capture;
pub mod command;
pub mod duration;
mod frames;
pub mod output;
pub mod render;
pub mod replay;
pub mod run;
pub mod style;
