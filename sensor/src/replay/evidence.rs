//! One event of the documented format: the evidence on one connection. See `docs/events.md`.

use std::borrow::Cow;
use std::net::IpAddr;

use sensor_common::address::Address;
use sensor_common::event::protocol;
use sensor_common::hash::mix;
use serde::{Deserialize, Serialize};

use crate::engine::time::Time;

/// Bytes that a fingerprint or a label may have.
pub const TEXT_MAX: usize = 128;

/// The label of a campaign's connections; every other label is ordinary traffic.
pub const ATTACK: &str = "attack";

/// Columns of the CSV form, in the order in which they are written.
pub const COLUMNS: [&str; 11] = [
    "at_ns",
    "client",
    "service",
    "protocol",
    "fingerprint",
    "rtt_us",
    "hello_gap_us",
    "flight_gap_us",
    "timestamps",
    "requests",
    "label",
];

/// One connection's evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When the evidence was complete.
    pub at: Time,
    pub client: Address,
    /// Server port.
    pub service: u16,
    /// See [`protocol`].
    pub protocol: u8,
    /// 0: unknown.
    pub fingerprint: u64,
    pub rtt_us: u32,
    /// F1a, microseconds.
    pub hello_gap_us: Option<u32>,
    /// F1b, microseconds.
    pub flight_gap_us: Option<u32>,
    /// Gaps were measured by the sender's timestamps.
    pub timestamps: bool,
    pub requests: u32,
    /// What the connection really is, where somebody knows.
    pub label: Option<Cow<'static, str>>,
}

/// One line as it is written: names as in `docs/events.md`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    pub at_ns: u64,
    pub client: IpAddr,
    pub service: u16,
    #[serde(default = "tls")]
    pub protocol: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello_gap_us: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight_gap_us: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Cow<'a, str>>,
}

const fn tls() -> Cow<'static, str> {
    Cow::Borrowed("tls")
}

impl TryFrom<Line<'_>> for Evidence {
    type Error = String;

    /// # Errors
    /// What is wrong with which field, and what is expected.
    fn try_from(line: Line<'_>) -> Result<Self, String> {
        if line.at_ns > u64::MAX / 2 {
            return Err("at_ns lies beyond the year 2262: give nanoseconds since 1970".to_owned());
        }
        if line.service == 0 {
            return Err("service is 0: give the server's port, 1 to 65535".to_owned());
        }
        let protocol = match line.protocol.as_ref() {
            "tls" => protocol::TLS,
            "http1" => protocol::HTTP1,
            "other" => protocol::OTHER,
            "none" => protocol::NONE,
            other => return Err(format!("protocol `{other}` is unknown: give tls, http1, other or none")),
        };
        let fingerprint = line.fingerprint.as_deref().map_or(Ok(0), fingerprint)?;
        if line.label.as_ref().is_some_and(|label| label.len() > TEXT_MAX || label.chars().any(char::is_control)) {
            return Err(format!("label: give at most {TEXT_MAX} bytes of text"));
        }
        Ok(Self {
            at: Time(line.at_ns),
            client: Address::from(line.client),
            service: line.service,
            protocol,
            fingerprint,
            rtt_us: line.rtt_us.unwrap_or(0),
            hello_gap_us: line.hello_gap_us,
            flight_gap_us: line.flight_gap_us,
            timestamps: line.timestamps.unwrap_or(true),
            requests: line.requests.unwrap_or(1),
            label: line.label.map(|label| Cow::Owned(label.into_owned())),
        })
    }
}

impl<'a> From<&'a Evidence> for Line<'a> {
    fn from(evidence: &'a Evidence) -> Self {
        Self {
            at_ns: evidence.at.0,
            client: IpAddr::from(evidence.client),
            service: evidence.service,
            protocol: Cow::Borrowed(protocol::name(evidence.protocol)),
            fingerprint: (evidence.fingerprint != 0).then(|| Cow::Owned(format!("{:016x}", evidence.fingerprint))),
            rtt_us: Some(evidence.rtt_us),
            hello_gap_us: evidence.hello_gap_us,
            flight_gap_us: evidence.flight_gap_us,
            timestamps: Some(evidence.timestamps),
            requests: Some(evidence.requests),
            label: evidence.label.as_deref().map(Cow::Borrowed),
        }
    }
}

/// Sixteen hexadecimal digits are the number; any other text, a JA4 for example, stands for a number of its own.
fn fingerprint(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    if text.len() > TEXT_MAX {
        return Err(format!("fingerprint: give at most {TEXT_MAX} bytes"));
    }
    if text.len() == 16
        && let Ok(number) = u64::from_str_radix(text, 16)
    {
        return Ok(number);
    }
    Ok(text.bytes().fold(text.len() as u64, |state, byte| mix(u64::from(byte), state)).max(1))
}
