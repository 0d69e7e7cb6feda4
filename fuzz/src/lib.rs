//! Targets of the fuzzer: everything that reads bytes which somebody hostile may have written. A target takes any bytes
//! and panics where something that always holds does not.
//!
//! The runner is built by `cargo xtask fuzz` alone; the corpus and every input that once broke something are run by the
//! ordinary tests.

mod target;

use std::path::PathBuf;

/// One thing to fuzz.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line, and that of its folders.
    pub name: &'static str,
    /// What it reads.
    pub meaning: &'static str,
    /// Longest input that makes sense, bytes.
    pub most_bytes: usize,
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "frames", meaning: "frames in the packet path", most_bytes: 8_192, run: target::frame::run },
    Target {
        name: "stream",
        meaning: "a client's TCP stream in the packet path, cut in two ways: TLS and HTTP",
        most_bytes: 16_384,
        run: target::stream::run,
    },
    Target {
        name: "client_hello",
        meaning: "ClientHello to JA4, against the kernel's class",
        most_bytes: 8_192,
        run: target::hello::run,
    },
    Target {
        name: "datagrams",
        meaning: "QUIC Initial packets and DTLS records to a ClientHello",
        most_bytes: 8_192,
        run: target::datagram::run,
    },
    Target { name: "capture_file", meaning: "pcap and pcapng", most_bytes: 16_384, run: target::capture::run },
    Target {
        name: "control",
        meaning: "requests and answers of the control socket",
        most_bytes: 4_096,
        run: target::control::run,
    },
    Target { name: "list", meaning: "lists of prefixes", most_bytes: 4_096, run: target::list::run },
    Target { name: "config", meaning: "the configuration file", most_bytes: 4_096, run: target::config::run },
    Target { name: "stored_state", meaning: "rows of the store", most_bytes: 8_192, run: target::state::run },
];

/// Inputs to begin with, kept small and made by hand.
#[must_use]
pub fn corpus(target: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).join(target)
}
