//! The configuration file: read or refused, with a reason and advice.

use std::path::Path;

use sensor::config::Config;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(failure) = Config::parse(text, Path::new("sensor.toml")) {
        assert!(!failure.error.is_empty(), "a reason");
    }
}
