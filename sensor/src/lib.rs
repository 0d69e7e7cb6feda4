//! The sensor daemon: reads the kernel's tables once a second, decides, and pushes rules back.

pub mod capture_file;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod doctor;
pub mod engine;
pub mod evidence;
pub mod exit;
pub mod fingerprint;
pub mod host;
pub mod kernel;
pub mod metrics;
pub mod replay;
pub mod store;
pub mod tunable;
