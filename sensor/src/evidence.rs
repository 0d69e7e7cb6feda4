//! Evidence on one connection as it is shown: by `sensor replay`, `sensor connections` and `sensor capture`.

use serde::{Deserialize, Serialize};

use sensor_common::connection::{Connection, ConnectionKey, stage};
use sensor_common::event::{ConnectionEvent, UNKNOWN_US, flag, protocol};

/// Flags by name, in the order of their bits.
const FLAGS: &[(u32, &str)] = &[
    (flag::ESTABLISHED, "established"),
    (flag::GAP_SAMPLE, "gap_sample"),
    (flag::GAP_FLAGGED, "gap_flagged"),
    (flag::HELLO_GAP_FLAGGED, "hello_gap_flagged"),
    (flag::CLASS_MATCHED, "class_matched"),
    (flag::REFUSED, "refused"),
    (flag::REPORTED, "reported"),
    (flag::CLOSED, "closed"),
    (flag::STREAM_GAP, "stream_gap"),
    (flag::TIMESTAMPS, "timestamps"),
    (flag::TIMESTAMPS_DISAGREE, "timestamps_disagree"),
    (flag::ALLOWED, "allowed"),
    (flag::NEW_NETWORK, "new_network"),
    (flag::MALFORMED, "malformed"),
    (flag::NO_PURE_ACK, "no_pure_ack"),
    (flag::FAST_OPEN, "fast_open"),
    (flag::REQUESTED, "requested"),
];

/// Evidence on one connection. What was not measured is absent, which is not the same as 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub client: String,
    pub client_port: u16,
    pub server: String,
    /// The server's port.
    pub service: u16,
    /// `tls`, `http1`, `other` or `none`; of datagrams `quic` or `dtls`.
    pub protocol: String,
    /// When it began, microseconds since 1970.
    pub started_unix_us: u64,
    /// From its beginning to the latest segment, or to the record, microseconds.
    pub duration_us: u64,
    /// Round trip of the TCP handshake.
    pub rtt_us: Option<u32>,
    /// F1a: from the handshake's acknowledgement to the first payload.
    pub hello_gap_us: Option<u32>,
    /// F1b: from the first pure acknowledgement of the server's flight to the client's next flight.
    pub flight_gap_us: Option<u32>,
    /// `relayed` or `direct`; `unknown` is neither.
    pub path: String,
    /// Kernel class of the client software, hexadecimal; comparable only within one installation.
    pub class: Option<String>,
    /// Its JA4, where a ClientHello was read.
    pub ja4: Option<String>,
    /// Requests counted; `None`: the record was written before they were.
    pub requests: Option<u32>,
    /// Payload bytes from the client.
    pub bytes: Option<u64>,
    /// Payload bytes of the server that the client acknowledged, modulo 2^32, counted from the first payload on.
    pub acknowledged_bytes: Option<u32>,
    pub flags: Vec<String>,
}

/// Evidence on the latest connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// The latest one last.
    pub connections: Vec<Evidence>,
    /// The place behind the last one: what comes later is asked for with it.
    pub next: u64,
    /// Connections behind the place that was asked for which are not kept any more.
    pub missed: u64,
}

impl Evidence {
    /// The evidence in a record of the ring. `wall_us` gives microseconds since 1970 for monotonic nanoseconds.
    #[must_use]
    pub fn of_event(event: &ConnectionEvent, wall_us: impl Fn(u64) -> u64) -> Self {
        let key = ConnectionKey {
            client: event.client,
            server: event.server,
            client_port: event.client_port,
            server_port: event.service,
        };
        Self {
            duration_us: event.at_ns.saturating_sub(event.started_ns) / 1_000,
            started_unix_us: wall_us(event.started_ns),
            protocol: protocol::name(event.protocol).to_owned(),
            rtt_us: rtt(event.flags, event.rtt_us),
            hello_gap_us: measured(event.hello_gap_us),
            flight_gap_us: measured(event.flight_gap_us),
            path: path(event.flags).to_owned(),
            class: class(event.fingerprint),
            flags: names(event.flags),
            ..Self::between(&key)
        }
    }

