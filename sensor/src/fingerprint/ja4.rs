//! JA4, the TLS client fingerprint (FoxIO, BSD-3-Clause; technical details of JA4 in the FoxIO-LLC/ja4 repository).
//!
//! `a_b_c`: a is transport, version, server name or not, numbers of cipher suites and extensions, ALPN; b the sorted
//! cipher suites, hashed; c the sorted extensions without server name and ALPN, and the signature algorithms as sent,
//! hashed. GREASE is left out everywhere, of signature algorithms too: browsers have begun to put it there.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::hello::{ClientHello, Transport};

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// Extensions that follow resumption and length, not the client: padding, pre_shared_key, early_data.
const PASSING: [u16; 3] = [21, 41, 42];
/// The hash of nothing.
const NOTHING: &str = "000000000000";
/// Numbers beyond it are written as it is.
const COUNT_MAX: usize = 99;

/// The fingerprint of a ClientHello, in parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ja4 {
    transport: Transport,
    version: u16,
    names_server: bool,
    alpn: [char; 2],
    /// Sorted.
    ciphers: Vec<u16>,
    /// Sorted.
    extensions: Vec<u16>,
    /// As sent.
    signatures: Vec<u16>,
}

impl Ja4 {
    /// The fingerprint of a hello.
    #[must_use]
    pub fn of(hello: &ClientHello) -> Self {
        let mut ja4 = Self {
            transport: hello.transport,
            version: hello.version,
            names_server: hello.names_server(),
            alpn: alpn(&hello.alpn),
            ciphers: hello.ciphers.clone(),
            extensions: hello.extensions.clone(),
            signatures: hello.signatures.clone(),
        };
        ja4.ciphers.sort_unstable();
        ja4.extensions.sort_unstable();
        ja4
    }

    /// The same without what makes one client look like several: padding, pre_shared_key and early_data, which come
    /// and go with resumption and length. Kernel classes are one to one with it.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let mut ja4 = self.clone();
        ja4.extensions.retain(|kind| !PASSING.contains(kind));
        ja4
    }

    /// The unhashed form, `ja4_r`: what went into the hashes.
    #[must_use]
    pub fn raw(&self) -> String {
        let signatures =
            if self.signatures.is_empty() { String::new() } else { format!("_{}", list(&self.signatures)) };
        format!("{}_{}_{}{signatures}", self.head(), list(&self.ciphers), list(&self.hashed_extensions()))
    }

    fn hashed_extensions(&self) -> Vec<u16> {
        self.extensions.iter().copied().filter(|kind| !matches!(*kind, SERVER_NAME | ALPN)).collect()
    }

    fn head(&self) -> String {
        let transport = match self.transport {
            Transport::Tls => 't',
            Transport::Quic => 'q',
            Transport::Dtls => 'd',
        };
        let version = match self.version {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            0xfeff => "d1",
            0xfefd => "d2",
            0xfefc => "d3",
            _ => "00",
        };
        let name = if self.names_server { 'd' } else { 'i' };
        let [ciphers, extensions] = [&self.ciphers, &self.extensions].map(|all| all.len().min(COUNT_MAX));
        let [first, last] = self.alpn;
        format!("{transport}{version}{name}{ciphers:02}{extensions:02}{first}{last}")
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions = self.hashed_extensions();
        let mut shape = list(&extensions);
        if !self.signatures.is_empty() {
            shape = format!("{shape}_{}", list(&self.signatures));
        }
        let ciphers = if self.ciphers.is_empty() { NOTHING.to_owned() } else { hash(&list(&self.ciphers)) };
        let shape = if extensions.is_empty() { NOTHING.to_owned() } else { hash(&shape) };
        write!(f, "{}_{ciphers}_{shape}", self.head())
    }
}

/// First and last byte of the first protocol; of its hexadecimal form if either is neither letter nor digit.
fn alpn(protocol: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble is a digit");
    [digit(first >> 4), digit(last & 0x0f)]
}

fn list(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

/// The first twelve hexadecimal digits of SHA-256.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
