//! The sensor daemon: reads the kernel's tables once a second, decides, and pushes rules back.

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod doctor;
pub mod engine;
pub mod exit;
pub mod kernel;
pub mod metrics;
pub mod replay;
pub mod store;
pub mod tunable;