    /// The evidence in a connection's state.
    #[must_use]
    pub fn of_connection(key: &ConnectionKey, connection: &Connection, wall_us: impl Fn(u64) -> u64) -> Self {
        let spoke = connection.stage >= stage::HELLO;
        Self {
            duration_us: connection.last_seen_ns.saturating_sub(connection.started_ns) / 1_000,
            started_unix_us: wall_us(connection.started_ns),
            protocol: protocol::name(connection.protocol).to_owned(),
            rtt_us: rtt(connection.flags, connection.rtt_us),
            hello_gap_us: measured(connection.hello_gap_us),
            flight_gap_us: measured(connection.flight_gap_us),
            path: path(connection.flags).to_owned(),
            class: class(connection.fingerprint),
            requests: Some(connection.requests),
            bytes: Some(connection.bytes),
            acknowledged_bytes: spoke.then(|| connection.ack.wrapping_sub(connection.hello_ack)),
            flags: names(connection.flags),
            ..Self::between(key)
        }
    }

    /// What it says, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let ms = |us: Option<u32>| us.map(|us| format!("{:.1} ms", f64::from(us) / 1_000.0));
        let gap = if self.protocol == "tls" { self.flight_gap_us } else { self.hello_gap_us };
        let path = match (self.path.as_str(), ms(gap)) {
            ("relayed", Some(gap)) => {
                format!("its client answered {gap} later than its address acknowledges: it came over a relay")
            }
            ("direct", Some(gap)) => format!("its client answered within {gap}: no relay is to be seen"),
            _ => format!("whether it came over a relay is unknown{}", self.reason()),
        };
        let client = match (&self.ja4, &self.class) {
            (Some(ja4), _) => format!(", client {ja4}"),
            (None, Some(class)) => format!(", client class {class}"),
            (None, None) => String::new(),
        };
        let refused = if self.has("refused") { " It was refused." } else { "" };
        let rtt = ms(self.rtt_us).unwrap_or_else(|| "unknown".to_owned());
        format!("A connection to port {} ({}{client}), round trip {rtt}: {path}.{refused}", self.service, self.protocol)
    }

    /// Why nothing is known about a relay, where a flag says.
    fn reason(&self) -> &'static str {
        let reasons = [
            ("stream_gap", " (a part of the stream was missed)"),
            ("malformed", " (the stream contradicted its protocol)"),
            ("timestamps_disagree", " (its timestamps contradict the clock)"),
            ("no_pure_ack", " (it acknowledged nothing before it answered)"),
            ("fast_open", " (its data came with the SYN)"),
        ];
        reasons.iter().find(|(name, _)| self.has(name)).map_or("", |(_, reason)| reason)
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|name| name == flag)
    }

    /// Nothing but who speaks with whom.
    #[must_use]
    pub fn between(key: &ConnectionKey) -> Self {
        Self {
            client: key.client.to_string(),
            client_port: key.client_port,
            server: key.server.to_string(),
            service: key.server_port,
            path: path(0).to_owned(),
            ..Self::default()
        }
    }
}

fn measured(us: u32) -> Option<u32> {
    (us != UNKNOWN_US).then_some(us)
}

fn rtt(flags: u32, us: u32) -> Option<u32> {
    (flags & flag::ESTABLISHED != 0).then_some(us)
}

fn class(fingerprint: u64) -> Option<String> {
    (fingerprint != 0).then(|| format!("{fingerprint:016x}"))
}

const fn path(flags: u32) -> &'static str {
    match (flags & flag::GAP_SAMPLE, flags & flag::GAP_FLAGGED) {
        (0, _) => "unknown",
        (_, 0) => "direct",
        _ => "relayed",
    }
}

/// The names of the flags that are set.
fn names(flags: u32) -> Vec<String> {
    FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Evidence, FLAGS, names};

    #[test]
    fn every_bit_has_one_name() {
        let bits = FLAGS.iter().fold(0, |bits, (bit, _)| bits | bit);
        assert_eq!(bits.count_ones() as usize, FLAGS.len());
        assert_eq!(names(u32::MAX).len(), FLAGS.len());
        assert_eq!(names(1 | 1 << 7), ["established", "closed"]);
    }

    #[test]
    fn unknown_is_said_to_be_unknown_and_why() {
        let one = Evidence { protocol: "tls".to_owned(), path: "relayed".to_owned(), ..Evidence::default() };
        let relayed = Evidence { flight_gap_us: Some(250_400), service: 443, ..one.clone() };
        assert!(relayed.sentence().contains("250.4 ms later"), "{}", relayed.sentence());
        let unknown = Evidence { path: "unknown".to_owned(), flags: vec!["no_pure_ack".to_owned()], ..one.clone() };
        assert!(
            unknown.sentence().ends_with("(it acknowledged nothing before it answered)."),
            "{}",
            unknown.sentence()
        );
        let direct =
            Evidence { path: "direct".to_owned(), hello_gap_us: Some(900), protocol: "http1".to_owned(), ..one };
        assert!(direct.sentence().contains("within 0.9 ms"), "{}", direct.sentence());
    }
}
