//! Frames from text: a terse notation for frame tables, built byte by byte with etherparse.
//!
//! ```text
//! [vlan 5] v4 203.0.113.9:40000 > 192.0.2.2:8000 S seq 1 ts 100,0 mss 1460 payload "GET / HTTP/1.1\r\n"
//! ```
//!
//! First `v4` or `v6` with source and destination (each may be left out: 203.0.113.9:40000, 2001:db8:9::9 and the
//! lab's server with port 8443 stand in; so may the port alone), then words in any order:
//!
//! | word | meaning |
//! |---|---|
//! | `S` `SA` `A` `PA` `FA` `R` `-` | TCP flags, from F S R P A U E C; `-` is none |
//! | `udp`, `proto N` | UDP, or any other protocol, in place of TCP |
//! | `seq N` `ack N` `win N` | TCP fields; left out: 1, 1 where A is set, 64240 |
//! | `ts A,B` `mss N` `ws N` `sackok` `nop` `opt HEX` | TCP options, in the order given, padded to 4 bytes |
//! | `payload "..."` `bytes HEX` `fill N` | payload; escapes `\r \n \t \0 \" \\ \xHH`; repeated ones are joined |
//! | `hello 1.3` `hello 1.2` | a small ClientHello in one record, 59 or 50 bytes of payload |
//! | `record TYPE N` | a TLS record of N bytes, 5 more of payload |
//! | `vlan ID` `qinq ID` | 802.1Q or 802.1ad tag, outermost first |
//! | `ttl N` `df` `options HEX` | IP fields; IPv4 options are padded to 4 bytes |
//! | `frag` `frag N` `frag N+` | fragment at offset N x 8 bytes; `+` or no number: more follow |
//! | `hop` `dest` `route` `auth` `mobility` | IPv6 extension headers, in the order given |
//! | `cut N` `keep N` `pad N` | without the last N bytes, with only the first N, with N zero bytes behind |
//! | `poke OFFSET HEX` | overwrite bytes, after checksums and before `cut`, `keep`, `pad` |
//!
//! In place of `v4`/`v6`: `arp` (a request) or `raw HEX` (the whole frame). Several frames are joined by `;`, each may
//! begin with the time since the one before: `+30ms`, `+2s`, `+500us`.

mod build;
mod notation;
mod spec;
pub mod table;

use std::time::Duration;

/// A frame with the time since the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Time since the step before.
    pub after: Duration,
    /// The bytes on the wire, without frame check sequence.
    pub frame: Vec<u8>,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError(String);

impl FrameError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FrameError {}

/// Builds one frame.
///
/// # Errors
/// A word that is not understood, or a value that does not fit; the text says which.
pub fn frame(text: &str) -> Result<Vec<u8>, FrameError> {
    build::build(&notation::parse(text)?.1)
}

/// Builds a sequence of frames separated by `;`.
///
/// # Errors
/// As [`frame`].
pub fn steps(text: &str) -> Result<Vec<Step>, FrameError> {
    notation::split(text, ';')?
        .iter()
        .map(|part| {
            let (after, spec) = notation::parse(part)?;
            Ok(Step { after, frame: build::build(&spec)? })
        })
        .collect()
}
